"""Recordings whose weights are given: a tiny model's own, with other numbers in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

import sociogram as sg
from sociogram.watch.recording import Recording
from tests.models.conftest import tiny_llama


def with_weights(weights: np.ndarray, texts: Sequence[str] | None = None) -> sg.Recording:
    """A recording with these weights `[layer, head, query, key]`; heads are 4, as the tiny model's, or repeated to be."""
    layers, heads, tokens, _ = weights.shape
    repeated = np.tile(weights, (1, 4 // heads, 1, 1))
    rec = sg.record(sg.load(tiny_llama(num_hidden_layers=layers)), list(range(5, 5 + tokens)), keep="qkv")
    dataset = rec.dataset.assign(weights=(rec.dataset["weights"].dims, repeated.astype(np.float32)))
    if texts is not None:
        dataset = dataset.assign_coords(query_token=("query", list(texts)), key_token=("key", list(texts)))
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=rec.tree.attrs), rec.main: dataset})
    return Recording(tree, model=rec.model, inputs=rec.inputs, anatomy=rec.anatomy)


def of_one(weights: np.ndarray) -> sg.Networks:
    """Networks of one graph per layer: `[layer, query, key]` or `[query, key]`, the same in all four heads."""
    stacked = weights if weights.ndim == 3 else weights[None]
    return sg.networks(with_weights(stacked[:, None]), by="layer")


def mask(tokens: int, kind: str) -> np.ndarray:
    full = np.ones((tokens, tokens), bool)
    return np.tril(full) if kind == "causal" else full


def softmaxed(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Rows that sum to 1 over the allowed pairs."""
    raised = np.where(allowed, np.exp(scores), 0.0)
    return raised / raised.sum(-1, keepdims=True)


def planted(labels: np.ndarray, allowed: np.ndarray, strength: float, seed: int, noise: float = 0.3) -> np.ndarray:
    """Attention that prefers its own block."""
    rng = np.random.default_rng(seed)
    scores = strength * (labels[:, None] == labels) + noise * rng.standard_normal(allowed.shape)
    return softmaxed(scores, allowed)


def same_groups(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two labelings divide alike."""
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())
