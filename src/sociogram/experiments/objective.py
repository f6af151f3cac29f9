"""The next token by cross-entropy, or the next embedding by a distance: what is learned, and what becomes of the embeddings.

An embedding that is a target as well as an input can be drawn to the prediction: then all embeddings in one point are a perfect
answer to every question, and the loss says so. Targets may be held (no gradient goes through them; they still change, as inputs),
move with the loss, or be random and never trained. Everything is scored by the same measures on text that was not trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.scored import Scores, embedded, frequencies, scored
from sociogram.experiments.study import Study, Table
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sociogram.grow import Grown, SocietyConfig

NAME = "objective"
SCORED, OVER, RUNS = "Objectives by the same measures", "Embeddings over training", "Every run"

CANNOT_SHOW = (
    "One small society, one text of letters, one number of steps and two learning rates: which objective is better for a large "
    "model and words is not answered. Rates fall to zero, so that a loss settles at the end (`fall`) of any number of steps.",
    "Losses of different objectives are different quantities. Only accuracies, and perplexities, may be compared.",
    "A distance gives no probabilities. Its fitted perplexity is that of softmax(- b distance) with the one number b that is "
    "best on text trained on; another way from distances to probabilities gives another number.",
    "Held targets are not still: embeddings are inputs too, and change with what is asked of them there.",
    "Nothing here keeps embeddings apart but the task. Methods that predict embeddings in earnest do (by contrast, by variance, "
    "by targets of another network); what is shown is what they are needed for.",
)


@dataclass(frozen=True)
class Settings:
    """Tokens of a sequence; sizes; first spread of the embeddings; training; held-out sequences to be scored on."""

    length: int = 32
    width: int = 32
    spread: float = 0.2
    steps: int = 500
    batch: int = 32
    rates: tuple[float, ...] = (3e-3, 1e-2)
    seeds: tuple[int, ...] = (0, 1, 2)
    distances: tuple[str, ...] = ("cosine", "mse", "mae")
    checks: int = 20
    tests: int = 512


FULL = Settings()
QUICK = Settings(steps=10, rates=(1e-2,), seeds=(0,), distances=("cosine", "mse"), checks=2, tests=256)

TARGETS = ("held", "moving", "frozen")
"""Of the loss: fixed in the gradient, drawn to the state, or random embeddings that are never trained."""


@dataclass(frozen=True, eq=False)
class Spoken:
    """One society that was trained, or not."""

    objective: str
    targets: str
    rate: float
    seed: int
    grown: Grown
    scores: Scores


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Train the same flock on the same text by every objective, and score all alike; `seed` is added to each of `seeds`.

    The learning rate of a condition is the one of higher accuracy with the first seed. Beside them: societies that were not
    trained, and the frequencies of tokens and of pairs of tokens in the text.

    Raises:
        InputError: an unknown setting, or a value that does not fit.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    seeds = [seed + one for one in chosen.seeds]
    return conduct(NAME, _work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def _work(chosen: Settings, seed: int) -> list[Table]:
    runs = list(_all(chosen, seed))
    best = [learned for group in _groups(runs).values() for learned in _better(group)]
    return [
        Table(
            SCORED,
            _table(best, chosen, seed),
            ("objective", "targets"),
            "on text held out; accuracy: of the society's own answer (low, high: of the seeds); nearest: of the embedding "
            "nearest by cosine; fitted: perplexity at the best sharpness; cosine, rank: of the embeddings of common letters, "
            "mean of pairs and effective rank",
        ),
        Table(OVER, _over(best), ("objective", "targets", "seed", "step")),
        Table(RUNS, _every(runs), ("objective", "targets", "rate", "seed"), "fall: of the loss over the last tenth of the steps"),
    ]


def _conditions(chosen: Settings) -> list[tuple[str, str]]:
    """Objective and what becomes of the targets; of cross-entropy the unembedding is the embedding, and moves, or is frozen."""
    each = [(distance, targets) for distance in chosen.distances for targets in TARGETS]
    return [("cross-entropy", "moving"), ("cross-entropy", "frozen"), *each]


def _config(chosen: Settings, objective: str, targets: str) -> SocietyConfig:
    """The same flock for all: one layer behind a convolution of three tokens."""
    own: dict[str, Any] = {"objective": "token"}
    if objective != "cross-entropy":
        own = {"objective": "embedding", "distance": objective, "target": "moving" if targets == "moving" else "held"}
    return sg.grow.SocietyConfig(
        vocab_size=_task(chosen).vocab_size,
        hidden_size=chosen.width,
        num_hidden_layers=1,
        convolution=3,
        max_position_embeddings=chosen.length,
        initializer_range=chosen.spread,
        **own,
    )


def _task(chosen: Settings, part: str = "train") -> sg.grow.Language:
    return sg.grow.Language(length=chosen.length, part=part)


def _society(chosen: Settings, objective: str, targets: str, seed: int) -> sg.grow.Society:
    """With first weights by the seed, the same for all objectives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = sg.grow.Society(_config(chosen, "cross-entropy", "moving")).state_dict()
        society = sg.grow.Society(_config(chosen, objective, targets))
    society.load_state_dict({name: value for name, value in first.items() if name in society.state_dict()})
    society.get_input_embeddings().weight.requires_grad_(targets != "frozen")
    return society


def _grow(chosen: Settings, objective: str, targets: str, rate: float, seed: int) -> Spoken:
    held, text = _task(chosen, "held"), _task(chosen)
    grown = sg.grow.train(
        _society(chosen, objective, targets, seed),
        text,
        steps=chosen.steps,
        batch=chosen.batch,
        learning_rate=rate,
        seed=seed,
        every=max(1, chosen.steps // chosen.checks),
        test=held,
        test_count=64,
        measure=embedded,
    )
    return Spoken(objective, targets, rate, seed, grown, scored(grown.model, text, held, chosen.tests, seed))


def _all(chosen: Settings, seed: int) -> Iterator[Spoken]:
    """Every condition: all rates with the first seed, the better one with the others."""
    conditions = _conditions(chosen)
    for objective, targets in steps(conditions, "objectives", len(conditions)):
        first = [_grow(chosen, objective, targets, rate, seed + chosen.seeds[0]) for rate in chosen.rates]
        yield from first
        rate = max(first, key=lambda spoken: spoken.scores.accuracy).rate
        for one in chosen.seeds[1:]:
            yield _grow(chosen, objective, targets, rate, seed + one)


def _groups(runs: list[Spoken]) -> dict[tuple[str, str], list[Spoken]]:
    groups: dict[tuple[str, str], list[Spoken]] = {}
    for spoken in runs:
        groups.setdefault((spoken.objective, spoken.targets), []).append(spoken)
    return groups


def _better(group: list[Spoken]) -> list[Spoken]:
    """Those at the rate that was better with the first seed."""
    first = [spoken for spoken in group if spoken.seed == group[0].seed]
    rate = max(first, key=lambda spoken: spoken.scores.accuracy).rate
    return [spoken for spoken in group if spoken.rate == rate]


def _table(best: list[Spoken], chosen: Settings, seed: int) -> pd.DataFrame:
    """Conditions, then controls."""
    rows = []
    for (objective, targets), own in _groups(best).items():
        falls = max(_fall(spoken) for spoken in own)
        rows.append({**_row(objective, targets, [spoken.scores for spoken in own]), "rate": own[0].rate, "fall": falls})
    held, text = _task(chosen, "held"), _task(chosen)
    for objective in ("cross-entropy", *chosen.distances):
        fresh = [_society(chosen, objective, "held", seed + one) for one in chosen.seeds]
        rows.append(_row(objective, "untrained", [scored(society, text, held, chosen.tests, seed) for society in fresh]))
    for name, order in (("frequencies of letters", 1), ("frequencies of pairs", 2)):
        rows.append(_row(name, "control", [frequencies(text, held, order)]))
    return pd.DataFrame(rows)


def _row(objective: str, targets: str, scores: list[Scores]) -> dict[str, Any]:
    accuracies = [one.accuracy for one in scores]
    row: dict[str, Any] = {"objective": objective, "targets": targets, "loss": float(np.mean([one.loss for one in scores]))}
    row |= {"accuracy": float(np.mean(accuracies)), "low": min(accuracies), "high": max(accuracies)}
    for name in ("nearest", "perplexity", "fitted", "cosine", "rank"):
        row[name] = float(np.mean([getattr(one, name) for one in scores]))
    return row


def _fall(spoken: Spoken) -> float:
    """By what share the training loss fell between the last two tenths of the steps; of a loss that is 0, nothing."""
    losses = spoken.grown.history["loss"].dropna().to_numpy()
    tenth = max(1, len(losses) // 10)
    before, after = losses[-2 * tenth : -tenth].mean(), losses[-tenth:].mean()
    return float(1 - after / before) if before > 0 else 0.0


def _over(best: list[Spoken]) -> pd.DataFrame:
    parts = []
    for spoken in best:
        own = spoken.grown.history[["step", "test_loss", "accuracy", "cosine", "rank"]]
        parts.append(own.assign(objective=spoken.objective, targets=spoken.targets, seed=spoken.seed))
    return pd.concat(parts, ignore_index=True)


def _every(runs: list[Spoken]) -> pd.DataFrame:
    rows = []
    for spoken in runs:
        own = {"rate": spoken.rate, "seed": spoken.seed, "fall": _fall(spoken)}
        rows.append(_row(spoken.objective, spoken.targets, [spoken.scores]) | own)
    return pd.DataFrame(rows).drop(columns=["low", "high"])


def draw(study: Study) -> Figure:
    """Accuracy of every objective; loss against accuracy; how alike the embeddings become, and how many directions they keep."""
    figure, (scores, trap, alike, rank) = panels(2, 2, size=(6.4, 4.4), title=study.question)
    table, over = study[SCORED], study[OVER]
    _bars(scores, table)
    _trap(trap, over)
    for ax, column, name in ((alike, "cosine", "mean cosine between letters"), (rank, "rank", "effective rank")):
        for objective, targets, colour, line in _lines(over):
            own = over[(over["objective"] == objective) & (over["targets"] == targets)].groupby("step")[column].mean()
            ax.plot(own.index, own, color=colour, linestyle=line, label=f"{objective}, {targets}")
        label(ax, f"embeddings: {name}", "step", name, legend=False)
    alike.legend(frameon=False, fontsize=7, ncols=2)
    return figure


def _lines(over: pd.DataFrame) -> Iterator[tuple[str, str, str, str]]:
    """Objective, targets, colour by objective, stroke by targets; the frozen do not move and are left out."""
    objectives = list(dict.fromkeys(over["objective"]))
    for objective, targets in over[["objective", "targets"]].drop_duplicates().itertuples(index=False):
        if targets != "frozen":
            yield objective, targets, COLOURS[objectives.index(objective)], "--" if targets == "moving" else "-"


def _bars(ax: Axes, table: pd.DataFrame) -> None:
    own = table[~table["targets"].isin(["control", "untrained"])].iloc[::-1]
    names = [f"{objective}, {targets}" for objective, targets in zip(own["objective"], own["targets"], strict=True)]
    spread = [own["accuracy"] - own["low"], own["high"] - own["accuracy"]]
    ax.barh(names, own["accuracy"], xerr=spread, color=COLOURS[5], capsize=2)
    controls = table[table["targets"] == "control"]
    for number, (name, value) in enumerate(zip(controls["objective"], controls["accuracy"], strict=True)):
        ax.axvline(value, color=COLOURS[1 + number], linestyle=":", label=name)
    fresh = float(table[table["targets"] == "untrained"]["accuracy"].max())
    ax.axvline(fresh, color=COLOURS[7], linestyle=":", label="untrained, the best")
    label(ax, "next letter, held-out text (bars: all seeds)", "accuracy of the own answer", "", legend=False)
    ax.legend(frameon=False, fontsize=7, loc="lower right")


def _trap(ax: Axes, over: pd.DataFrame) -> None:
    """Each condition's way through loss and accuracy, the loss as a share of its first."""
    for objective, targets, colour, line in _lines(over):
        own = over[(over["objective"] == objective) & (over["targets"] == targets)]
        means = own.groupby("step")[["test_loss", "accuracy"]].mean()
        ax.plot(means["test_loss"] / means["test_loss"].iloc[0], means["accuracy"], color=colour, linestyle=line)
        ax.plot(means["test_loss"].iloc[-1] / means["test_loss"].iloc[0], means["accuracy"].iloc[-1], "o", color=colour)
    ax.set_xscale("log")
    label(ax, "a falling loss is no right answer", "loss / first loss (dots: the end)", "accuracy", legend=False)
