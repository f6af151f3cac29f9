"""Which first weights keep mean 0 and variance 1 in which kind of layer; where a model drifts; and what can be done instead.

He et al. (1502.01852), Glorot & Bengio (2010), LeCun et al. (1998); rank at initialisation: Dong et al. (2103.03404), Noci et al.
(2206.03126). Means of squares over many draws of the weights: one draw of a deep stack says nothing.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.gains import cases, measured
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.study import Study, Table
from sociogram.experiments.subjects import fresh, pieces
from sociogram.experiments.warming import Stack, learn, warm_up
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "initialisation"
GAINS, LAYERS, DRIFT, WARM, RANK = (
    "Gains of common layers, measured and in closed form",
    "Every part of every layer of the model",
    "Parts that drift",
    "Warm-up against formulas",
    "Rank at initialisation",
)

CANNOT_SHOW = (
    "Closed forms are of the first step: inputs from N(0, 1), fresh weights. Nothing here says how gradients behave, or what "
    "training makes of a start.",
    "A layer that drifts in a trained model is no fault: the stream of pre-norm models grows, the norm before each part takes "
    "its scale away, and a first token of large norm is what training made.",
    "The fresh model is as transformers initialises its class, which need not be what its authors trained from.",
    "The warm-up is tried on plain stacks without norms and skips, where initialisation matters most; in models with norms "
    "there is less to gain.",
)


@dataclass(frozen=True)
class Settings:
    """Draws for the gains; which model reads how many tokens of how many texts; what counts as drift; sizes of the warm-up."""

    model: str = "smollm2-135m"
    texts: int = 3
    tokens: int = 64
    limit: float = 2.0
    draws: int = 2000
    depth: int = 20
    width: int = 64
    rounds: int = 400
    stacks: int = 3


FULL = Settings()
QUICK = Settings(texts=1, tokens=24, draws=200, rounds=60, stacks=1)

STARTS = ("He", "Glorot", "torch's default")
RATES = (1e-4, 1e-3, 1e-2)
"""Of learning; the best is told, since a start that fails at one rate may learn at another."""


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Gains per kind of layer, a model's drift (trained and fresh), the warm-up, and rank with and without skips.

    A part drifts where it changes the variance of the stream by more than a factor of `limit`, or brings its mean beyond a
    tenth of its deviation; the first token, which training makes large, is left out.

    Raises:
        InputError: an unknown setting, a value that does not fit, more tokens than the texts have.
        ModelNotFoundError: no such model.
    """
    return conduct(NAME, _work, choose(NAME, FULL, QUICK, quick, settings), CANNOT_SHOW, quick=quick, seed=seed)


def _work(chosen: Settings, seed: int) -> list[Table]:
    if not chosen.limit > 1:
        raise sg.InputError(f"{NAME}: limit={chosen.limit}: a factor above 1")
    trained = sg.load(chosen.model)
    models = {"trained": trained, "fresh": fresh(trained, seed)}
    texts = pieces(trained, chosen.texts, chosen.tokens)
    layers = _layers(models, texts, chosen.limit)
    return [
        Table(GAINS, gains(chosen.draws, seed), ("layer", "weights"), "off: difference from the closed form in standard errors"),
        Table(DRIFT, drift(layers), ("weights", "part"), f"variance changed more than {chosen.limit:g}-fold, or |mean| > 0.1 sd"),
        Table(
            WARM,
            _warm(chosen, seed),
            ("start", "warmed"),
            f"{chosen.depth} layers of {chosen.width}; medians; learned: "
            "error on a task after the same number of steps at the best of three rates (variance of the targets: 1)",
        ),
        Table(RANK, _rank(models, texts), ("weights", "skips", "stop"), "the first token left out; mean over texts"),
        Table(LAYERS, layers, ("weights", "stop"), "gain: variance over that of the stop before; the first token left out"),
    ]


def gains(draws: int, seed: int) -> pd.DataFrame:
    """Each kind of layer: its gain in closed form and measured, and the mean of its outputs."""
    rows, rng = [], np.random.default_rng(seed)
    for case in steps(every := cases(), "gains of layers", len(every)):
        gain, error, mean, mean_error = measured(case, draws, rng)
        off = 0.0 if abs(gain - case.gain) < 1e-12 * case.gain else (gain - case.gain) / error
        rows.append((case.layer, case.weights, case.gain, gain, error, off, mean, mean_error))
    columns = ["layer", "weights", "closed_form", "gain", "error", "off", "mean", "mean_error"]
    return pd.DataFrame(rows, columns=columns)


def _layers(models: dict[str, sg.Model], texts: list[list[int]], limit: float) -> pd.DataFrame:
    """Mean and variance of the stream at every stop, over tokens (but the first), channels and texts."""
    parts = []
    for weights, model in models.items():
        found = []
        for ids in steps(texts, f"{model.name}, {weights}", len(texts)):
            data = sg.record(model, ids, keep=("residual",)).dataset
            stream = data["residual"].values[:, 1:].astype(np.float64)
            found.append(np.stack([stream.mean((1, 2)), (stream**2).mean((1, 2))]))
        mean, square = np.mean(found, 0)
        variance = square - mean**2
        gain = variance / np.concatenate([[np.nan], variance[:-1]])
        moved = (gain > limit) | (gain < 1 / limit) | (np.abs(mean) > 0.1 * np.sqrt(variance))
        names = {"layer": data["stop_layer"].values.astype(int), "part": [str(part) for part in data["stop_part"].values]}
        table = {"weights": weights, "stop": np.arange(len(mean)), **names, "mean": mean, "variance": variance, "gain": gain}
        parts.append(pd.DataFrame({**table, "drifts": moved}))
    return pd.concat(parts, ignore_index=True)


def drift(layers: pd.DataFrame) -> pd.DataFrame:
    """For trained and fresh weights and each kind of part: how many drift, the largest factor and where; the whole stack."""
    rows = []
    for (weights, part), own in layers[layers["stop"] > 0].groupby(["weights", "part"], sort=False):
        size = own["gain"].map(lambda gain: max(gain, 1 / gain))
        worst = own.iloc[int(size.to_numpy().argmax())]
        names = ", ".join(map(str, own[own["drifts"]]["layer"]))
        rows.append((weights, part, len(own), int(own["drifts"].sum()), float(worst["gain"]), int(worst["layer"]), names))
    for weights, own in layers.groupby("weights", sort=False):
        over = float(own["variance"].iloc[-1] / own["variance"].iloc[0])
        rows.append((weights, "all, from end to end", len(own) - 1, int(own["drifts"].iloc[1:].sum()), over, -1, ""))
    columns = ["weights", "part", "parts", "drift", "largest_gain", "at_layer", "layers_that_drift"]
    return pd.DataFrame(rows, columns=columns)


def _warm(chosen: Settings, seed: int) -> pd.DataFrame:
    """Stacks as a formula starts them, and the same after the warm-up: scales, rank, and what they learn then."""
    rows = []
    plans = [(start, warmed) for start in STARTS for warmed in (False, True)]
    for start, warmed in steps(plans, "warm-up", len(plans)):
        found = [_one_stack(chosen, start, warmed, seed * 1000 + number) for number in range(chosen.stacks)]
        rows.append((start, warmed, *map(float, np.median(found, 0))))
    columns = ["largest_mean", "lowest_variance", "highest_variance", "effective_rank", "learned"]
    return pd.DataFrame(rows, columns=["start", "warmed", *columns])


def _one_stack(chosen: Settings, start: str, warmed: bool, seed: int) -> list[float]:
    draw = torch.Generator().manual_seed(seed)
    x, unseen = (torch.randn(256, chosen.width, generator=draw) for _ in range(2))
    y = (x @ torch.randn(chosen.width, 1, generator=draw) * (2 / chosen.width) ** 0.5).sin()
    y = (y - y.mean()) / y.std()
    model = Stack(chosen.depth, chosen.width, 1, start, seed)
    if warmed:
        warm_up(model, x, chosen.rounds)
    with torch.no_grad():
        outputs = model.layered(unseen)
    mean, variance = (torch.stack([how(out) for out in outputs]) for how in (torch.mean, torch.var))
    rank = sg.measure_flock(outputs[-1][None])["effective_rank"].iloc[0]
    learned = min(learn(deepcopy(model), x, y, chosen.rounds, rate) for rate in RATES)
    return [float((mean.abs() / variance.sqrt()).max()), float(variance.min()), float(variance.max()), float(rank), learned]


def _rank(models: dict[str, sg.Model], texts: list[list[int]]) -> pd.DataFrame:
    """Effective rank and cohesion at every stop, with the skips and with all of them cut."""
    plans: dict[str, list[sg.edits.Edit]] = {
        "kept": [],
        "cut at attention": [sg.edits.cut_skip(at="attention")],
        "cut": [sg.edits.cut_skip()],
    }
    parts = []
    for weights, model in models.items():
        for skips, some in plans.items():
            found = []
            for ids in steps(texts, f"rank, {weights}, skips {skips}", len(texts)):
                with sg.steer(model, some) as steered:
                    stream = steered.record(ids, keep=("residual",)).dataset["residual"].values[:, 1:]
                found.append(sg.measure_flock(stream)[["effective_rank", "cohesion"]].to_numpy())
            rank, cohesion = np.mean(found, 0).T
            columns = {"stop": np.arange(len(rank)), "effective_rank": rank, "cohesion": cohesion}
            parts.append(pd.DataFrame({"weights": weights, "skips": skips, **columns}))
    return pd.concat(parts, ignore_index=True)


def draw(study: Study) -> Figure:
    """Gains against closed forms, variance through the model, and rank with and without skips."""
    figure, (one, two, three) = panels(3, size=(5.2, 4.4), title=study.question)
    table = study[GAINS]
    one.plot(table["closed_form"], table["closed_form"], color=COLOURS[7], label="equal")
    one.errorbar(
        table["closed_form"], table["gain"], 2 * table["error"], fmt="o", color=COLOURS[0], markersize=4, label="measured"
    )
    one.set_xscale("log")
    one.set_yscale("log")
    for colour, (weights, own) in zip(COLOURS, study[LAYERS].groupby("weights", sort=False), strict=False):
        two.plot(own["stop"], own["variance"], color=colour, label=str(weights))
        moved = own[own["drifts"]]
        two.plot(moved["stop"], moved["variance"], "o", color=colour, markersize=4, label=f"{weights}: drifts")
    two.set_yscale("log")
    for colour, (kind, own) in zip(COLOURS, study[RANK].groupby(["weights", "skips"], sort=False), strict=False):
        three.plot(own["stop"], own["effective_rank"], color=colour, label=f"{kind[0]}, skips {kind[1]}")
    label(one, "gains of layers", "closed form", "measured")
    label(two, f"the stream of {study.settings['model']}", "stop", "variance")
    label(three, "rank with and without skips", "stop", "effective rank")
    return figure
