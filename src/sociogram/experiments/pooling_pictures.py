"""The picture of the study of pooling: the closed form, moves, accuracies as trained and otherwise, halves found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.pooling_runs import CLASSES
from sociogram.experiments.vectors import READINGS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sociogram.experiments.study import Study

FORM, ACCURACY, READ, MOVED, REAL, FOUND, RATES = (
    "One token more or another, in a mean of independent vectors",
    "Trained and read the same way",
    "Read by a fresh probe, as trained and otherwise",
    "How far one more token moves a society's vector",
    "How far one more token moves a real encoder's vector",
    "Finding the other half of a text by cosine",
    "Every rate",
)
"""Titles of the study's tables."""


def drawn(study: Study) -> Figure:
    """The closed form; moves in societies and in the encoder; accuracies as trained and otherwise; halves found."""
    figure, axes = panels(3, 2, size=(5.4, 4.0), title=study.question)
    _draw_form(axes[0], study[FORM])
    _draw_moved(axes[1], study[MOVED])
    _draw_real(axes[2], study[REAL])
    _draw_learning(axes[3], study[ACCURACY])
    _draw_read(axes[4], study[READ])
    table = study[FOUND]
    names = [f"{row.weights},\n{row.read}" for row in table.itertuples()]
    axes[5].bar(names, table["found"], color=[COLOURS[READINGS.index(read)] for read in table["read"]], width=0.6)
    axes[5].axhline(table["chance"].iloc[0], color=COLOURS[7], linestyle="--", label="chance")
    label(axes[5], f"{study.settings['model']}: the other half of a text found", "weights, reading", "share found")
    return figure


def _draw_form(ax: Axes, table: pd.DataFrame) -> None:
    for colour, change in zip(COLOURS, ("added", "replaced"), strict=False):
        own = table[(table["change"] == change) & (table["how"] == "drawn")].sort_values("tokens")
        ax.plot(own["tokens"], own["closed_form"] / 16, color=colour, label=f"{change}: closed form")
        ax.plot(own["tokens"], own["measured"] / 16, "o", color=colour, markersize=5, label=f"{change}: measured")
    ax.set_xscale("log")
    ax.set_yscale("log")
    label(ax, "means of independent vectors", "tokens", "mean square move per channel")


def _draw_moved(ax: Axes, table: pd.DataFrame) -> None:
    few = table["clues"].min()
    for colour, way in zip(COLOURS, ("cls", "mean", "not"), strict=False):
        for style, reading in (("-", "cls"), ("--", "mean")):
            own = table[(table[["trained", "read", "added", "clues"]] == [way, reading, "neutral", few]).all(axis=1)]
            name = "untrained" if way == "not" else f"trained {way}"
            ax.plot(
                own["length"], own["relative"], style, color=colour, marker="o", markersize=3, label=f"{name}, read {reading}"
            )
    own = table.drop_duplicates("length")
    ax.plot(own["length"], own["expected"], ":", color=COLOURS[6], label="independent: 1 / (n + 1)")
    ax.set_yscale("log")
    ax.set_ylim(bottom=table["relative"].min() / 30)
    _by_length(ax, own["length"].tolist())
    label(ax, f"one neutral token joins ({few} clues)", "tokens", "square move / variance over texts", legend=False)
    ax.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")


def _by_length(ax: Axes, lengths: list[int]) -> None:
    """A logarithmic axis with ticks where there are lengths."""
    ax.set_xscale("log")
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.minorticks_off()


def _draw_real(ax: Axes, table: pd.DataFrame) -> None:
    for (weights, reading), own in table.groupby(["weights", "read"], sort=False):
        colour, style = COLOURS[READINGS.index(str(reading))], "-" if weights == "trained" else "--"
        ax.plot(own["tokens"], own["median"], style, color=colour, marker="o", markersize=3, label=f"{weights}, {reading}")
    own = table.drop_duplicates("tokens")
    ax.plot(own["tokens"], own["expected"], ":", color=COLOURS[6], label="independent: 1 / (n + 1)")
    ax.set_yscale("log")
    _by_length(ax, own["tokens"].tolist())
    label(ax, "the encoder: the text's next token joins", "tokens", "median square move / variance over texts")


def _draw_learning(ax: Axes, table: pd.DataFrame) -> None:
    for colour, way in zip(COLOURS, READINGS, strict=False):
        own = table[table["trained"] == way]
        for style, clues in zip("-:", own["clues"].unique().tolist(), strict=False):
            some = own[own["clues"] == clues]
            ax.plot(some["length"], some["soon"], f"o{style}", color=colour, markersize=4, label=f"{way}, {clues} clues")
    _by_length(ax, table["length"].unique().tolist())
    ax.set_ylim(bottom=0)
    label(ax, "trained and read the same way: how soon", "tokens", "first step from which accuracy stays at 0.9")


def _draw_read(ax: Axes, table: pd.DataFrame) -> None:
    hard = table[(table["clues"] == table["clues"].min()) & (table["length"] == table["length"].max())]
    for number, reading in enumerate(READINGS):
        own = hard[hard["read"] == reading]
        places = np.arange(len(own)) + 0.36 * (number - 0.5)
        reach = [own["mean"] - own["lowest"], own["highest"] - own["mean"]]
        ax.bar(places, own["mean"], 0.34, yerr=reach, capsize=3, color=COLOURS[number], label=f"read {reading}")
    ax.set_xticks(range(3), ["trained cls", "trained mean", "untrained"])
    ax.set_ylim(0, 1.25)
    ax.axhline(1 / CLASSES, color=COLOURS[7], linestyle="--", label="chance")
    label(
        ax,
        f"fresh probes ({hard['length'].max()} tokens, {hard['clues'].min()} clues)",
        "society",
        "accuracy, lowest to highest seed",
    )
    ax.legend(frameon=False, fontsize=8, ncols=3, loc="upper center")
