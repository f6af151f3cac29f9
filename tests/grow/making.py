"""One small society of each kind."""

from __future__ import annotations

import torch

from sociogram.grow import KINDS, Society, SocietyConfig

SIZES = {"vocab_size": 19, "hidden_size": 16, "num_hidden_layers": 2, "max_position_embeddings": 32}
OWN: dict[str, dict[str, object]] = {
    "messenger": {"cell": "lstm"},
    "neighbourhood": {"window": 2, "far": 1, "global_tokens": 1},
    "council": {"latents": 3},
    "routed": {"routed_share": 0.4},
    "pausing": {"pauses": 2},
}
SPECIES: dict[str, dict[str, object]] = {kind: {"kind": kind, **OWN.get(kind, {})} for kind in KINDS}
SPECIES |= {
    "rnn": {"kind": "messenger", "cell": "rnn"},
    "xlstm": {"kind": "messenger", "cell": "xlstm"},
    "window": {"kind": "neighbourhood", "window": 3},
    "random routing": {"kind": "routed", "routed_share": 0.4, "routing": "random"},
    "nowhere": {"kind": "flock", "positions": "none"},
    "learned": {"kind": "flock", "positions": "learned"},
    "sinusoidal": {"kind": "flock", "positions": "sinusoidal"},
    "all around": {"kind": "flock", "causal": False},
    "village": {"kind": "neighbourhood", "window": 2, "global_tokens": 1, "causal": False},
    "mixer": {"kind": "feedforward", "causal": False},
    "convolved": {"kind": "neighbourhood", "window": 2, "convolution": 3},
    "linear around": {"kind": "linear_attention", "causal": False},
}
"""Every kind, and the variants that take another way through the code."""


def config(name: str, **more: object) -> SocietyConfig:
    return SocietyConfig(**{**SIZES, **SPECIES[name], **more})


def society(name: str, seed: int = 0, **more: object) -> Society:
    """Random weights, larger than training starts from, so that everything matters; float64."""
    torch.manual_seed(seed)
    made = Society(config(name, **more)).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    return made


def ids(tokens: int, seed: int = 0, count: int = 1) -> torch.Tensor:
    return torch.randint(SIZES["vocab_size"], (count, tokens), generator=torch.Generator().manual_seed(seed))
