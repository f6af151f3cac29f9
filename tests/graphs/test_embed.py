"""Tokens as points: graphs come back from their positions, known positions are found, graphs meet in one space."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.joint import OmnibusMatrix, common, omnibus
from sociogram.graphs.networks import networks
from sociogram.graphs.positions import adjacency, degrees_of, laplacian, procrustes_distance
from sociogram.graphs.spectrum import dimension_of
from tests.graphs.given import given_networks, heads_of_chance, two_blocks
from tests.models.conftest import tiny_llama


def test_all_components_give_the_graph_back_and_fewer_the_nearest_of_that_rank() -> None:
    weights = heads_of_chance(np.random.default_rng(0), (15, 15))
    whole = adjacency(weights, 15)
    np.testing.assert_allclose(whole.reader @ whole.sender.T, weights, atol=1e-12)
    some = adjacency(weights, 4)
    values = np.linalg.svd(weights, compute_uv=False)
    assert np.linalg.norm(weights - some.reader @ some.sender.T) == pytest.approx(np.sqrt((values[4:] ** 2).sum()))
    np.testing.assert_allclose((some.reader**2).sum(0), values[:4])  # readers and senders share the values alike
    np.testing.assert_allclose((some.sender**2).sum(0), values[:4])


def test_known_positions_are_found_and_the_better_the_more_tokens_there_are() -> None:
    errors = []
    for tokens in (100, 400, 1600):
        rng = np.random.default_rng(tokens)
        reader, sender = (rng.dirichlet([1, 1, 1], tokens)[:, :2] for _ in range(2))
        chance = reader @ sender.T
        true = adjacency(chance, 2).joined()
        np.testing.assert_allclose(true[:tokens] @ true[tokens:].T, chance, atol=1e-10)
        found = adjacency((rng.random(chance.shape) < chance).astype(float), 2).joined()
        errors.append(procrustes_distance(found, true) / np.sqrt(tokens))
    assert errors[1] < 0.65 * errors[0]
    assert errors[2] < 0.65 * errors[1]
    assert errors[2] < 0.1


def test_a_laplacian_forgets_how_loud_a_token_is() -> None:
    """Of even weights it is 1 / (2 n) everywhere; a product of loudnesses has one singular value, whatever they are."""
    even = laplacian(np.full((8, 8), 0.3))
    np.testing.assert_allclose(even, np.full((8, 8), 1 / 16))
    rng = np.random.default_rng(0)
    loud = np.outer(rng.gamma(1, size=20), rng.gamma(1, size=20))
    assert np.linalg.matrix_rank(laplacian(loud)) == 1
    blocks = two_blocks(rng, 200) * rng.gamma(0.3, size=200)[:, None]  # readers of very different loudness
    side = np.arange(200) >= 100
    split = {}
    for name, matrix in (("ase", blocks), ("lse", laplacian(blocks))):
        second = adjacency(matrix, 2).sender[:, 1] > 0
        split[name] = max((second == side).mean(), (second != side).mean())
    assert split["lse"] > 0.95
    assert degrees_of(np.zeros((3, 3))).mean == 0
    assert not laplacian(np.zeros((3, 3))).any()


def test_the_omnibus_matrix_is_multiplied_without_being_built() -> None:
    rng = np.random.default_rng(0)
    graphs = heads_of_chance(rng, (4, 7, 7))
    built = np.block([[(one + other) / 2 for other in graphs] for one in graphs])
    matrix, columns = OmnibusMatrix(graphs), rng.standard_normal((28, 3))
    np.testing.assert_allclose(matrix.matmat(columns), built @ columns, atol=1e-12)
    np.testing.assert_allclose(matrix.rmatmat(columns), built.T @ columns, atol=1e-12)
    found, whole = omnibus(graphs, 3), adjacency(built, 3)
    np.testing.assert_allclose(found.reader.reshape(28, 3), whole.reader, atol=1e-6)
    np.testing.assert_allclose(found.sender.reshape(28, 3), whole.sender, atol=1e-6)
    np.testing.assert_allclose(found.values, whole.values)


def test_graphs_that_are_the_same_are_in_the_same_place_and_a_changed_token_is_not() -> None:
    rng = np.random.default_rng(1)
    one = two_blocks(rng, 60, 0.8, 0.1)
    alike = omnibus(np.stack([one, one]), 2)
    np.testing.assert_allclose(alike.reader[0], alike.reader[1], atol=1e-9)
    np.testing.assert_allclose(alike.reader[0], adjacency(one, 2).reader, atol=1e-6)
    other = one.copy()
    other[7], other[:, 7] = one[50], one[:, 50]  # token 7 does as token 50 of the other block
    found = omnibus(np.stack([one, other]), 2)
    moved = np.linalg.norm(found.reader[0] - found.reader[1], axis=1) + np.linalg.norm(found.sender[0] - found.sender[1], axis=1)
    assert moved.argmax() == 7
    assert moved[7] > 3 * np.sort(moved)[-2]


@pytest.mark.parametrize("scaled", [True, False])
def test_graphs_of_one_space_are_given_back_by_their_scores(scaled: bool) -> None:
    rng = np.random.default_rng(2)
    left, right = (np.linalg.qr(rng.standard_normal((30, 3)))[0] for _ in range(2))
    graphs = [left @ rng.standard_normal((3, 3)) @ right.T for _ in range(5)]
    found = common(lambda: enumerate(graphs), 3, scaled=scaled)
    for number, graph in enumerate(graphs):
        np.testing.assert_allclose(found.reader @ found.scores[number] @ found.sender.T, graph, atol=1e-10)
    np.testing.assert_allclose(found.reader.T @ found.reader, np.eye(3), atol=1e-12)
    assert (np.take_along_axis(found.sender, np.abs(found.sender).argmax(0)[None], 0) > 0).all()


def test_what_is_embedded_is_labelled() -> None:
    rec = sg.record(sg.load(tiny_llama()), list(range(12)))
    nets = networks(rec, drop_first=True)
    found = nets.embed(graphs=[(1, 2), 0], dimension=3)
    assert found.data["layer"].values.tolist() == [1, 0, 0, 0, 0]
    assert found.data["head"].values.tolist() == [2, 0, 1, 2, 3]
    assert found.data["reader"].dims == ("graph", "token", "component")
    assert found.data["token"].values.tolist() == list(range(1, 12))
    assert found.data["text"].values.tolist() == nets.tokens
    assert found.data["component"].values.tolist() == [1, 2, 3]
    for layer, head in ((1, 2), (0, 3)):
        one = found.graph(layer, head)
        alone = adjacency(nets.weights(layer, head), 3)
        np.testing.assert_allclose(one["reader"], alone.reader, atol=1e-12)
        np.testing.assert_allclose(one["sender"], alone.sender, atol=1e-12)
        np.testing.assert_allclose(one["singular_value"], alone.values)
    assert "5 graphs of 11 tokens" in repr(found)
    needed = [dimension_of(np.linalg.svd(nets.weights(0, head), compute_uv=False), 11) for head in range(4)]
    assert nets.embed(graphs=[0]).dimension == max(needed)
    for method in ("lse", "omni", "mase"):
        other = nets.embed(method, graphs=[(1, 2), (0, 1)])
        assert other.data["layer"].values.tolist() == [1, 0]
        assert other.data["sender"].sizes["token"] == 11
    whole = networks(rec, by="layer").embed("omni", dimension=2)
    assert whole.data["head"].values.tolist() == [-1, -1]
    assert networks(rec, by="all").embed(dimension=2).data.sizes["graph"] == 1


def test_joint_embeddings_of_networks_are_those_of_their_weights() -> None:
    weights = heads_of_chance(np.random.default_rng(4), (2, 3, 9, 9))
    nets = given_networks(weights)
    flat = weights.reshape(6, 9, 9)
    names = [(1, 0), (0, 2), (1, 1)]
    order = [3, 2, 4]
    found, own = nets.embed("omni", dimension=2, graphs=names), omnibus(flat[order], 2)
    np.testing.assert_allclose(found.data["reader"], own.reader, atol=1e-7)
    found, shared = nets.embed("mase", dimension=2, graphs=names), common(lambda: enumerate(flat[order]), 2)
    np.testing.assert_allclose(np.abs(found.data["score"]), np.abs(np.stack([shared.scores[i] for i in range(3)])), atol=1e-7)
    assert nets.embed("mase", dimension=2, graphs=names, scaled=False).data["score"].values != pytest.approx(
        found.data["score"].values, abs=1e-4
    )


def test_graphs_are_compared_in_one_space_alone() -> None:
    rng = np.random.default_rng(5)
    one, other = (heads_of_chance(rng, (20, 20), causal=False) for _ in range(2))
    near = one + 1e-3 * heads_of_chance(rng, (20, 20), causal=False)
    nets = given_networks(np.stack([one, near, other])[None])
    for method in ("omni", "mase"):
        apart = nets.embed(method, dimension=4).distances()
        assert apart.dims == ("graph", "other_graph")
        assert apart["other_head"].values.tolist() == [0, 1, 2]
        np.testing.assert_allclose(apart, apart.T.values, atol=1e-12)
        assert apart.values[0, 1] < 0.2 * apart.values[0, 2]
        assert apart.values[0, 0] == 0
    with pytest.raises(sg.InputError, match="up to a rotation: to compare graphs use"):
        nets.embed("ase").distances()


def test_what_cannot_be_embedded_is_refused() -> None:
    nets = given_networks(heads_of_chance(np.random.default_rng(0), (1, 2, 6, 6)))
    with pytest.raises(sg.InputError, match="method='pca': choose one of ase, lse, omni, mase"):
        nets.embed("pca")
    with pytest.raises(sg.InputError, match="dimension=7: a whole number from 1 to 6"):
        nets.embed(dimension=7)
    with pytest.raises(sg.InputError, match=r"graphs=\[\]: name at least one"):
        nets.embed(graphs=[])
    with pytest.raises(sg.InputError, match="no head 5"):
        nets.embed(graphs=[(0, 5)])
    with pytest.raises(sg.MemoryLimitError, match=r'embed\("omni"\) would hold 576 B of weights \(2 graphs of 6 tokens\)'):
        nets.embed("omni", memory_limit=500)
    with pytest.raises(
        sg.InputError, match=r"layer=None, head=None names 2 of the 2 graphs that were embedded: \(0, 0\), \(0, 1\)"
    ):
        nets.embed(dimension=2).graph()
