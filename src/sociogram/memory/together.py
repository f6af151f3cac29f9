"""Several texts read at once after one past, their next-token distributions compared, and texts sampled to be read so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.inputs import check_length, takes
from sociogram.models.quiet import quiet
from sociogram.steering.past import Past
from sociogram.steering.prefill import fresh_cache
from sociogram.steering.reading import given_positions


def padded(texts: Sequence[Int[Tensor, " _"]]) -> tuple[Int[Tensor, "text token"], Bool[Tensor, "text token"]]:
    """Ids filled up at their ends, which nobody before hears in a causal model, and which of them are real."""
    rows = torch.nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
    lengths = torch.tensor([len(text) for text in texts], device=rows.device)
    return rows, torch.arange(rows.shape[1], device=rows.device) < lengths[:, None]


def arguments(past: Past, rows: Int[Tensor, "text token"], keys: Sequence[Tensor], values: Sequence[Tensor]) -> dict[str, Any]:
    """Arguments of one pass over several texts after a past whose keys and values these are; gradients reach them."""
    hf, count = past.model.hf, rows.shape[1]
    check_length(hf, past.next_position + count)
    places = given_positions(past, torch.arange(past.next_position, past.next_position + count, device=rows.device))
    mask = torch.ones(len(rows), len(past) + count, dtype=torch.long, device=rows.device)
    given = {"attention_mask": mask} if takes(hf, "attention_mask") else {}
    cache = fresh_cache(tuple(keys), tuple(values), len(rows))
    expanded = {name: at.expand(len(rows), -1) for name, at in places.items()}
    return {"input_ids": rows, "past_key_values": cache, "use_cache": True, **given, **expanded}


def predictions(
    past: Past, rows: Int[Tensor, "text token"], keys: Sequence[Tensor], values: Sequence[Tensor]
) -> Float[Tensor, "text token vocabulary"]:
    """Logarithms of the next-token probabilities after each token, in single precision at least.

    Raises:
        InputError: no room for so many tokens; a model without logits per token.
    """
    logits = getattr(past.model.hf(**arguments(past, rows, keys, values)), "logits", None)
    if logits is None:
        raise InputError(f"{type(past.model.hf).__name__} gives no logits per token: load it with a language-modelling head")
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)


def divergence(one: Float[Tensor, "*token vocabulary"], other: Float[Tensor, "*token vocabulary"]) -> Float[Tensor, "*token"]:
    """KL(one || other) in nats, of logarithms of probabilities."""
    return (one.exp() * (one - other)).sum(-1)


def sampled(past: Past, count: int, length: int, seed: int) -> list[Int[Tensor, " _"]]:
    """Continuations of a past, drawn from the model's own distribution (temperature 1, nothing cut off, ends put off).

    Raises:
        InputError: a model that cannot generate; no room.
    """
    hf = past.model.hf
    if not hf.can_generate():
        raise InputError(f"{type(hf).__name__} cannot generate, so that no examples can be sampled from it: give examples=[...]")
    whole = past.whole(None)
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": count, "num_beams": 1}
    lengths = {"max_new_tokens": length, "min_new_tokens": length, "pad_token_id": 0}
    with quiet(), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        ids = hf.generate(**whole, **past.generation(whole, length, count), **settings, **lengths)
    return list(ids[:, whole["input_ids"].shape[1] :])
