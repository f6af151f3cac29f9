"""Graphs as they would be if only this and that held: random ones that respect the mask of the one they stand beside.

A null by *kinds of pairs* (all alike; by distance; by sender; by pair of blocks) keeps how much each reader hears and how much
there is of each kind. It fits an expectation to the graph, a number of each reader times a number of each kind; the ratios of
weight to expectation are dealt out anew among all allowed pairs, and rows and kinds are brought back to their sums. So the
sharpness of the rows is kept as well, and all else is chance. `rdpg` does so with an expectation of low rank, of which only rows
are brought back. Two nulls (`rows`, `weights`) only shuffle, and one (`erdos-renyi`) draws edges.
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

ROUNDS = 50
"""At most so many rounds of scaling rows and kinds of pairs in turn."""
CLOSE, NEAR = 1e-9, 1e-3
"""How near to their sums kinds shall come, as a share of a mean row: of an expectation, and of samples."""
FLOOR = 1e-3
"""An expectation by a low rank (`rdpg`) is nowhere less than this share of an even one: ratios to nothing mean nothing."""


class Null(NamedTuple):
    """A null model.

    Attributes:
        kinds: the kind of each pair, of the nulls by kinds.
        sample: how samples are made, of those that shuffle or draw.
        keeps: what it keeps, in words.
        fixes: the statistics that are then the same for every sample, so that nothing is to be tested.
    """

    kinds: Callable[[int], Kinds] | None
    sample: Callable[[Weights, Allowed, int, np.random.Generator], Samples] | None
    keeps: str
    fixes: frozenset[str] = frozenset()


def alike(tokens: int) -> Kinds:
    """One kind of pairs: each reader may hear everybody equally."""
    return np.zeros((tokens, tokens), np.int64)


def offsets(tokens: int) -> Kinds:
    """A number for each signed distance, and one more for the first token heard by others."""
    place = np.arange(tokens)
    kind = place[:, None] - place + tokens - 1
    kind[1:, 0] = 2 * tokens - 1
    return kind


def senders(tokens: int) -> Kinds:
    """A number for each sender: with rows kept, the directed configuration model of weights on a mask."""
    return np.broadcast_to(np.arange(tokens), (tokens, tokens)).copy()


def block_pairs(blocks: Int[np.ndarray, " token"]) -> Kinds:
    """A number for each pair of blocks."""
    return np.asarray(blocks[:, None] * (int(blocks.max()) + 1) + blocks)


def even(weights: Weights, allowed: Allowed) -> Weights:
    """The expectation of `uniform`: each reader hears all it may hear equally."""
    count = np.maximum(allowed.sum(-1, keepdims=True), 1)
    return np.where(allowed, weights.sum(-1, keepdims=True) / count, 0.0)


def positional(weights: Weights, allowed: Allowed) -> Weights:
    """The expectation of `positional`: a head that knows only distances, and the first token, is its own."""
    return by_kind(weights, allowed, offsets(len(weights)))


def degrees(weights: Weights, allowed: Allowed) -> Weights:
    """The expectation of `degrees`: how much each reader hears and each sender tells."""
    return by_kind(weights, allowed, senders(len(weights)))


def of_blocks(blocks: Int[np.ndarray, " token"]) -> Callable[[Weights, Allowed], Weights]:
    """The expectation of `sbm`: how much each reader hears, and what is told between any two blocks."""
    return lambda weights, allowed: by_kind(weights, allowed, block_pairs(blocks))


def by_kind(weights: Weights, allowed: Allowed, kind: Kinds) -> Weights:
    """A number of each reader times a number of each kind of pair, such that rows and kinds have the sums that they have here.

    The fit of largest likelihood of a log-linear model (Deming & Stephan 1940).
    """
    return settled(allowed[None].astype(np.float64), weights, allowed, kind, CLOSE)[0]


def settled(made: Samples, weights: Weights, allowed: Allowed, kind: Kinds, close: float) -> Samples:
    """The same graphs with kinds and rows scaled in turn until both have the sums that they have in `weights`.

    Ends when no kind is off by more than `close` of a mean row, or after `ROUNDS` rounds; rows are exact. What has no weight at
    all to be scaled stays without.
    """
    size, count = int(kind.max()) + 1, len(made)
    flat = kind[allowed]
    totals = np.bincount(flat, weights[allowed], size)
    places = (np.arange(count)[:, None] * size + flat).ravel()
    enough = close * max(float(weights.sum(-1).mean()), np.finfo(np.float64).tiny)
    lengths = allowed.sum(1)
    heard = lengths > 0
    starts = np.cumsum(lengths)[heard] - lengths[heard]
    rows = weights.sum(1)[heard]
    values = made[:, allowed]
    for _ in range(ROUNDS):
        sums = np.add.reduceat(values, starts, 1)
        values = values * np.repeat(_over(rows, sums), lengths[heard], 1)
        sums = np.bincount(places, values.ravel(), count * size).reshape(count, size)
        if (np.abs(sums - totals) * (sums > 0)).max() <= enough:
            break
        values = values * _over(totals, sums)[:, flat]
    settled = np.zeros_like(made)
    settled[:, allowed] = values
    return with_rows_of(settled, weights)


def _over(wanted: np.ndarray, sums: np.ndarray) -> np.ndarray:
    factor: np.ndarray = np.divide(wanted, sums, out=np.zeros_like(sums), where=sums > 0)
    return factor


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
    "uniform": Null(alike, None, "mask, row sums"),
    "positional": Null(
        offsets,
        None,
        "mask, row sums, what is heard at each distance and from the first token",
        frozenset(("self_share", "sink_share")),
    ),
    "degrees": Null(senders, None, "mask, row sums, column sums", frozenset(("sink_share",))),
    "sbm": Null(None, None, "mask, row sums, weight between communities"),
    "rdpg": Null(None, None, "mask, row sums, expected weight by latent positions"),
    "rows": Null(None, shuffled_rows, "mask, each reader's weights", frozenset(("entropy", "above_even"))),
    "weights": Null(None, shuffled_weights, "mask, all weights"),
    "erdos-renyi": Null(None, drawn_edges, "mask, expected number of edges, the distribution of weights"),
}
"""What each null keeps; `sbm` and `rdpg` are fitted with blocks and a rank that `Networks` finds or is given."""


def sampler(
    name: str,
    weights: Weights,
    allowed: Allowed,
    *,
    blocks: Int[np.ndarray, " token"] | None = None,
    rank: int | None = None,
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
    if name == "rdpg":
        assert rank is not None
        expected = of_rank(rank)(weights, allowed)
        return lambda count, rng: shuffled_ratios(weights, allowed, expected, count, rng)
    if null.kinds is not None:
        kind = null.kinds(len(weights))
    else:
        assert blocks is not None
        kind = block_pairs(blocks)
    expectation = by_kind(weights, allowed, kind)

    def sample_kinds(count: int, rng: np.random.Generator) -> Samples:
        made = shuffled_ratios(weights, allowed, expectation, count, rng)
        return settled(made, weights, allowed, kind, NEAR)

    return sample_kinds


def with_rows_of(made: np.ndarray, weights: Weights) -> np.ndarray:
    """The same graphs with every row scaled to the sum that it has in `weights`; rows of zeros stay."""
    sums = made.sum(-1, keepdims=True)
    scaled: np.ndarray = made * np.divide(weights.sum(-1, keepdims=True), sums, out=np.zeros_like(sums), where=sums > 0)
    return scaled


def _ratios(weights: Weights, expected: Weights) -> Weights:
    return np.divide(weights, expected, out=np.zeros_like(weights), where=expected > 0)
