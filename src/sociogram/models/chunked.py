"""Whether a model reads a text in pieces, on its own cache, as it reads it whole: proved on a few tokens."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from sociogram.models.examine import probe_inputs
from sociogram.models.inputs import takes
from sociogram.models.quiet import quiet
from sociogram.models.seam import unwatched
from sociogram.models.trace import tensors_in

_FIRST, _ALL = 5, 12
_found: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
CLOSE = 1e-3
"""How far the last token's output may be from that of one pass, relative to its largest number."""


def reads_in_pieces(hf: Any) -> bool:
    """Whether one pass and two passes on the model's own cache end in the same numbers (asked once per model)."""
    if hf not in _found:
        _found[hf] = _agrees(hf)
    return _found[hf]


def _agrees(hf: Any) -> bool:
    if hf.main_input_name != "input_ids" or hf.config.is_encoder_decoder or not takes(hf, "past_key_values"):
        return False
    few = probe_inputs(hf)["input_ids"]
    ids = few.repeat(1, -(-_ALL // few.shape[1]))[:, :_ALL]
    try:
        with unwatched(), quiet(), torch.no_grad():
            whole = _last(hf(input_ids=ids, use_cache=False))
            begun = hf(input_ids=ids[:, :_FIRST], use_cache=True)
            cut = _last(hf(input_ids=ids[:, _FIRST:], past_key_values=begun.past_key_values, use_cache=True))
            causal = _last(hf(input_ids=ids[:, :_FIRST], use_cache=False))
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, KeyError):
        return False  # a family whose own code has no such cache, or cannot read several tokens on one
    large = max(float(whole.abs().max()), 1e-6)
    same = float((whole - cut).abs().max()) <= CLOSE * large
    return same and float((_last(begun) - causal).abs().max()) <= CLOSE * large


def _last(output: Any) -> Tensor:
    """What is said of the last token."""
    for name in ("logits", "last_hidden_state"):
        value = getattr(output, name, None)
        if isinstance(value, Tensor) and value.ndim == 3:
            return value[:, -1].float()
    return next(value for _, value in tensors_in(output) if value.is_floating_point()).float()
