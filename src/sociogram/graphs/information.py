"""How much two divisions of the same tokens say of each other: mutual information, adjusted for chance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Labels = Int[np.ndarray, " token"]

TRIVIAL = 1e-10
"""Where the largest possible information is no more than this beyond chance, in nats, there is nothing to agree about."""


def adjusted(one: Labels, other: Labels) -> float:
    """Adjusted mutual information (Vinh, Epps & Bailey 2010, averaged by arithmetic mean): 1 the same division, 0 as by chance.

    (I - E[I]) / ((H + H') / 2 - E[I]), with E[I] over all permutations of the labels. Can be below 0. NaN where no division of
    these sizes can agree more than by chance: both are one community, or both have each token alone.
    """
    counts = contingency(one, other)
    information = mutual_information(counts)
    chance = expected_information(counts.sum(1), counts.sum(0))
    return over_chance(information, chance, (entropy(counts.sum(1)) + entropy(counts.sum(0))) / 2)


def over_chance(information: float, chance: float, most: float) -> float:
    """What is beyond chance as a share of what could be."""
    return (information - chance) / (most - chance) if most - chance > TRIVIAL else float("nan")


def contingency(one: Labels, other: Labels) -> Int[np.ndarray, "community other"]:
    """How many tokens each pair of communities shares; empty communities left out."""
    rows, columns = (np.unique(labels, return_inverse=True)[1] for labels in (one, other))
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    counts: np.ndarray = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    return counts


def entropy(sizes: Int[np.ndarray, " community"]) -> float:
    """Entropy of a division by the sizes of its communities, in nats."""
    shares = sizes[sizes > 0] / sizes.sum()
    return float(-(shares * np.log(shares)).sum())


def mutual_information(counts: Int[np.ndarray, "community other"]) -> float:
    """Mutual information of two divisions, in nats."""
    total = counts.sum()
    product = np.outer(counts.sum(1), counts.sum(0))
    some = counts > 0
    return float((counts[some] / total * np.log(total * counts[some] / product[some])).sum())


def expected_information(rows: Int[np.ndarray, " community"], columns: Int[np.ndarray, " other"]) -> float:
    """Mean mutual information over all ways to deal out labels with these community sizes, in nats (Vinh et al. 2010, eq. 24a).

    Each cell's count is hypergeometric; the sum runs over what it can be.
    """
    from scipy.special import gammaln

    total = int(rows.sum())
    logs = gammaln(np.arange(total + 2, dtype=np.float64) + 1)
    mean = 0.0
    for (a, b), times in _pairs(rows, columns).items():
        shared = np.arange(max(1, a + b - total), min(a, b) + 1)
        chance = (
            logs[a] + logs[b] + logs[total - a] + logs[total - b] - logs[total]
            - logs[shared] - logs[a - shared] - logs[b - shared] - logs[total - a - b + shared]
        )  # fmt: skip
        mean += times * float((shared / total * np.log(total * shared / (a * b)) * np.exp(chance)).sum())
    return mean


def _pairs(rows: np.ndarray, columns: np.ndarray) -> dict[tuple[int, int], int]:
    """Sizes that meet, and how often: communities of one size need be looked at once."""
    found = {}
    for a, m in zip(*np.unique(rows[rows > 0], return_counts=True), strict=True):
        for b, n in zip(*np.unique(columns[columns > 0], return_counts=True), strict=True):
            found[int(a), int(b)] = int(m * n)
    return found


def all_information(
    labels: Int[np.ndarray, "graph token"], others: Int[np.ndarray, "other token"]
) -> Float[np.ndarray, "graph other"]:
    """Mutual information, in nats, of every division of one list with every one of another, at once."""
    total = labels.shape[1]
    (one, owner), (two, owner_two) = _members(labels), _members(others)
    counts = one @ two.T
    sizes, sizes_two = one.sum(1), two.sum(1)
    product = sizes[:, None] * sizes_two
    each = np.where(counts > 0, counts / total * np.log(np.where(counts > 0, total * counts / product, 1.0)), 0.0)
    starts, starts_two = (np.flatnonzero(np.r_[True, np.diff(o) > 0]) for o in (owner, owner_two))
    summed: np.ndarray = np.add.reduceat(np.add.reduceat(each, starts, 0), starts_two, 1)
    return summed


def _members(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row per community with 1 for its tokens, and the number of the division it is of."""
    rows, owner = [], []
    for number, own in enumerate(labels):
        names = np.unique(own)
        rows.append((own == names[:, None]).astype(np.float64))
        owner += [number] * len(names)
    return np.concatenate(rows), np.array(owner)
