"""How many dimensions a graph needs: its singular values, and the elbows among them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def elbows(values: Float[np.ndarray, " value"]) -> list[int]:
    """All elbows of a scree, each the number of values before it (Zhu & Ghodsi 2006): the first, then that of the rest, and so on.

    A split into large and small values is judged by the likelihood of two normal distributions with one deviation. The first
    elbow of a network is usually 1, as what tokens have in common is its largest dimension; blocks show at the second.

    Args:
        values: largest first, none negative.
    """
    found: list[int] = []
    start = 0
    while len(values) - start > 1:
        split = _split(values[start:])
        start += split
        found.append(start)
    return found


def _split(values: np.ndarray) -> int:
    """How many values the likelier group of large ones has: 1 to all of them."""
    count = len(values)
    sizes = np.arange(1, count)
    sums, squares = np.cumsum(values), np.cumsum(values**2)
    left, right = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / (count - sizes)
    within = squares[-1] - sizes * left**2 - (count - sizes) * right**2
    whole = squares[-1] - sums[-1] ** 2 / count
    if whole <= 1e-12 * max(squares[-1], 1e-300):  # all alike: no elbow before the end
        return count
    variance = np.maximum(within, 0) / max(count - 2, 1)
    floor = 1e-12 * whole
    return int(sizes[np.argmin(np.log(np.maximum(variance, floor)))])
