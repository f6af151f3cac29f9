"""Who may hear whom in a society: the rules of its masks, and how far a change can reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, create_bidirectional_mask, create_causal_mask

from sociogram.grow.config import SocietyConfig

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""`(sequence, head, reader, sender) -> may hear`, on positions that broadcast: transformers' own form."""


def pair_rule(config: SocietyConfig) -> Rule:
    """The rule of one layer's attention, on positions alone."""

    def isolated(batch: Tensor, head: Tensor, reader: Tensor, sender: Tensor) -> Tensor:
        return reader == sender

    def flock(batch: Tensor, head: Tensor, reader: Tensor, sender: Tensor) -> Tensor:
        return sender <= reader if config.causal else (sender <= reader) | (sender > reader)

    def neighbourhood(batch: Tensor, head: Tensor, reader: Tensor, sender: Tensor) -> Tensor:
        window, few = int(config.window or 1), int(config.global_tokens or 0)
        distance = (reader - sender).abs()
        heard = (distance < window) | (sender < few)
        if not config.causal:
            heard = heard | (reader < few)
        for step in range(int(config.far or 0)):
            heard = heard | (distance == 2 * window * 2**step)
        return heard & flock(batch, head, reader, sender)

    return {"isolated": isolated, "neighbourhood": neighbourhood}.get(config.kind, flock)


def attention_mask(config: SocietyConfig, embeds: Tensor, padding: Tensor | None, past: Any, rule: Rule | None = None) -> Any:
    """The mask of a layer, asked of the mask function that the attention implementation has registered.

    Args:
        embeds: `[batch, query, d_model]`, for its shape and type.
        padding: `[batch, key]`, 1 where a token is real, or None.
        past: the cache, or None.
        rule: another rule than the kind's own.
    """
    if rule is None and config.kind in ("flock", "attention_only", "pausing", "routed", "linear_attention"):
        create = create_causal_mask if config.causal else create_bidirectional_mask
        return create(config=config, inputs_embeds=embeds, attention_mask=padding, past_key_values=past)
    before = 0 if past is None else int(past.get_seq_length())
    interface = ALL_MASK_ATTENTION_FUNCTIONS[config._attn_implementation]
    return interface(
        batch_size=embeds.shape[0],
        q_length=embeds.shape[1],
        kv_length=before + embeds.shape[1],
        q_offset=before,
        kv_offset=0,
        mask_function=_padded(rule or pair_rule(config), padding),
        attention_mask=None,
        allow_is_causal_skip=False,
        allow_is_bidirectional_skip=False,
        dtype=embeds.dtype,
        config=config,
        use_vmap=False,
        device=embeds.device,
    )


def _padded(rule: Rule, padding: Tensor | None) -> Rule:
    """Padding is heard by nobody but itself: a reader without any sender would be no number."""
    if padding is None:
        return rule
    real = padding.bool()

    def padded(batch: Tensor, head: Tensor, reader: Tensor, sender: Tensor) -> Tensor:
        return rule(batch, head, reader, sender) & (real[batch, sender] | (reader == sender))

    return padded


def hears(config: SocietyConfig, tokens: int) -> Bool[Tensor, "query key"]:
    """Whom each token may hear in one layer, itself included.

    Of a council: through the latents, which hear all. Of a society with a learned router: everybody, since who is
    chosen depends on everybody. Of a messenger: all that its state has passed.
    """
    if config.kind == "council" or config.routing == "learned":
        return torch.ones(tokens, tokens, dtype=torch.bool)
    reader, sender = torch.arange(tokens)[:, None], torch.arange(tokens)[None]
    nobody = torch.zeros(1, dtype=torch.long)
    return pair_rule(config)(nobody, nobody, reader, sender).expand(tokens, tokens)


def reach(config: SocietyConfig, tokens: int) -> Bool[Tensor, "query key"]:
    """Whose change can be noticed by whom at the end, after all layers: outside of it logits are bit-identical."""
    direct = hears(config, tokens).double()
    heard = torch.eye(tokens, dtype=torch.float64)
    for _ in range(config.num_hidden_layers):
        heard = ((direct @ heard) > 0).double()
    return heard > 0
