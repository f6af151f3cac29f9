"""An excerpt of a streamed recording for drawing: the strongest of the edges it kept, and totals of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.watch.access import no_messages
from sociogram.watch.edges import EdgeNumbers
from sociogram.watch.few import Few, few_of
from sociogram.watch.selection import Choice, Selection
from sociogram.watch.streamed import KINDS

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

_SHARES = (0.4, 0.1, 0.1)
_LAST = 0.1
"""As in `selection`. What is left goes to readers of whom nothing was chosen: each one's strongest message of another token."""


def select_few(rec: Recording, weights: tuple[str, ...], budget: int, per_reader: int) -> Selection:
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
        raise no_messages(rec.tree, rec.main, "show")
    kept = int((rec.dataset["top_key"].values >= 0).sum())
    build = _Builder(rec, numbers, weights, None if kept <= budget else budget // (len(weights) * len(layers)), per_reader)
    for index in layers:
        build.layer(index)
    return build.finished()


class _Builder(Choice):
    """The choice among the edges that were kept."""

    def __init__(
        self, rec: Recording, numbers: EdgeNumbers, weights: tuple[str, ...], quota: int | None, per_reader: int
    ) -> None:
        sizes = rec.dataset["top_key"].sizes
        super().__init__(rec, numbers, weights, (sizes["layer"], sizes["head"], sizes["query"]))
        self.quota, self.per_reader = quota, per_reader

    def layer(self, index: int) -> None:
        few = few_of(self.rec, index, self.rec.main)
        self.count[index, : len(few.keys)] = few.counts().T.numpy()
        kinds = _kinds(few.keys)
        _, queries, ranks = few.keys.shape

        def places(flat: Tensor) -> Tensor:
            head, query = flat // (queries * ranks), flat // ranks % queries
            return torch.stack([head, query, few.keys.flatten()[flat].long()], 1)

        self.take(index, few, {weight: self._pick(index, weight, few, kinds) for weight in self.weights}, places)

    def _pick(self, index: int, weight: str, few: Few, kinds: Tensor) -> Int[Tensor, " edge"]:
        """Flat places of the chosen edges, strongest first; adds to the totals."""
        rows = few.rows(weight).double()
        self.total[weight][index, : len(few.keys)] = rows.sum(2).T.numpy()
        self.reader[weight][index] = rows.sum(1).T.numpy()
        sizes = few.message if weight == "message" else few.attention
        few_each = kinds >= 0 if self.quota is None else _few_of_each(sizes, kinds, self.per_reader)
        found = [_best(sizes, (kinds == kind) & few_each, self.quota, share) for kind, share in enumerate(_SHARES)]
        if self.quota is not None:
            readers = torch.arange(sizes.shape[1]) == sizes.shape[1] - 1
            found.append(_best(sizes, (kinds == 0) & readers[None, :, None], self.quota, _LAST))
            found.append(_of_each(sizes, kinds == 0, found, self.quota))
        flat = torch.unique(torch.cat(found))
        return flat[torch.argsort(sizes.flatten()[flat], descending=True, stable=True)]


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


def _few_of_each(sizes: Float[Tensor, "head query rank"], kinds: Tensor, per_reader: int) -> Bool[Tensor, "head query rank"]:
    """Of each kind, head and reader the strongest edges that were kept."""
    if per_reader >= sizes.shape[-1]:
        return kinds >= 0
    chosen = torch.zeros_like(kinds, dtype=torch.bool)
    for kind in range(len(KINDS)):
        order = sizes.masked_fill(kinds != kind, -1.0).argsort(dim=-1, descending=True, stable=True)
        chosen |= (kinds == kind) & (order.argsort(dim=-1) < per_reader)
    return chosen


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
