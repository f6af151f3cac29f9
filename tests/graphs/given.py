"""Networks whose weights are given: a tiny model's recording with these in place of its own."""

from __future__ import annotations

import numpy as np
import xarray as xr

import sociogram as sg
from sociogram.graphs.networks import Networks, networks
from tests.models.conftest import tiny_llama


def given_networks(weights: np.ndarray, **options: object) -> Networks:
    """`weights` `[layer, head, query, key]`, rounded to float32; other options as for `sg.networks`."""
    layers, heads, tokens = weights.shape[:3]
    sizes = {"num_attention_heads": heads, "num_key_value_heads": heads, "hidden_size": 4 * heads}
    model = sg.load(tiny_llama(num_hidden_layers=layers, max_position_embeddings=2048, **sizes))
    rec = sg.record(model, [i % 300 for i in range(tokens)])
    data = rec.dataset.assign(weights=(rec.dataset["weights"].dims, weights.astype(np.float32)))
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=rec.tree.attrs), rec.main: data})
    return networks(sg.Recording(tree, model=model, inputs=rec.inputs, anatomy=rec.anatomy), **options)


def two_blocks(rng: np.random.Generator, tokens: int, within: float = 0.5, between: float = 0.1) -> np.ndarray:
    """A directed graph of zeros and ones with two communities: the first half of the tokens, and the second."""
    side = np.arange(tokens) * 2 // tokens
    chance = np.where(side[:, None] == side, within, between)
    return (rng.random((tokens, tokens)) < chance).astype(np.float64)


def heads_of_chance(rng: np.random.Generator, shape: tuple[int, ...], *, causal: bool = True) -> np.ndarray:
    """Rows of chance that sum to 1, `[..., query, key]`, exact in float32."""
    weights = rng.gamma(0.5, size=shape) + 1e-3
    weights = np.where(np.tril(np.ones(shape[-2:], bool)), weights, 0) if causal else weights
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32).astype(np.float64)
