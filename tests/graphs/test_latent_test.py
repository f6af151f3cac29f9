"""Same positions or not: exact where it must be, of the right size where they are the same, and sure where they are not."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.latent_test import latent_position_test
from tests.graphs.given import given_networks, heads_of_chance, two_blocks


def test_a_graph_has_its_own_positions() -> None:
    graph = two_blocks(np.random.default_rng(0), 40)
    found = latent_position_test(graph, graph, samples=10)
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert found.p == found.p_a == found.p_b == 1
    assert found.noise == "edges"
    assert (found.null_a > 0).all()
    assert "p = 1 of 10 samples" in repr(found)


def test_the_order_of_components_and_their_signs_do_not_matter() -> None:
    """Where the two largest values change places the positions are turned, not moved."""
    rng = np.random.default_rng(1)
    left, right = (np.linalg.qr(rng.standard_normal((30, 2)))[0] for _ in range(2))
    one, other = ((left * values) @ right.T for values in ([1.001, 1.0], [1.0, 1.001]))
    shift = 1.0 - min(one.min(), other.min())
    found = latent_position_test(one + shift, other + shift, dimension=3, samples=2, noise="weights")
    assert found.distance < 0.01


def size_of(draw, samples: int, repeats: int, noise: str, allowed: np.ndarray | None = None) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array(
        [
            latent_position_test(draw(rng), draw(rng), dimension=2, samples=samples, seed=seed, noise=noise, allowed=allowed).p
            for seed in range(repeats)
        ]
    )


def test_the_size_of_the_test_with_edges_at_random() -> None:
    p = size_of(lambda rng: two_blocks(rng, 30, 0.8, 0.2), 19, 100, "edges")
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    assert (p <= 0.3).mean() <= 0.3 + 3 * np.sqrt(0.3 * 0.7 / 100)
    assert p.min() >= 1 / 20
    assert p.mean() < 0.95  # not blind


def test_the_size_of_the_test_with_weights_of_chance_under_a_causal_mask() -> None:
    tokens = 24
    allowed = np.tril(np.ones((tokens, tokens), bool))
    liked = 0.2 + two_blocks(np.random.default_rng(9), tokens, 1.0, 0.0)

    def draw(rng: np.random.Generator) -> np.ndarray:
        weights = np.where(allowed, liked * rng.gamma(2, size=liked.shape), 0)
        return weights / weights.sum(1, keepdims=True)

    p = size_of(draw, 19, 100, "weights", allowed)
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)
    assert p.mean() < 0.95


def test_other_positions_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    p = [
        latent_position_test(two_blocks(rng, 60, 0.7, 0.3), two_blocks(rng, 60, 0.9, 0.1), samples=39, seed=seed, dimension=2).p
        for seed in range(10)
    ]
    assert max(p) == pytest.approx(1 / 40)


def test_heads_are_compared_under_their_own_masks() -> None:
    rng = np.random.default_rng(3)
    one, other = heads_of_chance(rng, (24, 24)), heads_of_chance(rng, (24, 24))
    window = np.where(np.tril(np.ones((24, 24)), -6) > 0, 0, other)
    nets = given_networks(np.stack([one, window / window.sum(1, keepdims=True)])[None])
    found = nets.compare_positions((0, 0), (0, 1), samples=20, dimension=2)
    own = latent_position_test(
        nets.weights(0, 0), nets.weights(0, 1), samples=20, dimension=2, noise="weights",
        allowed=(nets.weights(0, 0) > 0, nets.weights(0, 1) > 0),
    )  # fmt: skip
    assert found.p == own.p
    assert found.noise == "weights"
    assert found.dimension == 2
    layers = given_networks(np.stack([one, other])[:, None], by="layer")
    assert layers.compare_positions(0, 1, samples=5).samples == 5


def test_the_picture_has_all_pairs_and_the_distance() -> None:
    rng = np.random.default_rng(3)
    graphs = heads_of_chance(rng, (24, 24)), heads_of_chance(rng, (24, 24))
    found = given_networks(np.stack(graphs)[None]).compare_positions((0, 0), (0, 1), samples=20, dimension=2)
    ax = found.plot()
    assert sum(bar.get_height() for bar in ax.patches) == len(found.null_a) + len(found.null_b) == 40
    assert found.distance in [float(np.asarray(line.get_xdata())[0]) for line in ax.lines]
    assert f"p = {found.p:.3g}" in ax.get_title()


def test_what_cannot_be_compared_is_refused() -> None:
    graph = np.ones((4, 4))
    with pytest.raises(sg.InputError, match=r"two graphs of the same tokens are compared, and these are \(4, 4\) and \(5, 5\)"):
        latent_position_test(graph, np.ones((5, 5)))
    with pytest.raises(sg.InputError, match="graph_b: weights are finite and not negative"):
        latent_position_test(graph, -graph)
    with pytest.raises(sg.InputError, match="noise='much': choose one of weights, edges"):
        latent_position_test(graph, graph, noise="much")
    with pytest.raises(sg.InputError, match="graph_a has weights where allowed= leaves none"):
        latent_position_test(graph, graph, allowed=np.tril(np.ones((4, 4), bool)))
    with pytest.raises(sg.InputError, match="samples=0"):
        latent_position_test(graph, graph, samples=0)
    with pytest.raises(sg.InputError, match="dimension=9: a whole number from 1 to 4"):
        latent_position_test(graph, graph, dimension=9)
