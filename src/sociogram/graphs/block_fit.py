"""The search of a block model: tokens move between blocks, one at a time, while the likelihood rises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sociogram.graphs.leiden import merged, ordered

Weights = Float[np.ndarray, "query key"]
Labels = Int[np.ndarray, " token"]
Table = Float[np.ndarray, "*batch block other"]

SWEEPS = 100
ROUNDING = 1e-10
ALIKE = 1e-6
"""Starts that end within this share of the best objective ended alike."""


@dataclass(frozen=True, eq=False)
class Fit:
    """One fitted model: the block of each token, the factor of each pair of blocks, and how many starts ended as well."""

    labels: Labels
    factors: Float[np.ndarray, "block other"]
    agreeing: float

    def expected(self, exposure: Weights) -> Weights:
        """The fitted weight of each pair of tokens."""
        factors = np.nan_to_num(self.factors)[np.ix_(self.labels, self.labels)]
        return np.asarray(np.where(exposure > 0, factors * exposure, 0.0))


def fitted(weights: Weights, exposure: Weights, blocks: int, likelihood: str, restarts: int, seed: int) -> Fit:
    """The best of several searches; neither matrix has anything on its diagonal."""
    ends = []
    for number in range(restarts if blocks > 1 else 1):
        rng = np.random.default_rng([seed, blocks, number])
        start = spectral_start(weights, exposure, blocks, rng) if number % 2 == 0 else rng.integers(0, blocks, len(weights))
        labels = climbed(weights, exposure, start, blocks, likelihood, rng)
        ends.append((objective(_sums(weights, labels, blocks), _sums(exposure, labels, blocks), likelihood), labels))
    values = np.array([float(value) for value, _ in ends])
    labels = ordered(ends[int(values.argmax())][1])
    told, base = merged(weights, labels), merged(exposure, labels)
    factors = np.divide(told, base, out=np.full(told.shape, np.nan), where=base > 0)
    agreeing = values >= values.max() - ALIKE * abs(values.max())
    return Fit(labels, factors, float(agreeing.mean()))


def objective(told: Table, base: Table, likelihood: str) -> Float[np.ndarray, "*batch"]:
    """What grows with the likelihood when factors are `told / base`; of a batch of tables at once.

    Poisson: sum of told * log(told / base). Normal, variance in proportion to the base: sum of told^2 / base.
    """
    told = np.maximum(told, 0.0)
    ratio = np.divide(told, base, out=np.zeros_like(told), where=base > 1e-300)
    each = told * (np.log(np.where(ratio > 0, ratio, 1.0)) if likelihood == "poisson" else ratio)
    return np.asarray(each.sum((-2, -1)))


def climbed(weights: Weights, exposure: Weights, start: Labels, blocks: int, likelihood: str, rng: np.random.Generator) -> Labels:
    """Move one token after another to the block that is best for it, until a whole round moves nobody."""
    labels = np.array(start, np.int64)
    tables = np.stack([_sums(matrix, labels, blocks) for matrix in (weights, exposure)])
    both = np.stack([np.stack([matrix, matrix.T]) for matrix in (weights, exposure)])  # [kind, heard or told, token, other]
    for _ in range(SWEEPS):
        moved = False
        for token in rng.permutation(len(labels)):
            beside = _beside(both[:, :, token], labels, blocks)
            options = _options(tables, beside, int(labels[token]))
            values = objective(options[0], options[1], likelihood)
            best = int(values.argmax())
            if values[best] > values[labels[token]] + ROUNDING * abs(values[labels[token]]):
                labels[token], tables, moved = best, options[:, best], True
        if not moved:
            break
    return labels


def _beside(rows: Float[np.ndarray, "kind way token"], labels: Labels, blocks: int) -> Float[np.ndarray, "kind way block"]:
    """What a token hears from each block and tells each block, of weight and of base."""
    member = labels[:, None] == np.arange(blocks)
    summed: np.ndarray = rows @ member.astype(np.float64)
    return summed


def _options(
    tables: Float[np.ndarray, "kind block other"], beside: Float[np.ndarray, "kind way block"], own: int
) -> Float[np.ndarray, "kind option block other"]:
    """The tables as they would be with the token in each of the blocks."""
    without = tables.copy()
    without[:, own, :] -= beside[:, 0]
    without[:, :, own] -= beside[:, 1]
    count = tables.shape[-1]
    options = np.repeat(without[:, None], count, 1)
    each = np.arange(count)
    options[:, each, each, :] += beside[:, 0][:, None]
    options[:, each, :, each] += beside[:, 1][None]  # numpy puts what is indexed twice in front: [option, kind, block]
    return options


def spectral_start(weights: Weights, exposure: Weights, blocks: int, rng: np.random.Generator) -> Labels:
    """Groups of tokens with like places among the leading singular vectors of weight over base, as readers and as senders."""
    ratio = np.divide(weights, exposure, out=np.ones_like(weights), where=exposure > 0)
    left, values, right = np.linalg.svd(ratio)
    places = np.concatenate([left[:, :blocks], right[:blocks].T], 1) * np.tile(np.sqrt(values[:blocks]), 2)
    return grouped(places, blocks, rng)


def grouped(points: Float[np.ndarray, "point width"], count: int, rng: np.random.Generator) -> Int[np.ndarray, " point"]:
    """k-means with well-spread starts (Arthur & Vassilvitskii 2007); a centre that loses all its points stays where it was."""
    centres = points[rng.integers(len(points))][None]
    while len(centres) < count:
        far = np.square(points[:, None] - centres).sum(-1).min(1)
        chance = far / far.sum() if far.sum() > 0 else None
        centres = np.concatenate([centres, points[rng.choice(len(points), p=chance)][None]])
    labels = np.zeros(len(points), np.int64)
    for _ in range(SWEEPS):
        nearest = np.square(points[:, None] - centres).sum(-1).argmin(1)
        if (nearest == labels).all():
            break
        labels = nearest
        centres = np.stack([points[labels == i].mean(0) if (labels == i).any() else centres[i] for i in range(count)])
    return labels


def _sums(matrix: Weights, labels: Labels, blocks: int) -> Float[np.ndarray, "block other"]:
    member = np.eye(blocks)[labels]
    summed: np.ndarray = member.T @ matrix @ member
    return summed
