"""Several tasks as one: each batch is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sociogram.grow.tasks import Batch, Task, refuse


@dataclass(frozen=True)
class Mixture:
    """Tasks of different lengths, one drawn for each batch; a task that is given twice is drawn twice as often.

    One society is thereby trained on short and on long sequences, and tested on each (`score(society, mixture.tasks[0])`).

    Misleads: `chance` and `blind` are means over the tasks; a score on the mixture itself hides which of them was done.
    """

    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        """Check that one society can be asked all, and that lengths tell them apart."""
        if not isinstance(self.tasks, tuple) or not self.tasks or not all(isinstance(task, Task) for task in self.tasks):
            raise refuse(self, "tasks", "a mixture is made of tasks", "Give one or more, as a tuple.")
        if any(task.asks != "token" or task.vocab_size is None for task in self.tasks):
            raise refuse(self, "tasks", "a society has answers of one kind, and these are not all tokens", "Mix those that are.")
        lengths = {task.length: task for task in self.tasks}
        if any(lengths[task.length] != task for task in self.tasks):
            raise refuse(self, "tasks", "two different ones have the same length, which tells them apart", "Change a length.")

    @property
    def asks(self) -> Literal["token", "class", "number"]:
        """Tokens."""
        return "token"

    @property
    def vocab_size(self) -> int:
        """Of the task with the most tokens."""
        return max(int(task.vocab_size or 0) for task in self.tasks)

    @property
    def length(self) -> int:
        """Of the longest."""
        return max(task.length for task in self.tasks)

    @property
    def chance(self) -> float:
        """The mean over the tasks."""
        return sum(task.chance for task in self.tasks) / len(self.tasks)

    @property
    def blind(self) -> float:
        """The mean over the tasks."""
        return sum(task.blind for task in self.tasks) / len(self.tasks)

    @property
    def leaks(self) -> bool:
        """Whether one of them does."""
        return any(task.leaks for task in self.tasks)

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences of one task."""
        drawn = int(torch.randint(len(self.tasks), (1,), generator=generator))
        return self.tasks[drawn].batch(count, generator)

    def oracle(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The answers of the task that has sequences of this length."""
        length = batch["input_ids"].shape[1]
        return next(task for task in self.tasks if task.length == length).oracle(batch)
