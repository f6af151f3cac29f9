"""Stochastic block models of one graph: fitted by moving tokens between blocks, and how good each number of blocks is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from sociogram.core.errors import InputError
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.block_fit import Fit, fitted
from sociogram.graphs.measures import without_self
from sociogram.graphs.nulls import degrees, even

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

Weights = Float[np.ndarray, "query key"]
Allowed = Bool[np.ndarray, "query key"]

BASES = ("flat", "even", "degrees")
LIKELIHOODS = ("normal", "poisson")
MOST_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class Blocks:
    """What `networks.blocks` found: the best number of blocks by ICL, and all that were tried.

    Attributes:
        tokens: one row per token: `token, text, block`. Blocks are numbered by size, largest first, ties by their first token.
        table: one row per number of blocks: `blocks` (asked for), `used` (that have a token), `log_likelihood`, `parameters`,
            `bic` (smaller is better), `icl` (larger is better), `explained` (share of the squared difference from an even
            expectation that the model takes away), `agreeing` (share of the starts that ended as well as the best).
        factors: what a pair of blocks `[reader, sender]` hears over the base, and with `base="flat"` its mean weight; NaN where
            the mask leaves no pair.
        expected: the fitted weight of each pair of tokens, `[query, key]`.
        weights, allowed: what was fitted: the graph and its mask, without what tokens tell themselves.
        layer, head, base, likelihood: what was asked.
    """

    tokens: pd.DataFrame
    table: pd.DataFrame
    factors: xr.DataArray
    expected: Weights
    weights: Weights
    allowed: Allowed
    layer: int
    head: int
    base: str
    likelihood: str

    @property
    def labels(self) -> Int[np.ndarray, " token"]:
        """The block of each token; `graphs.nulls.of_blocks` takes it."""
        return self.tokens["block"].to_numpy(np.int64)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The weights with tokens ordered by block; see `sg.plot.blocks`."""
        return picture("blocks", self, ax=ax)

    def __repr__(self) -> str:
        """How many blocks, how much they explain, and how sure the number is."""
        best = self.table.sort_values("icl", ascending=False).iloc[0]
        tried = ", ".join(map(str, self.table["blocks"]))
        return (
            f"Blocks({int(best['used'])} blocks of {len(self.tokens)} tokens explain {best['explained']:.1%} beyond an even "
            f"expectation; base {self.base!r}, {self.likelihood}, tried {tried})"
        )


def blocks(
    networks: Networks,
    layer: int | None = None,
    head: int | None = None,
    *,
    blocks: int | Sequence[int] | None = None,
    base: str = "even",
    likelihood: str = "normal",
    restarts: int = 5,
    seed: int = 0,
) -> Blocks:
    """Fit stochastic block models to one graph: the weight of a pair is a base times a factor of the two tokens' blocks.

    The factor is the weight between two blocks over the base between them, summed over the pairs that the mask leaves: the
    maximum of the likelihood in closed form. Tokens are moved one at a time while that raises the likelihood, from several starts
    of which the first is spectral.

    Args:
        networks: the graphs.
        layer, head: which one, as `networks.labels` names it.
        blocks: how many; of several numbers the one with the best ICL is taken; 1 to 6 are tried when left out.
        base: `"flat"` (the same for all pairs: factors are mean weights), `"even"` (each reader hears all equally: the model of
            the null `"sbm"`) or `"degrees"` (what readers hear and senders tell in all: degree-corrected; on a graph without mask
            and with its diagonal this is Karrer & Newman 2011).
        likelihood: `"normal"` (variance in proportion to the base) or `"poisson"` (Karrer & Newman 2011; weights are no counts,
            so that the scale is measured: quasi-likelihood with the dispersion of the largest model).
        restarts: how many starts. seed: of the starts; the same seed gives the same answer.

    Raises:
        InputError: no such graph, no weight between different tokens, or a setting that cannot be.
        RecordingError: what is needed was not kept.

    Misleads: the weights of attention are neither normal nor counts and depend on each other within a row, so that likelihoods
    rank models but are no chances. Blocks in a causal graph are often stretches of text. A search that moves one token at a time
    can end beside the best: `agreeing` says how often it ended alike.
    """
    numbers = _check(blocks, base, likelihood, restarts, len(networks.tokens))
    batch = networks.graph(layer, head)
    weights, allowed = without_self(batch.weights[0]), without_self(batch.allowed[0])
    if not weights.any():
        raise InputError("blocks(): in this graph no token hears another, so there is nothing to fit")
    exposure = base_of(base, weights, allowed)
    fits = [fitted(weights, exposure, number, likelihood, restarts, seed) for number in numbers]
    table = goodness(weights, allowed, exposure, base, likelihood, numbers, fits)
    best = fits[int(table["icl"].to_numpy().argmax())]
    row = networks.labels.iloc[batch.first]
    first = int(networks.source.drop_first)
    tokens = pd.DataFrame({"token": np.arange(len(weights)) + first, "text": networks.tokens, "block": best.labels})
    names = np.arange(len(best.factors))
    factors = xr.DataArray(best.factors, dims=("reader", "sender"), coords={"reader": names, "sender": names}, name="factor")
    expected = best.expected(exposure)
    return Blocks(tokens, table, factors, expected, weights, allowed, int(row["layer"]), int(row["head"]), base, likelihood)


def base_of(base: str, weights: Weights, allowed: Allowed) -> Weights:
    """What block factors multiply; 0 where the mask forbids. `"flat"` is 1."""
    if base == "flat":
        return allowed.astype(np.float64)
    return even(weights, allowed) if base == "even" else degrees(weights, allowed)


def goodness(
    weights: Weights, allowed: Allowed, exposure: Weights, base: str, likelihood: str, numbers: Sequence[int], fits: Sequence[Fit]
) -> pd.DataFrame:
    """The table of `Blocks`: likelihoods with what their parameters cost.

    BIC counts a parameter as log(pairs); ICL (Biernacki et al. 2000, for block models Daudin et al. 2008) also what it takes to
    say which block each token is in. Pairs are those that the mask leaves and the base does not rule out.
    """
    pairs = int((exposure > 0).sum())
    scale = _dispersion(weights, exposure, fits[int(np.argmax(numbers))], pairs) if likelihood == "poisson" else 1.0
    nothing = np.square(np.where(allowed, weights - even(weights, allowed), 0.0)).sum()
    rows = []
    for number, fit in zip(numbers, fits, strict=True):
        likely = _log_likelihood(weights, exposure, fit, likelihood) / scale
        free = int(np.isfinite(fit.factors).sum()) + (2 * len(weights) - 1 if base == "degrees" else 0) + 1
        sizes = np.bincount(fit.labels)
        spelled = float((sizes * np.log(sizes / sizes.sum())).sum())
        cost = free / 2 * np.log(pairs) + (len(sizes) - 1) / 2 * np.log(len(weights))
        left = np.square(weights - fit.expected(exposure)).sum()
        explained = 1 - left / nothing if nothing > 0 else np.nan
        rows.append(
            (
                number,
                len(sizes),
                likely,
                free,
                free * np.log(pairs) - 2 * likely,
                likely + spelled - cost,
                explained,
                fit.agreeing,
            )
        )
    names = ["blocks", "used", "log_likelihood", "parameters", "bic", "icl", "explained", "agreeing"]
    return pd.DataFrame(rows, columns=names)


def _log_likelihood(weights: Weights, exposure: Weights, fit: Fit, likelihood: str) -> float:
    """Of all pairs that there can be, up to what is the same for every number of blocks (Poisson: log w!)."""
    some = exposure > 0
    told, mean, base = weights[some], fit.expected(exposure)[some], exposure[some]
    if likelihood == "poisson":
        return float((told * np.log(np.where(told > 0, mean, 1.0)) - mean).sum())
    variance = float((np.square(told - mean) / base).mean())
    floor = max(variance, np.finfo(np.float64).eps * float((np.square(told) / base).mean()))
    return float(-0.5 * (np.log(2 * np.pi * floor * base) + variance / floor).sum())


def _dispersion(weights: Weights, exposure: Weights, fit: Fit, pairs: int) -> float:
    """Variance over mean of the weights about the largest model (Pearson): what one count of a Poisson weighs."""
    mean = fit.expected(exposure)
    some = mean > 0
    left = pairs - int(np.isfinite(fit.factors).sum())
    found = float((np.square(weights[some] - mean[some]) / mean[some]).sum()) / max(left, 1)
    return max(found, np.finfo(np.float64).eps * float(weights.max()))


def _check(blocks: int | Sequence[int] | None, base: str, likelihood: str, restarts: int, tokens: int) -> list[int]:
    given = range(1, min(MOST_BLOCKS, tokens) + 1) if blocks is None else [blocks] if isinstance(blocks, int) else blocks
    numbers = list(given) if isinstance(given, Sequence) else []
    if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= tokens for n in numbers):
        raise InputError(f"blocks={blocks!r}: whole numbers from 1 to {tokens}, the number of tokens")
    if base not in BASES:
        raise InputError(f"base={base!r}: choose one of {', '.join(BASES)}")
    if likelihood not in LIKELIHOODS:
        raise InputError(f"likelihood={likelihood!r}: choose one of {', '.join(LIKELIHOODS)}")
    check_count("restarts", restarts)
    return numbers
