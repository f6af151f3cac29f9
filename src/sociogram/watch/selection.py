"""An excerpt of all edges for drawing: the strongest of every meaning, and totals of everything, shown or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.watch.access import no_messages
from sociogram.watch.account import Messages
from sociogram.watch.edges import COLUMNS, WEIGHTS, EdgeNumbers
from sociogram.watch.few import Few, is_streamed
from sociogram.watch.streamed import KINDS

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

_SHARES = (0.5, 0.15, 0.15)
_LAST = 0.2
"""Of each weight's and layer's budget so much is kept for what the last token hears from others: it is what pages show first."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The strongest edges under several weights at once, with what the rest amounts to.

    Attributes:
        edges: one row per edge that some weight chose, with the columns of `rec.edges()`; sorted by layer.
        ranks: for each weight the rows that it chose, layer by layer, strongest (by size) first.
        totals: `total_<weight>` (layer, head, kind) and `reader_<weight>` (layer, query, kind): sums of sizes of all edges,
            chosen or not; `count` (layer, head, kind): how many there are. Kinds: `between`, `first`, `itself`.
    """

    edges: pd.DataFrame
    ranks: dict[str, np.ndarray]
    totals: xr.Dataset

    def share(self, weight: str) -> float:
        """How much of the total of `weight` (by size, all layers and heads) its own choice carries: 0 to 1."""
        total = float(self.totals[f"total_{weight}"].sum())
        return float(self.edges[weight].iloc[self.ranks[weight]].abs().sum()) / total if total else 0.0


def select(
    rec: Recording,
    weights: tuple[str, ...] | None = None,
    *,
    toward: str | int | None = None,
    budget: int = 50_000,
    per_reader: int = 8,
) -> Selection:
    """Choose, for each weight on its own, the strongest edges of every layer of the main stack.

    Args:
        weights: what to rank by, each for itself, so that none is ranked within another's choice; see `rec.edges`. When left
            out, message, attention and contribution; of a streamed recording the first two, whose sums it knows.
        toward: a token; needed for (and adding) the weight `"toward"`.
        budget: how many edges in all; shared equally among weights and layers. Where all edges fit, all are taken.
        per_reader: of each head and reader at most so many are candidates, so that no single reader fills a layer; of the last
            token, for which a fifth of the budget is kept, all.

    Raises:
        InputError: an unknown weight, or a budget below one edge per weight and layer.
        RecordingError: what is needed was not kept, or no layer has messages.

    Misleads: what is not chosen is not nothing; `totals` says how much it is.
    """
    weights = _known(rec) if weights is None else weights
    chosen = (*weights, "toward") if toward is not None and "toward" not in weights else tuple(weights)
    _check(rec, chosen, toward, budget, per_reader)
    if is_streamed(rec.dataset):
        from sociogram.watch.streamed_selection import select_few

        return select_few(rec, chosen, budget, per_reader)
    numbers = EdgeNumbers(rec, rec.main, toward)
    layers = list(numbers.layers())
    if not layers:
        raise no_messages(rec.tree, rec.main, "show")
    quota = None if _count(rec, layers) <= budget else budget // (len(chosen) * len(layers))
    build = _Builder(rec, numbers, chosen, quota, per_reader)
    for index in layers:
        build.layer(index)
    return build.finished()


def _known(rec: Recording) -> tuple[str, ...]:
    """The weights of which a recording knows all edges, or at least their sums."""
    return ("message", "attention") if is_streamed(rec.dataset) else ("message", "attention", "contribution")


def _check(rec: Recording, weights: tuple[str, ...], toward: str | int | None, budget: int, per_reader: int) -> None:
    for weight in weights:
        if weight not in WEIGHTS:
            raise InputError(f"weights={weights!r}: {weight!r} is none of {', '.join(WEIGHTS)}")
    if not weights or len(set(weights)) != len(weights):
        raise InputError(f"weights={weights!r}: name at least one, and each once")
    if "toward" in weights and toward is None:
        raise InputError('the weight "toward" needs a token to go towards: toward=" Paris"')
    least = len(weights) * rec.dataset.sizes["layer"]
    if budget < least or per_reader < 1:
        raise InputError(
            f"budget={budget}, per_reader={per_reader}: at least one edge per reader, and {least} in all "
            f"({len(weights)} weights x {rec.dataset.sizes['layer']} layers), are needed"
        )


def _count(rec: Recording, layers: list[int]) -> int:
    weights = rec.need(rec.dataset, "weights")
    return sum(int((rec.messages(i).weights != 0).sum()) for i in layers) if weights.size else 0


def kinds_of(exists: Bool[Tensor, "head query key"]) -> Float[Tensor, "head query key"]:
    """The kind of every edge (index into `KINDS`; -1 where there is none)."""
    _, queries, keys = exists.shape
    query, key = torch.arange(queries)[:, None], torch.arange(keys)[None]
    kind = torch.where(query == key, 2.0, torch.where(key == 0, 1.0, 0.0))
    return torch.where(exists, kind, -1.0)


class Choice:
    """The edges that each weight chose, collected layer by layer, and the totals of all."""

    def __init__(self, rec: Recording, numbers: EdgeNumbers, weights: tuple[str, ...], shape: tuple[int, int, int]) -> None:
        """`shape`: how many layers, heads and readers there are."""
        self.rec, self.numbers, self.weights = rec, numbers, weights
        layers, heads, queries = shape
        self.tables: list[pd.DataFrame] = []
        self.ranks: dict[str, list[np.ndarray]] = {weight: [] for weight in weights}
        self.rows = 0
        self.count = np.zeros((layers, heads, len(KINDS)), dtype=np.int64)
        self.total = {weight: np.zeros((layers, heads, len(KINDS))) for weight in weights}
        self.reader = {weight: np.zeros((layers, queries, len(KINDS))) for weight in weights}

    def take(self, index: int, told: Messages | Few, picked: dict[str, Tensor], places: Callable[[Tensor], Tensor]) -> None:
        """Enter a layer's flat places, each weight's strongest first; `places` makes `[edge, (head, query, key)]` of them."""
        union, where = torch.unique(torch.cat(list(picked.values())), return_inverse=True)
        start = 0
        for weight, flat in picked.items():
            self.ranks[weight].append(self.rows + where[start : start + len(flat)].numpy())
            start += len(flat)
        self.tables.append(self.numbers.rows(index, told, places(union)))
        self.rows += len(union)

    def finished(self) -> Selection:
        """All layers' edges as one table."""
        ranks = {weight: np.concatenate(rows) for weight, rows in self.ranks.items()}
        arrays: dict[str, tuple[tuple[str, str, str], np.ndarray]] = {"count": (("layer", "head", "kind"), self.count)}
        arrays |= {f"total_{weight}": (("layer", "head", "kind"), value) for weight, value in self.total.items()}
        arrays |= {f"reader_{weight}": (("layer", "query", "kind"), value) for weight, value in self.reader.items()}
        totals = xr.Dataset(arrays, coords={"kind": list(KINDS)})
        table = pd.concat(self.tables, ignore_index=True) if self.tables else pd.DataFrame(columns=COLUMNS)
        return Selection(table, ranks, totals)


class _Builder(Choice):
    """The choice among all edges."""

    def __init__(
        self, rec: Recording, numbers: EdgeNumbers, weights: tuple[str, ...], quota: int | None, per_reader: int
    ) -> None:
        sizes = rec.dataset["weights"].sizes
        super().__init__(rec, numbers, weights, (sizes["layer"], sizes["head"], sizes["query"]))
        self.quota, self.per_reader = quota, per_reader

    def layer(self, index: int) -> None:
        messages = self.rec.messages(index)
        kinds = kinds_of(messages.weights != 0)
        heads = len(kinds)
        for kind in range(len(KINDS)):
            self.count[index, :heads, kind] = (kinds == kind).sum((1, 2)).numpy()
        picked = {weight: self._pick(index, weight, messages, kinds) for weight in self.weights}
        self.take(index, messages, picked, lambda flat: _unravel(flat, messages.weights.shape))

    def _pick(self, index: int, weight: str, messages: Messages, kinds: Tensor) -> Tensor:
        """Flat places of the chosen edges, strongest first; adds to the totals."""
        sizes = self.numbers.sizes(weight, messages).abs()
        found, heads = [], len(kinds)
        for kind, share in enumerate(_SHARES):
            own = sizes.masked_fill(kinds != kind, 0.0)
            self.total[weight][index, :heads, kind] = own.sum((1, 2), dtype=torch.float64).numpy()
            self.reader[weight][index, :, kind] = own.sum((0, 2), dtype=torch.float64).numpy()
            quota = None if self.quota is None else max(1, int(self.quota * share))
            found.append(_strongest(sizes.masked_fill(kinds != kind, -1.0), quota, self.per_reader))
        if self.quota is not None:
            own = sizes[:, -1:].masked_fill(kinds[:, -1:] != 0, -1.0)
            places = _strongest(own, max(1, int(self.quota * _LAST)), own.shape[-1])
            at, keys = places // own.shape[-1], places % own.shape[-1]
            found.append((at * sizes.shape[1] + sizes.shape[1] - 1) * sizes.shape[2] + keys)
        flat = torch.unique(torch.cat(found))
        return flat[torch.argsort(sizes.flatten()[flat], descending=True, stable=True)]


def _strongest(sizes: Float[Tensor, "head query key"], quota: int | None, per_reader: int) -> Tensor:
    """Flat places of the strongest edges (negative sizes are none): all, or `quota` of each reader's `per_reader` strongest."""
    if quota is None:
        return torch.nonzero(sizes.flatten() >= 0)[:, 0]
    best, keys = sizes.topk(min(per_reader, sizes.shape[-1]), dim=-1)
    rows = torch.arange(sizes.shape[0] * sizes.shape[1]).view(*sizes.shape[:2], 1)
    flat, best = (rows * sizes.shape[-1] + keys).flatten(), best.flatten()
    flat, best = flat[best >= 0], best[best >= 0]
    return flat[best.topk(min(quota, len(best))).indices]


def _unravel(flat: Tensor, shape: torch.Size) -> Tensor:
    _, queries, keys = shape
    return torch.stack([flat // (queries * keys), flat // keys % queries, flat % keys], 1)
