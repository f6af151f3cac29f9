"""Does a finding hold? Any experiment, run once for each combination of seeds and settings, and the spread of every number."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.registry import module_of, open_experiment, settings_of
from sociogram.experiments.study import Study, Table
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAME = "generality"
SPREAD, RUNS = "Spread over all runs", "Every run"

CANNOT_SHOW = (
    "What holds for the values that were tried need not hold for others, and nothing is said of settings that were not varied.",
    "A standard deviation of three runs is itself uncertain by half of its size; it is no interval of confidence.",
    "Where several settings vary, one spread holds them all: the runs tell which of them a number follows.",
)


@dataclass(frozen=True)
class Settings:
    """Which experiment, what is varied (`seed` or settings, to values), what else is set, and how many processes."""

    experiment: str = "in-context-descent"
    over: dict[str, Any] = field(default_factory=lambda: {"seed": (0, 1, 2)})
    settings: dict[str, Any] = field(default_factory=dict)
    jobs: int = 0


FULL = Settings(
    over={"seed": (0, 1, 2), "inputs": (5, 10)},
    settings={"examples": (10,), "steps": 2000, "seeds": 1},
)
QUICK = Settings()


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Run `experiment` for every combination of the values in `over`, in `jobs` processes (0: one for each core).

    Tables: `Spread over all runs` with mean, sd (of n - 1), min and max of each number, of truth values too (their mean is the
    share of runs in which it holds), over the runs that have it; `Every run` with the numbers themselves.

    Raises:
        InputError: an unknown experiment or setting, a value that does not fit, or fewer than two runs.
    """
    if "experiment" in settings:  # what is set and varied unless said otherwise belongs to the experiment that is the default
        settings = {"settings": {}, "over": QUICK.over, **settings}
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    plan = _plan(chosen, seed)
    seeds = sorted({seed for seed, _ in plan})
    work = partial(_work, plan=plan, quick=quick)
    made_by = (module_of(NAME), module_of(chosen.experiment))
    return conduct(NAME, work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds, sources=made_by)


def _plan(chosen: Settings, seed: int) -> list[tuple[int, dict[str, Any]]]:
    """Seed and settings of each run.

    Raises:
        InputError: something that cannot be varied so, before any work is done.
    """
    if chosen.experiment == NAME:
        raise sg.InputError(f"{NAME}: experiment={NAME!r} would vary itself: name another one")
    known = settings_of(chosen.experiment)
    for name, values in chosen.over.items():
        if name != "seed" and name not in known:
            raise sg.InputError(f"{chosen.experiment} has no setting {name!r} to vary: it has seed, {', '.join(known)}")
        if not isinstance(values, tuple | list) or len({repr(value) for value in values}) != len(values):
            raise sg.InputError(f"{NAME}: over {name}={values!r}: give different values, as a tuple")
    combinations = [dict(zip(chosen.over, values, strict=True)) for values in product(*chosen.over.values())]
    if len(combinations) < 2:
        raise sg.InputError(f"{NAME}: over={chosen.over!r} is {len(combinations)} run, and a spread takes two or more")
    return [(one.pop("seed", seed), {**chosen.settings, **one}) for one in combinations]


def _work(chosen: Settings, seed: int, *, plan: Sequence[tuple[int, dict[str, Any]]], quick: bool) -> list[Table]:
    """The two tables."""
    import pandas as pd
    from joblib import Parallel, delayed

    jobs = min(chosen.jobs or os.cpu_count() or 1, len(plan))
    waiting = Parallel(n_jobs=jobs, return_as="generator")(delayed(_one)(chosen.experiment, s, quick, one) for s, one in plan)
    parts = []
    for (own, settings), study in zip(plan, steps(waiting, f"{chosen.experiment}, {len(plan)} runs", len(plan)), strict=True):
        varied = {name: own if name == "seed" else settings[name] for name in chosen.over}
        parts.append(numbers_of(study).assign(run=_named(varied)))
    every = pd.concat(parts, ignore_index=True)
    return [
        Table(SPREAD, spread_of(every), ("table", "row", "number")),
        Table(RUNS, every, ("table", "row", "number", "run")),
    ]


def _one(experiment: str, seed: int, quick: bool, settings: Mapping[str, Any]) -> Study:
    """One run, wherever joblib puts it."""
    return open_experiment(experiment).run(quick=quick, seed=seed, **settings)


def numbers_of(study: Study) -> pd.DataFrame:
    """Every number of a study's tables: columns `table, row, number, value`; rows are named by their keys."""
    import pandas as pd

    found = []
    for table in study.tables:
        measured = [str(n) for n in table.frame.columns if n not in table.keys and table.kind(str(n)) != "text"]
        for row in table.frame.to_dict("records"):
            name = _named({key: row[key] for key in table.keys})
            found += [(table.title, name, number, float(row[number])) for number in measured]
    return pd.DataFrame(found, columns=["table", "row", "number", "value"])


def _named(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in keys.items())


def spread_of(every: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd (of n - 1; NaN for one run), min and max of each number, and how many runs have it as a number."""
    groups = every.groupby(["table", "row", "number"], sort=False)["value"]
    named = groups.agg(mean="mean", sd="std", min="min", max="max", runs="count")
    return named.reset_index().astype({"runs": "int64"})


def draw(study: Study) -> Figure:
    """The numbers that differ most among the runs, by sd over the size of the mean."""
    table = study[SPREAD]
    relative = (table["sd"] / table["mean"].abs()).where(table["mean"] != 0)
    most = relative.nlargest(30).sort_values()
    title = f"{study.settings['experiment']} over {', '.join(study.settings['over'])}"
    figure, (ax,) = panels(1, size=(9.0, 1.2 + 0.22 * max(4, len(most))), title=title)
    rows = [f"{table['row'][i]}: {table['number'][i]}" for i in most.index]
    ax.barh(rows, most.to_numpy(), color=COLOURS[0])
    ax.tick_params(axis="y", labelsize=7)
    label(ax, f"{len(most)} of {len(table)} numbers, those that differ most", "sd / |mean|", "", legend=False)
    return figure
