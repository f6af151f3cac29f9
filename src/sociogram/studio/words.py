"""The logit lens of a frame: words for as many tokens and stops as a page needs and an export may cost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import sociogram as sg
from sociogram.studio import frame

CELLS = 4_000
"""At most so many unembeddings: about 5 seconds for the default model; all stops of 2,048 tokens would be 125,000."""


def words_of(rec: sg.Recording, put: Callable[[str, np.ndarray, type], None]) -> frame.Words | None:
    """Words of the last tokens at the first stop and at the end of every layer; None where the model has none."""
    if rec.model is None or rec.anatomy.head.problem:
        return None
    parts, layers = rec.dataset["stop_part"].values, rec.dataset["stop_layer"].values
    ends = [i for i in range(len(parts)) if i + 1 == len(parts) or layers[i] != layers[i + 1] or parts[i] == "input"]
    tokens = list(range(len(rec.tokens)))[-max(1, CELLS // len(ends)) :]
    seen = rec.lens(stops=ends, queries=tokens)
    vocabulary, index = np.unique(seen["word"].values[..., 0].astype(str), return_inverse=True)
    put("word", index.reshape(len(ends), len(tokens)), np.uint16)
    put("word_probability", seen["probability"].values[..., 0], np.float32)
    return {"vocabulary": vocabulary.tolist(), "stops": ends, "tokens": tokens}
