"""Is a statistic of a graph more than chance would give it: z-scores and p-values against a null, corrected over all heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from sociogram.graphs.asked import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT_ONCE = 32_000_000
"""Numbers of samples that are alive at once."""

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class NullTest:
    """What `networks.test` found.

    Attributes:
        table: one row per graph: `layer, head, value` (the statistic), `null` and `null_sd` (mean and standard deviation of the
            samples), `z` with `z_low` and `z_high` (95 %, as far as the number of samples knows mean and deviation), `p`
            (two-sided, of this graph alone) and `p_corrected` (that any graph of all were so far out, by the maximum statistic).
        statistic, null: what was asked, and the null's name. keeps: what the null keeps, in words.
        samples: how many; no p-value can be below 1 / (samples + 1).
        maxima: the largest `|z|` among all graphs in each sample, of which `p_corrected` is a rank.
    """

    table: pd.DataFrame
    statistic: str
    null: str
    keeps: str
    samples: int
    maxima: Float[np.ndarray, " sample"]

    @property
    def smallest(self) -> float:
        """The smallest p-value that so many samples can support."""
        return 1 / (self.samples + 1)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Layers by heads, coloured by z; see `sg.plot.null_test`."""
        return picture("null_test", self, ax=ax)

    def __repr__(self) -> str:
        """How many graphs stand out, and how small a p-value can be."""
        known = int(self.table["p"].notna().sum())
        alone, corrected = (int((self.table[name] <= 0.05).sum()) for name in ("p", "p_corrected"))
        return (
            f"NullTest({self.statistic} against {self.null!r}, {self.samples} samples (no p below {self.smallest:.3g}), "
            f"{known} graphs: {alone} with p <= 0.05 alone, {corrected} corrected over all)"
        )


def sampled(
    sample: Callable[[int, np.random.Generator], np.ndarray],
    statistics: Sequence[Statistic],
    allowed: Bool[np.ndarray, "query key"],
    samples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "statistic sample"]:
    """The statistics of so many samples, made and forgotten in portions."""
    portion = max(1, AT_ONCE // allowed.size)
    parts = []
    for count in _portions(samples, portion):
        made = sample(count, rng)
        parts.append(np.stack([statistic(made, np.broadcast_to(allowed, made.shape)) for statistic in statistics]))
    return np.concatenate(parts, 1)


def _portions(total: int, portion: int) -> Iterator[int]:
    while total > 0:
        yield min(portion, total)
        total -= portion


def judged(
    labels: pd.DataFrame, values: Float[np.ndarray, " graph"], null: Float[np.ndarray, "graph sample"]
) -> tuple[pd.DataFrame, Float[np.ndarray, " sample"]]:
    """The table of a `NullTest`, and the maxima.

    The p-values are exact where graph and samples are exchangeable under the null: distances are measured from the mean of
    samples and graph together, in their common deviation, so that the graph is judged as any sample is. `z` is measured from the
    samples alone. A statistic that does not vary over the null has z and p NaN where it equals the null, and where it doesn't an
    infinite z and the smallest p.
    """
    samples = null.shape[1]
    together = np.concatenate([values[:, None], null], 1)
    centre = together.mean(1, keepdims=True)
    spread = _spread(together)[:, None]
    far = np.divide(np.abs(together - centre), spread, out=np.zeros_like(together), where=spread > 0)
    far[~np.isfinite(together).all(1)] = np.nan
    far[spread[:, 0] == 0] = np.nan
    own, others = far[:, :1], far[:, 1:]
    known = ~np.isnan(own[:, 0])
    maxima = np.max(others[known], 0) if known.any() else np.full(samples, np.nan)
    p = (1 + (others >= own * (1 - 1e-12)).sum(1)) / (samples + 1)
    corrected = (1 + (maxima >= own * (1 - 1e-12)).sum(1)) / (samples + 1)
    z, half = _z(values, null)
    table = labels.assign(
        value=values, null=null.mean(1), null_sd=null.std(1, ddof=1) if samples > 1 else np.nan,
        z=z, z_low=z - half, z_high=z + half,
        p=np.where(known, p, np.nan), p_corrected=np.where(known, corrected, np.nan),
    )  # fmt: skip
    return table, maxima


def _z(values: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the null's mean in its deviations, and half the 95 % interval: the mean is known to 1 / sqrt(samples)
    deviations, and the deviation to 1 / sqrt(2 (samples - 1)) of itself (normal samples)."""
    samples = null.shape[1]
    if samples < 2:
        return np.full(len(values), np.nan), np.full(len(values), np.nan)
    spread = _spread(null)
    apart = values - null.mean(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where((spread == 0) & (np.abs(apart) <= 1e-12 * np.abs(values)), np.nan, apart / spread)
    half = 1.96 * np.sqrt(1 / samples + np.square(np.where(np.isinf(z), 0, z)) / (2 * (samples - 1)))
    return z, half


def _spread(numbers: np.ndarray) -> np.ndarray:
    """Standard deviation of each row; what is only rounding counts as 0."""
    spread = numbers.std(1, ddof=1)
    return np.where(spread <= 1e-12 * np.abs(numbers).max(1), 0.0, spread)
