"""Mixture of depths (Raposo et al. 2404.02258): who is given more computation, what it gains, what the choice leaks.

In every second layer of a routed society a share of the tokens takes part. Its rivals at equal compute are a flock of fewer
layers and a flock trained for fewer steps; its control is the choice by lot. Because the choice looks at the whole sequence, a
loss on the next character is told in causal readings besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import sociogram as sg
from sociogram.experiments import routers
from sociogram.experiments.best_rate import Plan, Run, grow_all
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.routed_tokens import enriched, round_kinds, side_by_side, text_kinds
from sociogram.experiments.routing_cost import COST_NOTE, cost, flops
from sociogram.experiments.study import Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "depth-routing"
COST, GAIN, LEAK, KINDS, ROUNDS = (
    "What a token costs",
    "Loss on held-out text",
    "What the choice knows of the future",
    "Which characters are routed",
    "Which tokens of repeated sequences are routed",
)

CANNOT_SHOW = (
    "Societies of tens of channels on sequences of tens of characters: mixtures of depths were proposed for models a million "
    "times as large, whose order at equal compute may be another.",
    "Operations are counted of the matrix products in a forward pass; milliseconds are of this machine, of training steps whose "
    "gathering of tokens costs as much as some of the products saved. A kernel made for it would save more.",
    "The prefix reading gives early tokens fewer fellows than the share promises; the threshold reading lets the number vary. "
    "Neither was trained for: a society with the paper's auxiliary predictor, or trained on causal choices, might lose less.",
    "A kind of token that is routed often is what this router, trained from these seeds on Python's help, chose; that it needed "
    "the computation is not shown by it. The losses under choices by lot say what the choice is worth in all.",
    "Few runs for each kind of society (all rates on the first seed alone): orders whose margins do not exceed the spread over "
    "seeds are not claimed.",
)


@dataclass(frozen=True)
class Settings:
    """Sizes of the societies, the routed share; steps, batch, rates, seeds of training; sequences for tests; steps on repeats."""

    tokens: int = 32
    width: int = 32
    layers: int = 4
    share: float = 0.25
    steps: int = 800
    batch: int = 32
    rates: tuple[float, ...] = (4e-3, 1e-2)
    seeds: int = 3
    tests: int = 512
    rounds: int = 500


FULL = Settings()
QUICK = Settings(tokens=16, width=16, steps=20, batch=8, rates=(1e-2,), seeds=1, tests=32, rounds=20)

FLOCK, SHORTER, ROUTED, LOT, SHALLOW = "flock", "flock, fewer steps", "routed", "routed by lot", "flock, half the layers"
SEEING = (FLOCK, LOT, ROUTED)
"""Whose logits are looked at for traces of the future."""

_GAIN_NOTE = (
    "nats a character, at the better of the rates on the first seed; compute: of all training, the flock's is 1; whole: choices "
    "look at the whole sequence; prefix: each prefix read anew; threshold: a token takes part by its own score (share: of tokens "
    "that do); by_lot: other tokens than the router's; fell: of the test loss over the last tenth of training, as a share"
)
_LEAK_NOTE = (
    "first halves, read whole; other_future: the second half is another text's; dearer: the mean difference, error: its standard "
    "error over sequences; moved: share of first-half tokens whose logits change at all; largest: change of a logit"
)
_KINDS_NOTE = (
    "how often the kind is routed over how often any token is: learned (lowest, highest over seeds), by lot, and by the router "
    "before training; base: share of all tokens"
)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Compute, gains at equal compute, the leak of the choice, and who is chosen.

    Tables: operations by formula and as torch counts them, and milliseconds of a training step; the loss on held-out text read
    whole, by prefixes, and with a causal choice; the loss with another text's future; enrichment of kinds of tokens among the
    routed, in text and in repeated sequences where it is known which are asked.

    Raises:
        InputError: an unknown setting, or a value that does not fit.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    if chosen.layers < 2 or chosen.layers % 2:
        raise sg.InputError(
            f"{NAME}: layers={chosen.layers}: every second one is routed, and a rival has half of them: an even number"
        )
    return conduct(NAME, _work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=_seeds(chosen, seed))


def _seeds(chosen: Settings, seed: int) -> list[int]:
    return [seed * 100 + number for number in range(chosen.seeds)]


def _work(chosen: Settings, seed: int) -> list[Table]:
    seeds, task = _seeds(chosen, seed), sg.grow.Language("character", length=chosen.tokens)
    plans = plans_of(chosen, task.vocab_size)
    runs = grow_all(plans, task, rates=chosen.rates, seeds=seeds, batch=chosen.batch)
    held = sg.grow.Language("character", length=chosen.tokens, part="held")
    batch = held.batch(chosen.tests, torch.Generator().manual_seed(seed))
    ids, labels = batch["input_ids"], batch["labels"]
    known = task.batch(chosen.tests, torch.Generator().manual_seed(seed + 1))["input_ids"]
    leaks = pd.DataFrame([leak(run, ids, labels) for run in runs if run.plan.name in SEEING])
    return [
        Table(COST, cost(_societies(plans), (chosen.batch, chosen.tokens), seed=seed), ("society",), COST_NOTE),
        Table(GAIN, _gain(runs, chosen, ids, labels, known), ("society", "seed"), _GAIN_NOTE),
        Table(LEAK, leaks, ("society", "seed"), _LEAK_NOTE),
        Table(KINDS, _kinds(runs, held, ids, labels), ("layer", "tokens"), _KINDS_NOTE),
        Table(ROUNDS, _rounds(chosen, seeds), ("layer", "tokens"), _KINDS_NOTE),
    ]


def plans_of(chosen: Settings, vocab: int) -> list[Plan]:
    """The societies. The shallow flock's MLPs are as wide as makes its operations those of the routed one."""
    common = {
        "vocab_size": vocab,
        "hidden_size": chosen.width,
        "num_hidden_layers": chosen.layers,
        "max_position_embeddings": chosen.tokens,
    }
    routed = {**common, "kind": "routed", "routed_share": chosen.share}
    full, less = (flops(sg.grow.SocietyConfig(**one), chosen.tokens) for one in (common, routed))
    half = chosen.layers // 2
    fixed = half * (8 * chosen.width**2 + 4 * chosen.tokens * chosen.width) + 2 * chosen.width * vocab
    shallow = {**common, "num_hidden_layers": half, "intermediate_size": round((less - fixed) / (4 * half * chosen.width))}
    return [
        Plan(FLOCK, common, chosen.steps),
        Plan(SHORTER, common, round(chosen.steps * less / full)),
        Plan(SHALLOW, shallow, chosen.steps),
        Plan(LOT, {**routed, "routing": "random"}, chosen.steps),
        Plan(ROUTED, routed, chosen.steps),
    ]


def _societies(plans: list[Plan]) -> dict[str, Any]:
    return {plan.name: _untrained(plan, 0) for plan in plans if plan.name != SHORTER}


def _untrained(plan: Plan, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return sg.grow.Society(sg.grow.SocietyConfig(**plan.config))


def _gain(runs: list[Run], chosen: Settings, ids: Tensor, labels: Tensor, known: Tensor) -> pd.DataFrame:
    full = flops(runs[0].grown.model.config, chosen.tokens) * chosen.steps
    rows = []
    for run in runs:
        compute = flops(run.grown.model.config, chosen.tokens) * run.plan.steps / full
        row = {"society": run.plan.name, "seed": run.seed, "steps": run.plan.steps, "compute": compute, "rate": run.rate}
        rows.append(row | _read(run, ids, labels, known) | {"fell": run.fell})
    return pd.DataFrame(rows)


def _read(run: Run, ids: Tensor, labels: Tensor, known: Tensor) -> dict[str, float]:
    """The loss in each reading; choices by a threshold and by lot are asked of learned routers alone."""
    society = run.grown.model
    found = {"whole": float(routers.losses(society, ids, labels).mean())}
    found |= {"prefix": float(routers.prefix_losses(society, ids, labels).mean())}
    found |= dict.fromkeys(("threshold", "share", "by_lot"), float("nan"))
    if run.plan.name == ROUTED:
        with routers.choosing(society, routers.above(routers.thresholds(society, known))):
            found["threshold"] = float(routers.losses(society, ids, labels).mean())
            found["share"] = float(torch.stack([c.double().mean() for c in routers.choices(society, ids).values()]).mean())
        with routers.choosing(society, routers.drawn(society.config.routed_share, torch.Generator().manual_seed(run.seed))):
            found["by_lot"] = float(routers.losses(society, ids, labels).mean())
    return found


def leak(run: Run, ids: Tensor, labels: Tensor) -> dict[str, Any]:
    """What first halves lose when another text follows: nothing, bit for bit, where the choice does not see it.

    The last token of the half is left out: its answer is in the second half.
    """
    society, half = run.grown.model, ids.shape[1] // 2
    futures = (ids, routers.other_future(ids))
    own, other = (routers.losses(society, one, labels)[:, : half - 1] for one in futures)
    with torch.no_grad():
        logits = [society(one, use_cache=False).logits[:, :half] for one in futures]
    apart, dearer = (logits[0] - logits[1]).abs(), (other - own).mean(1)
    return {
        "society": run.plan.name,
        "seed": run.seed,
        "own_future": float(own.mean()),
        "other_future": float(other.mean()),
        "dearer": float(dearer.mean()),
        "error": float(dearer.std() / len(dearer) ** 0.5),
        "moved": float((apart > 0).any(-1).double().mean()),
        "largest": float(apart.max()),
    }


def _kinds(runs: list[Run], task: Any, ids: Tensor, labels: Tensor) -> pd.DataFrame:
    """Enrichment in text, of routers trained, by lot and untrained; hardness is the flock's loss from the same seed."""
    flocks = {run.seed: run.grown.model for run in runs if run.plan.name == FLOCK}
    tables = []
    for run in (run for run in runs if run.plan.name in (ROUTED, LOT)):
        kinds = text_kinds(task, ids, routers.losses(flocks[run.seed], ids, labels))
        tables += enriched("by_lot" if run.plan.name == LOT else "learned", run.grown.model, ids, kinds)
        if run.plan.name == ROUTED:
            tables += enriched("untrained", _untrained(run.plan, run.seed), ids, kinds)
    return side_by_side(tables)


def _rounds(chosen: Settings, seeds: list[int]) -> pd.DataFrame:
    """Enrichment in repeated sequences, where it is known which tokens are asked."""
    task = sg.grow.Repeat(vocab_size=16, length=24, shortest=4, longest=10)
    config = {"vocab_size": 16, "hidden_size": chosen.width, "num_hidden_layers": chosen.layers, "max_position_embeddings": 24}
    routed = {**config, "kind": "routed", "routed_share": chosen.share}
    plans = [Plan(FLOCK, config, chosen.rounds), Plan(ROUTED, routed, chosen.rounds)]
    tables, accuracy = [], {FLOCK: 0.0, ROUTED: 0.0}
    for run in grow_all(plans, task, rates=chosen.rates[-1:], seeds=seeds, batch=chosen.batch):
        accuracy[run.plan.name] += float(run.grown.history["accuracy"].iloc[-1]) / len(seeds)
        if run.plan.name == ROUTED:
            batch = task.batch(chosen.tests, torch.Generator().manual_seed(run.seed))
            ids, kinds = batch["input_ids"], round_kinds(batch["labels"])
            tables += enriched("learned", run.grown.model, ids, kinds)
            tables += enriched("untrained", _untrained(run.plan, run.seed), ids, kinds)
    return side_by_side(tables).assign(accuracy=accuracy[ROUTED], flocks_accuracy=accuracy[FLOCK])


def draw(study: Study) -> Figure:
    """Loss at equal compute, whole and causal; what another future costs; who is routed."""
    figure, (gains, leaks, who) = panels(3, size=(5.6, 4.6), title=study.question)
    table = study[GAIN]
    names = list(dict.fromkeys(table["society"]))
    looks = (("whole", "o", "read whole"), ("prefix", "x", "by prefixes"), ("threshold", "^", "by thresholds"))
    for reading, marker, told in looks:
        for number, name in enumerate(names):
            own = table[table["society"] == name]
            gains.plot(own[reading], [number] * len(own), marker, color=COLOURS[number], fillstyle="none")
        gains.plot([], [], marker, color="black", fillstyle="none", label=told)
    shares = table.drop_duplicates("society")["compute"]
    gains.set_yticks(range(len(names)), [f"{name}\n({share:.0%} compute)" for name, share in zip(names, shares, strict=True)])
    own_futures = study[LEAK].groupby("society", sort=False)
    for number, (name, own) in enumerate(own_futures):
        at = number + 0.15 * np.arange(len(own))
        leaks.errorbar(own["dearer"], at, xerr=2 * own["error"], fmt="o", color=COLOURS[names.index(str(name))])
    leaks.set_yticks(range(own_futures.ngroups), [str(name) for name, _ in own_futures])
    leaks.locator_params(axis="x", nbins=4)
    leaks.axvline(0, color=COLOURS[7], linewidth=0.8)
    _draw_kinds(who, study[KINDS])
    label(gains, "loss on held-out text, each seed", "nats a character", "")
    label(leaks, "first halves, another text's future (2 standard errors)", "nats more than with their own", "", legend=False)
    label(who, "who is routed (bars: lowest to highest seed)", "times as often as any token", "")
    return figure


def _draw_kinds(ax: Any, table: pd.DataFrame) -> None:
    tokens, layers = list(dict.fromkeys(table["tokens"])), sorted(table["layer"].unique())
    for number, layer in enumerate(layers):
        own = table[table["layer"] == layer].set_index("tokens").loc[tokens]
        at = np.arange(len(tokens)) + 0.3 * (number - len(layers) / 2 + 0.5)
        reach = np.abs(np.stack([own["learned"] - own["lowest"], own["highest"] - own["learned"]]))
        ax.errorbar(
            own["learned"],
            at,
            xerr=reach,
            fmt="os^v"[number],
            color=COLOURS[4 - 4 * number],
            markersize=4,
            label=f"learned, layer {layer}",
        )
        for column, look in (("untrained", "|"), ("by_lot", "x")):
            told = column.replace("_", " ") if number == 0 else None
            ax.plot(own[column], at, look, color=COLOURS[7], markersize=5, label=told)
    ax.set_yticks(range(len(tokens)), tokens, fontsize=8)
    ax.invert_yaxis()
    ax.axvline(1, color=COLOURS[7], linewidth=0.8)
