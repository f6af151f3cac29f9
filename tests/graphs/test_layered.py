"""Ways through the layers: by hand on two layers of three tokens, and as theorems on real recordings."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.layered import Layered
from sociogram.graphs.steps import mixed
from tests.watch.conftest import tiny

FIRST = np.array([[1.0, 0.0, 0.0], [0.4, 0.6, 0.0], [0.2, 0.3, 0.5]])
SECOND = np.array([[1.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.5, 0.4, 0.1]])


def by_hand() -> Layered:
    allowed = np.tri(3, dtype=bool)
    return Layered(np.stack([FIRST, SECOND]), (0, 1), ("a", "b", "c"), 0, np.stack([allowed, allowed]), "weights")


def test_rollout_has_later_layers_on_the_left() -> None:
    found = by_hand().rollout()
    assert found.dims == ("query", "key")
    assert float(found[2, 0]) == pytest.approx(0.5 * 1 + 0.4 * 0.4 + 0.1 * 0.2)
    assert np.abs(found.values - FIRST @ SECOND).max() > 0.05  # the wrong order is another matrix
    np.testing.assert_allclose(by_hand().rollout(upto=0).values, FIRST)


def test_flow_and_cut_by_hand() -> None:
    layered = by_hand()
    # from b to c: b-b-c carries min(0.6, 0.4), b-c-c min(0.3, 0.1)
    assert layered.flow("b", "c") == pytest.approx(0.5)
    cut = layered.cut("b", "c")
    assert cut["share"].sum() == pytest.approx(0.5)
    assert set(zip(cut["layer"], cut["query"], cut["key"], strict=True)) == {(1, 2, 1), (1, 2, 2)}
    assert layered.flow("c", "b") == 0
    assert layered.cut("c", "b").empty


def test_the_cut_edges_are_all_that_joins_two_tokens() -> None:
    layered = by_hand()
    steps = layered.steps.copy()
    for edge in layered.cut("a", "c").itertuples():
        steps[edge.layer, edge.query, edge.key] = 0
    assert Layered(steps, (0, 1), ("a", "b", "c"), 0, layered.allowed, "weights").flow("a", "c") == 0


def test_the_strongest_path_by_hand() -> None:
    path = by_hand().strongest_path("a", "c")
    assert path[["layer", "query", "key"]].to_numpy().tolist() == [[0, 0, 0], [1, 2, 0]]
    assert path.attrs["share"] == pytest.approx(0.5)
    assert path.attrs["of"] == pytest.approx(0.68)
    assert by_hand().strongest_path("c", "a").empty


def test_receptive_fields_and_routes_by_hand() -> None:
    field = by_hand().receptive_field(0.15)
    assert field.values.tolist() == [[1, 2, 3], [1, 2, 2]]
    routes = by_hand().routes("c", 0.3)
    found = {tuple(row) for row in routes[["layer", "query", "key"]].to_numpy().tolist()}
    assert found == {(1, 2, 0), (1, 2, 1), (0, 0, 0), (0, 1, 0), (0, 1, 1)}


def test_the_picture_has_a_line_for_each_edge_of_the_routes() -> None:
    layered = by_hand()
    table = layered.routes("c", 0.25)
    ax = layered.plot("c", 0.25)
    drawn = {tuple(map(int, (*line.get_xdata(), line.get_ydata()[0]))): line for line in ax.lines}
    assert set(drawn) == set(zip(table["key"], table["query"], table["layer"], strict=True))
    wide = [drawn[row.key, row.query, row.layer].get_linewidth() for row in table.itertuples()]
    assert np.argsort(wide).tolist() == np.argsort(table["share"]).tolist()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c"]
    assert f"{len(table)} edges" in ax.get_title()


def test_real_rollouts_are_causal_shares(alice: sg.Recording) -> None:
    layered = sg.networks(alice).layered()
    total = layered.rollout().values
    np.testing.assert_allclose(total.sum(1), 1)
    assert np.abs(np.triu(total, 1)).max() == 0
    attention = alice.dataset["weights"].mean("head").values.astype(np.float64)
    product = np.eye(len(total))
    for layer in attention:
        product = (0.5 * np.eye(len(total)) + 0.5 * layer / layer.sum(1, keepdims=True)) @ product
    np.testing.assert_allclose(total, product, atol=1e-9)


def test_the_first_token_wins_by_construction(alice: sg.Recording) -> None:
    even = sg.networks(alice).layered().even()
    assert (even.rollout().values[:, 0] > 0.9).all()
    later = sg.networks(alice, drop_first=True).layered()
    assert int(later.rollout()["key"][0]) == 1
    np.testing.assert_allclose(later.rollout().values.sum(1), 1)


def test_a_residual_of_1_hears_nobody_and_0_only_what_is_heard(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    np.testing.assert_allclose(nets.layered(residual=1).rollout().values, np.eye(len(nets.tokens)))
    np.testing.assert_allclose(nets.layered(residual=0).steps[3], alice.dataset["weights"][3].mean("head").values, atol=1e-6)
    assert mixed(np.zeros((2, 2)), 0.5).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3_next", "bert"])
def test_alti_by_its_definition(name: str) -> None:
    rec = tiny(name)
    layered = sg.networks(rec).layered("alti")
    place, layer = -1, layered.layers[-1]
    heads = rec.messages(layer).weights.shape[0]
    data = rec.dataset
    before = data["residual"].isel(stop=int(data["layer_start"][layer])).values.astype(np.float64)
    reader = 3
    after = before[reader] + rec.messages(layer).branch[reader].double().numpy()
    expected = []
    for key in range(before.shape[0]):
        part = sum(rec.message(layer, head, reader, key).astype(np.float64) for head in range(heads))
        part = part + (before[reader] if key == reader else 0)
        expected.append(max(0.0, np.abs(after).sum() - np.abs(after - part).sum()))
    np.testing.assert_allclose(layered.steps[place, reader], np.array(expected) / np.sum(expected), atol=2e-4)


def test_what_does_not_exist_is_refused(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    with pytest.raises(sg.InputError, match="kind='rollout': choose one of weights, alti"):
        nets.layered("rollout")
    with pytest.raises(sg.InputError, match="residual=2: the share of each token that stays as it is, 0 to 1"):
        nets.layered(residual=2)
    with pytest.raises(sg.InputError, match="threshold=1: a share from 0 up to 1"):
        by_hand().receptive_field(1)
    with pytest.raises(sg.InputError, match="no layer 2: there are 2"):
        by_hand().rollout(upto=2)
    with pytest.raises(sg.InputError, match="no token 7: these networks have 0 to 2"):
        by_hand().flow(7, 0)
