"""An excerpt of a streamed recording for drawing: the strongest of the edges it kept, and totals of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.watch.edges import COLUMNS, EdgeNumbers
from sociogram.watch.few import Few, few_of
from sociogram.watch.selection import Selection
from sociogram.watch.streamed import KINDS

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

_SHARES = (0.4, 0.1, 0.1)
_LAST = 0.1
"""As in `selection`. What is left goes to readers of whom nothing was chosen: each one's strongest message of another token."""


def select_few(rec: Recording, weights: tuple[str, ...], budget: int) -> Selection:
    """`rec.select()` of a streamed recording: candidates are the edges that it kept, totals count all.

    Raises:
        RecordingError: a weight of which only the kept edges are known.
    """
    if odd := [weight for weight in weights if weight not in ("message", "attention")]:
        raise RecordingError(
            f"{', '.join(map(repr, odd))}: a streamed recording knows sums of all edges for message and attention only: "
            "select(('message', 'attention')), without toward="
        )
    numbers = EdgeNumbers(rec, rec.main)
    layers = list(numbers.layers())
    if not layers:
        raise RecordingError(f"no layer of {rec.main!r} has messages to show: all are opaque or unsupported")
    kept = int((rec.dataset["top_key"].values >= 0).sum())
    build = _Builder(rec, numbers, weights, None if kept <= budget else budget // (len(weights) * len(layers)))
    for index in layers:
        build.layer(index)
    return build.finished()


class _Builder:
    """Collects the choice layer by layer."""

    def __init__(self, rec: Recording, numbers: EdgeNumbers, weights: tuple[str, ...], quota: int | None) -> None:
        self.rec, self.numbers, self.weights, self.quota = rec, numbers, weights, quota
        sizes = rec.dataset["top_key"].sizes
        layers, heads, queries = sizes["layer"], sizes["head"], sizes["query"]
        self.tables: list[pd.DataFrame] = []
        self.ranks: dict[str, list[np.ndarray]] = {weight: [] for weight in weights}
        self.rows = 0
        self.count = np.zeros((layers, heads, len(KINDS)), dtype=np.int64)
        self.total = {weight: np.zeros((layers, heads, len(KINDS))) for weight in weights}
        self.reader = {weight: np.zeros((layers, queries, len(KINDS))) for weight in weights}

    def layer(self, index: int) -> None:
        few = few_of(self.rec, index, self.rec.main)
        heads = len(few.keys)
        self.count[index, :heads] = few.counts().T.numpy()
        kinds = _kinds(few.keys)
        picked = {weight: self._pick(index, weight, few, kinds) for weight in self.weights}
        union, where = torch.unique(torch.cat(list(picked.values())), return_inverse=True)
        start = 0
        for weight, flat in picked.items():
            self.ranks[weight].append(self.rows + where[start : start + len(flat)].numpy())
            start += len(flat)
        _, queries, ranks = few.keys.shape
        head, query = union // (queries * ranks), union // ranks % queries
        places = torch.stack([head, query, few.keys.flatten()[union].long()], 1)
        self.tables.append(self.numbers.rows(index, few, places))
        self.rows += len(union)

    def _pick(self, index: int, weight: str, few: Few, kinds: Tensor) -> Int[Tensor, " edge"]:
        """Flat places of the chosen edges, strongest first; adds to the totals."""
        rows = few.rows(weight).double()
        self.total[weight][index, : len(few.keys)] = rows.sum(2).T.numpy()
        self.reader[weight][index] = rows.sum(1).T.numpy()
        sizes = few.message if weight == "message" else few.attention
        found = [_best(sizes, kinds == kind, self.quota, share) for kind, share in enumerate(_SHARES)]
        if self.quota is not None:
            readers = torch.arange(sizes.shape[1]) == sizes.shape[1] - 1
            found.append(_best(sizes, (kinds == 0) & readers[None, :, None], self.quota, _LAST))
            found.append(_of_each(sizes, kinds == 0, found, self.quota))
        flat = torch.unique(torch.cat(found))
        return flat[torch.argsort(sizes.flatten()[flat], descending=True, stable=True)]

    def finished(self) -> Selection:
        ranks = {weight: np.concatenate(rows) for weight, rows in self.ranks.items()}
        arrays: dict[str, tuple[tuple[str, str, str], np.ndarray]] = {"count": (("layer", "head", "kind"), self.count)}
        arrays |= {f"total_{weight}": (("layer", "head", "kind"), value) for weight, value in self.total.items()}
        arrays |= {f"reader_{weight}": (("layer", "query", "kind"), value) for weight, value in self.reader.items()}
        totals = xr.Dataset(arrays, coords={"kind": list(KINDS)})
        table = pd.concat(self.tables, ignore_index=True) if self.tables else pd.DataFrame(columns=COLUMNS)
        return Selection(table, ranks, totals)


def _kinds(keys: Int[Tensor, "head query rank"]) -> Int[Tensor, "head query rank"]:
    """The kind of every kept edge; -1 where there is none."""
    query = torch.arange(keys.shape[1])[None, :, None]
    kind = torch.where(keys == query, 2, torch.where(keys == 0, 1, 0))
    return torch.where(keys >= 0, kind, -1)


def _best(sizes: Float[Tensor, "head query rank"], among: Tensor, quota: int | None, share: float) -> Int[Tensor, " edge"]:
    """Flat places of the strongest edges of one kind: all of them, or its share of the quota."""
    flat = torch.nonzero(among.flatten())[:, 0]
    if quota is None:
        return flat
    return flat[sizes.flatten()[flat].topk(min(max(1, int(quota * share)), len(flat))).indices]


def _of_each(sizes: Float[Tensor, "head query rank"], among: Tensor, found: list[Tensor], quota: int) -> Int[Tensor, " edge"]:
    """Flat places of the strongest edge of each reader of whom none of these was chosen, as far as the quota goes."""
    _, queries, ranks = sizes.shape
    chosen = torch.cat(found)
    left = max(0, quota - len(chosen))
    heard = sizes.masked_fill(~among, -1.0).transpose(0, 1).flatten(1)
    heard[(chosen[among.flatten()[chosen]] // ranks) % queries] = -1.0
    best, at = heard.max(1)
    readers = best.topk(min(left, int((best >= 0).sum()))).indices
    head, rank = at[readers] // ranks, at[readers] % ranks
    return (head * queries + readers) * ranks + rank
