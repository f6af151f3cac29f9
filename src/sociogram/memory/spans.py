"""Tokens of a past in consecutive spans, each with one key and one value per layer and head."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.steering.past import Past
from sociogram.steering.reading import readable

Place = Literal["middle", "last"]
PLACES: tuple[Place, ...] = ("middle", "last")


def spans(tokens: int, vectors: int, *, keep_first: bool) -> list[list[int]]:
    """The numbers of so many tokens in consecutive spans, whose lengths differ by 1 at most.

    Args:
        tokens, vectors: how many of each.
        keep_first: the first token is a span of its own, wherever there are two vectors or more.
    """
    alone = [[0]] if keep_first and vectors > 1 else []
    rest = torch.arange(len(alone), tokens).tensor_split(vectors - len(alone))
    return [*alone, *(span.tolist() for span in rest)]


def averaged(past: Past, groups: list[list[int]], place: Place) -> Past:
    """One token for each span: the mean of its keys and of its values, per layer and head, at the position of one of its tokens.

    Keys are freed from their positions, averaged, and placed at the new one: the middle one's (of two, the later) or the last
    one's. A span of one token keeps its bits. What follows
    stands where it stood after the whole past. Ids are those of the spans' last tokens.

    Raises:
        InputError: keys that depend on their positions by no rotation; a model that takes no positions (holes remain).
    """
    if past.rotation.kind == "absolute":
        raise InputError(
            f"keys of {past.model.name} cannot be freed from their positions, so that no mean of several has a place: "
            f'{past.rotation.reason}. method="gist" averages nothing'
        )
    last = torch.tensor([group[-1] for group in groups], device=past.ids.device)
    stand = last if place == "last" else torch.tensor([group[len(group) // 2] for group in groups], device=past.ids.device)
    positions = past.positions[stand]
    names = {slot: name for name, slot in past.slots.items()}
    keys = []
    for slot, key in enumerate(past.keys):
        plain = _means(past.rotation.strip(names[slot], key, past.positions), groups)
        keys.append(past.rotation.place(names[slot], plain, positions).to(key.dtype))
    values = [_means(value, groups) for value in past.values]
    single = torch.tensor([len(group) == 1 for group in groups], device=past.ids.device)[:, None]
    return readable(
        named(
            replace(
                past,
                ids=past.ids[last],
                texts=past.texts[: len(groups)],
                positions=positions,
                keys=tuple(torch.where(single, old[:, last], new) for old, new in zip(past.keys, keys, strict=True)),
                values=tuple(torch.where(single, old[:, last], new) for old, new in zip(past.values, values, strict=True)),
            )
        )
    )


def _means(vectors: Float[Tensor, "kv_head token width"], groups: list[list[int]]) -> Float[Tensor, "kv_head span width"]:
    """The mean of each span, half precision summed in single."""
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return torch.stack([wide[:, group].mean(1) for group in groups], 1).to(vectors.dtype)


def named(past: Past) -> Past:
    """The same, its tokens called `<dense 1>` and on."""
    return replace(past, texts=tuple(f"<dense {i + 1}>" for i in range(len(past))))
