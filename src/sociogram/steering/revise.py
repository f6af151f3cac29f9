"""Gradient edits of a cached past, after Dathathri et al. 2020 (PPLM): keys and values are moved so that an objective rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.steering.past import Past
from sociogram.steering.reading import first_of
from sociogram.watch.toward import token_id

Objective: TypeAlias = Callable[[Tensor], Tensor] | Sequence[str | int] | str
COLUMNS = ["step", "before", "predicted", "real", "norm"]


@dataclass(frozen=True, eq=False)
class Revision:
    """What `sg.revise` made.

    Attributes:
        past: the revised past, its last token read again on what precedes it.
        steps: one row per step: `step`, `before` (the objective), `predicted` (its change to first order: gradient times change),
            `real` (its change), `norm` (of the change of all keys and values together).
    """

    past: Past
    steps: pd.DataFrame = field(repr=False)

    @property
    def gain(self) -> float:
        """How much the objective rose over all steps."""
        return float(self.steps["real"].sum())

    def __str__(self) -> str:
        """The steps in words."""
        rows = [f"{r.before:.4g}, predicted {r.predicted:+.3g}, real {r.real:+.3g}" for r in self.steps.itertuples()]
        return "\n".join([repr(self.past), *rows])


def revise(past: Past, objective: Objective | Any, *, steps: int = 1, step_size: float = 0.02) -> Revision:
    """Move the keys and values of a past along the gradient of an objective on the next token.

    The last token is read on what precedes it, the objective taken of its logits, and the keys and values of each layer that it
    read are moved by `step_size` along their own gradients (each of a layer's two tensors has a step of this length, as in the
    paper with its exponent 1). The weights stay as they are. The paper's other parts (keeping close to the unchanged model,
    mixing the distributions) are left out: what is done is that change and no more.

    Args:
        past: at least two tokens; the last one is read again.
        objective: a function from next-token logits `[vocabulary]` (half precision widened) to one number that depends on
            them; or tokens (texts of one token each, or ids): then the logarithm of their summed probability.
        steps: how often; each step starts from where the one before has led.
        step_size: length of each tensor's step; negative to lower the objective.

    Raises:
        InputError: a past of one token; texts that are no single token; an objective that is no number, not finite, or does not
            depend on the logits; numbers that make no steps.

    Misleads: a gradient says what helps a little. Read `steps`: where `real` is far from `predicted` the step was too long.
    """
    _check(past, steps, step_size)
    if not callable(objective) and not isinstance(objective, str | Sequence):
        raise InputError(f"revise objective={objective!r}: give a function of the logits, or tokens, as in [' Paris']")
    goal = objective if callable(objective) else _summed(past, [objective] if isinstance(objective, str) else objective)
    last, rest = past.ids[-1:], first_of(past, len(past) - 1)
    before, gradients = _asked(rest, last, goal)
    rows = []
    for step in range(steps):
        rest, predicted, norm = _stepped(rest, gradients, step_size)
        after, gradients = _asked(rest, last, goal)
        rows.append((step, before, predicted, after - before, norm))
        before = after
    again = rest.read(last)
    return Revision(replace(past, keys=again.keys, values=again.values), pd.DataFrame(rows, columns=COLUMNS))


def _check(past: Past, steps: Any, step_size: Any) -> None:
    if len(past) < 2:
        raise InputError("revise needs a past of at least two tokens: the last one is read again, on what precedes it")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"revise steps={steps!r}: a whole number of at least 1 is needed")
    if isinstance(step_size, bool) or not isinstance(step_size, Real) or not math.isfinite(step_size) or step_size == 0:
        raise InputError(f"revise step_size={step_size!r}: a finite number other than 0 is needed")


def _summed(past: Past, words: Sequence[str | int]) -> Callable[[Tensor], Tensor]:
    """The logarithm of the summed probability of some tokens."""
    if not words:
        raise InputError("revise objective: no tokens were given whose probability could be raised")
    ids = torch.tensor([token_id(past.model, word, "objective") for word in words], device=past.ids.device)
    return lambda logits: torch.logsumexp(torch.log_softmax(logits, -1)[ids.unique()], 0)


Gradients: TypeAlias = list[Tensor]
"""Of every slot's keys, then of every slot's values."""


def _asked(rest: Past, last: Tensor, goal: Callable[[Tensor], Tensor]) -> tuple[float, Gradients]:
    """The objective after the last token is read, and its gradient with respect to what is read."""
    with torch.enable_grad():
        leaves = [tensor.detach().clone().requires_grad_() for tensor in (*rest.keys, *rest.values)]
        half = len(rest.keys)
        open_ = replace(rest, keys=tuple(leaves[:half]), values=tuple(leaves[half:]))
        logits = getattr(rest.model.hf(**open_.arguments(open_.whole(last))), "logits", None)
        if logits is None:
            raise InputError(f"{type(rest.model.hf).__name__} gives no logits per token: load it with a language-modelling head")
        value = goal(logits[0, -1] if logits.dtype == torch.float64 else logits[0, -1].float())
        _check_goal(value)
        gradients = torch.autograd.grad(value.reshape(()), leaves, allow_unused=True)
    return float(value.detach()), [torch.zeros_like(x) if g is None else g for g, x in zip(gradients, leaves, strict=True)]


def _check_goal(value: Any) -> None:
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"revise objective: one number is needed as a tensor, and it gave {shape}")
    if not value.requires_grad:
        raise InputError("revise objective: its value does not depend on the logits it was given, so there is nothing to follow")
    if not bool(torch.isfinite(value.detach()).all()):
        raise InputError(f"revise objective: its value is {float(value.detach())}, and a finite number is needed")


def _stepped(rest: Past, gradients: Gradients, step_size: float) -> tuple[Past, float, float]:
    """The past moved, the change of the objective that this predicts, and the norm of the change."""
    moves = [step_size * g / norm if (norm := float(g.norm())) > 0 else g for g in gradients]
    predicted = sum(float((g.double() * move.double()).sum()) for g, move in zip(gradients, moves, strict=True))
    norm = math.sqrt(sum(float(move.double().square().sum()) for move in moves))
    half = len(rest.keys)
    keys = tuple(key + move for key, move in zip(rest.keys, moves[:half], strict=True))
    values = tuple(value + move for value, move in zip(rest.values, moves[half:], strict=True))
    return replace(rest, keys=keys, values=values), predicted, norm
