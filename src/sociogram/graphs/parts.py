"""Where the variance of a head's weights lies over many texts: in the distance, in the place, in the content."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def decomposed(
    weights: Float[np.ndarray, "prompt head query key"], allowed: Bool[np.ndarray, "head query key"]
) -> dict[str, Float[np.ndarray, " head"]]:
    """A nested analysis of variance of the weights of all allowed pairs in all prompts; readers without a choice left out.

    `offset`: what a number for each signed distance and one more for the first token as sender say together, fitted by least
    squares; `place`: what the mean of each single pair says beyond that; `content`: what differs between prompts within a pair.
    The models are nested, so that the sums of squares add up to that about the grand mean, and the three shares to 1. NaN where
    weights don't vary at all. `place_by_chance`: the share of `place` if every number were drawn alike and alone: its degrees of
    freedom over all.
    """
    shares = [_head(weights[:, head], allowed[head]) for head in range(weights.shape[1])]
    names = ("offset", "place", "content", "place_by_chance")
    return dict(zip(names, np.array(shares).T, strict=True))


def _head(weights: np.ndarray, allowed: np.ndarray) -> tuple[float, float, float, float]:
    chosen = allowed & (allowed.sum(-1, keepdims=True) > 1)
    numbers = weights[:, chosen]
    query, key = np.nonzero(chosen)
    prompts, pairs = numbers.shape
    if not pairs:
        return (np.nan,) * 4
    pair = numbers.mean(0)
    kind = np.unique(query - key, return_inverse=True)[1]
    fitted = _by_distance(pair, kind, (key == 0) & (query > 0))
    parts = (
        prompts * np.square(fitted - pair.mean()).sum(),
        prompts * np.square(pair - fitted).sum(),
        np.square(numbers - pair).sum(),
    )
    total = sum(parts)
    if total <= 1e-20 * max(float(np.square(numbers).sum()), 1e-300):
        return (np.nan,) * 4
    chance = max(pairs - kind.max() - 2, 0) / max(prompts * pairs - 1, 1)
    return (parts[0] / total, parts[1] / total, parts[2] / total, chance)


def _by_distance(
    values: Float[np.ndarray, " pair"], kind: Int[np.ndarray, " pair"], first: Bool[np.ndarray, " pair"]
) -> Float[np.ndarray, " pair"]:
    """Least squares by a number for each kind and one more where `first`: the latter is fitted to what means of kinds leave."""
    means = [(np.bincount(kind, each) / np.bincount(kind))[kind] for each in (values, first.astype(np.float64))]
    left, extra = values - means[0], first - means[1]
    size = float(extra @ extra)
    slope = float(extra @ left) / size if size > 1e-12 else 0.0
    return np.asarray(means[0] + slope * extra)
