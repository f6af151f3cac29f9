"""Attention calls through torch's own scaled_dot_product_attention, without the weights ever existing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sociogram.models.attention import AttentionCall, is_hidden, mix, needs_scores, weights_of
from sociogram.models.masks import LazyMask
from sociogram.models.outside import told_less, widened


def straight(call: AttentionCall) -> Float[Tensor, "batch query head d_value"]:
    """The same output through torch's own scaled_dot_product_attention, without the weights ever existing.

    Soft caps, sinks and index lists are not in that function's repertoire; those calls are computed in the open.
    """
    if needs_scores(call):
        return mix(weights_of(call)[0], call)
    mask, causal = call.mask, False
    if isinstance(mask, LazyMask):
        causal = mask.rule.kind == "causal"
        mask = None if mask.rule.kind != "rule" else mask.dense()
    elif mask is not None:
        mask = mask[..., : call.keys]
    if causal and (call.bias is not None or call.cut is not None or call.outside):
        assert isinstance(call.mask, LazyMask)
        mask, causal = call.mask.dense(), False
    if call.bias is not None:
        mask = _merge_bias(call.bias[..., : call.keys], mask)
    if mask is not None:
        mask = widened(mask, call.outside, True if mask.dtype == torch.bool else 0.0)
    if (less := told_less(call.keys, call.outside, call.query)) is not None:
        mask = _merge_bias(less.expand(1, 1, call.query.shape[2], -1), mask)
    if call.cut is not None:
        mask = _merge_cut(call.cut, mask)
    if call.group > 1 and call.query.shape[2] == 1 and not causal:
        return _one_query(call, mask)
    plain_groups = mask is None and call.group > 1 and call.key.shape[-1] == call.value.shape[-1] <= 256
    key, value = call.key, call.value
    if call.group > 1 and not plain_groups:
        key, value = (t.repeat_interleave(call.group, dim=1) for t in (key, value))
    out = F.scaled_dot_product_attention(
        call.query, key, value, mask, call.dropout, causal, scale=call.scale, enable_gqa=plain_groups
    )
    return out.transpose(1, 2).contiguous()


def _one_query(call: AttentionCall, mask: Tensor | None) -> Tensor:
    """A single query's heads of a group laid out as queries of one head, so that no key or value is repeated in memory."""
    batch, heads, _, width = call.query.shape
    groups = call.key.shape[1]
    if mask is not None and mask.shape[1] > 1:
        mask = mask.reshape(mask.shape[0], groups, heads // groups, mask.shape[-1])
    query = call.query.reshape(batch, groups, heads // groups, width)
    out = F.scaled_dot_product_attention(query, call.key, call.value, mask, call.dropout, scale=call.scale)
    return out.reshape(batch, 1, heads, -1)


def _merge_bias(bias: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return bias
    return torch.where(mask, bias, -torch.inf) if mask.dtype == torch.bool else mask + bias


def _merge_cut(cut: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return ~cut
    return mask & ~cut if mask.dtype == torch.bool else mask.masked_fill(cut | is_hidden(mask), -torch.inf)
