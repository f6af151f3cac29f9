"""Adapters on a frozen model's stream: an MLP that reads stream and entry side by side, attention to entries; their training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sociogram.experiments.dictionary_bases import Base


class Adapter(nn.Module):
    """Something added to the stream; nothing at first, since the last matrix starts at 0.

    The stream is read, and what is added is scaled, with each channel's mean and spread over the text to train on.
    """

    out: nn.Linear

    def __init__(self, streams: Float[Tensor, "row query d_model"]) -> None:
        """Take the scales of these streams."""
        super().__init__()
        flat = streams.flatten(0, 1)
        self.register_buffer("centre", flat.mean(0))
        self.register_buffer("spread", flat.std(0))

    def forward(self, stream: Tensor, given: Tensor, present: Tensor) -> Float[Tensor, "row query d_model"]:
        """What is added.

        Args:
            stream: `[row, query, d_model]`.
            given: `[row, query, slot, d_model]`, entries; zeros where there is none.
            present: `[row, query, slot]`, whether there is one.
        """
        spread = self.get_buffer("spread")
        return self.out(self.units((stream - self.get_buffer("centre")) / spread, given, present)) * spread

    def units(self, state: Tensor, given: Tensor, present: Tensor) -> Tensor:
        """What the last matrix reads."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """Trained parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


class Beside(Adapter):
    """An MLP that reads the stream and the entries at the same token, side by side; no token meets another here."""

    def __init__(self, streams: Tensor, units: int, slots: int = 1) -> None:
        """With so many hidden units and slots for entries; none is the same net without a dictionary."""
        super().__init__(streams)
        width = streams.shape[-1]
        self.into, self.out = nn.Linear(width * (1 + slots), units, bias=False), nn.Linear(units, width, bias=False)
        nn.init.zeros_(self.out.weight)
        self.slots = slots

    def units(self, state: Tensor, given: Tensor, present: Tensor) -> Float[Tensor, "row query unit"]:
        """Behind the non-linearity."""
        return F.gelu(self.into(torch.cat((state, given.flatten(2)), -1) if self.slots else state))


class Across(Adapter):
    """Attention from every token to the entries given at it and before it, and to a nothing that has the score and value 0."""

    def __init__(self, streams: Tensor, units: int, heads: int) -> None:
        """With so many channels of queries, keys and values in all."""
        super().__init__(streams)
        width = streams.shape[-1]
        self.ask, self.key, self.value = (nn.Linear(width, units, bias=False) for _ in range(3))
        self.out, self.heads = nn.Linear(units, width, bias=False), heads
        nn.init.zeros_(self.out.weight)

    def units(self, state: Tensor, given: Tensor, present: Tensor) -> Float[Tensor, "row query unit"]:
        """What the heads heard."""
        rows, places, slots = present.shape
        entries = given.reshape(rows, places * slots, -1)
        query, key, value = self._heads(self.ask(state)), self._heads(self.key(entries)), self._heads(self.value(entries))
        scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
        scores = scores.masked_fill(~self._heard(present)[:, None], float("-inf"))
        weights = F.pad(scores, (1, 0)).softmax(-1)[..., 1:]
        return (weights @ value).transpose(1, 2).flatten(2)

    def _heads(self, channels: Tensor) -> Float[Tensor, "row head token d_head"]:
        return channels.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _heard(self, present: Tensor) -> Bool[Tensor, "row query key"]:
        """An entry is heard by the token at which it is given and by those behind it."""
        places, slots = present.shape[1:]
        before = torch.ones(places, places, dtype=torch.bool).tril().repeat_interleave(slots, 1)
        return before & present.flatten(1)[:, None]


@dataclass(frozen=True, eq=False)
class Lesson:
    """Text behind a frozen model's lower layers, with what is given at each token.

    Attributes:
        streams: the stream before the adapter.
        labels: the next tokens.
        slots: which entries are given: rows of `table`.
        table: the entries; the first row is zeros and stands for none.
    """

    streams: Float[Tensor, "row query d_model"]
    labels: Int[Tensor, "row query"]
    slots: Int[Tensor, "row query slot"]
    table: Float[Tensor, "entry d_model"]

    def some(self, rows: Any) -> Lesson:
        """Some of the rows."""
        return Lesson(self.streams[rows], self.labels[rows], self.slots[rows], self.table)


def states(base: Base, adapter: Adapter | None, lesson: Lesson) -> Float[Tensor, "row query d_model"]:
    """The last states with what the adapter adds, or without."""
    if adapter is None:
        return base.upper(lesson.streams)
    return base.upper(lesson.streams + adapter(lesson.streams, lesson.table[lesson.slots], lesson.slots > 0))


def losses(base: Base, adapter: Adapter | None, lesson: Lesson, batch: int = 16) -> Float[Tensor, "row query"]:
    """Minus the log-probability of every next token, among all tokens of the vocabulary."""
    found = []
    with torch.no_grad():
        for rows in torch.arange(len(lesson.labels)).split(batch):
            part = lesson.some(rows)
            said = states(base, adapter, part) @ base.head.T
            found.append(F.cross_entropy(said.flatten(0, 1), part.labels.flatten(), reduction="none").view(part.labels.shape))
    return torch.cat(found)


@dataclass(frozen=True, eq=False)
class Trained:
    """An adapter, its rate, its loss on the text to choose by, and by which share of itself its training loss fell at the end."""

    adapter: Adapter
    rate: float
    check: float
    fell: float


def teach(
    base: Base, make: Callable[[], Adapter], train: Lesson, check: Lesson, *, steps: int, batch: int, rate: float, seed: int
) -> Trained:
    """Train an adapter, by Adam at a rate that falls along a cosine; the model stays as it is.

    While training, and on the text to choose by, probabilities are among the tokens that occur in the two texts: far fewer.
    """
    columns = torch.cat((train.labels.flatten(), check.labels.flatten())).unique()
    head = base.head[columns]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = make()
    adam = torch.optim.AdamW(adapter.parameters(), lr=rate, weight_decay=0.01)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)

    def lost(part: Lesson) -> Tensor:
        said = states(base, adapter, part).flatten(0, 1) @ head.T
        return F.cross_entropy(said, torch.searchsorted(columns, part.labels.flatten()))

    course = []
    with base.frozen():
        for chosen in _drawn(len(train.labels), steps, batch, seed):
            adam.zero_grad()
            loss = lost(train.some(chosen))
            loss.backward()
            adam.step()
            falling.step()
            course.append(float(loss.detach()))
    adapter.requires_grad_(False)
    with torch.no_grad():
        parts = torch.arange(len(check.labels)).split(16)
        found = sum(float(lost(check.some(rows))) * len(rows) for rows in parts) / len(check.labels)
    fifth = max(1, steps // 5)
    return Trained(adapter, rate, found, sum(course[-2 * fifth : -fifth]) / sum(course[-fifth:]) - 1)


def _drawn(rows: int, steps: int, batch: int, seed: int) -> list[Int[Tensor, " some"]]:
    """Batches of rows, every row once before any comes again."""
    draw, found = torch.Generator().manual_seed(seed), list[Tensor]()
    while len(found) < steps:
        found += [part for part in torch.randperm(rows, generator=draw).split(batch) if len(part) == min(batch, rows)]
    return found[:steps]
