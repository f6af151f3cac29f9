"""Graphs of recordings: which there are, what they weigh, what is left out, what the table says."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.graphs import measures
from sociogram.graphs.source import allowed_of, norms_of_sums
from tests.watch.conftest import CLASSES, tiny


def test_graphs_are_the_recording_s_weights(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    assert len(nets) == 270
    np.testing.assert_array_equal(nets.weights(5, 3), alice.dataset["weights"].isel(layer=5, head=3).values.astype(np.float64))
    np.testing.assert_array_equal(nets.weights(-1, -1), nets.weights(29, 8))
    np.testing.assert_allclose(nets.weights(5, 3).sum(1), 1, atol=1e-5)


def test_messages_weigh_their_norms_and_several_heads_that_of_their_sum(alice: sg.Recording) -> None:
    one = sg.networks(alice, "message").weights(4, 2)
    assert one[9, 3] == pytest.approx(np.linalg.norm(alice.message(4, 2, 9, 3)), rel=1e-4)
    together = sg.networks(alice, "message", by="layer").weights(4)
    assert together[9, 3] == pytest.approx(np.linalg.norm(sum(alice.message(4, head, 9, 3) for head in range(9))), rel=1e-4)
    everything = sg.networks(alice, "message", by="all").weights()
    vectors = sum(alice.message(layer, head, 9, 3) for layer in range(30) for head in range(9))
    assert everything[9, 3] == pytest.approx(np.linalg.norm(vectors), rel=1e-4)


@pytest.mark.parametrize("name", ["gemma2", "qwen3_next", "olmo2", "gpt_oss"])
def test_sums_of_messages_hold_with_gates_norms_and_sinks(name: str) -> None:
    rec = tiny(name)
    nets = sg.networks(rec, "message", by="layer")
    layer = int(nets.labels["layer"].iloc[0])
    parts = rec.messages(layer)
    heads = parts.weights.shape[0]
    expected = np.linalg.norm(sum(rec.message(layer, head, 3, 1) for head in range(heads)))
    assert norms_of_sums([parts])[3, 1].item() == pytest.approx(expected, rel=1e-4)
    assert nets.weights(layer)[3, 1] == pytest.approx(expected, rel=1e-4)


def test_signed_weights_are_taken_by_size_after_heads_are_added(alice: sg.Recording) -> None:
    edges = alice.edges("contribution", layer=6, query=9, key=3, top=None)
    by_layer = sg.networks(alice, "contribution", by="layer").weights(6)
    assert by_layer[9, 3] == pytest.approx(abs(edges["contribution"].sum()), rel=1e-4)
    by_head = sg.networks(alice, "contribution").weights(6, 1)
    assert by_head[9, 3] == pytest.approx(abs(float(edges.set_index("head")["contribution"][1])), rel=1e-4)


def test_what_is_left_out_is_told(alice: sg.Recording) -> None:
    whole = sg.networks(alice).weights(10, 4)
    dropped = sg.networks(alice, drop_first=True)
    np.testing.assert_array_equal(dropped.weights(10, 4), whole[1:, 1:])
    row = dropped.summary().query("layer == 10 and head == 4").iloc[0]
    assert row["dropped_share"] == pytest.approx(1 - whole[1:, 1:].sum() / whole.sum())
    assert np.isnan(row["sink_share"])
    thin = sg.networks(alice, threshold=0.2)
    row = thin.summary().query("layer == 10 and head == 4").iloc[0]
    assert row["edges"] == (whole > 0.2).sum()
    assert row["kept_share"] == pytest.approx(whole[whole > 0.2].sum() / whole.sum())
    assert row["density"] == pytest.approx(
        (whole > 0.2).sum() / (21 * len(whole) / 2 if len(whole) == 20 else np.tri(len(whole)).sum())
    )


def test_the_summary_asks_every_graph(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    table = nets.summary()
    assert list(table["layer"].unique()) == list(range(30))
    assert not table.drop(columns=["weighted_density", "reciprocity"]).isna().any().any()
    assert table[["weighted_density", "reciprocity"]].isna().all().all()
    row = table.iloc[nets.number(7, 5)]
    graph = nets.graph(7, 5)
    for name, measure in measures.MEASURES.items():
        assert row[name] == pytest.approx(float(measure(graph.weights, graph.allowed)[0]), nan_ok=True)


def test_encoders_have_reciprocity(encoded: sg.Recording) -> None:
    table = sg.networks(encoded).summary()
    assert table["reciprocity"].between(0, 1).all()
    assert table["reciprocity"].std() > 0.01
    assert sg.networks(encoded, "message").summary()["weighted_density"].notna().all()


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_model_has_graphs(name: str) -> None:
    rec = tiny(name)
    for weight in ("attention", "message"):
        table = sg.networks(rec, weight).summary()
        assert len(table)
        assert np.isfinite(table[["entropy", "density", "kept_share"]].to_numpy()).all()
    assert len(sg.networks(rec, by="all")) == 1


def test_a_streamed_recording_s_sums_are_the_same_numbers(smollm: sg.Model, alice: sg.Recording) -> None:
    streamed = sg.record(smollm, alice.tree.attrs["text"], keep="stream")
    for weight in ("attention", "message"):
        dense, sums = sg.networks(alice, weight).summary(), sg.networks(streamed, weight).summary()
        assert list(dense.columns) == list(sums.columns)
        known = [name for name in sums if sums[name].notna().any()]
        assert {"edges", "self_share", "sink_share", "sender_share"} <= set(known)
        assert ("entropy" in known) == (weight == "attention")
        np.testing.assert_allclose(sums[known].astype(float), dense[known].astype(float), atol=2e-5)
    with pytest.raises(sg.RecordingError, match="of a streamed recording the sums of each head are known"):
        sg.networks(streamed, by="layer").summary()
    with pytest.raises(sg.RecordingError, match="nothing of the size tokens x tokens"):
        sg.networks(streamed).weights(3, 2)


def test_attention_needs_no_model(alice: sg.Recording, tmp_path: Path) -> None:
    alice.save(tmp_path / "alice.zarr")
    alone = sg.open_recording(tmp_path / "alice.zarr")
    for by in ("head", "layer", "all"):
        there, here = sg.networks(alone, by=by).summary(), sg.networks(alice, by=by).summary()
        np.testing.assert_array_equal(there["clustering"], here["clustering"])
    with pytest.raises(sg.RecordingError, match="needs the model's output projections"):
        sg.networks(alone, "message", by="layer").summary()


def test_masks_are_read_off_the_weights() -> None:
    weights = torch.softmax(torch.tensor([[[0.0, -1e9, -1e9], [0.0, 0.0, -1e9], [-200.0, 0.0, -80.0]]] * 2), -1)
    weights[1, 2, 0] = 1e-3
    allowed = allowed_of(weights.numpy())
    np.testing.assert_array_equal(allowed[0], np.tri(3, dtype=bool))  # exp(-200) is 0 in float32, and exp(-80) shows why
    weights[0, 2] = torch.tensor([0.0, 0.5, 0.5])  # cut in this head alone
    np.testing.assert_array_equal(allowed_of(weights.numpy())[0, 2], [False, True, True])


def test_what_does_not_exist_is_refused(alice: sg.Recording, smollm: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="weight='loudness': choose one of attention, message, contribution, toward"):
        sg.networks(alice, "loudness")
    with pytest.raises(sg.InputError, match='networks\\(rec, weight="toward", toward=" Paris"\\)'):
        sg.networks(alice, "toward")
    with pytest.raises(sg.InputError, match="by='token': choose one of head, layer, all"):
        sg.networks(alice, by="token")
    with pytest.raises(sg.InputError, match="threshold=-1: a number from 0 up"):
        sg.networks(alice, threshold=-1)
    with pytest.raises(sg.InputError, match='by="head": a graph is named by layer and head'):
        sg.networks(alice).weights(3)
    with pytest.raises(sg.InputError, match="no head 9: there are 9"):
        sg.networks(alice).weights(3, 9)
    with pytest.raises(sg.InputError, match='by="all": a graph is named by nothing'):
        sg.networks(alice, by="all").weights(3)
    with pytest.raises(sg.InputError, match=r"networks\(\) is about one sequence, and this recording holds 2"):
        sg.networks(sg.record(smollm, ["one", "two words"]))
    with pytest.raises(sg.InputError, match="readers and senders are different tokens"):
        sg.networks(tiny("t5"), stack="decoder_cross")


def test_tokens_of_one_graph(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    table = nets.token_table(8, 1, betweenness=True)
    weights = nets.weights(8, 1)
    assert table["text"].tolist() == alice.tokens
    np.testing.assert_allclose(table["in_strength"] + table["self_weight"], 1, atol=1e-5)
    np.testing.assert_allclose(table["out_strength"].sum(), weights.sum() - np.trace(weights))
    np.testing.assert_allclose(table[["pagerank", "hub", "authority"]].sum(), 1)
    assert table["betweenness"].between(0, 1).all()
    assert sg.networks(alice, drop_first=True).token_table(8, 1)["token"].tolist()[0] == 1


def test_ways_and_bridges_are_labelled(alice: sg.Recording) -> None:
    nets = sg.networks(alice, drop_first=True, threshold=0.3)
    ways = nets.shortest_paths(8, 1)
    assert ways.dims == ("query", "key")
    assert int(ways["query"][0]) == 1
    weights = nets.weights(8, 1)
    q, k = (int(i) for i in np.argwhere(np.tril(weights, -1) > 0)[0])
    assert float(ways[q, k]) <= 1 / weights[q, k] + 1e-9
    graph = nets.to_networkx(8, 1).to_undirected()
    graph.remove_edges_from(list(nx.selfloop_edges(graph)))
    assert {frozenset(pair) for pair in nx.bridges(graph)} == {
        frozenset((row.query, row.key)) for row in nets.bridges(8, 1).itertuples()
    }


def test_graphs_go_to_other_tools_with_edges_from_sender_to_reader(alice: sg.Recording, tmp_path: Path) -> None:
    nets = sg.networks(alice)
    weights = nets.weights(8, 1)
    graph = nets.to_networkx(8, 1)
    assert graph.edges[2, 9]["weight"] == weights[9, 2]
    assert not graph.has_edge(9, 2)
    assert graph.nodes[1]["text"] == alice.tokens[1]
    np.testing.assert_array_equal(nets.to_scipy(8, 1).toarray(), weights)
    path = tmp_path / "head.graphml"
    nets.to_graphml(path, 8, 1)
    again = nx.read_graphml(path, node_type=int)
    assert again.edges[2, 9]["weight"] == pytest.approx(weights[9, 2])
    assert again.nodes[1]["text"] == alice.tokens[1]
    with pytest.raises(sg.InputError, match="exists; overwrite=True writes over it"):
        nets.to_graphml(path, 8, 1)
    with pytest.raises(sg.InputError, match="is no folder that exists"):
        nets.to_graphml(tmp_path / "none" / "head.graphml", 8, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["head.graphml"]


def test_tokens_that_xml_cannot_write_are_replaced(smollm: sg.Model, tmp_path: Path) -> None:
    nets = sg.networks(sg.record(smollm, "a\x00b <c> & \x1b"))
    nets.to_graphml(tmp_path / "odd.graphml", 0, 0)
    assert len(nx.read_graphml(tmp_path / "odd.graphml")) == len(nets.tokens)


def test_nothing_is_asked_of_no_tokens(smollm: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="drop_first=True: there is one token"):
        sg.networks(sg.record(smollm, torch.tensor([5])), drop_first=True)


def test_a_threshold_above_all_leaves_tokens_without_edges(alice: sg.Recording) -> None:
    nets = sg.networks(alice, threshold=2)
    table = nets.summary()
    assert table["edges"].eq(0).all()
    assert table["kept_share"].eq(0).all()
    assert table[["entropy", "distance", "self_share"]].isna().all().all()
    tokens = nets.token_table(3, 2, betweenness=True)
    np.testing.assert_allclose(tokens["pagerank"], 1 / 16)
    np.testing.assert_allclose(nets.layered().rollout().values, np.eye(16))


def test_a_graph_of_one_token_has_numbers_or_none(smollm: sg.Model) -> None:
    rec = sg.record(smollm, torch.tensor([5]))
    table = sg.networks(rec).summary()
    assert (table["entropy"] == 0).all()
    assert table["distance"].eq(0).all()
    assert table[["above_even", "sink_share", "sender_share"]].isna().all().all()
    json.loads(table.to_json())
