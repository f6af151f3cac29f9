"""An attention call computed in the open, its weights kept: all at once, or in blocks where each reads only what is behind it."""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.models.attention import AttentionCall, mix, needs_scores, per_group, weights_of
from sociogram.models.masks import LazyMask

BLOCK = 128
"""Queries per block where a causal rule lets a block skip the keys behind it."""


Attended: TypeAlias = tuple[
    Float[Tensor, "batch head query key"], Float[Tensor, "batch head query"] | None, Float[Tensor, "batch query head d_value"]
]
"""Weights, sink weights (or None where there is no sink) and output."""


def attend(call: AttentionCall, buffer: Tensor | None = None) -> Attended:
    """Weights, sink weights (or None) and output of a call.

    Args:
        buffer: `[batch, head, query, key]` of zeros to put the weights into, where nobody needs their gradient.
    """
    if _is_plainly_causal(call):
        return _attend_in_blocks(call, buffer)
    weights, sink = weights_of(call)
    output = mix(weights, call)
    if buffer is not None and not weights.requires_grad:
        weights = buffer.copy_(weights)
    return weights, sink, output


def _is_plainly_causal(call: AttentionCall) -> bool:
    plain = call.bias is None and call.cut is None and call.dropout == 0 and not (call.outside or needs_scores(call))
    exact = call.query.dtype in (torch.float32, torch.float64) and not call.query.requires_grad and not call.value.requires_grad
    return plain and exact and isinstance(call.mask, LazyMask) and call.mask.rule.kind == "causal"


def _attend_in_blocks(call: AttentionCall, buffer: Tensor | None) -> tuple[Tensor, None, Tensor]:
    """The causal case: each block of queries meets only the keys up to its end; what lies behind stays zero."""
    batch, heads, queries, _ = call.query.shape
    weights = call.value.new_zeros(batch, heads, queries, queries) if buffer is None else buffer
    output = call.value.new_empty(batch, queries, heads, call.value.shape[-1])
    query, columns = call.query * call.scale, call.key.transpose(-1, -2)
    for start in range(0, queries, BLOCK):
        stop = min(start + BLOCK, queries)
        scores = per_group(query[:, :, start:stop], columns[..., :stop])
        ahead = torch.ones(stop - start, stop - start, dtype=torch.bool, device=scores.device).triu_(1)
        scores[..., start:].masked_fill_(ahead, -torch.inf)
        part = torch.softmax(scores, dim=-1)
        weights[:, :, start:stop, :stop] = part
        output[:, start:stop] = per_group(part, call.value[:, :, :stop]).transpose(1, 2)
    return weights, None, output
