"""New tokens find their place, and communities their members."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.embedding import Embedding
from sociogram.graphs.networks import Networks
from tests.graphs.given import given_networks, heads_of_chance, two_blocks


@pytest.fixture(scope="module")
def blocks() -> Networks:
    """Two communities of 30 tokens, with a diagonal so that no reader hears nothing."""
    graph = np.maximum(two_blocks(np.random.default_rng(0), 60, 0.7, 0.1), np.eye(60))
    return given_networks(np.stack([graph, graph.T])[None])


@pytest.mark.parametrize("method", ["ase", "lse"])
def test_a_token_of_the_graph_is_placed_where_it_is(blocks: Networks, method: str) -> None:
    found = blocks.embed(method, dimension=3)
    for head in (0, 1):
        one, weights = found.graph(0, head), blocks.weights(0, head)
        for token in (0, 17, 59):
            placed = found.place(weights[token], weights[:, token], layer=0, head=head)
            np.testing.assert_allclose(placed["reader"], one["reader"][token], atol=1e-10)
            np.testing.assert_allclose(placed["sender"], one["sender"][token], atol=1e-10)
            assert 0 < float(placed["reader_unexplained"]) < 1
    all_of_it = blocks.embed(method, dimension=60)
    placed = all_of_it.place(row=blocks.weights(0, 0)[5], layer=0, head=0)
    assert float(placed["reader_unexplained"]) < 1e-10
    assert "sender" not in placed


def test_a_new_token_is_placed_among_its_own(blocks: Networks) -> None:
    found = blocks.embed("ase", dimension=2)
    rng = np.random.default_rng(7)
    row = (rng.random(60) < np.where(np.arange(60) < 30, 0.7, 0.1)).astype(float)
    place = found.place(row=row, layer=0, head=0)["reader"].values
    readers = found.graph(0, 0)["reader"].values
    first, second = readers[:30].mean(0), readers[30:].mean(0)
    assert np.linalg.norm(place - first) < 0.3 * np.linalg.norm(place - second)


def test_placing_is_refused_where_it_has_no_meaning(blocks: Networks) -> None:
    found = blocks.embed("ase", dimension=2)
    with pytest.raises(sg.InputError, match="needs the new token's row"):
        found.place(layer=0, head=0)
    with pytest.raises(sg.InputError, match=r"row: 60 weights, one for each token of the graph, and the shape given is \(3,\)"):
        found.place(row=[1, 2, 3], layer=0, head=0)
    with pytest.raises(sg.InputError, match="column: weights are finite and not negative"):
        found.place(column=np.full(60, -1.0), layer=0, head=0)
    with pytest.raises(sg.InputError, match='method="mase": a token is placed by its weights in one graph'):
        blocks.embed("mase", dimension=2).place(row=np.ones(60))


@pytest.mark.parametrize("method", ["ase", "lse", "omni", "mase"])
@pytest.mark.parametrize("side", ["reader", "sender", "both"])
def test_those_of_a_community_are_nominated_first(blocks: Networks, method: str, side: str) -> None:
    found = blocks.embed(method, dimension=2)
    where = {} if method == "mase" else {"layer": 0, "head": 1}
    table = found.nominate([3, 11, 20], side=side, **where)
    assert len(table) == 57
    assert (table["token"].iloc[:20] < 30).mean() >= 0.95
    assert table["distance"].is_monotonic_increasing
    assert table["rank"].tolist() == list(range(1, 58))
    assert set(table["nearest"]) <= {3, 11, 20}
    assert not set(table["token"]) & {3, 11, 20}
    assert (table["mean_distance"] >= table["distance"] - 1e-12).all()


def test_where_there_is_no_community_nobody_of_it_is_found() -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(20):
        graph = np.maximum((rng.random((60, 60)) < 0.4).astype(float), np.eye(60))
        table = given_networks(graph[None, None]).embed(dimension=2).nominate([3, 11, 20])
        shares.append((table["token"].iloc[:20] < 30).mean())
    assert abs(np.mean(shares) - 27 / 57) < 0.1


def test_tokens_are_named_as_in_the_text() -> None:
    weights = heads_of_chance(np.random.default_rng(0), (1, 1, 8, 8))
    found: Embedding = given_networks(weights, drop_first=True).embed(dimension=2)
    assert 5 not in found.nominate([5])["token"].values
    assert found.find(1) == 0
    assert found.find(-1) == 6
    with pytest.raises(sg.InputError, match="no token 0: these graphs have 1 to 7"):
        found.nominate([0])
    with pytest.raises(sg.InputError, match="not none and not all"):
        found.nominate([])
    with pytest.raises(sg.InputError, match="side='left': choose one of reader, sender, both"):
        found.nominate([1], side="left")
