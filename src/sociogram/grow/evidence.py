"""Tasks with one answer for a sequence: planted evidence, and linear regression from examples in the context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.grow.tasks import Batch, distinct, refuse


@dataclass(frozen=True)
class Evidence:
    """Neutral tokens among which a few speak for a class: `clues` for the right one, `distractors` (fewer) for others.

    Token 0 comes first and means nothing (the place to read by `pool="cls"`); the next `classes * markers` tokens speak for the
    classes, `markers` for each; all others are neutral.
    """

    classes: int = 4
    length: int = 32
    clues: int = 2
    distractors: int = 1
    markers: int = 4
    vocab_size: int = 64
    asks: ClassVar[Literal["class"]] = "class"
    leaks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check that the answer is the only one."""
        if self.classes < 2:
            raise refuse(self, "classes", "a question has two answers at least", "Give 2 or more.")
        if not 0 <= self.distractors < self.clues:
            raise refuse(self, "distractors", f"they must be fewer than the {self.clues} clues", "Give fewer, or more clues.")
        if self.length < 1 + self.clues + self.distractors:
            raise refuse(self, "length", "it does not hold the evidence", "Give a greater length.")
        if self.vocab_size < 2 + self.classes * self.markers:
            raise refuse(self, "vocab_size", "no neutral token is left", f"Give {2 + self.classes * self.markers} or more.")

    @property
    def chance(self) -> float:
        """Any class."""
        return 1 / self.classes

    @property
    def blind(self) -> float:
        """Any class."""
        return self.chance

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        first = 1 + self.classes * self.markers
        ids = torch.randint(first, self.vocab_size, (count, self.length), generator=generator)
        ids[:, 0] = 0
        labels = torch.randint(self.classes, (count, 1), generator=generator)
        others = torch.randint(1, self.classes, (count, self.distractors), generator=generator)
        voices = torch.cat((labels.expand(-1, self.clues), (labels + others) % self.classes), 1)
        markers = torch.randint(self.markers, voices.shape, generator=generator)
        places = distinct(count, voices.shape[1], self.length - 1, generator) + 1
        return {"input_ids": ids.scatter(1, places, 1 + voices * self.markers + markers), "labels": labels[:, 0]}

    def oracle(self, batch: Mapping[str, Tensor]) -> Int[Tensor, " batch"]:
        """The class that most tokens speak for."""
        ids = batch["input_ids"]
        speaks = (ids >= 1) & (ids <= self.classes * self.markers)
        voice = torch.where(speaks, (ids - 1) // self.markers, self.classes)
        votes = torch.nn.functional.one_hot(voice, self.classes + 1).sum(1)
        return votes[:, :-1].argmax(-1)


@dataclass(frozen=True)
class Regression:
    """Regression in the context (von Oswald et al. 2023): `examples` of (x, w . x), then x and 0, for which w . x is asked.

    x is uniform between -1 and 1, w normal, anew for each sequence; vectors are `(x, y)`, `dimension + 1` wide. Losses are half
    the mean squared error, whose value for saying 0 always is `dimension / 6`.
    """

    dimension: int = 10
    examples: int = 10
    asks: ClassVar[Literal["number"]] = "number"
    vocab_size: ClassVar[None] = None
    leaks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for option in ("dimension", "examples"):
            if getattr(self, option) < 1:
                raise refuse(self, option, "there is nothing to learn from", "Give 1 or more.")

    @property
    def length(self) -> int:
        """The examples and the question."""
        return self.examples + 1

    @property
    def vector_size(self) -> int:
        """Width of a vector: x and y."""
        return self.dimension + 1

    @property
    def chance(self) -> float:
        """The loss of 0."""
        return self.dimension / 6

    @property
    def blind(self) -> float:
        """The loss of 0."""
        return self.chance

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        x = 2 * torch.rand(count, self.length, self.dimension, generator=generator) - 1
        w = torch.randn(count, self.dimension, 1, generator=generator)
        y = x @ w
        labels = torch.full((count, self.length), torch.nan)
        labels[:, -1] = y[:, -1, 0]
        shown = torch.cat((y[:, :-1], torch.zeros(count, 1, 1)), 1)
        return {"vectors": torch.cat((x, shown), -1), "labels": labels}

    def oracle(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "batch query"]:
        """Least squares (the shortest w where examples are too few), in double precision."""
        vectors = batch["vectors"].double()
        x, y = vectors[:, :-1, :-1], vectors[:, :-1, -1:]
        w = torch.linalg.pinv(x) @ y
        answers = torch.full(vectors.shape[:2], torch.nan, dtype=torch.float64)
        answers[:, -1] = (vectors[:, -1:, :-1] @ w)[:, 0, 0]
        return answers
