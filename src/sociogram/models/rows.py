"""A few readers of an attention call as a call of their own, so that no array need be as large as all readers times all keys."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.models.attention import AttentionCall, additive, masked_scores, normalised, totals
from sociogram.models.masks import LazyMask


def some_rows(call: AttentionCall, start: int, stop: int) -> tuple[AttentionCall, int]:
    """The readers from `start` to `stop` of a call, and the number of the first key that is still there.

    Keys of the sequence that none of these readers may read are left out where the mask is a rule, at both ends.
    """
    rows = slice(start, stop)
    mask = _mask(call, rows)
    few = replace(
        call,
        query=call.query[:, :, rows],
        mask=mask,
        bias=_cut(call.bias, rows),
        cut=_cut(call.cut, rows),
        sink=_cut(call.sink, rows) if call.sink is not None and call.sink.ndim == 4 else call.sink,
        indices=None if call.indices is None else call.indices.reshape(*call.indices.shape[:1], call.query.shape[2], -1)[:, rows],
    )
    if not isinstance(call.mask, LazyMask) or mask is None or call.outside or call.indices is not None:
        return few, 0
    read = torch.nonzero(mask.flatten(0, 2).any(0))[:, 0]
    if not len(read):
        return few, 0
    return _some_keys(few, int(read[0]), int(read[-1]) + 1), int(read[0])


def keys_gone(call: AttentionCall, past: int) -> int:
    """How many of a sequence's first keys its cache let go (a window's holds the last ones), `past` tokens before this pass.

    With no past none: a call may have fewer keys than readers for reasons of its own (keys that stand for several tokens).
    """
    return max(0, past + call.query.shape[2] - call.keys) if past else 0


def _mask(call: AttentionCall, rows: slice) -> Tensor | None:
    if not isinstance(call.mask, LazyMask):
        return _cut(call.mask, rows)
    return None if call.mask.rule.kind == "full" else call.mask.rule.allowed(rows.start, rows.stop)


def _cut(value: Tensor | None, rows: slice) -> Tensor | None:
    """Some rows of `[..., query, key]`; one row for all readers stays."""
    return value if value is None or value.shape[-2] == 1 else value[..., rows, :]


def _some_keys(call: AttentionCall, first: int, last: int) -> AttentionCall:
    keys = slice(first, last)
    if first == 0 and last == call.key.shape[2]:
        return call
    parts = {name: getattr(call, name) for name in ("mask", "bias", "cut")}
    parts = {name: None if part is None or part.shape[-1] == 1 else part[..., keys] for name, part in parts.items()}
    kept = {name: getattr(call, name) if part is None else part for name, part in parts.items()}
    return replace(call, key=call.key[:, :, keys], value=call.value[:, :, keys], **kept)


def rows_of(
    call: AttentionCall,
) -> tuple[Float[Tensor, "batch head query key"], Float[Tensor, "batch head query"] | None, Float[Tensor, "batch head query"]]:
    """Weights and sink weights before they are cast to the values' dtype, and each row's log-sum-exp."""
    scores = masked_scores(call)
    total = totals(call, scores)
    weights, sink = normalised(call, scores)
    return weights, sink, total


def is_plain(call: AttentionCall) -> bool:
    """Whether the scores are dot products and a rule alone."""
    return (
        call.bias is None and call.cut is None and call.softcap is None and call.indices is None and not call.outside
        and not call.linear
        and additive(call) is None
    )  # fmt: skip
