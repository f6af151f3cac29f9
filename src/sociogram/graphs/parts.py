"""Where the variance of a head's weights lies over many texts: in the distance, in the place, in the content."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from sociogram.graphs.nulls import offsets


def decomposed(
    weights: Float[np.ndarray, "prompt head query key"], allowed: Bool[np.ndarray, "head query key"]
) -> dict[str, Float[np.ndarray, " head"]]:
    """A nested analysis of variance of the weights of all allowed pairs in all prompts; readers without a choice left out.

    `offset`: between the means of pairs at one signed distance (pairs with the first token as sender apart); `place`: between the
    means of single pairs within a distance; `content`: between prompts within a pair. The sums of squares add up to that about
    the grand mean exactly, so that the three shares sum to 1. NaN where weights don't vary at all. `place_by_chance`: the share
    of `place` if every number were drawn alike and alone: its degrees of freedom over all.
    """
    shares = [_head(weights[:, head], allowed[head]) for head in range(weights.shape[1])]
    names = ("offset", "place", "content", "place_by_chance")
    return dict(zip(names, np.array(shares).T, strict=True))


def _head(weights: np.ndarray, allowed: np.ndarray) -> tuple[float, float, float, float]:
    chosen = allowed & (allowed.sum(-1, keepdims=True) > 1)
    numbers = weights[:, chosen]
    kind = np.unique(offsets(len(allowed))[chosen], return_inverse=True)[1]
    prompts, pairs = numbers.shape
    if not pairs:
        return (np.nan,) * 4
    pair = numbers.mean(0)
    distance = (np.bincount(kind, pair) / np.bincount(kind))[kind]
    parts = (
        prompts * np.square(distance - pair.mean()).sum(),
        prompts * np.square(pair - distance).sum(),
        np.square(numbers - pair).sum(),
    )
    total = sum(parts)
    if total <= 1e-20 * max(float(np.square(numbers).sum()), 1e-300):
        return (np.nan,) * 4
    chance = (pairs - kind.max() - 1) / max(prompts * pairs - 1, 1)
    return (parts[0] / total, parts[1] / total, parts[2] / total, chance)
