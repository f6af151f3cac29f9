"""How many dimensions a graph needs: its singular values, the elbows among them, and what a null has in their place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from sociogram.core.errors import InputError, RecordingError
from sociogram.core.linear import rank_of_values
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.decompose import leading_triplets
from sociogram.graphs.matrices import matrices, streamed
from sociogram.graphs.nulls import NULLS, sampler
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

SIDES = ("with", "without")
"""With the first token, and without it."""
BAND = (0.05, 0.95)
"""Between which shares of the samples the null's band lies."""
LEADING = 32
"""So many singular values are computed of graphs whose weights were not kept."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of graphs.

    Attributes:
        table: one row per graph with its first token, and one without: `layer, head, first_token` ("with", "without"); `elbow_1`,
            `elbow_2` and `elbows` (all of them) among the first `among` values; `effective_rank` (exp of the entropy of the
            values over their sum) with the null's `null_effective_rank`, `null_low`, `null_high` (5 and 95 % of the samples);
            `above_null` (how many of the first `among` values lie above 95 % of the null's of the same rank, after Horn's
            parallel analysis, 1965; the null itself has one in twenty there); `error` (how far a value may be off; 0 where
            all were computed).
        data: `singular_value`, `null_mean`, `null_low`, `null_high`, each `[graph, first_token, value]`; values are numbered from
            1; NaN where there is none.
        among: how many leading values elbows are sought among. null: the null's name, or None. samples: how many.
        keeps: what the null keeps, in words.
    """

    table: pd.DataFrame
    data: xr.Dataset
    among: int
    null: str | None
    samples: int
    keeps: str

    def plot(self, layer: int | None = None, head: int | None = None, *, ax: Axes | None = None) -> Axes:
        """The scree of one graph beside its null's band; see `sg.plot.spectrum`."""
        return picture("spectrum", self, layer, head, ax=ax)

    def __repr__(self) -> str:
        """How many graphs, and the median second elbow and effective rank with and without the first token."""
        middle = self.table.groupby("first_token")[["elbow_2", "effective_rank"]].median()
        parts = [f"{side} the first token {row.elbow_2:g} and {row.effective_rank:.3g}" for side, row in middle.iterrows()]
        null = f"null {self.null!r}, {self.samples} samples" if self.null else "no null"
        return f"Spectrum({self.data.sizes['graph']} graphs; median second elbow and effective rank {', '.join(parts)}; {null})"


def spectrum(
    networks: Networks,
    *,
    null: str | None = "positional",
    samples: int = 20,
    seed: int = 0,
    among: int | None = None,
    leading: int = LEADING,
) -> Spectrum:
    """The singular values of every graph, with and without the first token, beside those of a null.

    Args:
        networks: the graphs.
        null: see `networks.test`; None for none. A null needs the weights, which streamed recordings don't have.
        samples: how many random graphs stand beside each graph.
        seed: of the random numbers.
        among: among how many leading values elbows are sought; log2 of the number of tokens (rounded up) when left out.
        leading: how many values are computed where the weights were not kept. The effective rank needs all, and is NaN there.

    Raises:
        InputError: an unknown null, or numbers out of range.
        RecordingError: a null of graphs without weights, or what is needed was not kept.

    Misleads: the first dimension of attention is usually the sink, or how much tokens hear at all: the first elbow is then 1 and
    says nothing else; see the second, and the rows without the first token. Among all values, noise has elbows too. An elbow is
    where a scree bends, and a scree that doesn't bend has one as well: see `above_null`.
    """
    _check(null, samples, leading, streamed(networks))
    tokens = len(networks.tokens)
    among = few(tokens) if among is None else among
    if isinstance(among, bool) or not 1 <= among <= tokens:
        raise InputError(f"among={among!r}: 1 to the {tokens} singular values of {tokens} tokens")
    sides = SIDES[1:] if networks.source.drop_first else SIDES
    if streamed(networks):
        found, errors = _by_products(networks, sides, min(leading, tokens))
    else:
        found, errors = _dense(networks, sides, null, samples, seed), np.zeros((len(networks), len(sides)))
    data = _labelled(networks, sides, found)
    keeps = "" if null is None else NULLS[null].keeps
    return Spectrum(
        _table(networks, data, errors, among), data.drop_vars("null_rank"), among, null, samples if null else 0, keeps
    )


def elbows(values: Float[np.ndarray, " value"], among: int | None = None) -> list[int]:
    """All elbows of a scree, each the number of values before it (Zhu & Ghodsi 2006): the first, then that of the rest ...

    A split into large and small values is judged by the likelihood of two normal distributions with one deviation. The first
    elbow of a network is usually 1, as what tokens have in common is its largest dimension; blocks show at the second.

    Args:
        values: largest first, none negative.
        among: only so many leading values take part; all when left out.

    Returns:
        Increasing numbers. Values that are alike up to rounding have no elbow among them; where all are alike the only one is
        their number.

    Misleads: the many small values of a graph spread widely, so that among all values the second elbow is often amid the noise;
    among the first log2(tokens) (see `few`) it is not.
    """
    values = np.asarray(values[:among], np.float64)
    if not len(values):
        return []
    noise = len(values) * np.finfo(np.float64).eps * values[0]
    found: list[int] = []
    start = 0
    while len(values) - start > 1 and values[start] - values[-1] > noise:
        start += _split(values[start:])
        found.append(start)
    return found or [len(values)]


def _split(values: Float[np.ndarray, " value"]) -> int:
    """How many values the likelier group of large ones has: with one deviation for both, the split that explains most."""
    count = len(values)
    sizes = np.arange(1, count)
    before = np.cumsum(values - values.mean())[:-1]
    return int(sizes[np.argmax(before**2 / (sizes * (count - sizes)))])


def few(tokens: int) -> int:
    """How many leading singular values a dimension is chosen among: log2 of the tokens, rounded up, at least two."""
    return min(tokens, max(2, math.ceil(math.log2(max(tokens, 2)))))


def dimension_of(values: Float[np.ndarray, " value"], tokens: int) -> int:
    """The dimension that a scree suggests: its second elbow among the first `few(tokens)` values (or the only one)."""
    found = elbows(values, few(tokens))
    return found[min(1, len(found) - 1)]


def fitted(
    null: str, weights: np.ndarray, allowed: np.ndarray, rng: np.random.Generator, rank: int | None = None
) -> Callable[[int, np.random.Generator], np.ndarray]:
    """A null fitted to one graph, with blocks and rank found where it needs them; what is returned makes samples."""
    blocks = None
    if null == "sbm":
        from sociogram.graphs.communities import blocks_of

        blocks = blocks_of(weights, allowed, seed=int(rng.integers(2**31)))
    if null == "rdpg" and rank is None:
        rank = dimension_of(np.linalg.svd(weights, compute_uv=False), len(weights))
    return sampler(null, weights, allowed, blocks=blocks, rank=rank)


def _check(null: str | None, samples: int, leading: int, without_weights: bool) -> None:
    if null is not None and null not in NULLS:
        raise InputError(f"null={null!r}: choose one of {', '.join(NULLS)}, or None")
    for name, value in {"samples": samples, "leading": leading}.items():
        check_count(name, value)
    if without_weights and null is not None:
        raise RecordingError(
            f"null={null!r} shuffles weights, and this recording was streamed: it has none. networks.spectrum(null=None) gives "
            'the singular values alone; keep="default" keeps the weights'
        )


def _dense(networks: Networks, sides: tuple[str, ...], null: str | None, samples: int, seed: int) -> dict[str, np.ndarray]:
    tokens, count = len(networks.tokens), len(networks)
    names = ("singular_value", "null_mean", "null_low", "null_high")
    found = {name: np.full((count, len(sides), tokens), np.nan) for name in names}
    found["null_rank"] = np.full((count, len(sides), 3), np.nan)
    streams = np.random.SeedSequence(seed).spawn(count)
    with bar("spectra", count, count if null else 1) as advance:
        for batch in networks.source.batches():
            for i in range(len(batch.weights)):
                for place, side in enumerate(sides):
                    inner = slice(int(side == "without" and not networks.source.drop_first), None)
                    weights, allowed = batch.weights[i, inner, inner], batch.allowed[i, inner, inner]
                    rng = np.random.default_rng(streams[batch.first + i])
                    for name, values in _one(weights, allowed, null, samples, rng).items():
                        found[name][batch.first + i, place, : len(values)] = values
                advance(1)
    return found


def _one(
    weights: np.ndarray, allowed: np.ndarray, null: str | None, samples: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """One graph's singular values, and the mean and band of its null's."""
    found = {"singular_value": np.linalg.svd(weights, compute_uv=False)}
    if null is None or not len(weights):
        return found
    sample = fitted(null, weights, allowed, rng)
    screes = np.stack([np.linalg.svd(sample(1, rng)[0], compute_uv=False) for _ in range(samples)])
    low, high = np.quantile(screes, BAND, axis=0)
    ranks = rank_of_values(screes)
    rank = np.array([ranks.mean(), *np.quantile(ranks, BAND)])
    return {**found, "null_mean": screes.mean(0), "null_low": low, "null_high": high, "null_rank": rank}


def _by_products(networks: Networks, sides: tuple[str, ...], count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    shape = (len(networks), len(sides))
    found = {"singular_value": np.full((*shape, count), np.nan), "null_rank": np.full((*shape, 3), np.nan)}
    errors = np.zeros(shape)
    with bar("spectra", len(networks), len(networks)) as advance:
        for number, operator in matrices(networks, range(len(networks))):
            for place, side in enumerate(sides):
                assert not isinstance(operator, np.ndarray)
                one = operator.again(drop_first=side == "without")
                most = min(count, one.shape[0])
                triplets = leading_triplets(one, most)
                found["singular_value"][number, place, :most] = triplets.values
                errors[number, place] = triplets.residual.max()
            advance(1)
    return found, errors


def _labelled(networks: Networks, sides: tuple[str, ...], found: dict[str, np.ndarray]) -> xr.Dataset:
    labels = networks.labels
    dims = {"null_rank": ("graph", "first_token", "statistic")}
    count = found["singular_value"].shape[-1]
    coords = {
        "layer": ("graph", labels["layer"].to_numpy()),
        "head": ("graph", labels["head"].to_numpy()),
        "first_token": list(sides),
        "value": np.arange(1, count + 1),
    }
    variables = {name: (dims.get(name, ("graph", "first_token", "value")), array) for name, array in found.items()}
    return xr.Dataset(variables, coords=coords)


def _table(networks: Networks, data: xr.Dataset, errors: np.ndarray, among: int) -> pd.DataFrame:
    rows = []
    whole = data.sizes["value"] == len(networks.tokens)
    for graph, label in enumerate(networks.labels.itertuples(index=False)):
        for place, side in enumerate(data["first_token"].values):
            one = data.isel(graph=graph, first_token=place)
            values = one["singular_value"].values
            values = values[np.isfinite(values)]
            found = elbows(values, among)
            rank = one["null_rank"].values
            rows.append(
                {
                    "layer": label.layer,
                    "head": label.head,
                    "first_token": str(side),
                    "elbow_1": found[0] if found else np.nan,
                    "elbow_2": found[1] if len(found) > 1 else np.nan,
                    "elbows": tuple(found),
                    "effective_rank": float(rank_of_values(values)) if whole and len(values) else np.nan,
                    "null_effective_rank": rank[0],
                    "null_low": rank[1],
                    "null_high": rank[2],
                    "above_null": _above(values, one["null_high"].values, among) if "null_high" in data else np.nan,
                    "error": errors[graph, place],
                }
            )
    return pd.DataFrame(rows)


def _above(values: np.ndarray, high: np.ndarray, among: int) -> float:
    """How many of the leading values are above the null's band; the first is counted like any other, though the sums of the rows
    all but fix it."""
    high, values = high[: min(among, len(values))], values[:among]
    return float("nan") if np.isnan(high).all() else float((values > high).sum())
