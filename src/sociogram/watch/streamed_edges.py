"""Edges of a streamed recording: the strongest of those it kept, with the totals of all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.watch.access import check_index, no_messages
from sociogram.watch.edges import COLUMNS, EdgeNumbers
from sociogram.watch.few import Few, few_of

if TYPE_CHECKING:
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording


def streamed_edges(
    rec: Recording, weight: str, *, top: int | None, layer: int | None, head: int | None, query: Address | None,
    key: Address | None, drop_first: bool, toward: str | int | None, group: str, stack: str,
) -> pd.DataFrame:  # fmt: skip
    """`rec.edges()` of a streamed recording: the same columns, of the edges that were kept.

    `attrs["exact"]`: whether the rows are the strongest of *all* edges asked for; they are where the weakest of them is at least
    as strong as any edge that was not kept can be. `attrs["below"]` is that bound; both are known for the weight that the keys
    were ranked by, else False and NaN. `attrs["total"]`, `["edges"]` and `["share"]` count all edges, kept or not, wherever
    they are known (NaN for contributions, and for one reader's edge from one sender that was not kept). Edges whose weight is not
    known (contributions in layers of which no stream was kept) come last.

    Raises:
        RecordingError: a question about words, which needs all edges.
    """
    if group != "token":
        raise RecordingError('group="word" sums all edges, and a streamed recording keeps the strongest: ask for tokens')
    numbers = EdgeNumbers(rec, stack, toward)
    asked = _Filter(
        head,
        None if query is None else rec.find("query", query, stack=stack),
        None if key is None else rec.find("key", key, stack=stack),
        drop_first,
        not numbers.cross,
    )
    only = None if layer is None else rec.layer(layer, stack=stack)
    found = [_layer(rec, i, stack, weight, numbers, asked, top) for i in numbers.layers(only)]
    if not found:
        raise no_messages(rec.tree, stack, "show")
    order = torch.argsort(torch.cat([one.sizes for one in found]), descending=True, stable=True)
    order = order if top is None else order[:top]
    table = _table(found, order, numbers)
    total, count = sum(one.total for one in found), sum(one.count for one in found)
    below = float(np.max([one.below for one in found]))  # NaN if one is
    shown = table[weight].abs()
    table.attrs |= {
        "weight": weight,
        "total": total,
        "share": float(shown.sum()) / total if total else 0.0,
        "edges": count if math.isnan(count) else int(count),
        "below": below,
        "exact": bool(len(table) and float(shown.min()) >= below) or bool(count == len(table)),
    }
    return table


@dataclass(frozen=True)
class _Filter:
    """Which edges are asked for."""

    head: int | None
    query: int | None
    key: int | None
    drop_first: bool
    own: bool

    def chosen(self, few: Few) -> Bool[Tensor, "head query rank"]:
        """Of the kept edges, those that exist and are asked for."""
        chosen = few.keys >= 0
        heads, queries, _ = chosen.shape
        if self.head is not None:
            one = check_index("head", self.head, heads)
            chosen = chosen & (torch.arange(heads) == one)[:, None, None]
        if self.query is not None:
            chosen = chosen & (torch.arange(queries) == self.query)[None, :, None]
        if self.key is not None:
            chosen = chosen & (few.keys == self.key)
        if self.drop_first:
            chosen = chosen & (few.keys != 0)
            if self.own:
                chosen = chosen & (torch.arange(queries) > 0)[None, :, None]
        return chosen

    def total(self, few: Few, weight: str) -> float:
        """The sum of a weight over all edges asked for, kept or not; NaN where it is not known."""
        if weight not in ("message", "attention") or (self.query is not None and self.key is not None):
            return math.nan
        heads = torch.arange(len(few.keys))
        heads = heads if self.head is None else heads[check_index("head", self.head, len(heads)), None]
        if self.key is not None:
            if self.drop_first:
                return 0.0 if self.key == 0 else math.nan
            return float(few.columns(weight)[heads, :, self.key].sum(dtype=torch.float64))
        between, first, itself = few.rows(weight)[:, heads].double()
        rows = between + itself if self.drop_first else between + itself + first
        if self.drop_first and self.own:
            rows = rows[:, 1:] if self.query is None else rows * (self.query > 0)
        return float((rows if self.query is None else rows[:, self.query]).sum())

    def count(self, few: Few) -> float:
        """How many edges there are, kept or not; NaN where it is not known."""
        if self.query is not None or self.key is not None:
            return math.nan
        kinds = few.counts() if self.head is None else few.counts()[:, check_index("head", self.head, len(few.keys)), None]
        between, first, itself = kinds.sum(1).tolist()
        if not (self.drop_first and self.own):
            return between + itself + (0 if self.drop_first else first)
        if not few.reads_itself_alone(0):
            return math.nan
        own = few.reads_itself(0)  # the first token's own edge in each head, but where an edit cut it
        return between + itself - int((own if self.head is None else own[check_index("head", self.head, len(own))]).sum())


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer's strongest kept edges, and what is known of all."""

    index: int
    few: Few
    sizes: Float[Tensor, " edge"]
    places: Tensor
    total: float
    count: float
    below: float


def _layer(rec: Recording, index: int, stack: str, weight: str, numbers: EdgeNumbers, asked: _Filter, top: int | None) -> _Layer:
    few = few_of(rec, index, stack)
    chosen = asked.chosen(few)
    sizes = _sizes(few, weight, numbers).abs().nan_to_num(nan=-0.5).masked_fill(~chosen, -1.0).flatten()
    count = int(chosen.sum())
    values, flat = sizes.topk(count if top is None else min(top, count))
    _, queries, ranks = few.keys.shape
    head, query, rank = flat // (queries * ranks), flat // ranks % queries, flat % ranks
    places = torch.stack([head, query, few.keys[head, query, rank].long()], 1)
    return _Layer(index, few, values, places, asked.total(few, weight), asked.count(few), _below(few, weight, asked))


def _sizes(few: Few, weight: str, numbers: EdgeNumbers) -> Float[Tensor, "head query rank"]:
    if weight == "message":
        return few.message
    if weight == "attention":
        return few.attention
    if weight == "contribution":
        return few.contributions()
    assert numbers.directions is not None
    return few.along(numbers.directions)


def _below(few: Few, weight: str, asked: _Filter) -> float:
    """The largest weight that an edge can have that was not kept: the weakest of those kept for its reader."""
    if weight != str(few.data["ranked_by"].values):
        return math.nan
    sizes = few.message if weight == "message" else few.attention
    full = few.keys[..., -1] >= 0  # a reader with fewer edges than are kept lost none
    rows = torch.where(full, sizes[..., -1], 0.0)
    if asked.head is not None:
        rows = rows[check_index("head", asked.head, len(rows))][None]
    if asked.query is not None:
        rows = rows[:, asked.query]
    return float(rows.max()) if rows.numel() else 0.0


def _table(found: list[_Layer], order: Tensor, numbers: EdgeNumbers) -> pd.DataFrame:
    layers = torch.cat([torch.full((len(one.places),), i) for i, one in enumerate(found)])[order]
    places = torch.cat([one.places for one in found])[order]
    parts = []
    for i in layers.unique().tolist():
        rows = numbers.rows(found[i].index, found[i].few, places[layers == i])
        rows["order"] = torch.nonzero(layers == i)[:, 0].numpy()
        parts.append(rows)
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(parts).sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)
