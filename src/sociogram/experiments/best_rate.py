"""Societies compared at the better of several learning rates, over seeds: a rate that suits one kind may ruin another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

import sociogram as sg
from sociogram.experiments.watching import steps as watched


@final
@dataclass(frozen=True)
class Plan:
    """One kind of society to be compared.

    Attributes:
        name: what it is called in tables.
        config: its options.
        steps: how long it is trained.
    """

    name: str
    config: dict[str, Any]
    steps: int


@final
@dataclass(frozen=True, eq=False)
class Run:
    """A plan grown from one seed: `rate` is the one that was best on the first seed, `tried` the losses of all of them there."""

    plan: Plan
    seed: int
    rate: float
    tried: tuple[float, ...]
    grown: Any

    @property
    def fell(self) -> float:
        """By which share of itself the test loss fell over the last tenth of training: near 0 when it has settled."""
        history = self.grown.history
        before = history[history["step"] <= 0.9 * self.plan.steps]["test_loss"].iloc[-1]
        return float(before / history["test_loss"].iloc[-1] - 1)


def grow_all(
    plans: Sequence[Plan], task: Any, *, rates: Sequence[float], seeds: Sequence[int], batch: int, tests: int = 128
) -> list[Run]:
    """Every plan from every seed. All rates are tried on the first seed, the others take the one whose test loss ended lowest.

    Misleads: the first seed's loss is the best of several, by a little less than chance would have it; the others' is not.
    """
    return [
        run
        for plan in watched(plans, "societies", len(plans))
        for run in _grown(plan, task, rates=rates, seeds=seeds, batch=batch, tests=tests)
    ]


def _grown(plan: Plan, task: Any, *, rates: Sequence[float], seeds: Sequence[int], batch: int, tests: int) -> list[Run]:
    def one(rate: float, seed: int) -> Any:
        config, every = sg.grow.SocietyConfig(**plan.config), max(1, plan.steps // 10)
        shape: dict[str, Any] = {"steps": plan.steps, "batch": batch, "every": every, "test_count": tests}
        return sg.grow.train(config, task, learning_rate=rate, seed=seed, **shape)

    first = [one(rate, seeds[0]) for rate in rates]
    ends = tuple(float(grown.history["test_loss"].iloc[-1]) for grown in first)
    best = int(np.argmin(ends))
    others = [one(rates[best], seed) for seed in seeds[1:]]
    return [Run(plan, seed, rates[best], ends, grown) for seed, grown in zip(seeds, [first[best], *others], strict=True)]
