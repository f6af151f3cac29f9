"""Layers of a society: hear, then think alone; each a sum onto the residual stream, behind a norm."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sociogram.grow.attending import CrossAttention, SelfAttention, Turn
from sociogram.grow.config import SocietyConfig
from sociogram.grow.hearing import Rule, attention_mask, pair_rule
from sociogram.grow.passing import FeedForward, LinearAttention, Messenger
from sociogram.grow.routing import Router

EPSILON = 1e-6


class Mlp(nn.Module):
    """What a token does alone."""

    def __init__(self, config: SocietyConfig) -> None:
        """Make two matrices."""
        super().__init__()
        width = int(config.intermediate_size or 1)
        self.up_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.down_proj = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor, share: Tensor | None = None) -> Float[Tensor, "batch query d_model"]:
        """For `hidden` `[batch, query, d_model]`; `share` `[batch, query, 1]` is a factor for each token."""
        thought = self.down_proj(nn.functional.gelu(self.up_proj(hidden)))
        return thought if share is None else thought * share


def norm(config: SocietyConfig) -> nn.Module:
    """A root-mean-square norm."""
    return nn.RMSNorm(config.hidden_size, eps=EPSILON)


class Convolution(nn.Module):
    """Each token `[batch, token, d_model]` and those before it, a sum with weights by channel; before the first stand zeros."""

    def __init__(self, config: SocietyConfig) -> None:
        """Make a weight for each of so many tokens and each channel, the token's own in the first row."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(int(config.convolution or 1), config.hidden_size))

    def forward(self, hidden: Tensor) -> Float[Tensor, "batch token d_model"]:
        """The sums."""
        count, width = hidden.shape[1], len(self.weight)
        padded = nn.functional.pad(hidden, (0, 0, width - 1, 0))
        return sum((self.weight[i] * padded[:, width - 1 - i :][:, :count] for i in range(width)), torch.zeros(()).to(hidden))


def convolution(config: SocietyConfig) -> nn.Module:
    """What a layer hears instead of the tokens: their sums, or they themselves."""
    return nn.Identity() if config.convolution is None else Convolution(config)


_MIXERS = {"messenger": Messenger, "feedforward": FeedForward, "linear_attention": LinearAttention}


class Layer(nn.Module):
    """The tokens hear, by the way of their kind, and think."""

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make the parts; a society of attention alone does not think."""
        super().__init__()
        self.mixer_norm, self.sums = norm(config), convolution(config)
        self.mixer: nn.Module = _MIXERS.get(config.kind, SelfAttention)(config, layer_idx)
        thinks = config.kind != "attention_only"
        self.mlp_norm = norm(config) if thinks else None
        self.mlp = Mlp(config) if thinks else None

    def forward(
        self, hidden: Tensor, mask: Any = None, turn: Turn | None = None, past: Any = None
    ) -> Float[Tensor, "batch query d_model"]:
        """The stream `[batch, query, d_model]` after the layer."""
        hidden = hidden + self.mixer(self.sums(self.mixer_norm(hidden)), mask=mask, turn=turn, past=past)
        if self.mlp is not None and self.mlp_norm is not None:
            hidden = hidden + self.mlp(self.mlp_norm(hidden))
        return hidden


class RoutedLayer(nn.Module):
    """A layer in which some tokens take part; the others are passed over and keep their bits.

    The chosen hear each other alone. All tokens are computed, and those passed over multiplied by 0: the layer does what a
    mixture of depths does, and does not save its time.
    """

    def __init__(self, config: SocietyConfig, layer_idx: int) -> None:
        """Make the router and the parts."""
        super().__init__()
        self.config = config
        self.router = Router(config, layer_idx)
        self.mixer_norm, self.mlp_norm = norm(config), norm(config)
        self.mixer, self.mlp = SelfAttention(config, layer_idx), Mlp(config)

    def forward(
        self, hidden: Tensor, padding: Tensor | None = None, turn: Turn | None = None
    ) -> Float[Tensor, "batch query d_model"]:
        """The stream `[batch, query, d_model]` after the layer; `padding` is 1 where a token is real."""
        share, takes_part = self.router(hidden)
        mask = attention_mask(self.config, hidden, padding, None, _among(takes_part, pair_rule(self.config)))
        hidden = hidden + self.mixer(self.mixer_norm(hidden), mask=mask, turn=turn, share=share)
        return hidden + self.mlp(self.mlp_norm(hidden), share)


def _among(takes_part: Tensor, rule: Rule) -> Rule:
    """The rule among those who take part; each of the others reads itself, which its factor of 0 takes away again."""

    def among(batch: Tensor, head: Tensor, reader: Tensor, sender: Tensor) -> Tensor:
        both = takes_part[batch, reader] & takes_part[batch, sender]
        return (rule(batch, head, reader, sender) & both) | (reader == sender)

    return among


class CrossLayer(nn.Module):
    """One sequence hears another and thinks: the latents of a council the tokens, or the tokens the latents."""

    def __init__(self, config: SocietyConfig, sums: nn.Module) -> None:
        """Make the parts; `sums` is what is heard of the others."""
        super().__init__()
        self.mixer_norm, self.source_norm, self.mlp_norm = (norm(config) for _ in range(3))
        self.sums = sums
        self.mixer, self.mlp = CrossAttention(config), Mlp(config)

    def forward(self, hidden: Tensor, others: Tensor, mask: Any = None) -> Float[Tensor, "batch query d_model"]:
        """The stream `[batch, query, d_model]` after hearing `others` `[batch, key, d_model]`."""
        hidden = hidden + self.mixer(self.mixer_norm(hidden), self.sums(self.source_norm(others)), mask)
        return hidden + self.mlp(self.mlp_norm(hidden))


class Council(nn.Module):
    """Latents hear the tokens, and the tokens hear the latents alone, layer by layer (Perceiver, Jaegle et al. 2021)."""

    def __init__(self, config: SocietyConfig) -> None:
        """Make the latents, and two layers for each of the society's."""
        super().__init__()
        self.latents = nn.Embedding(int(config.latents or 1), config.hidden_size)
        count = config.num_hidden_layers
        self.gather = nn.ModuleList(CrossLayer(config, convolution(config)) for _ in range(count))
        self.tell = nn.ModuleList(CrossLayer(config, nn.Identity()) for _ in range(count))

    def forward(self, hidden: Tensor, mask: Any = None) -> Float[Tensor, "batch query d_model"]:
        """The tokens' stream `[batch, query, d_model]` after all layers; `mask` says which tokens the latents may hear."""
        latents = self.latents.weight + torch.zeros_like(hidden[:, :1])  # the same for each sequence
        for gather, tell in zip(self.gather, self.tell, strict=True):
            latents = gather(latents, hidden, mask)
            hidden = tell(hidden, latents)
        return hidden


def council_mask(hidden: Tensor, padding: Tensor | None, implementation: str) -> Tensor | None:
    """What keeps the latents from padding: `[batch, 1, 1, key]`, boolean, or additive for transformers' "eager"."""
    if padding is None or bool(padding.all()):
        return None
    real = padding.bool()[:, None, None]
    if implementation != "eager":
        return real
    return torch.zeros((), dtype=hidden.dtype).masked_fill(~real, torch.finfo(hidden.dtype).min)
