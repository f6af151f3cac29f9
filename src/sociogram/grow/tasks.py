"""What a society may be asked: the form of every task, and what its generators share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.grow.answers import NOTHING

Batch = dict[str, Tensor]
"""`input_ids` `[batch, query]` (or `vectors` `[batch, query, vector]`) and `labels`, aligned with the answers and not shifted."""


@runtime_checkable
class Task(Protocol):
    """A generator of questions whose answers are known.

    Attributes:
        asks: the kind of answer: `"token"` (labels `[batch, query]`, -100 where nothing is asked), `"class"` (`[batch]`),
            `"number"` (`[batch, query]`, NaN where nothing is asked).
        vocab_size: how many tokens there are; None for vectors.
        length: tokens of each sequence.
        chance: the accuracy (with numbers: the loss) of who knows which answers the sequence offers, but not which is right.
        blind: the accuracy (loss) of the best answer given always, whatever was read.
        leaks: whether an answer stands in the input behind its question, so that only a causal society is really asked.
    """

    @property
    def asks(self) -> Literal["token", "class", "number"]:
        """The kind of answer."""

    @property
    def vocab_size(self) -> int | None:
        """How many tokens there are."""

    @property
    def length(self) -> int:
        """Tokens of each sequence."""

    @property
    def chance(self) -> float:
        """Accuracy of a guess among the answers that the sequence offers."""

    @property
    def blind(self) -> float:
        """Accuracy of the best answer given always."""

    @property
    def leaks(self) -> bool:
        """Whether answers stand in the input behind their questions."""

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences with their labels, drawn from the generator (torch's global one when left out)."""

    def oracle(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The answers by the rules, in the form of the labels, from what a society would read alone; -100 (NaN) for none."""


def asked(labels: Tensor) -> Tensor:
    """Where something is asked."""
    return ~labels.isnan() if labels.is_floating_point() else labels != NOTHING


def accuracy(answers: Tensor, labels: Tensor) -> float:
    """The share of what is asked that was answered right."""
    where = asked(labels)
    return float((answers[where] == labels[where]).double().mean())


def majority(labels: Int[Tensor, ...]) -> float:
    """The share of the commonest label: the accuracy of saying it always."""
    answers = labels[asked(labels)]
    return float(answers.unique(return_counts=True)[1].max()) / answers.numel()


def distinct(count: int, few: int, of: int, generator: torch.Generator | None) -> Int[Tensor, "count few"]:
    """Rows of `few` different numbers below `of`, every order equally likely."""
    return torch.rand(count, of, generator=generator).topk(few, dim=-1).indices


def refuse(task: object, option: str, why: str, fix: str) -> InputError:
    """The error for one option of a task."""
    return InputError(f"{type(task).__name__}({option}={getattr(task, option)!r}): {why}. {fix}")
