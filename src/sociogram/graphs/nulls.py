"""Graphs as they would be if only this and that held: random ones that respect the mask of the one they stand beside.

Each null has an *expectation* for every allowed pair, fitted to the graph, and shuffles the rest: the ratios of weight to
expectation are dealt out anew among all allowed pairs, and every reader's row is brought back to its sum. What the expectation
says is thus kept, as are the sharpness of the rows and their sums, and all else is chance. Two nulls (`rows`, `weights`) only
shuffle, and one (`erdos-renyi`) draws edges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from sociogram.core.errors import InputError
from sociogram.core.linear import leading

Weights = Float[np.ndarray, "query key"]
Allowed = Bool[np.ndarray, "query key"]
Samples = Float[np.ndarray, "sample query key"]
Kinds = Int[np.ndarray, "query key"]

ROUNDS = 200
"""At most so many rounds of scaling rows and kinds of pairs in turn."""
FLOOR = 1e-3
"""An expectation by a low rank (`rdpg`) is nowhere less than this share of an even one: ratios to nothing mean nothing."""


class Null(NamedTuple):
    """A null model: what is expected of each pair, or how samples are made where nothing is; and what it keeps, in words."""

    expected: Callable[[Weights, Allowed], Weights] | None
    sample: Callable[[Weights, Allowed, int, np.random.Generator], Samples] | None
    keeps: str


def even(weights: Weights, allowed: Allowed) -> Weights:
    """Each reader hears all it may hear equally."""
    count = np.maximum(allowed.sum(-1, keepdims=True), 1)
    return np.where(allowed, weights.sum(-1, keepdims=True) / count, 0.0)


def positional(weights: Weights, allowed: Allowed) -> Weights:
    """What is heard at each distance, in all, and from the first token apart: a head that knows only distances is its own."""
    return by_kind(weights, allowed, offsets(len(weights)))


def offsets(tokens: int) -> Kinds:
    """A number for each kind of pair: by signed distance, and one more for the first token heard by others."""
    place = np.arange(tokens)
    kind = place[:, None] - place + tokens - 1
    kind[1:, 0] = 2 * tokens - 1
    return kind


def degrees(weights: Weights, allowed: Allowed) -> Weights:
    """How much each reader hears and each sender tells, as they are: the directed configuration model of weights on a mask."""
    return by_kind(weights, allowed, np.broadcast_to(np.arange(len(weights)), weights.shape))


def of_blocks(blocks: Int[np.ndarray, " token"]) -> Callable[[Weights, Allowed], Weights]:
    """What is told between any two blocks, in all (`sbm`)."""
    return lambda weights, allowed: by_kind(weights, allowed, blocks[:, None] * (int(blocks.max()) + 1) + blocks)


def by_kind(weights: Weights, allowed: Allowed, kind: Kinds) -> Weights:
    """A number of each reader times a number of each kind of pair, such that rows and kinds have the sums that they have here.

    The fit of largest likelihood of a log-linear model, by scaling kinds and rows in turn (Deming & Stephan 1940).
    """
    rows = weights.sum(1)
    size = int(kind.max()) + 1
    totals = np.bincount(kind[allowed], weights[allowed], size)
    expected = allowed.astype(np.float64)
    for _ in range(ROUNDS):
        sums = np.bincount(kind[allowed], expected[allowed], size)
        factor = np.divide(totals, sums, out=np.zeros(size), where=sums > 0)
        expected = with_rows_of(np.where(allowed, expected * factor[kind], 0.0), weights)
        if np.abs(sums - totals).max() <= 1e-9 * max(float(rows.max()), 1e-300):
            break
    return expected


def of_rank(rank: int) -> Callable[[Weights, Allowed], Weights]:
    """The expectation of a random dot product graph: the best approximation of this rank, where the mask allows (`rdpg`).

    Ratios of weight to even weight are approximated, with 1 where the mask forbids, so that a causal mask is no structure.
    """

    def expected(weights: Weights, allowed: Allowed) -> Weights:
        base = even(weights, allowed)
        ratio = np.where(allowed, _ratios(weights, base), 1.0)
        _, right = leading(ratio.T @ ratio, rank)
        low = (ratio @ right.T) @ right
        return with_rows_of(np.where(allowed, np.maximum(low, FLOOR), 0.0) * base, weights)

    return expected


def shuffled_ratios(weights: Weights, allowed: Allowed, expected: Weights, samples: int, rng: np.random.Generator) -> Samples:
    """Graphs whose ratios of weight to expectation are this graph's, dealt out anew; rows have this graph's sums."""
    made = np.zeros((samples, *weights.shape))
    ratios = _ratios(weights, expected)[allowed]
    for one in made:
        one[allowed] = rng.permutation(ratios) * expected[allowed]
    return with_rows_of(made, weights)


def shuffled_rows(weights: Weights, allowed: Allowed, samples: int, rng: np.random.Generator) -> Samples:
    """Each reader's weights dealt out anew among those it may hear."""
    keys = np.where(allowed, rng.random((samples, *weights.shape)), np.inf)
    order = np.argsort(keys, -1)
    compact = np.argsort(~allowed, -1, kind="stable")
    values = np.take_along_axis(weights, compact, -1)
    made = np.zeros((samples, *weights.shape))
    np.put_along_axis(made, order, np.broadcast_to(values, made.shape), -1)
    return np.where(allowed, made, 0.0)


def shuffled_weights(weights: Weights, allowed: Allowed, samples: int, rng: np.random.Generator) -> Samples:
    """All weights dealt out anew among all allowed pairs; rows no longer have their sums."""
    made = np.zeros((samples, *weights.shape))
    values = weights[allowed]
    for one in made:
        one[allowed] = rng.permutation(values)
    return made


def drawn_edges(weights: Weights, allowed: Allowed, samples: int, rng: np.random.Generator) -> Samples:
    """Each allowed pair has an edge with the graph's density as its chance, its weight drawn from the graph's edges."""
    made = np.zeros((samples, *weights.shape))
    values = weights[weights > 0]
    if not len(values):
        return made
    count = int(allowed.sum())
    chance = len(values) / count
    for one in made:
        one[allowed] = np.where(rng.random(count) < chance, rng.choice(values, count), 0.0)
    return made


NULLS: dict[str, Null] = {
    "uniform": Null(even, None, "mask, row sums"),
    "positional": Null(positional, None, "mask, row sums, fall-off with distance and the share of the first token"),
    "degrees": Null(degrees, None, "mask, row sums, expected column sums"),
    "sbm": Null(None, None, "mask, row sums, expected weight between communities"),
    "rdpg": Null(None, None, "mask, row sums, expected weight by latent positions"),
    "rows": Null(None, shuffled_rows, "mask, each reader's weights"),
    "weights": Null(None, shuffled_weights, "mask, all weights"),
    "erdos-renyi": Null(None, drawn_edges, "mask, expected number of edges, the distribution of weights"),
}
"""What each null keeps; `sbm` and `rdpg` are fitted with blocks and a rank that `Networks` finds or is given."""


def sampler(
    name: str, weights: Weights, allowed: Allowed, *, blocks: Int[np.ndarray, " token"] | None = None, rank: int | None = None
) -> Callable[[int, np.random.Generator], Samples]:
    """Fit a null to one graph; what is returned makes samples of it.

    Raises:
        InputError: no such null.
    """
    if name not in NULLS:
        raise InputError(f'null={name!r}: choose one of {", ".join(NULLS)} or "untrained"')
    null = NULLS[name]
    if null.sample is not None:
        sample = null.sample
        return lambda count, rng: sample(weights, allowed, count, rng)
    fit = null.expected
    if name == "sbm":
        assert blocks is not None
        fit = of_blocks(blocks)
    if name == "rdpg":
        assert rank is not None
        fit = of_rank(rank)
    assert fit is not None
    expected = fit(weights, allowed)
    return lambda count, rng: shuffled_ratios(weights, allowed, expected, count, rng)


def with_rows_of(made: np.ndarray, weights: Weights) -> np.ndarray:
    """The same graphs with every row scaled to the sum that it has in `weights`; rows of zeros stay."""
    sums = made.sum(-1, keepdims=True)
    scaled: np.ndarray = made * np.divide(weights.sum(-1, keepdims=True), sums, out=np.zeros_like(sums), where=sums > 0)
    return scaled


def _ratios(weights: Weights, expected: Weights) -> Weights:
    return np.divide(weights, expected, out=np.zeros_like(weights), where=expected > 0)
