"""Societies that differ in how they talk, trained on recall, copying and word senses: which, on what, how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sociogram as sg
from sociogram.experiments.speakers import SPEAKERS, equal_parameters, equal_state, parameters
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from sociogram.grow import Grown, SocietyConfig, Task


@dataclass(frozen=True)
class Settings:
    """Tasks, lengths; channels; training; accuracies to stop at and called good; times more steps; bytes of state."""

    tasks: tuple[str, ...] = ("recall", "copy", "sense")
    lengths: tuple[int, ...] = (8, 16, 32, 64)
    width: int = 32
    steps: int = 500
    batch: int = 32
    rates: tuple[float, ...] = (3e-3, 1e-2)
    seeds: tuple[int, ...] = (0, 1, 2)
    until: float = 0.97
    good: float = 0.9
    longer: int = 3
    budgets: tuple[int, ...] = (1024, 4096)
    largest: int = 100_000
    checks: int = 10
    tests: int = 1024


@dataclass(frozen=True, eq=False)
class Learned:
    """One society that was trained."""

    task: str
    kind: str
    seed: int
    rate: float
    config: SocietyConfig
    grown: Grown
    accuracy: Mapping[int, float]

    @property
    def steps(self) -> int:
        """How many it took."""
        return int(self.grown.history["step"].max())

    @property
    def mean(self) -> float:
        """Over the lengths."""
        return sum(self.accuracy.values()) / len(self.accuracy)


def tasks_of(name: str, lengths: tuple[int, ...]) -> tuple[Task, ...]:
    """One task of each length: a quarter as many pairs as tokens; half as many to copy; one telling word among others.

    Senses of the three shortest alone: each asks only once, and long ones cost most.

    Raises:
        InputError: no such task.
    """
    made: dict[str, Any] = {
        "recall": lambda n: sg.grow.Recall(vocab_size=64, length=n, pairs=n // 4),
        "copy": lambda n: sg.grow.Copy(vocab_size=33, tokens=n // 2),
        "sense": lambda n: sg.grow.Senses(length=n),
    }
    if name not in made:
        raise sg.InputError(f"communication: tasks: there is no task {name!r}; there are {', '.join(made)}")
    return tuple(made[name](n) for n in sorted(lengths)[: 3 if name == "sense" else None])


def kinds_of(task: Task) -> list[str]:
    """Who can be asked: a council only where no answer stands behind its question."""
    return [name for name in SPEAKERS if not (task.leaks and name == "council")]


def at(chosen: Settings, place: int = 1) -> int:
    """The second length (or another), or the longest."""
    return sorted(chosen.lengths)[min(place, len(chosen.lengths) - 1)]


def mixture(tasks: tuple[Task, ...]) -> sg.grow.Mixture:
    """All lengths for one training, short ones as much more often as they are shorter (by powers of two, the longest twice)."""
    longest = max(task.length for task in tasks)
    return sg.grow.Mixture(tuple(task for task in tasks for _ in range(max(1, longest // (2 * task.length)))))


def sequences(chosen: Settings, task: str) -> int:
    """In a batch: twice as many where each asks only once."""
    return chosen.batch * (2 if task == "sense" else 1)


def _grow(
    chosen: Settings, config: SocietyConfig, task: str, tasks: tuple[Task, ...], kind: str, rate: float, seed: int, times: int = 1
) -> Learned:
    """Train on all lengths at once, test on each."""
    batch, every = sequences(chosen, task), max(1, chosen.steps * times // chosen.checks)
    grown = sg.grow.train(
        config,
        mixture(tasks),
        steps=chosen.steps * times,
        batch=batch,
        learning_rate=rate,
        seed=seed,
        every=every,
        test=tasks[-1],
        test_count=2 * batch,
        measure=lambda society: {f"{t.length}": sg.grow.score(society, t, count=2 * batch, seed=seed)["accuracy"] for t in tasks},
        until=chosen.until,
    )
    found = {t.length: sg.grow.score(grown.model, t, count=chosen.tests, seed=seed + 1)["accuracy"] for t in tasks}
    return Learned(task, kind, seed, rate, config, grown, found)


def _config(chosen: Settings, kind: str, tasks: tuple[Task, ...]) -> SocietyConfig:
    return equal_parameters(kind, vocab=int(tasks[-1].vocab_size or 0), places=tasks[-1].length, width=chosen.width)


def every_kind(chosen: Settings, seed: int) -> Iterator[Learned]:
    """Every kind on every task: on the first task all rates with the first seed, then the better one."""
    first, rates = seed + chosen.seeds[0], dict[str, float]()
    each = [(name, kind) for name in chosen.tasks for kind in kinds_of(tasks_of(name, chosen.lengths)[0])]
    for name, kind in steps(each, "kinds on tasks", len(each)):
        tasks = tasks_of(name, chosen.lengths)
        config = _config(chosen, kind, tasks)
        if kind in rates:
            tried = [_grow(chosen, config, name, tasks, kind, rates[kind], first)]
        else:
            tried = [_grow(chosen, config, name, tasks, kind, rate, first) for rate in chosen.rates]
            rates[kind] = max(tried, key=lambda learned: learned.mean).rate
        yield from tried
        for one in chosen.seeds[1:]:
            yield _grow(chosen, config, name, tasks, kind, rates[kind], seed + one)


def best_rates(runs: list[Learned]) -> list[Learned]:
    """Those at the better rate, in order."""
    kept: dict[tuple[str, str], list[Learned]] = {}
    for learned in runs:
        kept.setdefault((learned.task, learned.kind), []).append(learned)
    chosen = []
    for group in kept.values():
        first = [learned for learned in group if learned.seed == group[0].seed]
        rate = max(first, key=lambda learned: learned.mean).rate
        chosen += [learned for learned in group if learned.rate == rate]
    return chosen


def _rates(best: list[Learned], task: str) -> dict[str, float]:
    return {learned.kind: learned.rate for learned in best if learned.task == task}


def longer_runs(chosen: Settings, best: list[Learned], seed: int) -> Iterator[Learned]:
    """Recall again with more steps, for those who hear everything before them and failed at the second length."""
    first, tasks = seed + chosen.seeds[0], tasks_of("recall", chosen.lengths)
    failed = [
        learned
        for learned in best
        if learned.task == "recall" and learned.seed == first and learned.kind not in ("isolated", "neighbourhood")
        if learned.accuracy[at(chosen)] < chosen.good
    ]
    for one in steps(failed, "longer runs", len(failed)):
        yield _grow(chosen, one.config, "recall", tasks, one.kind, one.rate, first, chosen.longer)


def equal_states(chosen: Settings, best: list[Learned], seed: int) -> Iterator[Learned]:
    """Recall by societies whose states have as many bytes, up to the third length; the largest are left out."""
    tasks = tuple(task for task in tasks_of("recall", chosen.lengths) if task.length <= at(chosen, 2))
    rates = _rates(best, "recall")
    sizes = {"vocab": int(tasks[-1].vocab_size or 0), "places": tasks[-1].length, "tokens": tasks[-1].length}
    kinds = [kind for kind in SPEAKERS if kind not in ("isolated", "council")]
    made = [(n, k, equal_state(k, size=n, inner=4 * chosen.width, **sizes)) for n in chosen.budgets for k in kinds]
    each = [one for one in made if parameters(one[2]) <= chosen.largest]
    for size, kind, config in steps(each, "equal states", len(each)):
        for one in chosen.seeds:
            yield _grow(chosen, config, f"{size}", tasks, kind, rates[kind], seed + one)


def grouped(runs: list[Learned]) -> Iterator[tuple[str, str, list[Learned]]]:
    """Task, kind, and its seeds."""
    groups: dict[tuple[str, str], list[Learned]] = {}
    for learned in runs:
        groups.setdefault((learned.task, learned.kind), []).append(learned)
    for (task, kind), own in groups.items():
        yield task, kind, own
