"""A model's anatomy, found on a small pass and proved on it; and the arguments with which a model is run to be watched."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.anatomy import Anatomy
from sociogram.models.discover import discover
from sociogram.models.inputs import text_config
from sociogram.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_TOKENS = 8


def forward_arguments(hf: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """The inputs with what makes one plain pass of them: no cache, no extra outputs."""
    accepted = inspect.signature(hf.forward).parameters
    extra = {"use_cache": False} if "use_cache" in accepted else {}
    return {**extra, **inputs}


def find_anatomy(hf: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Anatomy:
    """Trace one pass on `inputs` (cut to a few tokens where they are a text) and prove what was found on it."""
    with quiet():
        short = _short(inputs)
        try:
            return _found(hf, short)
        except (RuntimeError, ValueError, IndexError):  # a family that folds something else into the batch
            if short.keys() == inputs.keys() and all(short[name] is inputs[name] for name in short):
                raise
            return _found(hf, inputs)


def _found(hf: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Anatomy:
    return discover(hf, forward_arguments(hf, inputs))


_TEXT = {"input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "decoder_attention_mask"}


def is_text(inputs: Mapping[str, Tensor]) -> bool:
    """Whether inputs are token ids and their masks alone."""
    return set(inputs) <= _TEXT and "input_ids" in inputs


def _short(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Texts are cut to one sequence of a few tokens; anything else is taken as it is."""
    if not is_text(inputs):
        return dict(inputs)
    short = {name: _few(inputs[name]) for name in ("input_ids", "decoder_input_ids") if name in inputs}
    if "token_type_ids" in inputs:
        short["token_type_ids"] = torch.zeros_like(short["input_ids"])
    return short


def _few(ids: Tensor) -> Tensor:
    """A few of the first sequence's tokens; one token alone, which cannot show who reads whom, is repeated."""
    return ids[:1, :PROBE_TOKENS] if ids.shape[-1] > 1 else ids[:1].repeat(1, 4)


def probe_inputs(hf: PreTrainedModel) -> dict[str, Tensor]:
    """Inputs to find an anatomy with when none are at hand: a few ids for a text model.

    Raises:
        InputError: the model takes something else first (pixels, sound).
    """
    if hf.main_input_name != "input_ids":
        raise InputError(
            f"{type(hf).__name__} takes {hf.main_input_name}: to find its anatomy give it an input of its own, "
            f"model.find_anatomy({{'{hf.main_input_name}': ...}})"
        )
    size = int(getattr(text_config(hf), "vocab_size", PROBE_TOKENS + 1))
    ids = torch.arange(1, PROBE_TOKENS + 1, device=hf.device).remainder(size)[None]
    inputs = {"input_ids": ids}
    if hf.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :4]
    return inputs
