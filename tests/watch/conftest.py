"""Recordings of tiny random models, one per structural class, made once."""

from __future__ import annotations

from functools import cache

import torch

import sociogram as sg
from tests import zoo

_NAMES = "llama gpt2 bert gemma2 olmo2 gpt_neox deepseek_v3 t5 whisper gpt_oss qwen3_next bitnet granite vit"
CLASSES = tuple(_NAMES.split())


@cache
def specimen(name: str, dtype: torch.dtype = torch.float32) -> zoo.Specimen:
    return zoo.build(name, dtype=dtype)


@cache
def tiny(name: str, keep: str = "qkv") -> sg.Recording:
    """A recording of one sequence of a tiny model."""
    made = specimen(name)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    return sg.record(sg.load(made.model), inputs, keep=keep).sequence(0)
