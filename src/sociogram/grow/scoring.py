"""How well a society does a task, on sequences that training did not draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sociogram.core.errors import InputError
from sociogram.grow.tasks import Batch, Task, asked

_HELD = 1 << 40
"""Where the seeds of held-out sequences begin; training stays below."""


def drawn(seed: int, number: int, *, held: bool = False) -> torch.Generator:
    """The generator of one batch: a function of the run's seed and the batch's number, so that runs can go on anywhere."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number + _HELD * held)


@contextmanager
def evaluating(society: Any) -> Iterator[None]:
    """Inside, the society is in evaluation mode and no gradient is kept; afterwards it is as it was."""
    before = society.training
    society.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        society.train(before)


def score(society: Any, task: Task, *, count: int = 256, seed: int = 0, batch: int = 64) -> dict[str, float]:
    """Loss and accuracy of a society on held-out sequences of a task.

    Args:
        society: a `Society`.
        task: what is asked; it must fit the society.
        count: how many sequences.
        seed: which; the same seed gives the same sequences, none of them among those of `train` (drawn apart; short tasks
            may repeat themselves by chance).
        batch: how many at a time.

    Returns:
        `loss`, and `accuracy` (the share of right answers among what is asked) where answers are no numbers.

    Raises:
        InputError: society and task do not fit.
    """
    check_fit(society.config, task)
    totals, right, number = 0.0, 0, 0
    with evaluating(society):
        for at in range(0, count, batch):
            given = on(task.batch(min(batch, count - at), drawn(seed, at, held=True)), society)
            said, where = society(**given, **_plainly(society)), asked(given["labels"])
            many = int(where.sum())
            totals, number = totals + float(said.loss) * many, number + many
            if task.asks != "number":
                right += int((said.logits.argmax(-1)[where] == given["labels"][where]).sum())
    result = {"loss": totals / number}
    return result if task.asks == "number" else result | {"accuracy": right / number}


def _plainly(society: Any) -> dict[str, bool]:
    return {"use_cache": False} if society.config.caches else {}


def on(batch: Batch, society: Any) -> Batch:
    """A batch on the society's device, numbers in its type."""
    return {n: v.to(society.device, society.dtype if v.is_floating_point() else v.dtype) for n, v in batch.items()}


def check_fit(config: Any, task: Task) -> None:
    """Refuse a task that a society cannot be asked.

    Raises:
        InputError: another objective, too few tokens, classes or places, vectors of another width, or answers that a society
            which is not causal could simply read.
    """
    name, kinds = repr(task), {"token": ("token", "embedding"), "class": ("class",), "number": ("number",)}
    if config.objective not in kinds[task.asks]:
        raise InputError(
            f"{name} asks for a {task.asks}, and the society has objective={config.objective!r}. "
            f"Choose SocietyConfig(objective={task.asks!r}, ...)."
        )
    for option, needed in _needs(task).items():
        has = getattr(config, option)
        if has is None or (has != needed if option == "vector_size" else has < needed):
            raise InputError(f"{name} needs {option}={needed}, and the society has {has}. Grow one with {option}={needed}.")
    if task.leaks and not config.causal:
        raise InputError(
            f"{name} has its answers in the input, behind the questions, and a society with causal=False reads them there. "
            "Choose causal=True, or ask for masked tokens: Masked(task)."
        )


def _needs(task: Task) -> dict[str, int]:
    needs = {"max_position_embeddings": task.length}
    if task.vocab_size is not None:
        needs["vocab_size"] = task.vocab_size
    return needs | {option: getattr(task, option) for option in ("classes", "vector_size") if hasattr(task, option)}
