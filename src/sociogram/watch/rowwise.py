"""Rows of attention weights read in torch: the reference for `fused`, and the way on every device, in every dtype."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.watch.streamed import KINDS


@dataclass(frozen=True)
class Standing:
    """Where a block of rows stands among the keys.

    Attributes:
        own: the key that is its first row's own token (the next row's is one more); None where keys are another sequence's.
        first: the key that is the first token.
    """

    own: int | None
    first: int = 0


def numbers_of(
    weights: Float[Tensor, "batch head query key"],
    sink: Float[Tensor, "batch head query"] | None,
    total: Float[Tensor, "batch head query"],
    sizes: Float[Tensor, "batch head own_key"],
    at: Standing,
    column: int,
) -> Float[Tensor, "batch head number query"]:
    """What is known of each row, as `streamed.NUMBERS` names it.

    Args:
        weights: of the sequence's own keys, then of those from outside.
        sizes: value norms of the own keys.
        column: the key index of the first column.
    """
    own = weights[..., : sizes.shape[-1]]
    spread = -torch.special.xlogy(weights, weights).sum(-1)
    given = torch.zeros_like(total) if sink is None else sink
    spread = spread - torch.special.xlogy(given, given)
    heard = own.sum(-1)
    nothing = (weights.sum(-1) + given) == 0
    nan = torch.full_like(heard, float("nan"))
    far, itself = nan, torch.zeros_like(heard)
    if at.own is not None:
        place = torch.arange(own.shape[2], device=own.device)[:, None] + at.own
        keys = torch.arange(own.shape[3], device=own.device)[None] + column
        far = torch.where(heard > 0, (own * (place - keys).abs()).sum(-1) / heard, nan)
        itself = (own * (place == keys)).sum(-1)
    begun = column <= at.first < column + own.shape[3]
    start = own[..., at.first - column] if begun else torch.zeros_like(heard)
    rows = [total, torch.where(nothing, nan, spread), far, heard, (own * sizes[:, :, None]).sum(-1), itself, start, given]
    return torch.stack([row.to(weights.dtype) for row in rows], dim=2)


def strongest(
    weights: Float[Tensor, "batch head query key"], ranks: Float[Tensor, "batch head query key"], top: int, column: int
) -> tuple[Int[Tensor, "batch head query rank"], Float[Tensor, "batch head query rank"]]:
    """The keys with the largest ranks among those that were read at all, and their weights; ties: lower key first."""
    if not top:
        return torch.empty_like(weights[..., :0], dtype=torch.int32), weights[..., :0]
    ranks = torch.where(weights > 0, ranks, -1.0)
    count = min(top, ranks.shape[-1])
    best, keys = ranks.topk(count, dim=-1)
    if bool(((ranks >= best[..., -1:]).sum(-1) > count).logical_and(best[..., -1] >= 0).any()):
        chosen = _first_of_ties(ranks, best[..., -1:], count)
        best, keys = torch.where(chosen, ranks, -2.0).topk(count, dim=-1)
    keys, order = keys.sort(dim=-1)
    best, again = best.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    keys = keys.gather(-1, again)
    attention = weights.gather(-1, keys).masked_fill(best < 0, 0.0)
    keys = (keys + column).masked_fill(best < 0, -1)
    missing = top - count
    return (
        torch.nn.functional.pad(keys, (0, missing), value=-1).int(),
        torch.nn.functional.pad(attention, (0, missing), value=0.0),
    )


def _first_of_ties(ranks: Tensor, least: Tensor, count: int) -> Bool[Tensor, "batch head query key"]:
    """Which keys are taken where several share the last place: the first of them."""
    above, equal = ranks > least, ranks == least
    left = count - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= left))


def columns_of(
    weights: Float[Tensor, "batch head query key"],
    factor: Float[Tensor, "batch query"],
    at: Standing,
    column: int,
    bands: tuple[int, ...],
) -> Float[Tensor, "batch head band key"]:
    """What each key was given, each row times a factor, by distance."""
    rows = weights * factor[:, None, :, None]
    if at.own is None or len(bands) == 1:
        return rows.sum(2)[:, :, None]
    place = torch.arange(weights.shape[2], device=weights.device)[:, None] + at.own
    distance = (place - torch.arange(weights.shape[3], device=weights.device)[None] - column).abs()
    far = [*bands[1:], int(distance.max()) + 1]
    parts = [(rows * ((distance >= low) & (distance < high))).sum(2) for low, high in zip(bands, far, strict=True)]
    return torch.stack(parts, 2)


def edges_of(
    weights: Float[Tensor, "batch head query key"], real: Bool[Tensor, "batch query"], at: Standing, column: int
) -> Int[Tensor, "batch head kind"]:
    """How many edges there are of each kind."""
    there = (weights > 0) & real[:, None, :, None]
    keys = torch.arange(weights.shape[3], device=weights.device)[None] + column
    places = torch.arange(weights.shape[2], device=weights.device)[:, None]
    itself = torch.zeros_like(there[0, 0]) if at.own is None else keys == places + at.own
    first = (keys == at.first).expand_as(itself) & ~itself
    kinds = dict(zip(KINDS, (~itself & ~first, first, itself), strict=True))
    return torch.stack([(there & kind).sum((2, 3)) for kind in kinds.values()], -1)
