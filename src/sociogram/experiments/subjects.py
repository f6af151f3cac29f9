"""What real models are asked with: the model itself, the same architecture with weights not trained, and texts of one length."""

from __future__ import annotations

import copy

import torch

import sociogram as sg

TEXTS = (
    "The harbour was quiet when the old pilot walked down to the boats. He had counted the lamps on the far shore every night "
    "for forty years, and tonight one of them was missing. He told his daughter, who kept the books of the ferry, and she "
    "laughed and said that lamps break. But the next evening another was gone, and the one after that, until the bay lay dark.",
    "A model reads a sentence as a row of numbers, one vector for each piece of a word. In every layer each vector asks a "
    "question, hears what the others have to say, and moves a little. After thirty such rounds the last vector is compared with "
    "every word that the model knows, and the nearest of them is what it says next. Nobody told it which words belong together.",
    "To make the bread, mix flour and water the evening before and leave the bowl under a cloth. In the morning add salt and a "
    "spoon of honey, fold the dough four times, and wait an hour between the folds. Heat the stone until it is too hot to touch. "
    "Bake the loaf for forty minutes, and do not cut it while it is warm, however good it smells.",
)
"""Texts written for this, of at least 64 tokens in the models that load without a hub."""


def fresh(model: sg.Model, seed: int) -> sg.Model:
    """A model of the same class and configuration as its own code initialises it; the caller's random state stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hf = type(model.hf)(copy.deepcopy(model.hf.config))
    hf.eval().to(dtype=model.dtype, device=model.device)
    return sg.load(hf, tokenizer=model.tokenizer)


def pieces(model: sg.Model, texts: int, tokens: int) -> list[list[int]]:
    """The first `tokens` token ids of the first `texts` texts; what the tokenizer adds at the end is cut off with the rest.

    Raises:
        InputError: more texts than there are, or a text that has fewer tokens.
    """
    if not 1 <= texts <= len(TEXTS):
        raise sg.InputError(f"texts={texts}: there are {len(TEXTS)}")
    found = [model.encode(text)["input_ids"][0].tolist() for text in TEXTS[:texts]]
    shortest = min(map(len, found))
    if not 2 <= tokens <= shortest:
        raise sg.InputError(f"tokens={tokens}: 2 to {shortest}, which the shortest of the texts has for {model.name}")
    return [ids[:tokens] for ids in found]
