"""Attention trained on regression tasks in a prompt, and the descents that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sociogram.experiments.linear_attention import Attention, scattered
from sociogram.experiments.regression import Tasks, best_step, curved, draw_tasks, fitted_steps
from sociogram.experiments.watching import steps

SHAPES = {
    "linear attention, 1 layer": {"layers": 1, "heads": 1, "softmax": False},
    "linear attention, 2 layers": {"layers": 2, "heads": 1, "softmax": False},
    "softmax attention, 1 head": {"layers": 1, "heads": 1, "softmax": True},
    "softmax attention, 2 heads": {"layers": 1, "heads": 2, "softmax": True},
}
"""What is trained."""

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From examples' x and y and the query to a prediction."""


@dataclass(frozen=True)
class Training:
    """How attention is trained: inputs of a task, steps, tasks in each, the highest rate, the spread of the first weights."""

    inputs: int
    steps: int
    batch: int
    rate: float
    std: float


@dataclass(frozen=True, eq=False)
class Trained:
    """Attention after training.

    Attributes:
        model: it.
        fall: by how much the loss of the last tenth of the steps lies below that of the tenth before, as a share of it.
    """

    model: Attention
    fall: float


def trained(name: str, how: Training, examples: int, seed: int) -> Trained:
    """Train on fresh tasks by Adam, with a rate that falls along a cosine to zero and gradients clipped at norm 1."""
    model = scattered(inputs=how.inputs, std=how.std, seed=seed, **SHAPES[name])  # type: ignore[arg-type]
    draw = torch.Generator().manual_seed(seed * 1_000_003 + examples * 101)
    adam = torch.optim.Adam(model.parameters(), lr=how.rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, how.steps)
    losses = []
    for _ in steps(range(how.steps), f"{name}, {examples} examples, seed {seed}", how.steps):
        tasks = draw_tasks(how.batch, examples, how.inputs, draw)
        adam.zero_grad()
        loss = tasks.loss(model(tasks.x, tasks.y, tasks.query)).mean()
        loss.backward()
        losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        falling.step()
    tenth = max(1, how.steps // 10)
    last, before = (float(torch.stack(part).mean()) for part in (losses[-tenth:], losses[-2 * tenth : -tenth] or losses))
    return Trained(model, 1 - last / before)


def descent(step: float) -> Predict:
    """One step of gradient descent from zero."""
    return lambda x, y, query: curved(x, y, query, [step], [0.0])


def references(inputs: int, examples: int, fitting: Tasks) -> dict[str, Predict]:
    """Gradient descent and GD++, one and two steps, their sizes fitted on tasks of their own; one step in closed form."""
    two, _ = fitted_steps(fitting, 2, curvature=False)
    plus = fitted_steps(fitting, 2, curvature=True)
    return {
        "GD, 1 step": descent(best_step(inputs, examples)[0]),
        "GD, 2 steps": lambda x, y, query: curved(x, y, query, two, [0.0, 0.0]),
        "GD++, 2 steps": lambda x, y, query: curved(x, y, query, *plus),
    }
