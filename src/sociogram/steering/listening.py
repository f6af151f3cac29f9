"""What becomes of attention weights when heads are made to listen as others do."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def listening(
    pattern: Float[Tensor, "batch head query key"],
    rows: Bool[Tensor, "batch head query"],
    weights: Float[Tensor, "batch head query all_keys"],
    sink: Float[Tensor, "batch head query"] | None,
) -> tuple[Tensor, Tensor | None]:
    """Another pattern over the sequence's own keys for some rows; what they hear from outside they hear as before."""
    keys = pattern.shape[-1]
    if weights.shape[-1] > keys:
        pattern = pattern * (1 - weights[..., keys:].sum(-1, keepdim=True)).clamp_min(0)
    left = 1 - weights[..., keys:].sum(-1) - pattern.sum(-1)
    own = torch.where(rows[..., None], pattern, weights[..., :keys])
    changed = torch.cat([own, weights[..., keys:]], -1)
    return changed, None if sink is None else torch.where(rows, left.clamp_min(0), sink)
