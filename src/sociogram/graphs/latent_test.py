"""Do two graphs of the same tokens have the same latent positions, up to noise and a rotation?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.matrices import streamed
from sociogram.graphs.nulls import FLOOR, even, with_rows_of
from sociogram.graphs.positions import adjacency, procrustes_distance
from sociogram.graphs.spectrum import dimension_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

Weights: TypeAlias = Float[np.ndarray, "_ _"]
Mask: TypeAlias = Bool[np.ndarray, "_ _"]
NOISES = ("weights", "edges")


@dataclass(frozen=True, eq=False)
class PositionTest:
    """What `latent_position_test` found.

    Attributes:
        distance: how far the two graphs' positions are apart after the best rotation, a Frobenius norm.
        p: how often two graphs that do have the same positions are so far apart: the larger of `p_a` and `p_b`, for which the
            positions are the first graph's, or the second's. No smaller than 1 / (samples + 1).
        null_a, null_b: the distances of pairs of random graphs with the first (second) graph's positions.
        dimension: of the positions. samples: how many pairs of each kind.
        noise: what was random: "weights" (the ratios of weight to expectation, shuffled) or "edges" (each is there or not).
    """

    distance: float
    p: float
    p_a: float
    p_b: float
    null_a: Float[np.ndarray, " sample"]
    null_b: Float[np.ndarray, " sample"]
    dimension: int
    samples: int
    noise: str

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The distance beside those of random pairs as a picture; see `sg.plot.position_test`."""
        return picture("position_test", self, ax=ax)

    def __repr__(self) -> str:
        """Distance, what it is under the null, and p."""
        middle = max(float(np.median(self.null_a)), float(np.median(self.null_b)))
        return (
            f"PositionTest(distance {self.distance:.4g}, {middle:.4g} where positions are the same; p = {self.p:.3g} of "
            f"{self.samples} samples; dimension {self.dimension}, noise in {self.noise})"
        )


def latent_position_test(
    graph_a: Weights,
    graph_b: Weights,
    *,
    allowed: Mask | tuple[Mask, Mask] | None = None,
    dimension: int | None = None,
    samples: int = 200,
    seed: int = 0,
    noise: str | None = None,
) -> PositionTest:
    """Test whether two graphs of the same tokens are random graphs with the same latent positions (Tang et al. 2017).

    Both are embedded (directed adjacency spectral embedding), readers and senders of one are turned together onto the other's
    by one rotation, and what is left is compared with what two graphs are apart that are drawn from the positions of one of them.

    Args:
        graph_a, graph_b: weights, none negative.
        allowed: which pairs the mask leaves, of both or of each; all pairs when left out.
        dimension: of the positions; the larger of the two second elbows when left out.
        samples: how many pairs of random graphs are drawn for each of the two.
        seed: of the random numbers.
        noise: `"edges"`: each pair has an edge or not, with its expectation as the chance; `"weights"`: weights vary around their
            expectation by a share of it that is the same for all (gamma), and rows are brought back to their sums. When left
            out, edges for graphs of zeros and ones and weights for all others.

    Raises:
        InputError: graphs of different size, negative or not finite weights, or numbers out of range.

    The expectation that random graphs are drawn from is the best approximation of the dimension's rank of weights over even
    weights (1 where the mask forbids), its singular values shrunk by what noise adds to them (Gavish & Donoho 2014): without
    that the random graphs have clearer positions than the graph, and the test found differences where there are none.

    Misleads: the p-value knows of one kind of noise. Two heads on one text differ in what they do, not by noise, so that nearly
    all pairs differ with enough tokens; and what a graph has beyond the dimension counts as noise, of which sharp heads have so
    much that p is near 1 however they differ. Read the distance beside its null, at several dimensions.
    """
    masks = _checked(graph_a, graph_b, allowed, samples, noise)
    tokens = len(graph_a)
    if dimension is None:
        dimension = max(dimension_of(np.linalg.svd(one, compute_uv=False), tokens) for one in (graph_a, graph_b))
    if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= tokens:
        raise InputError(f"dimension={dimension!r}: a whole number from 1 to {tokens}, the number of tokens")
    if noise is None:
        noise = "edges" if all(np.isin(one, (0, 1)).all() for one in (graph_a, graph_b)) else "weights"
    distance = _apart(graph_a, graph_b, dimension)
    rng = np.random.default_rng(seed)
    nulls = [
        _null(_draws(graph, mask, dimension, noise), dimension, samples, rng)
        for graph, mask in zip((graph_a, graph_b), masks, strict=True)
    ]
    p_a, p_b = ((1 + int((null >= distance * (1 - 1e-12)).sum())) / (samples + 1) for null in nulls)
    return PositionTest(distance, max(p_a, p_b), p_a, p_b, nulls[0], nulls[1], dimension, samples, noise)


def compare_positions(
    networks: Networks,
    a: tuple[int, int] | int,
    b: tuple[int, int] | int,
    *,
    samples: int = 200,
    dimension: int | None = None,
    seed: int = 0,
) -> PositionTest:
    """`latent_position_test` of two graphs of a recording, each with its own mask.

    Args:
        networks: the graphs.
        a, b: `(layer, head)`, or a layer where graphs are layers.
        samples, dimension, seed: see `latent_position_test`.

    Raises:
        InputError: no such graph.
        RecordingError: the weights were not kept.
    """
    if streamed(networks):
        raise RecordingError(
            'compare_positions shuffles weights, and a streamed recording has none: record with keep="default". Embeddings of '
            'both in one space: networks.embed("mase")'
        )
    batches = [networks.graph(*(name if isinstance(name, tuple) else (name,))) for name in (a, b)]
    first, second = (batch.weights[0] for batch in batches)
    masks = batches[0].allowed[0], batches[1].allowed[0]
    return latent_position_test(first, second, allowed=masks, dimension=dimension, samples=samples, seed=seed, noise="weights")


def _checked(a: Weights, b: Weights, allowed: Mask | tuple[Mask, Mask] | None, samples: int, noise: str | None) -> list[Mask]:
    if a.shape != b.shape or a.shape[0] != a.shape[1]:
        raise InputError(f"two graphs of the same tokens are compared, and these are {a.shape} and {b.shape}")
    for name, graph in (("graph_a", a), ("graph_b", b)):
        if not np.isfinite(graph).all() or (graph < 0).any():
            raise InputError(f"{name}: weights are finite and not negative")
    check_count("samples", samples)
    if noise is not None and noise not in NOISES:
        raise InputError(f"noise={noise!r}: choose one of {', '.join(NOISES)}")
    masks = [np.ones(a.shape, bool)] * 2 if allowed is None else list(allowed) if isinstance(allowed, tuple) else [allowed] * 2
    for name, graph, mask in zip(("graph_a", "graph_b"), (a, b), masks, strict=True):
        if mask.shape != graph.shape or bool((graph[~mask] > 0).any()):
            raise InputError(f"{name} has weights where allowed= leaves none, or their sizes differ")
    return masks


def _apart(one: Weights, other: Weights, dimension: int) -> float:
    return procrustes_distance(*(adjacency(graph, dimension).joined() for graph in (one, other)))


def _draws(graph: Weights, mask: Mask, dimension: int, noise: str) -> Callable[[int, np.random.Generator], np.ndarray]:
    """Random graphs with the latent positions of this one."""
    if noise == "edges":
        chance = np.clip(_expected(graph, mask, dimension)[0], 0, 1) * mask
        return lambda count, rng: (rng.random((count, *chance.shape)) < chance).astype(np.float64)
    base = even(graph, mask)
    ratio = np.divide(graph, base, out=np.ones_like(base), where=base > 0)
    expected, spread = _expected(ratio, mask, dimension)
    mean = np.maximum(expected, FLOOR) * base
    shape = float((expected**2)[mask].mean() / max(spread, 1e-12))
    return lambda count, rng: with_rows_of(mean * rng.gamma(shape, size=(count, *mean.shape)), graph)


def _expected(graph: Weights, mask: Mask, dimension: int) -> tuple[Weights, float]:
    """The approximation of a graph by a rank, without what noise adds to its singular values; and the noise's variance."""
    fill = float(graph[mask].mean())
    left, values, rows = np.linalg.svd(np.where(mask, graph, fill))
    best = (left[:, :dimension] * values[:dimension]) @ rows[:dimension]
    free = max(1 - 2 * dimension / len(graph), 1 / len(graph))  # of the noise that much is not taken up by the approximation
    variance = float(np.square(graph - best)[mask].mean()) / free
    noise = variance * mask.sum() / len(graph)
    largest = values[:dimension]
    shrunk = (largest + np.sqrt(np.maximum(largest**2 - 4 * noise, 0))) / 2
    return (left[:, :dimension] * shrunk) @ rows[:dimension], variance


def _null(
    draws: Callable[[int, np.random.Generator], np.ndarray], dimension: int, samples: int, rng: np.random.Generator
) -> Float[np.ndarray, " sample"]:
    pairs = (draws(2, rng) for _ in range(samples))
    return np.array([_apart(one, other, dimension) for one, other in pairs])
