"""A past of few vectors fitted so that a frozen model says after it what it says after a long text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.memory.together import divergence, padded, predictions
from sociogram.steering.past import Past
from sociogram.watch.progress import bar

TOGETHER = 8
"""So many examples are read in one pass; the gradient is that of all of them."""
ENOUGH = 0.99
"""A loss above this share of the last one that was progress is none."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What came of fitting.

    Attributes:
        past: the vectors with the lowest loss seen.
        losses: one row per step, `step`, `loss` (mean KL over the examples' tokens, in nats, before that step is taken).
        stopped: why it ended.
    """

    past: Past
    losses: pd.DataFrame
    stopped: str


def fitted(
    start: Past, full: Past, examples: Sequence[Int[Tensor, " _"]], *, steps: int, learning_rate: float, patience: int
) -> Fit:
    """Move keys and values of `start` so that KL(after `full` || after it) falls, averaged over all tokens of the examples.

    Adam on all examples at once; what is moved is counted in units of the root mean square of each layer's keys (or values), so
    that one rate fits all. Ends after `steps`, after `patience` steps without progress, or at Ctrl-C; the best vectors
    count. The distributions to be matched are kept in memory: tokens x vocabulary numbers.

    Raises:
        InputError: no room for the examples; a model without logits.
    """
    parts = [padded(examples[i : i + TOGETHER]) for i in range(0, len(examples), TOGETHER)]
    tokens = sum(int(real.sum()) for _, real in parts)
    with torch.no_grad():
        told = [predictions(full, rows, full.keys, full.values)[real] for rows, real in parts]
    moved = _Moved(start)
    optimiser = torch.optim.Adam(moved.offsets, lr=learning_rate)
    losses: list[float] = []
    best, least, mark, since, stopped = start, float("inf"), float("inf"), 0, f"all {steps} steps taken"
    try:
        with bar("Fitting", steps, steps, "steps") as advance:
            for step in range(steps + 1):
                now, loss = moved.past(), moved.descend(parts, told, tokens)
                losses.append(loss)
                if loss < least:
                    best, least = now, loss
                mark, since = (loss, 0) if loss < ENOUGH * mark else (mark, since + 1)
                if since >= patience:
                    stopped = f"no progress for {patience} steps, after {step} of {steps}"
                if step == steps or since >= patience:
                    break
                optimiser.step()
                advance(1)
    except KeyboardInterrupt:
        stopped = f"interrupted after {max(0, len(losses) - 1)} of {steps} steps"
    return Fit(best, pd.DataFrame({"step": range(len(losses)), "loss": losses}), stopped)


class _Moved:
    """Keys and values of a past plus offsets, in units of their own size."""

    def __init__(self, start: Past) -> None:
        """Nothing is moved yet."""
        self.start = start
        self.whole = [
            tensor.detach().float() if tensor.itemsize < 4 else tensor.detach() for tensor in (*start.keys, *start.values)
        ]
        self.units = [tensor.square().mean().sqrt().clamp_min(1e-6) for tensor in self.whole]
        self.offsets = [torch.zeros_like(tensor).requires_grad_() for tensor in self.whole]

    def tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values as they stand, with their gradients."""
        now = [a + unit * offset for a, unit, offset in zip(self.whole, self.units, self.offsets, strict=True)]
        cast = [tensor.to(like.dtype) for tensor, like in zip(now, (*self.start.keys, *self.start.values), strict=True)]
        return cast[: len(self.start.keys)], cast[len(self.start.keys) :]

    def past(self) -> Past:
        """As a past."""
        with torch.no_grad():
            keys, values = self.tensors()
        return replace(self.start, keys=tuple(keys), values=tuple(values))

    def descend(self, parts: Sequence[tuple[Tensor, Tensor]], told: Sequence[Tensor], tokens: int) -> float:
        """The loss, its gradient left with the offsets."""
        loss = 0.0
        gradients = [torch.zeros_like(offset) for offset in self.offsets]
        for (rows, real), wanted in zip(parts, told, strict=True):
            with torch.enable_grad():
                share = divergence(wanted, predictions(self.start, rows, *self.tensors())[real]).sum() / tokens
                found = torch.autograd.grad(share, self.offsets)
            loss += float(share.detach())
            gradients = [one + other for one, other in zip(gradients, found, strict=True)]
        for offset, gradient in zip(self.offsets, gradients, strict=True):
            offset.grad = gradient
        return loss
