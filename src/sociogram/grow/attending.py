"""Tokens that hear each other by attention, called through transformers' own interface, so that it can be watched and steered."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sociogram.grow.config import SocietyConfig

Turn = tuple[Tensor, Tensor]
"""Cosines and sines `[batch, token, d_head]` of the places at which tokens stand."""


def openly(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: Any
) -> tuple[Tensor, Tensor]:
    """Attention in plain sums (transformers' "eager"): the output `[batch, query, head, d_head]` and the weights."""
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def rotate_half(x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
    """The second half negated before the first: what a quarter turn makes of pairs of channels half a width apart."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def apply_rotary_pos_emb(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys `[batch, head, token, d_head]` turned by their places (Su et al. 2021)."""
    cos, sin = cos[:, None], sin[:, None]
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class Rotary(nn.Module):
    """Cosines and sines of places: pair `i` of a head's channels turns by `place * 10000 ** (-2 i / d_head)`."""

    def __init__(self, config: SocietyConfig) -> None:
        """Take the width of a head."""
        super().__init__()
        self.width = config.head_dim

    def forward(self, hidden: Tensor, position_ids: Tensor) -> Turn:
        """The tables for places `[batch, token]`, in the type of `hidden`."""
        steps = torch.arange(0, self.width, 2, device=hidden.device, dtype=torch.float64) / self.width
        angles = position_ids[..., None].double() * 10000.0**-steps
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(hidden.dtype), angles.sin().to(hidden.dtype)


class SelfAttention(nn.Module):
    """Softmax attention among the tokens; whom a token may hear is in the mask."""

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make the four projections, without biases."""
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        self.is_causal = bool(config.causal)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.hidden_size, config.hidden_size, bias=False) for _ in range(4)
        )

    def forward(
        self, hidden: Tensor, mask: Any = None, turn: Turn | None = None, past: Any = None, share: Tensor | None = None
    ) -> Float[Tensor, "batch query d_model"]:
        """What each token heard.

        Args:
            hidden: `[batch, query, d_model]`.
            mask: as the implementation's mask function made it.
            turn: cosines and sines, where positions are rotary.
            past: the cache, or None.
            share: `[batch, query, 1]`, a factor for what each token heard, or None.
        """
        shape = (*hidden.shape[:-1], -1, self.head_dim)
        query, key, value = (
            projection(hidden).view(shape).transpose(1, 2) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if turn is not None:
            query, key = apply_rotary_pos_emb(query, key, *turn)
        if past is not None:
            key, value = past.update(key, value, self.layer_idx)
        heard = attend(self, query, key, value, mask)
        return self.o_proj(heard if share is None else heard * share)


class CrossAttention(nn.Module):
    """Softmax attention of one sequence to another."""

    def __init__(self, config: SocietyConfig) -> None:
        """Make the four projections, without biases."""
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(config.hidden_size, config.hidden_size, bias=False) for _ in range(4)
        )

    def forward(self, hidden: Tensor, others: Tensor, mask: Any = None) -> Float[Tensor, "batch query d_model"]:
        """What each token of `hidden` `[batch, query, d_model]` heard from `others` `[batch, key, d_model]`."""
        query = self.q_proj(hidden).view(*hidden.shape[:-1], -1, self.head_dim).transpose(1, 2)
        key, value = (
            projection(others).view(*others.shape[:-1], -1, self.head_dim).transpose(1, 2)
            for projection in (self.k_proj, self.v_proj)
        )
        return self.o_proj(attend(self, query, key, value, mask))


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **more: Any
) -> Float[Tensor, "batch query d_model"]:
    """One call of the attention function that the model is set to, its heads laid side by side; `more` is handed to it."""
    interface = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, openly)
    heard, _ = interface(module, query, key, value, mask, scaling=module.scaling, dropout=0.0, **more)
    return heard.reshape(*heard.shape[:2], -1).contiguous()
