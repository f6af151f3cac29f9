"""The picture of the study of emergence: curves over the steps of training, and what cutting leaves in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sociogram.experiments.pictures import COLOURS, label, panels

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sociogram.experiments.study import Study

KNOWN, ENDS, HALF, NEEDED, FIXED, NETWORKS, RATES, MUTED, COURSE, HEADS, FLOCK = (
    "Accuracies that are known",
    "What one layer and two layers come to",
    "When half of the end is passed",
    "What the accuracy needs",
    "One layer where the period is fixed",
    "Networks of attention, before and after",
    "Every rate",
    "Every head muted",
    "Over the steps",
    "Heads over the steps",
    "The flock over the steps",
)
"""Titles of the study's tables."""


def drawn(study: Study) -> Figure:
    """Six panels; thin lines are seeds."""
    figure, axes = panels(3, 2, size=(5.6, 4.0), title=study.question)
    _draw_accuracy(axes[0], study[COURSE], study[KNOWN])
    _draw_scores(axes[1], study[COURSE])
    _draw_needed(axes[2], study[NEEDED])
    heads = study[HEADS][study[HEADS]["layers"] == 2]
    last = heads[heads["step"] == heads["step"].max()]
    roles = {"prefix-matching head": _winners(last, "prefix", 1), "previous-token head": _winners(last, "previous", 0)}
    for ax, statistic, name in (
        (axes[3], "entropy", "entropy of what is heard, nats"),
        (axes[4], "distance", "mean distance heard, tokens"),
    ):
        _draw_statistic(ax, heads, roles, statistic, name)
    _draw_flock(axes[5], study[FLOCK])
    return figure


def _draw_accuracy(ax: Axes, course: pd.DataFrame, known: pd.DataFrame) -> None:
    for colour, (layers, own) in zip(COLOURS, course.groupby("layers"), strict=False):
        for number, (_, line) in enumerate(own.groupby("seed")):
            name = f"{layers} layer{'s' if layers == 2 else ''}" if number == 0 else None
            ax.plot(line["step"], line["accuracy"], color=colour, linewidth=1.2, label=name)
    for style, accuracy, name in zip(
        ("-.", ":", "--"), known["accuracy"][1:], ("tokens known", "places known", "oracle"), strict=True
    ):
        ax.axhline(accuracy, color=COLOURS[7], linestyle=style, linewidth=1, label=name)
    label(ax, "accuracy on what comes again", "step", "accuracy")


def _draw_scores(ax: Axes, course: pd.DataFrame) -> None:
    own = course[course["layers"] == 2]
    for colour, name, told in (
        (COLOURS[1], "accuracy", "accuracy"),
        (COLOURS[2], "prefix", "prefix matching, layer 1"),
        (COLOURS[3], "elsewhere", "the same places, nothing repeated"),
        (COLOURS[0], "previous", "token before, layer 0"),
    ):
        for number, (_, line) in enumerate(own.groupby("seed")):
            ax.plot(line["step"], line[name], color=colour, linewidth=1.2, label=told if number == 0 else None)
    ax.set_ylim(-0.03, 1.03)
    label(ax, "two layers: the heads that the end shows", "step", "accuracy, or share of attention")


def _draw_needed(ax: Axes, table: pd.DataFrame) -> None:
    changes = list(dict.fromkeys(table["change"]))[::-1]
    for place, change in enumerate(changes):
        own = table[table["change"] == change]
        colour = COLOURS[7] if change.startswith("control") else COLOURS[1] if change != "none" else COLOURS[6]
        ax.barh(place, own["accuracy"].mean(), color=colour, height=0.6, alpha=0.5)
        ax.plot(own["accuracy"], [place] * len(own), "o", color=colour, markersize=4)
    ax.set_yticks(range(len(changes)), changes, fontsize=7)
    label(ax, "what is left (points: seeds; grey: controls)", "accuracy", "", legend=False)


def _winners(last: pd.DataFrame, score: str, layer: int) -> dict[int, int]:
    """For each seed the head of a layer with most of a score."""
    own = last[last["layer"] == layer].sort_values(score)
    return {seed: int(own[own["seed"] == seed]["head"].iloc[-1]) for seed in own["seed"].unique().tolist()}


def _draw_statistic(ax: Axes, heads: pd.DataFrame, roles: dict[str, dict[int, int]], statistic: str, name: str) -> None:
    for colour, layer, (role, chosen) in zip((COLOURS[2], COLOURS[0]), (1, 0), roles.items(), strict=True):
        own = heads[heads["layer"] == layer]
        for number, (seed, head) in enumerate(chosen.items()):
            some = own[own["seed"] == seed]
            line, others = some[some["head"] == head], some[some["head"] != head].groupby("step")[statistic].mean()
            ax.plot(line["step"], line[statistic], color=colour, linewidth=1.2, label=role if number == 0 else None)
            told = f"others of layer {layer}, mean" if number == 0 else None
            ax.plot(others.index, others, ":", color=colour, linewidth=1, label=told)
    label(ax, f"networks of attention: {statistic}", "step", name)


def _draw_flock(ax: Axes, table: pd.DataFrame) -> None:
    own = table[(table["layers"] == 2) & (table["tokens"] == "without first")]
    for colour, stop, told in zip(COLOURS, (0, 1, 2), ("embeddings", "after layer 0", "after layer 1"), strict=False):
        for number, (_, line) in enumerate(own[own["stop"] == stop].groupby("seed")):
            ax.plot(line["step"], line["effective_rank"], color=colour, linewidth=1.2, label=told if number == 0 else None)
    label(ax, "the flock: effective rank (one text)", "step", "effective rank")
