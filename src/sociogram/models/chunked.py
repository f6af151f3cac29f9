"""Whether a model reads a text in pieces, on its own cache, as it reads it whole: proved on sixteen tokens."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from sociogram.models.inputs import takes, text_config
from sociogram.models.quiet import quiet
from sociogram.models.seam import unwatched

_PIECES = (6, 5, 4, 1)
"""Tokens in each of the passes that are compared with one pass over all of them."""
_found: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
CLOSE = 1e-3
"""How far any token's output may be from that of one pass, relative to the largest number; in half precision some roundings."""
ROUNDINGS = 8
_BY_LENGTH = ("longrope", "dynamic")
"""Kinds of rotary positions whose frequencies depend on how many tokens there are in a pass."""


def reads_in_pieces(hf: Any) -> bool:
    """Whether one pass gives the same numbers as several on the model's own cache, the last of one token (asked once)."""
    if hf not in _found:
        _found[hf] = _agrees(hf)
    return _found[hf]


def _agrees(hf: Any) -> bool:
    if hf.main_input_name != "input_ids" or hf.config.is_encoder_decoder or not takes(hf, "past_key_values"):
        return False
    size = int(getattr(text_config(hf), "vocab_size", 32))
    ids = (torch.arange(sum(_PIECES), device=hf.device) * 7 + 1).remainder(max(size - 1, 1))[None]
    try:
        with unwatched(), quiet(), torch.no_grad():
            whole, parts = _said(hf(input_ids=ids, use_cache=False)), list(_in_pieces(hf, ids))
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError, KeyError):
        return False  # a family whose own code has no such cache, or cannot read several tokens on one
    cut = torch.cat(parts, 1)
    return cut.shape == whole.shape and bool((whole - cut).abs().max() <= _close(hf.dtype) * whole.abs().max().clamp_min(1e-6))


def _close(dtype: torch.dtype) -> float:
    return max(CLOSE, ROUNDINGS * torch.finfo(dtype).eps)


def turns_with_length(hf: Any, tokens: int) -> bool:
    """Whether a text of so many tokens is turned by other frequencies than its beginning alone.

    So it is beyond the length that a model was trained on first, where its rotary positions are dynamic or made for long texts
    too: each pass then takes the frequencies of the place that it comes to, and pieces do not make up the whole.
    """
    return any(tokens > limit for module in hf.modules() for limit in _limits(module))


def _limits(module: Any) -> Iterator[int]:
    """The lengths up to which a module's frequencies stay as they are, where they depend on the length at all."""
    kinds = getattr(module, "rope_type", None)
    for name, kind in kinds.items() if isinstance(kinds, dict) else [(None, kinds)]:
        if kind in _BY_LENGTH:
            settings = module.config.rope_parameters
            own = settings if name is None else settings[name]
            trained = own.get("original_max_position_embeddings") if kind == "longrope" else None
            yield int(trained or getattr(module, "original_max_seq_len", module.config.max_position_embeddings))


def _in_pieces(hf: Any, ids: Tensor) -> Iterator[Tensor]:
    cache: dict[str, Any] = {}
    for piece in ids.split(_PIECES, dim=1):
        output = hf(input_ids=piece, use_cache=True, **cache)
        cache = {"past_key_values": output.past_key_values}
        yield _said(output)


def _said(output: Any) -> Tensor:
    """What is said of each token."""
    named = (getattr(output, name, None) for name in ("logits", "last_hidden_state"))
    value = next((v for v in named if isinstance(v, Tensor)), None)
    if value is None or value.ndim != 3:
        raise ValueError("no numbers for each token")
    return value.float()
