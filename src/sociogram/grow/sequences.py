"""Tasks on sequences of random tokens: recall, copying, repetition with a random period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.grow.answers import NOTHING
from sociogram.grow.tasks import Batch, distinct, refuse


@dataclass(frozen=True)
class Recall:
    """Multi-query associative recall (Arora et al. 2023): pairs of key and value, then each key once more, whose value is asked.

    Keys are the tokens from 1 below half the vocabulary, values those from there on. Keys come back at even distances from the
    end of the pairs, near ones more often (`power` as in the paper's code, 1 for evenly); other places hold random tokens
    (`noise`) or token 0.
    """

    vocab_size: int = 8192
    length: int = 64
    pairs: int = 4
    power: float = 0.01
    noise: bool = True
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check that everything finds its place."""
        if self.pairs < 1 or self.length < 4 * self.pairs:
            raise refuse(self, "pairs", f"each needs four of the {self.length} places", "Give fewer pairs or a greater length.")
        if self.vocab_size // 2 - 1 < self.pairs:
            raise refuse(self, "vocab_size", f"half of it does not hold {self.pairs} keys", "Give a larger one.")

    @property
    def chance(self) -> float:
        """One of the values that were told."""
        return 1 / self.pairs

    @property
    def blind(self) -> float:
        """One of all values."""
        return 1 / (self.vocab_size - self.vocab_size // 2)

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        half, told = self.vocab_size // 2, 2 * self.pairs
        keys = distinct(count, self.pairs, half - 1, generator) + 1
        values = distinct(count, self.pairs, self.vocab_size - half, generator) + half
        rest = torch.zeros(count, self.length - told, dtype=torch.long)
        if self.noise:
            rest = torch.randint(self.vocab_size, rest.shape, generator=generator)
        gaps = torch.arange(1, (self.length - told) // 2 + 1, dtype=torch.float64) ** (self.power - 1)
        places = 2 * torch.multinomial(gaps.expand(count, -1), self.pairs, generator=generator)
        labels = torch.full((count, self.length), NOTHING)
        labels[:, told:].scatter_(1, places, values)
        pairs = torch.stack((keys, values), dim=-1).flatten(1)
        return {"input_ids": torch.cat((pairs, rest.scatter(1, places, keys)), 1), "labels": labels}

    def oracle(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch query"]:
        """The value that followed the same key among the pairs."""
        ids, told = batch["input_ids"], 2 * self.pairs
        keys, values = ids[:, 0:told:2], ids[:, 1:told:2]
        same = ids[:, :, None] == keys[:, None]
        found = values.gather(1, same.int().argmax(-1))
        answers = torch.where(same.any(-1), found, NOTHING)
        answers[:, :told] = NOTHING
        return answers


@dataclass(frozen=True)
class Copy:
    """Random tokens, a separator (the last of the vocabulary), and the same tokens again, each asked at the one before it."""

    vocab_size: int = 33
    tokens: int = 16
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check that there is something to copy."""
        if self.vocab_size < 3:
            raise refuse(self, "vocab_size", "two tokens and the separator are the least", "Give 3 or more.")
        if self.tokens < 1:
            raise refuse(self, "tokens", "there is nothing to copy", "Give 1 or more.")

    @property
    def length(self) -> int:
        """The tokens, the separator, and all tokens but the last."""
        return 2 * self.tokens

    @property
    def chance(self) -> float:
        """Any token."""
        return 1 / (self.vocab_size - 1)

    @property
    def blind(self) -> float:
        """Any token."""
        return self.chance

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        text = torch.randint(self.vocab_size - 1, (count, self.tokens), generator=generator)
        separator = torch.full((count, 1), self.vocab_size - 1)
        labels = torch.cat((torch.full((count, self.tokens), NOTHING), text), 1)
        return {"input_ids": torch.cat((text, separator, text[:, :-1]), 1), "labels": labels}

    def oracle(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch query"]:
        """The token that stands as far behind the beginning as the place behind the separator."""
        text = batch["input_ids"][:, : self.tokens]
        return torch.cat((torch.full_like(text, NOTHING), text), 1)


@dataclass(frozen=True)
class Repeat:
    """Different random tokens again and again, with a period drawn for each sequence; from the second round on the next is asked.

    The first token of the second round cannot be foreseen, and is not asked.

    Misleads: a falling loss may be no more than knowing which tokens occur (`chance`). Look at accuracy and prefix matching.
    """

    vocab_size: int = 64
    length: int = 64
    shortest: int = 8
    longest: int = 24
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the periods."""
        if not 2 <= self.shortest <= self.longest:
            raise refuse(self, "shortest", f"periods go from 2 on and up to longest={self.longest}", "Choose them so.")
        if self.longest > min(self.vocab_size, self.length - 1):
            most = min(self.vocab_size, self.length - 1)
            raise refuse(self, "longest", f"tokens differ and a second round must begin: {most} is the most", "Choose it so.")

    def _asked(self) -> list[tuple[int, int]]:
        """Each period, and how many places are asked under it."""
        return [(period, self.length - period) for period in range(self.shortest, self.longest + 1)]

    @property
    def chance(self) -> float:
        """One of the sequence's tokens, but the present one."""
        return sum(many / (period - 1) for period, many in self._asked()) / sum(many for _, many in self._asked())

    @property
    def blind(self) -> float:
        """Any token."""
        return 1 / self.vocab_size

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        round_ = distinct(count, self.longest, self.vocab_size, generator)
        period = torch.randint(self.shortest, self.longest + 1, (count, 1), generator=generator)
        places = torch.arange(self.length + 1)
        text = round_.gather(1, places % period)
        labels = torch.where(places[:-1] >= period, text[:, 1:], NOTHING)
        return {"input_ids": text[:, :-1].contiguous(), "labels": labels}

    def oracle(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch query"]:
        """What followed the same token when it occurred first."""
        ids = batch["input_ids"]
        same = (ids[:, :, None] == ids[:, None]) & torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril(-1)
        found = ids.gather(1, (same.int().argmax(-1) + 1).clamp_max(ids.shape[1] - 1))
        return torch.where(same.any(-1), found, NOTHING)
