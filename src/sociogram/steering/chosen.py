"""Which tokens of a source are heard, where readers hear those alone that answer them best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.models.attention import per_group
from sociogram.steering.source import Found

ENTRIES = 1 << 24
"""Scores that are looked through at once."""
FEW = 4_096
"""A source of no more tokens is put before the readers as a whole, what they do not choose closed to them."""


@dataclass(frozen=True, eq=False)
class Part:
    """Tokens of a source, as they are put before one attention call.

    Attributes:
        names: what they are called.
        key, value: what they tell, keys where they are to be heard from.
        heard: which reader of which head hears which of them; None: whoever the source is open to hears all.
        places: which of the source's tokens they are; None: all of them.
    """

    names: tuple[str, ...]
    key: Float[Tensor, "1 kv_head sender d_head"]
    value: Float[Tensor, "1 kv_head sender d_value"]
    heard: Bool[Tensor, "#batch head query sender"] | None = None
    places: tuple[int, ...] | None = None

    def like(self, other: Tensor) -> Part:
        """The same as numbers of another tensor's kind, where that is."""
        return replace(self, key=self.key.to(other), value=self.value.to(other))


def strongest(
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "#batch kv_head sender d_head"],
    count: int,
    bias: Float[Tensor, " sender"] | None = None,
) -> Int[Tensor, "batch head query count"]:
    """For each reader and head, which of a source's keys have the largest products (`bias` added); exact, in blocks."""
    batch, heads = query.shape[:2]
    rows = max(1, ENTRIES // (batch * heads * key.shape[2]))
    columns = key.transpose(-1, -2)
    added = 0.0 if bias is None else bias.to(columns)
    blocks = [(per_group(part, columns) + added).topk(count, dim=-1).indices for part in query.split(rows, dim=2)]
    return torch.cat(blocks, 2)


def narrowed(
    names: Sequence[str],
    key: Float[Tensor, "1 kv_head sender d_head"],
    value: Float[Tensor, "1 kv_head sender d_value"],
    chosen: Int[Tensor, "batch head query count"],
    asking: Bool[Tensor, "head query"],
) -> Part:
    """The tokens that readers choose, each hearing its own; of a source with many, the others are left away."""
    if len(names) <= FEW:
        return Part(tuple(names), key, value, _hears(chosen, len(names), asking))
    wanted = chosen[:, asking]
    places = wanted.unique() if wanted.numel() else chosen.new_zeros(1)  # one that nobody hears
    column = torch.searchsorted(places, chosen).clamp_max(len(places) - 1)
    listed = tuple(places.tolist())
    named = tuple(names[place] for place in listed)
    return Part(named, key[:, :, places], value[:, :, places], _hears(column, len(listed), asking), listed)


def found_part(names: Sequence[str], found: Found, asking: Bool[Tensor, "head query"]) -> Part:
    """What an index found, each reader hearing its own."""
    places = tuple(found.places.tolist())
    named = tuple(names[place] for place in places)
    heard = _hears(found.chosen[None].to(asking.device), len(places), asking)
    return Part(named, found.key[None], found.value[None], heard, places)


def _hears(
    column: Int[Tensor, "batch head query count"], count: int, asking: Bool[Tensor, "head query"]
) -> Bool[Tensor, "batch head query sender"]:
    """Which reader hears which column: its own, where it asks at all."""
    heard = torch.zeros(*column.shape[:3], count, dtype=torch.bool, device=column.device)
    return heard.scatter_(-1, column, True) & asking[None, :, :, None]
