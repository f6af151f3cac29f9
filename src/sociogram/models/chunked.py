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
"""How far any token's output may be from that of one pass, relative to the largest number."""


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
    return cut.shape == whole.shape and bool((whole - cut).abs().max() <= CLOSE * whole.abs().max().clamp_min(1e-6))


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
