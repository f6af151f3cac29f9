"""Two recordings of the same tokens side by side: which edges and which statistics differ, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sociogram.core.errors import InputError
from sociogram.graphs.asked import check_count, picture
from sociogram.watch.few import is_streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks
    from sociogram.graphs.source import Batch

QUESTION = ("weight", "by", "drop_first", "threshold", "toward")
EDGES = ["layer", "head", "query", "key", "query_token", "key_token", "one", "other", "change"]
COUNTS = ("edges", "kept_share", "dropped_share")


@dataclass(frozen=True, eq=False)
class Difference:
    """What `networks.diff(other)` found; every change is the other less this one.

    Attributes:
        statistics: one row per graph and statistic of `networks.summary()`: `layer, head, statistic, one, other, change`, and
            `relative` (the change in standard deviations of `one` over all graphs; NaN where it does not vary). Where the graphs
            of the two sides are not the same heads, one row per statistic, means over all graphs, layer and head -1.
        graphs: one row per graph: `layer, head, moved` (sum of changes by size over the weight of both sides: 0 to 1), `largest`
            (change by size), `changed` (edges that differ), `pairs` (that either mask leaves). Empty where `why` is said.
        edges: the largest changes, largest first: `layer, head, query, key, query_token, key_token, one, other, change`.
            `attrs["pairs"]`, `attrs["changed"]` count all; `attrs["total"]` is the sum of all changes by size, and
            `attrs["share"]` the share of it in these rows. Empty where `why` is said.
        why: None, or why edges could not be compared.
        weight: what an edge weighs.
    """

    statistics: pd.DataFrame
    graphs: pd.DataFrame
    edges: pd.DataFrame
    why: str | None
    weight: str

    def largest(self, top: int = 20) -> pd.DataFrame:
        """The statistics that differ most, by `relative` change; those whose spread is 0 come last."""
        order = self.statistics["relative"].abs().sort_values(ascending=False, kind="stable", na_position="last").index
        changed = self.statistics.loc[order]
        return changed[changed["change"] != 0].dropna(subset="change").head(top).reset_index(drop=True)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Layers by heads, coloured by how much of the weight moved; see `sg.plot.difference`."""
        return picture("difference", self, ax=ax)

    def __repr__(self) -> str:
        """How many edges changed and how much, or why that cannot be said."""
        if self.why is not None:
            return f"Difference({len(self.statistics)} statistics; no edges: {self.why})"
        a = self.edges.attrs
        return (
            f"Difference({a['changed']:,} of {a['pairs']:,} edges changed, by {a['total']:.4g} of {self.weight} in all; "
            f"{len(self.edges)} shown, {a['share']:.1%} of it)"
        )


def diff(one: Networks, other: Networks, *, top: int = 20) -> Difference:
    """Compare two recordings of the same tokens: clean and steered, float32 and bfloat16, one model and another.

    Args:
        one, other: the graphs of both, made by the same question (`weight`, `by`, `drop_first`, `threshold`).
        top: how many edges to list.

    Returns:
        Statistics, graphs and edges. Edges need the same layers and heads on both sides; with others (another model) the
        statistics are compared as means over all graphs, and `why` says so.

    Raises:
        InputError: other tokens, or another question; says which.
        RecordingError: what is needed was not kept.

    Misleads: weights of a row sum to 1, so that one edge's gain is other edges' loss. That head 3 of one model and head 3 of
    another have the same number means nothing, unless one was made from the other.
    """
    _check(one, other, top)
    same = one.labels.equals(other.labels)
    why = _why_no_edges(one, other, same)
    summaries = one.summary(), other.summary()
    if why is not None:
        statistics = _statistics(*summaries) if same else _means(*summaries)
        return Difference(statistics, pd.DataFrame(), pd.DataFrame(columns=EDGES), why, one.source.weight)
    edges, graphs = _edges(one, other, top)
    return Difference(_statistics(*summaries), graphs, edges, None, one.source.weight)


def _statistics(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    names = [str(name) for name in one if name not in ("layer", "head")]
    parts = []
    for name in names:
        spread = float(one[name].std(ddof=0))
        change = other[name] - one[name]
        relative = change / spread if spread > 0 else np.nan
        values = {"one": one[name], "other": other[name], "change": change, "relative": relative}
        parts.append(one[["layer", "head"]].assign(statistic=name, **values))
    return pd.concat(parts, ignore_index=True)


def _means(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in (name for name in one if name not in ("layer", "head")):
        means, spread = (float(one[name].mean()), float(other[name].mean())), float(one[name].std(ddof=0))
        change = means[1] - means[0]
        rows.append((-1, -1, name, *means, change, change / spread if spread > 0 else np.nan))
    return pd.DataFrame(rows, columns=["layer", "head", "statistic", "one", "other", "change", "relative"])


def _edges(one: Networks, other: Networks, top: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The largest changes, and what all of them are per graph; one layer at a time."""
    labels, first, tokens = one.labels, int(one.source.drop_first), one.tokens
    found, graphs = np.zeros((0, 6)), []
    for a, b in _together(one, other):
        change = b.weights - a.weights
        size = np.abs(change)
        pairs = a.allowed | b.allowed
        both = a.weights.sum((1, 2)) + b.weights.sum((1, 2))
        moved = np.divide(size.sum((1, 2)), both, out=np.zeros_like(both), where=both > 0)
        graphs.append(
            labels.iloc[a.first : a.first + len(size)].assign(
                moved=moved,
                largest=size.max((1, 2)),
                changed=(size > 0).sum((1, 2)),
                pairs=pairs.sum((1, 2)),
                total=size.sum((1, 2)),
            )
        )
        found = _strongest(found, a, b, size, top)
    table = pd.concat(graphs, ignore_index=True)
    edges = _named(found, labels, tokens, first)
    total = float(table["total"].sum())
    edges.attrs |= {
        "pairs": int(table["pairs"].sum()),
        "changed": int(table["changed"].sum()),
        "total": total,
        "share": float(edges["change"].abs().sum() / total) if total > 0 else 1.0,
    }
    return edges, table.drop(columns="total")


def _strongest(found: np.ndarray, a: Batch, b: Batch, size: np.ndarray, top: int) -> np.ndarray:
    """The largest changes so far, as rows of graph, query, key, one, other, size."""
    place = np.argsort(-size, None, kind="stable")[:top]
    place = place[size.ravel()[place] > 0]
    where = np.unravel_index(place, size.shape)
    rows = np.stack([where[0] + a.first, *where[1:], a.weights[where], b.weights[where], size[where]], 1)
    rows = np.concatenate([found, rows])
    return rows[np.argsort(-rows[:, 5], kind="stable")[:top]]


def _named(found: np.ndarray, labels: pd.DataFrame, tokens: list[str], first: int) -> pd.DataFrame:
    graph, query, key = found[:, :3].astype(np.int64).T
    names = np.array(tokens, object)
    columns: dict[str, Any] = {
        "layer": labels["layer"].to_numpy()[graph],
        "head": labels["head"].to_numpy()[graph],
        "query": query + first,
        "key": key + first,
        "query_token": names[query],
        "key_token": names[key],
        "one": found[:, 3],
        "other": found[:, 4],
        "change": found[:, 4] - found[:, 3],
    }
    return pd.DataFrame(columns, columns=EDGES)


def _together(one: Networks, other: Networks) -> Iterator[tuple[Batch, Batch]]:
    return zip(one.source.batches(), other.source.batches(), strict=True)


def _check(one: Networks, other: Networks, top: int) -> None:
    check_count("top", top)
    for name in QUESTION:
        a, b = getattr(one.source, name), getattr(other.source, name)
        if a != b:
            raise InputError(
                f"diff(): {name}={a!r} here and {b!r} there; ask both the same question: sg.networks(rec, {name}=...)"
            )
    check_same_tokens("diff()", one.tokens, other.tokens)


def check_same_tokens(call: str, one: list[str], other: list[str]) -> None:
    """Refuse to compare different tokens.

    Raises:
        InputError: with the first place where they differ.
    """
    if one == other:
        return
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    here, there = (repr(tokens[place]) if place < len(tokens) else "the end" for tokens in (one, other))
    raise InputError(
        f"{call}: the tokens differ from number {place} on: {here} here ({len(one)} tokens) and {there} there ({len(other)}); "
        "edges between different tokens cannot be compared"
    )


def _why_no_edges(one: Networks, other: Networks, same: bool) -> str | None:
    if any(is_streamed(side.source.rec.stack(side.source.stack)) for side in (one, other)):
        return "a streamed recording has no edges but the strongest, so that only statistics are compared"
    if same:
        return None
    counts = [f"{frame['layer'].nunique()} layers and {len(frame)} graphs" for frame in (one.labels, other.labels)]
    return (
        f"{counts[0]} here, {counts[1]} there: heads are not the same ones, so statistics are compared as means over all graphs"
    )
