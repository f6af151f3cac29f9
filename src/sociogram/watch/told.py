"""From what was streamed of one attention branch to the variables that a recording keeps of it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.models.run import HeardRun
from sociogram.watch.account import gram_factor
from sociogram.watch.streamed import Streamed

ROWS = ("lse", "entropy", "distance", "attention_sum", "self_share", "first_share", "sink_weight")
"""Numbers of a row that are kept as they were read."""
CHOICE = ("top_key", "top_attention", "top_message", "kept_share")
"""Variables that need the strongest keys to be found."""
COLUMNS = ("received", "influence")
"""Variables that need column sums."""


def variables(heard: HeardRun, names: AbstractSet[str]) -> dict[str, Tensor]:
    """What a recording keeps of one branch that was read in blocks, as far as it is among `names`; each `[batch, ...]`."""
    streamed: Streamed = heard.told.streamed
    found = {name: streamed.number(name) for name in ROWS if name in names}
    if not bool(streamed.number("sink_weight").any()):
        found.pop("sink_weight", None)
    found |= {"value_norm": streamed.sizes, "edge_count": streamed.edges}
    if "message_sum" in names:
        found["message_sum"] = _message_sum(heard, streamed)
    if names & set(CHOICE):
        messages = _messages(heard, streamed)
        found |= {"top_key": streamed.keys, "top_attention": streamed.attention, "top_message": messages}
        found["kept_share"] = _kept_share(heard, streamed, messages)
    if names & set(COLUMNS):
        found |= {"received": streamed.columns, "influence": _influence(heard, streamed)}
    if "value_vector" in names:
        found["value_vector"] = heard.told.value[:, :, : streamed.sizes.shape[-1]]
    return {name: value for name, value in found.items() if name in names}


def _scaled(heard: HeardRun, numbers: Tensor) -> Tensor:
    """Numbers `[batch, head, query, ...]` times what each reader's messages are scaled by."""
    if heard.scale is None:
        return numbers
    scale = heard.scale.abs()[:, None].to(numbers)
    return numbers * scale.view(*scale.shape, *[1] * (numbers.ndim - 3))


def _message_sum(heard: HeardRun, streamed: Streamed) -> Float[Tensor, "batch head query"]:
    """Sum of the norms of all messages a reader heard in a head; NaN where a gate gives each reader value norms of its own."""
    total = _scaled(heard, streamed.number("message_sum"))
    return torch.full_like(total, torch.nan) if heard.gate is not None else total


def _messages(heard: HeardRun, streamed: Streamed) -> Float[Tensor, "batch head query rank"]:
    """Norms of the strongest keys' messages."""
    if heard.gate is None:
        return _scaled(heard, streamed.messages)
    factor = gram_factor(heard.matrix).to(heard.told.value.dtype)
    heads, group = heard.matrix.shape[0], heard.matrix.shape[0] // heard.told.value.shape[1]
    norms = torch.empty_like(streamed.attention)
    for head in range(heads):  # one head at a time: the values of all kept edges at once would be large
        keys: Int[Tensor, "batch query rank"] = streamed.keys[:, head].clamp(min=0).long()
        value = torch.stack([own[index] for own, index in zip(heard.told.value[:, head // group], keys, strict=True)])
        gated = value * heard.gate[:, :, head, None]
        norms[:, head] = streamed.attention[:, head] * (gated @ factor[head]).norm(dim=-1)
    return _scaled(heard, norms)


def _kept_share(heard: HeardRun, streamed: Streamed, messages: Tensor) -> Float[Tensor, "batch head query"]:
    """What the strongest keys carry of what they were ranked by."""
    if streamed.by == "message":
        return messages.sum(-1) / _message_sum(heard, streamed)
    return streamed.attention.sum(-1) / streamed.number("attention_sum")


def _influence(heard: HeardRun, streamed: Streamed) -> Float[Tensor, "batch head band key"]:
    """Norms of what each key told, by distance; NaN where a gate gives each reader value norms of its own."""
    if heard.gate is not None:
        return torch.full_like(streamed.columns, torch.nan)
    given = streamed.columns if heard.scale is None else streamed.again(heard.scale.abs())
    return given * streamed.sizes[:, :, None]
