"""How tokens may talk, and what can be learned that way: recall, copying and word senses at equal parameters and at equal state.

Multi-query recall: Arora et al. (2312.04927); copying and states: Jelassi et al. (2402.01032). One layer each, behind a
convolution of three tokens (but for the isolated, whom it would let hear): without it attention takes far longer to begin
(docs/log.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from sociogram.experiments import talking_tables as tables
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.speakers import SPEAKERS
from sociogram.experiments.study import Study, Table
from sociogram.experiments.talking import Settings, at, best_rates, equal_states, every_kind, longer_runs, tasks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "communication"
BREAKS, COSTS, EFFORT, LONGER, BYTES, BOUND, NARROW, LENGTHS, LEARNED, RUNS = (
    "Where each breaks",
    "Size, computation and state",
    "Training until the answers are right",
    "The same with more steps",
    "Recall at equal state",
    "Copying against what the state can hold",
    "Copying through a narrowed state",
    "Accuracy at each length",
    "Accuracy over training",
    "Every run",
)

CANNOT_SHOW = (
    "One layer, some ten thousand parameters, hundreds of steps and two learning rates: who fails here may learn it with more "
    "of each. Rates fall to zero, so that losses settle at the end whatever might have come later; longer runs stand beside.",
    "One society is trained on all lengths of a task at once, on short ones more often, and tested on each. That helps those who "
    "learn short sequences first, and says nothing of lengths that were not trained.",
    "Bytes of state are counted as 32-bit numbers that must be kept; how many of their bits carry anything is another question, "
    "and rounding a state that was trained without rounding answers it from below.",
    "Operations are those of the code here, which computes attention between all pairs, heard or not. They are not time.",
    "The council hears the whole sequence, what follows too: it is asked where no answer stands in the input, and not asked to "
    "copy, where the text stands behind its questions.",
    "Random tokens are no language. Where a text can be guessed from its last words, windows and states lose far less.",
    "A flock of little state is a narrow one, and narrow ones learn slowly: in trials with more steps it rose. What it has at "
    "equal state is a lower bound, and no order between kinds is claimed there.",
)


FULL = Settings()
QUICK = Settings(
    tasks=("recall", "copy"), lengths=(8, 16), steps=4, rates=(1e-2,), seeds=(0,), longer=2, budgets=(512,), checks=1, tests=64
)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Train every kind on every task, at equal parameters and at equal state; `seed` is added to each of the setting `seeds`.

    The learning rate of a kind is the better one on the first task with the first seed. Societies that would need more than
    `largest` parameters for a state of so many bytes are not trained.

    Raises:
        InputError: an unknown setting, a value that does not fit, an unknown task.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    seeds = [seed + one for one in chosen.seeds]
    return conduct(NAME, _work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def _work(chosen: Settings, seed: int) -> list[Table]:
    for task in chosen.tasks:
        tasks_of(task, chosen.lengths)
    runs = list(every_kind(chosen, seed))
    best = best_rates(runs)
    recalls = "recall" in chosen.tasks
    more = list(longer_runs(chosen, best, seed)) if recalls else []
    equal = list(equal_states(chosen, best, seed)) if recalls else []
    lengths, second, third = tables.lengths(best), at(chosen), at(chosen, 2)
    found = [
        Table(BREAKS, tables.breaks(lengths, best, chosen), ("task", "kind"), _note(chosen)),
        Table(COSTS, tables.costs(best), ("task", "kind"), "off: from the flock's parameters; per token, at the longest length"),
        Table(EFFORT, tables.effort(best, chosen), ("task", "kind"), f"until {chosen.good} at length {second}; means of seeds"),
        Table(LONGER, tables.compared(more, best), ("kind", "length"), f"recall, {chosen.longer} times the steps, one seed"),
        Table(BYTES, tables.by_bytes(equal, chosen), ("budget", "kind"), f"recall of {third} tokens; shorter: of {second}"),
        Table(BOUND, tables.bound(best), ("kind", "tokens"), "numbers of the state count 32 bits each; highest of the seeds"),
        Table(NARROW, tables.narrowed(best, chosen), ("kind", "bits", "numbers"), "the shortest text; highest of the seeds"),
        Table(LENGTHS, lengths, ("task", "kind", "length"), "low and high: of the seeds"),
        Table(
            LEARNED, tables.curves(best, chosen), ("task", "kind", "seed", "step"), f"tests during training, of {second} tokens"
        ),
        Table(RUNS, tables.every(runs), ("task", "kind", "rate", "seed"), "fall: of the loss over the last tenth of the steps"),
    ]
    return [table for table in found if len(table.frame)]


def _note(chosen: Settings) -> str:
    return (
        f"accuracy at each length, means of {len(chosen.seeds)} seeds; spread: the largest difference between seeds; ceiling: at "
        f"the longest length, of who knows all that reaches a token; breaks: the first length below {chosen.good}, or 0"
    )


def draw(study: Study) -> Figure:
    """Accuracy over length on each task; over operations of training; over bytes of state; copying below its ceiling."""
    figure, axes = panels(3, 2, size=(5.4, 4.2), title=study.question)
    table = study[LENGTHS]
    for ax, (task, own) in zip(axes, table.groupby("task", sort=False), strict=False):
        _over_lengths(ax, str(task), own)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=9, frameon=False, fontsize=9)
    _over_operations(axes[3], study[LEARNED], study.settings["lengths"])
    names = [one.title for one in study.tables]
    if BYTES in names:
        _over_bytes(axes[4], table, study[BYTES], sorted(study.settings["lengths"])[:3][-1])
    if NARROW in names:
        _below(axes[5], study[NARROW])
    return figure


def _looks(kind: str) -> dict[str, Any]:
    """A colour and a mark of its own for each kind."""
    number = list(SPEAKERS).index(kind)
    return {"color": COLOURS[(number + 6) % 8], "marker": "osD^vPX*"[number], "markersize": 4, "linewidth": 1.3}


def _over_lengths(ax: Axes, task: str, table: pd.DataFrame) -> None:
    for kind, own in table.groupby("kind", sort=False):
        spread = [own["accuracy"] - own["low"], own["high"] - own["accuracy"]]
        looks = _looks(str(kind))
        ax.errorbar(own["length"], own["accuracy"], spread, label=kind, capsize=2, **looks)
        if (own["ceiling"] < 1).any():
            ax.plot(own["length"], own["ceiling"], ":", color=looks["color"], linewidth=3, alpha=0.5)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(table["length"].unique()), [f"{n}" for n in sorted(table["length"].unique())])
    ax.set_ylim(-0.03, 1.05)
    label(ax, f"{task}, equal parameters (bars: seeds; dotted: ceilings below 1)", "tokens", "accuracy", legend=False)


def _over_operations(ax: Axes, table: pd.DataFrame, lengths: list[int]) -> None:
    own = table[(table["task"] == table["task"].iloc[0]) & (table["step"] > 0)]
    for kind, group in own.groupby("kind", sort=False):
        line = group.groupby("step")[["giga_operations", "accuracy"]].mean()
        ax.plot(line["giga_operations"], line["accuracy"], **_looks(str(kind)))
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter("")
    label(
        ax, f"{table['task'].iloc[0]}, {sorted(lengths)[:2][-1]} tokens", "operations of training, 10^9", "accuracy", legend=False
    )


def _over_bytes(ax: Axes, table: pd.DataFrame, equal: pd.DataFrame, length: int) -> None:
    for kind, own in equal.groupby("kind", sort=False):
        same = table[(table["task"] == "recall") & (table["kind"] == kind) & (table["length"] == length)]
        points = pd.concat([own[["state_bytes", "accuracy"]], same[["state_bytes", "accuracy"]]]).sort_values("state_bytes")
        looks = _looks(str(kind))
        ax.plot(points["state_bytes"], points["accuracy"], **looks)
        ax.plot(same["state_bytes"], same["accuracy"], "o", color=looks["color"], markersize=10, fillstyle="none")
    ax.set_xscale("log", base=2)
    ticks = [2.0**n for n in range(7, 16, 2)]
    ax.set_xticks(ticks, [f"{int(n)}" if n < 1024 else f"{int(n / 1024)}k" for n in ticks])
    label(ax, f"recall, {length} tokens (ringed: equal parameters)", "bytes of state", "accuracy", legend=False)


def _below(ax: Axes, table: pd.DataFrame) -> None:
    line = table.sort_values("bits_through")
    ax.plot(line["bits_through"], line["ceiling"], color=COLOURS[6], label="ceiling")
    for (kind, bits), own in table[table["bits"].isin([1, 4])].groupby(["kind", "bits"], sort=False):
        looks = {**_looks(str(kind)), "linestyle": "-" if bits == 1 else "--", "label": f"{kind}, {bits}-bit numbers"}
        ax.plot(own["bits_through"], own["accuracy"], **looks)
    ax.set_xscale("log", base=2)
    label(ax, "copying through a narrowed state", "bits that come through", "accuracy")
