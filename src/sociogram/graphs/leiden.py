"""Groups with the most weight beyond what is expected: Leiden (Traag, Waltman & van Eck 2019), the same for the same seed.

What is divided is any *surplus*: weight minus expected weight, so that the expectation may respect a mask. scikit-network's
Leiden draws from C's own random numbers, which no seed reaches, and knows only the expectation that ignores masks.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

Surplus = Float[np.ndarray, "node node"]
Labels = Int[np.ndarray, " node"]

ROUNDING = 1e-12
"""A move must gain more than this share of all surplus by size, so that rounding moves nobody back and forth."""


def best_groups(surplus: Surplus, *, seed: int = 0, restarts: int = 4) -> Labels:
    """The best of several runs, each in an order of its own; largest group first, ties by first node."""
    both = surplus + surplus.T
    found = [leiden(both, np.random.default_rng([seed, i])) for i in range(restarts)]
    return ordered(max(found, key=lambda labels: within(both, labels)))


def within(surplus: Surplus, labels: Labels) -> float:
    """The sum of what is within groups."""
    return float(surplus[labels[:, None] == labels].sum())


def ordered(labels: Labels) -> Labels:
    """The same groups numbered by size, largest first, ties by the first node."""
    names, first, own, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(len(names))
    return np.asarray(rank[own], np.int64)


def merged(weights: Float[np.ndarray, "node node"], labels: Labels) -> Float[np.ndarray, "group group"]:
    """Sums of weights between groups and, on the diagonal, within them."""
    member = np.eye(int(labels.max()) + 1)[labels]
    sums: np.ndarray = member.T @ weights @ member
    return sums


def leiden(surplus: Surplus, rng: np.random.Generator) -> Labels:
    """One run: passes, each from where the last one ended, until one gains nothing. `surplus` is symmetric.

    At the end no node gains by moving alone, no two groups by merging, and each group holds together. Of the groups that a node
    may join in refinement the best is taken, not one by chance: chance is in the order of the nodes.
    """
    between = np.array(surplus, np.float64)
    np.fill_diagonal(between, 0.0)
    least = ROUNDING * float(np.abs(between).sum())
    labels = np.arange(len(between))
    while True:
        found = _pass(between, labels, rng, least)
        if within(between, found) <= within(between, labels) + least:
            return labels
        labels = found


def _pass(between: Surplus, labels: Labels, rng: np.random.Generator, least: float) -> Labels:
    """Move, refine, aggregate, until refinement merges nothing."""
    node_of = np.arange(len(between))
    while True:
        labels = _moved(between, labels, rng, least)
        fine = _refined(between, labels, rng, least)
        if len(np.unique(fine)) == len(between):
            return labels[node_of]
        fine = ordered(fine)
        above = np.zeros(int(fine.max()) + 1, np.int64)
        above[fine] = labels
        between, node_of, labels = merged(between, fine), fine[node_of], ordered(above)
        np.fill_diagonal(between, 0.0)


def _moved(between: Surplus, labels: Labels, rng: np.random.Generator, least: float) -> Labels:
    """Each node in turn goes where most surplus is, to a group of its own if that is best, until a round moves nobody."""
    labels, count, moving = labels.copy(), len(labels), True
    while moving:
        moving = False
        for node in rng.permutation(count):
            gains = np.bincount(labels, between[node], count)
            best = gains.argmax()
            if gains[best] > gains[labels[node]] + least:
                labels[node], moving = best, True
    return labels


def _refined(between: Surplus, labels: Labels, rng: np.random.Generator, least: float) -> Labels:
    """Each group taken apart and put together anew, as far as its parts hold together well; parts named by a node of theirs."""
    fine = np.arange(len(labels))
    for label in np.unique(labels):
        inside = np.flatnonzero(labels == label)
        if len(inside) > 1:
            fine[inside] = inside[_joined(between[np.ix_(inside, inside)], rng, least)]
    return fine


def _joined(part: Surplus, rng: np.random.Generator, least: float) -> Labels:
    """Single nodes join parts of their group; who joins, and what is joined, has a surplus with the rest of the group."""
    count = len(part)
    labels, sizes, cut = np.arange(count), np.ones(count, np.int64), part.sum(1)
    for node in rng.permutation(count):
        if sizes[labels[node]] != 1 or cut[node] < -least:
            continue
        gains = np.bincount(labels, part[node], count)
        gains[(cut < -least) | (sizes == 0)] = -np.inf
        gains[node] = 0.0
        best = gains.argmax()
        if gains[best] > least:
            cut[best] += cut[node] - 2 * gains[best]
            sizes[best] += 1
            sizes[node], labels[node] = 0, best
    return labels
