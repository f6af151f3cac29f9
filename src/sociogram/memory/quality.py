"""What is left of a text that was pressed, measured on prompts, beside what costs nothing and what means nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.memory.dense import Dense
from sociogram.memory.together import divergence
from sociogram.models.continuing import following
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.steering.past import Past
from sociogram.steering.splice import at
from sociogram.steering.steer import steer
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    from sociogram.memory.densify import Pressing

Read: TypeAlias = Callable[[Int[Tensor, " token"]], Float[Tensor, "token vocabulary"]]
COLUMNS = [
    "reading", "kind", "vectors", "kl", "closed", "agree", "kl_last", "closed_last", "agree_last",
    "tokens_saved", "bytes", "bytes_saved",
]  # fmt: skip
ANOTHER = (
    "Bread is made of flour, water, salt and yeast. The flour is sifted into a wide bowl, the yeast is stirred into warm "
    "water, and both are worked with the hands until the dough no longer sticks. It is covered with a cloth and left by the "
    "stove for an hour, in which it doubles. Then it is folded, shaped into two loaves, and baked on a hot stone until the "
    "crust is brown. A loaf that is done sounds hollow when it is struck from below. It keeps for four days in a wooden "
    "box, and what is left after that is cut into slices, dried, and eaten with soup. In winter the dough needs longer, and "
    "the bowl is put into the bed. "
)
"""A text about something else, for those who name none."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One way of reading prompts: its name and kind, how it is done, how many vectors it keeps and how many bytes."""

    name: str
    kind: str
    read: Read = field(repr=False)
    vectors: int
    size: int


def quality(
    dense: Dense, prompts: Sequence[Promptable], *, controls: bool, other: Dense | Promptable | None, seed: int
) -> pd.DataFrame:
    """The table of `Dense.quality`."""
    asked = asked_of(dense.model, prompts)
    full = Past.of(dense.model, dense.ids.tolist())
    ways = [*basic(full, asked), *own(dense)]
    if controls:
        ways += [*cheap(full, len(dense)), *nulls(dense, another(dense, other), seed)]
    return table(ways, [ids for ids, _ in asked])


Asked: TypeAlias = list[tuple[Tensor, Promptable]]
"""Ids `[token]` of each prompt as it is read on, and the prompt as it was given."""


def asked_of(model: Model, prompts: Sequence[Promptable]) -> Asked:
    """Prompts as they are read after a past.

    Raises:
        InputError: none, or one text in the place of a list.
    """
    if isinstance(prompts, str) or not len(prompts):
        raise InputError(f"quality prompts={prompts!r}: give a list of prompts that were not seen while the text was pressed")
    return [(following(model.hf, model.tokenizer, one), one) for one in prompts]


def basic(full: Past, asked: Asked) -> Iterator[Reading]:
    """The whole text, and none."""
    given = {tuple(ids.tolist()): prompt for ids, prompt in asked}
    yield Reading("whole text", "whole", full.logits, len(full), size_of(full))

    def alone(ids: Tensor) -> Tensor:
        """As it was given, with what a tokenizer puts before a text."""
        return full.model.logits(given[tuple(ids.tolist())])[-len(ids) :]

    yield Reading("no text", "control", alone, 0, 0)


def own(dense: Dense) -> Iterator[Reading]:
    """A pressed text in all the ways in which it can be put back."""
    size = size_of(dense.past)
    yield Reading(f"{dense.method}", "dense", dense.logits, len(dense), size)
    if dense.edits:
        yield Reading(f"{dense.method}, each as one token", "dense", dense.past.logits, len(dense), size)
    added = sum(edit.vector.width for edit in dense.additions) * dense.past.keys[0].itemsize
    yield Reading("additions", "dense", _under_additions(dense), 0, added)


def _under_additions(dense: Dense) -> Read:
    def read(ids: Tensor) -> Tensor:
        if len(ids) == 1:  # a first token, which they leave alone
            return dense.model.logits(ids)
        with steer(dense.model, dense.additions) as steered:
            return steered.logits(ids)

    return read


def cheap(full: Past, vectors: int) -> Iterator[Reading]:
    """As many of the text's own tokens."""
    first, last = full[:vectors], full[len(full) - vectors :]
    alone = Past.of(full.model, full.ids[len(full) - vectors :].tolist())
    ways = {
        "last n tokens, read alone": alone,
        "last n of the past": last,
        "first n of the past": replace(first, next_position=full.next_position),
    }
    if vectors > 1:
        ways["first and last n-1 of the past"] = full[[0, *range(len(full) - vectors + 1, len(full))]]
    for name, past in ways.items():
        yield Reading(name, "control", past.logits, vectors, size_of(past))


def nulls(dense: Dense, foreign: Dense, seed: int) -> Iterator[Reading]:
    """What means nothing: vectors of another text, these in another order, random ones as long as these."""
    size = size_of(dense.past)
    yield Reading("another text", "control", foreign.logits, len(foreign), size_of(foreign.past))
    draw = torch.Generator().manual_seed(seed)
    for name, past in (("vectors in another order", shuffled(dense, draw)), ("random vectors", random(dense.past, draw))):
        if past is not None:
            yield Reading(name, "control", replace(dense, past=past).logits, len(dense), size)


def another(dense: Dense, other: Dense | Promptable | None) -> Dense:
    """Another text in as many vectors, pressed as this one was.

    Raises:
        InputError: of another model, or of another number of vectors; a text that is too short.
    """
    from sociogram.memory.densify import pressed

    if isinstance(other, Dense):
        if other.model.hf is not dense.model.hf or len(other) != len(dense):
            raise InputError(f"quality other={other!r}: a text pressed into {len(dense)} vectors of {dense.model.name} is needed")
        return other
    pressing: Pressing = dense.pressing
    if not isinstance(pressing.examples, int):
        pressing = replace(pressing, examples=[following(dense.model.hf, dense.model.tokenizer, e) for e in pressing.examples])
    full = Past.of(dense.model, _passage(dense.model, len(dense.ids)) if other is None else other)
    if len(full) < len(dense):
        raise InputError(f"quality other={other!r}: it has {len(full)} tokens, and {len(dense)} are needed to be as many vectors")
    return pressed(full, len(dense), pressing)


def _passage(model: Model, tokens: int) -> list[int]:
    """So many tokens of our own passage, again and again; of counted ids where there is no tokenizer."""
    if model.tokenizer is None:
        size = model.hf.get_input_embeddings().num_embeddings
        return [(7 * i + 3) % size for i in range(tokens)]
    return list(islice(cycle(model.tokenizer(ANOTHER)["input_ids"]), tokens))


def shuffled(dense: Dense, draw: torch.Generator) -> Past | None:
    """The vectors at each other's places, the first token kept where it is; None where there is one, or none can be moved."""
    past, fixed = dense.past, int(dense.pressing.keep_first and len(dense) > 1)
    free = len(past) - fixed
    if free < 2 or past.rotation.kind == "absolute":
        return None
    order = torch.randperm(free, generator=draw)
    while bool((order == torch.arange(free)).all()):
        order = torch.randperm(free, generator=draw)
    order = torch.cat([torch.arange(fixed), order + fixed]).to(past.ids.device)
    keys, values = (tuple(tensor[:, order] for tensor in tensors) for tensors in (past.keys, past.values))
    mixed = replace(past, positions=past.positions[order], keys=keys, values=values)
    return at(mixed, past.positions, past.next_position)


def random(past: Past, draw: torch.Generator) -> Past:
    """Keys and values in random directions, each as long as the one in whose place it stands."""

    def like(tensor: Tensor) -> Tensor:
        noise = torch.randn(tensor.shape, generator=draw).to(tensor)
        return noise * (tensor.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True))

    return replace(past, keys=tuple(map(like, past.keys)), values=tuple(map(like, past.values)))


def size_of(past: Past) -> int:
    """Bytes of the keys and values."""
    return sum(tensor.numel() * tensor.itemsize for tensor in (*past.keys, *past.values))


def table(ways: Sequence[Reading], asked: Sequence[Tensor]) -> pd.DataFrame:
    """All ways of reading, compared with the first; the second is without text."""
    seen: list[list[tuple[float, ...]]] = []
    with bar("Reading", len(ways), len(ways), "ways") as advance, torch.no_grad():
        whole = [_log_probabilities(ways[0].read(ids)) for ids in asked]
        for way in ways:
            seen.append([_compared(one, _log_probabilities(way.read(ids))) for one, ids in zip(whole, asked, strict=True)])
            advance(1)
    means = torch.tensor(seen, dtype=torch.float64).mean(1)
    rows = [_row(way, ways[0], mean.tolist(), means[1].tolist()) for way, mean in zip(ways, means, strict=True)]
    found = pd.DataFrame(rows, columns=COLUMNS)
    found.attrs = {"prompts": len(asked), "tokens": sum(map(len, asked)), "text_tokens": ways[0].vectors}
    return found


def _log_probabilities(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), -1)


def _compared(whole: Tensor, here: Tensor) -> tuple[float, ...]:
    """KL and agreement, over all tokens of a prompt and at its last."""
    kl, same = divergence(whole, here).clamp_min(0), (whole.argmax(-1) == here.argmax(-1)).double()
    return float(kl.mean()), float(same.mean()), float(kl[-1]), float(same[-1])


def _row(way: Reading, whole: Reading, mean: list[float], none: list[float]) -> tuple[object, ...]:
    kl, agree, kl_last, agree_last = mean
    closed, closed_last = (1 - here / gap if gap > 0 else float("nan") for here, gap in ((kl, none[0]), (kl_last, none[2])))
    saved = whole.vectors - way.vectors, way.size, whole.size - way.size
    return way.name, way.kind, way.vectors, kl, closed, agree, kl_last, closed_last, agree_last, *saved
