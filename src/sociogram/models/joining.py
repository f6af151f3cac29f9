"""Several attention calls of one branch read as one."""

from __future__ import annotations

import torch
from torch import Tensor

from sociogram.models.run import Told


def joined(told: list[Told]) -> Told:
    """Several calls whose outputs are joined along the tokens, as one: weights in blocks on the diagonal."""
    if len(told) == 1:
        return told[0]
    weights, sinks, totals = ([getattr(t, n) for t in told] for n in ("weights", "sink", "log_sum_exp"))
    return Told(
        query=torch.cat([t.query for t in told], 2),
        key=torch.cat([t.key for t in told], 2),
        value=torch.cat([t.value for t in told], 2),
        weights=None if any(w is None for w in weights) else _blocks([w for w in weights if w is not None]),
        sink=None if any(s is None for s in sinks) else torch.cat([s for s in sinks if s is not None], -1),
        mixed=torch.cat([t.mixed for t in told], 1),
        scale=told[0].scale,
        log_sum_exp=None if any(t is None for t in totals) else torch.cat(totals, -1),
    )


def _blocks(parts: list[Tensor]) -> Tensor:
    queries, keys = sum(p.shape[-2] for p in parts), sum(p.shape[-1] for p in parts)
    whole = parts[0].new_zeros((*parts[0].shape[:2], queries, keys))
    row = column = 0
    for part in parts:
        whole[..., row : row + part.shape[-2], column : column + part.shape[-1]] = part
        row, column = row + part.shape[-2], column + part.shape[-1]
    return whole
