"""Pause tokens (Goyal et al. 2310.02226): does room to compute help, and more than the same computation spent otherwise?

In-context regression by small flocks: its loss has a floor of 0 (least squares) and a ceiling (saying 0), and more computation
lowers it steadily, so that there is something to gain. Each token is followed by learned pauses and its answer read at the last;
the rivals spend as many operations on more layers or wider MLPs. Read at the token itself, the answer has its pauses too late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import sociogram as sg
from sociogram.experiments.best_rate import Plan, Run, grow_all
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.study import Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "pause"
GAIN, RUNS, UNTRAINED = "Loss and compute", "Every run", "Pauses given to a flock that was trained without"

CANNOT_SHOW = (
    "One task, one size: that pauses lose to layers in regression by two layers says nothing of tasks whose answers need much "
    "parallel computation of one token, for which they were proposed, or of large pretrained models.",
    "Operations of a forward pass are made equal, not time: pauses and wide MLPs compute at once what layers compute one after "
    "the other. Memory of keys grows with pauses.",
    "A society with pauses has longer distances to learn; it might end lower with more steps than all were given. The column "
    "`fell` says how far from settled each is.",
    "Pauses stand behind every token here. In language models they stand behind the prompt, where their cost is smaller.",
)


@dataclass(frozen=True)
class Settings:
    """The task; sizes of the flock; how many pauses; steps, batch, rates, seeds of training; sequences for tests."""

    dimension: int = 3
    examples: int = 6
    width: int = 32
    layers: int = 2
    pauses: tuple[int, ...] = (1, 2, 4)
    steps: int = 1200
    batch: int = 32
    rates: tuple[float, ...] = (3e-3, 8e-3)
    seeds: int = 3
    tests: int = 4096


FULL = Settings()
QUICK = Settings(width=16, pauses=(1, 2), steps=15, batch=8, rates=(5e-3,), seeds=1, tests=64)

FLOCK = "flock"

_GAIN_NOTE = (
    "half squared error on new tasks, mean and spread over seeds, at the better of the rates; saying 0 costs {zero:.4g}, least "
    "squares 0; flops: of a forward pass for each answered token; more: over the flock's"
)
_UNTRAINED_NOTE = (
    "spaced: no pauses, tokens as far apart as those would set them; untrained: pauses as training would start them; trained: "
    "the society that was trained with as many"
)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Flocks with and without pauses, and what else their computation could buy.

    Tables: loss, parameters and operations of each society; each run with its rate and how settled it is; a trained flock that is
    given pauses it never saw.

    Raises:
        InputError: an unknown setting, or a value that does not fit.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    if min(chosen.pauses) < 1 or len(set(chosen.pauses)) < len(chosen.pauses):
        raise sg.InputError(f"{NAME}: pauses={chosen.pauses}: different numbers from 1 on; the flock without any is always there")
    seeds = [seed * 100 + number for number in range(chosen.seeds)]
    return conduct(NAME, lambda own, _: _work(own, seeds), chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def _work(chosen: Settings, seeds: list[int]) -> list[Table]:
    task = sg.grow.Regression(dimension=chosen.dimension, examples=chosen.examples)
    runs = grow_all(plans_of(chosen), task, rates=chosen.rates, seeds=seeds, batch=chosen.batch, tests=min(512, chosen.tests))
    batch = task.batch(chosen.tests, torch.Generator().manual_seed(10**9 + seeds[0]))
    found = pd.DataFrame([_told(one, _loss(one.grown.model, batch)) for one in runs])
    return [
        Table(GAIN, _summary(runs, found, task.length), ("society",), _GAIN_NOTE.format(zero=task.chance)),
        Table(RUNS, found, ("society", "seed"), "fell: of the test loss over the last tenth of training, as a share"),
        Table(UNTRAINED, _untrained(chosen, runs, found, batch), ("pauses", "seed"), _UNTRAINED_NOTE),
    ]


def plans_of(chosen: Settings) -> list[Plan]:
    """The flock; with pauses; the rivals of one and of two pauses (of the most, where there are fewer) in layers and in width."""
    task = sg.grow.Regression(dimension=chosen.dimension, examples=chosen.examples)
    common = {
        "objective": "number",
        "vector_size": task.vector_size,
        "hidden_size": chosen.width,
        "num_hidden_layers": chosen.layers,
        "max_position_embeddings": task.length * (1 + max(chosen.pauses)),
    }
    paused = {count: {**common, "kind": "pausing", "pauses": count} for count in chosen.pauses}
    middle = sorted(chosen.pauses)[min(1, len(chosen.pauses) - 1)]
    plans = [Plan(FLOCK, common, chosen.steps)]
    plans += [Plan(f"pauses {count}", config, chosen.steps) for count, config in paused.items()]
    plans += [Plan(f"pauses {middle}, read too early", {**paused[middle], "answer_at": "first"}, chosen.steps)]
    for count in sorted({min(chosen.pauses), middle}):
        deep = {**common, "num_hidden_layers": chosen.layers * (1 + count)}
        plans.append(Plan(f"{chosen.layers * (1 + count)} layers", deep, chosen.steps))
    wide = {**common, "intermediate_size": wide_mlp(common, paused[middle], task.length)}
    return [*plans, Plan("wider MLPs", wide, chosen.steps)]


def flops(config: Any, tokens: int) -> float:
    """Operations of one forward pass for each answered token, two for every multiplication in a matrix product.

    All pairs in attention count, masked or not; norms, rotations and softmax do not; the answer is computed where it is read.
    """
    places, width = 1 + int(config.pauses or 0), config.hidden_size
    layer = 8 * width**2 + 4 * width * config.intermediate_size + 4 * tokens * places * width
    return float(places * config.num_hidden_layers * layer + 2 * width * (config.vector_size + 1))


def wide_mlp(common: dict[str, Any], rival: dict[str, Any], tokens: int) -> int:
    """The width of MLPs with which a flock takes as many operations as its rival."""
    width, layers = common["hidden_size"], common["num_hidden_layers"]
    aim, plain = (flops(sg.grow.SocietyConfig(**one), tokens) for one in (rival, {**common, "intermediate_size": 1}))
    return 1 + round((aim - plain) / (4 * width * layers))


def _loss(society: Any, batch: dict[str, Tensor], **more: Any) -> float:
    with torch.no_grad():
        return float(society(**batch, use_cache=False, **more).loss)


def _told(one: Run, loss: float) -> dict[str, Any]:
    return {"society": one.plan.name, "seed": one.seed, "rate": one.rate, "loss": loss, "fell": one.fell}


def _summary(runs: list[Run], found: pd.DataFrame, tokens: int) -> pd.DataFrame:
    rows = {}
    for one in runs:
        society, own = one.grown.model, found[found["society"] == one.plan.name]["loss"]
        sizes = (society.config.num_hidden_layers, society.config.intermediate_size, int(society.config.pauses or 0))
        numbers = (society.num_parameters(), flops(society.config, tokens), own.mean(), own.min(), own.max())
        rows[one.plan.name] = (one.plan.name, *sizes, *numbers)
    columns = ["society", "layers", "mlp_width", "pauses", "parameters", "flops", "loss", "lowest", "highest"]
    table = pd.DataFrame(list(rows.values()), columns=columns)
    table.insert(6, "more", table["flops"] / table["flops"].iloc[0])
    return table


def _untrained(chosen: Settings, runs: list[Run], found: pd.DataFrame, batch: dict[str, Tensor]) -> pd.DataFrame:
    """Each trained flock, given pauses; its loss without, with tokens moved apart, and with pauses."""
    losses = found.set_index(["society", "seed"])["loss"]
    rows = []
    for one in (one for one in runs if one.plan.name == FLOCK):
        for count in chosen.pauses:
            places = torch.arange(batch["vectors"].shape[1])[None] * (1 + count)
            spaced = _loss(one.grown.model, batch, position_ids=places)
            without, trained = losses[FLOCK, one.seed], losses[f"pauses {count}", one.seed]
            rows.append((count, one.seed, without, spaced, _loss(given_pauses(one, count), batch), trained))
    return pd.DataFrame(rows, columns=["pauses", "seed", "without", "spaced", "untrained", "trained"])


def given_pauses(one: Run, count: int) -> Any:
    """The society of a run with pauses added, drawn as at the start of a training; all else are its own weights."""
    config = sg.grow.SocietyConfig(**{**one.plan.config, "kind": "pausing", "pauses": count})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(one.seed)
        society = sg.grow.Society(config).eval()
    missing, unknown = society.load_state_dict(one.grown.model.state_dict(), strict=False)
    assert (missing, unknown) == (["embed_pauses.weight"], [])
    return society


def draw(study: Study) -> Figure:
    """Loss against compute, and pauses never trained."""
    figure, (gains, given) = panels(2, size=(6.2, 4.6), title=study.question)
    table, runs = study[GAIN].set_index("society"), study[RUNS]
    for number, (name, row) in enumerate(table.iterrows()):
        own = runs[runs["society"] == name]["loss"]
        gains.plot([row["more"]] * len(own), own, "o" if row["pauses"] else "s", color=COLOURS[number % 8], fillstyle="none")
        gains.plot([row["more"]], [row["loss"]], "_", color=COLOURS[number % 8], markersize=16, label=str(name))
    gains.set_yscale("log")
    late = study[UNTRAINED].groupby("pauses", sort=True)[["without", "spaced", "untrained", "trained"]]
    at = np.arange(late.ngroups)
    for number, column in enumerate(("without", "spaced", "untrained", "trained")):
        mean, low, high = (late.agg(how)[column].to_numpy() for how in ("mean", "min", "max"))
        told = {
            "without": "no pauses",
            "spaced": "tokens moved apart",
            "untrained": "pauses untrained",
            "trained": "pauses trained",
        }
        given.errorbar(at + 0.12 * number, mean, [mean - low, high - mean], fmt="o", color=COLOURS[number], label=told[column])
    given.set_xticks(at + 0.18, [str(count) for count in sorted(study[UNTRAINED]["pauses"].unique())])
    given.set_yscale("log")
    label(gains, "circles: with pauses; squares: without; bar: mean", "operations, times the flock's", "half squared error")
    label(given, "pauses given to a trained flock (lowest to highest seed)", "pauses behind each token", "half squared error")
    return figure
