"""What texts mean, as vectors: sentence embeddings by MiniLM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from sociogram.models.loading import load
from sociogram.models.model import Model

NAME = "minilm-l6"
LONGEST = 256
"""Tokens of a text that are read: what the model was trained with."""
BATCH = 32


def meanings(texts: Sequence[str]) -> Float[np.ndarray, "text width"]:
    """Unit vectors whose products are cosines: means over all tokens (padding left out), as the model was trained to be read.

    Raises:
        ModelNotFoundError: the model cannot be had.
    """
    model = _model()
    rows = [_batch(model, texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    return np.concatenate(rows)


def _batch(model: Model, texts: Sequence[str]) -> Float[np.ndarray, "text width"]:
    assert model.tokenizer is not None
    given = model.tokenizer(list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    given = {name: value.to(model.device) for name, value in given.items()}
    with torch.no_grad():
        states = model.hf(**given).last_hidden_state.float()
    real = given["attention_mask"][..., None]
    means = (states * real).sum(1) / real.sum(1)
    found: np.ndarray = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
    return found


@cache
def _model() -> Model:
    return load(NAME)
