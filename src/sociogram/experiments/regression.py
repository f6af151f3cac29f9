"""Linear regression in a prompt: the tasks, gradient descent on their examples, and the best single step in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tasks:
    """Many tasks: examples, a query and its target; y = w x with w of each task from N(0, 1)."""

    x: Float[Tensor, "task example inputs"]
    y: Float[Tensor, "task example targets"]
    query: Float[Tensor, "task inputs"]
    target: Float[Tensor, "task targets"]

    def loss(self, predicted: Float[Tensor, "task targets"]) -> Float[Tensor, " task"]:
        """Half the squared error of each task."""
        return 0.5 * (predicted - self.target).square().sum(-1)


def draw_tasks(
    count: int, examples: int, inputs: int, draw: torch.Generator, *, spread: float = 1.0, dtype: torch.dtype = torch.float32
) -> Tasks:
    """Tasks with x uniform in (-spread, spread) and one target."""
    x = spread * (2 * torch.rand(count, examples + 1, inputs, generator=draw, dtype=dtype) - 1)
    weights = torch.randn(count, inputs, 1, generator=draw, dtype=dtype)
    y = x @ weights
    return Tasks(x[:, :-1], y[:, :-1], x[:, -1], y[:, -1])


def descended(
    x: Float[Tensor, "task example inputs"],
    y: Float[Tensor, "task example targets"],
    steps: Sequence[float | Tensor],
    start: Float[Tensor, "targets inputs"],
) -> Float[Tensor, "task targets inputs"]:
    """W of each task after gradient descent on 1/2 sum over examples |W x - y|^2, one step after the other."""
    weights = start.expand(len(x), *start.shape)
    for step in steps:
        error = x @ weights.mT - y
        weights = weights - step * (error.mT @ x)
    return weights


def best_step(inputs: int, examples: int, spread: float = 1.0) -> tuple[float, float, float]:
    """The single step from zero that gains most, the half squared error then, and that of predicting zero; in closed form.

    With S = sum of x x^T, targets w x with w from N(0, I), x uniform in (-a, a), of variance v = a^2 / 3, fourth moment a^4 / 5,
    the error is v/2 E tr (I - s S)^2, least at s = E tr S / E tr S^2, where E tr S = N d v and
    E tr S^2 = N (d a^4 / 5 + d (d - 1) v^2) + N (N - 1) d v^2.
    """
    variance, fourth = spread**2 / 3, spread**4 / 5
    trace = examples * inputs * variance
    own = inputs * fourth + inputs * (inputs - 1) * variance**2
    squared = examples * own + examples * (examples - 1) * inputs * variance**2
    return trace / squared, variance / 2 * (inputs - trace**2 / squared), variance / 2 * inputs


def least_squares(tasks: Tasks) -> Float[Tensor, "task targets"]:
    """The smallest W that fits the examples best, at the query: what gradient descent from zero tends to."""
    weights = torch.linalg.pinv(tasks.x.double()) @ tasks.y.double()
    return (tasks.query.double()[:, None] @ weights)[:, 0].to(tasks.y.dtype)


def fitted_steps(tasks: Tasks, count: int, *, curvature: bool) -> tuple[list[float], list[float]]:
    """Steps (and curvatures) of `count` rounds of gradient descent (GD++) that make the least error on these tasks, by L-BFGS.

    They are numbers shared by all tasks. In float64.
    """
    x, y, query, target = (part.double() for part in (tasks.x, tasks.y, tasks.query, tasks.target))
    first = best_step(x.shape[2], x.shape[1])[0] * float(x.abs().max()) ** -2
    steps = torch.full((count,), 0.7 * first, dtype=torch.float64, requires_grad=True)
    bends = torch.zeros(count, dtype=torch.float64, requires_grad=curvature)
    chosen = [steps, bends] if curvature else [steps]
    search = torch.optim.LBFGS(chosen, max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-12)

    def closure() -> Tensor:
        search.zero_grad()
        loss = 0.5 * (curved(x, y, query, steps, bends) - target).square().sum(-1).mean()
        loss.backward()
        return loss

    search.step(closure)
    return steps.detach().tolist(), bends.detach().tolist()


def curved(
    x: Float[Tensor, "task example inputs"],
    y: Float[Tensor, "task example targets"],
    query: Float[Tensor, "task inputs"],
    steps: Sequence[float] | Tensor,
    bends: Sequence[float] | Tensor,
) -> Float[Tensor, "task targets"]:
    """GD++ from zero at the query: before each next step every x becomes (I - c X X^T) x; with c = 0 it is gradient descent.

    The targets y become their residuals, and the prediction is the sum of what the steps add.
    """
    predicted = torch.zeros_like(y[:, 0])
    for step, bend in zip(steps, bends, strict=True):
        change = step * (y.mT @ x)
        predicted = predicted + (change @ query[..., None])[..., 0]
        y = y - x @ change.mT
        products = x.mT @ x
        x, query = x - bend * (x @ products), query - bend * (products @ query[..., None])[..., 0]
    return predicted
