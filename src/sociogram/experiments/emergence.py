"""How heads that continue a repetition come up in training (Olsson et al. 2022), watched as any other run is.

Texts repeat random tokens with a period drawn for each text. Societies of attention alone, of one layer and of two, are trained
on them; at regular steps they are recorded: the scores of each head, the networks of attention, the flock. In the trained ones
heads are muted and edges cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.emergence_pictures import (
    COURSE,
    ENDS,
    FIXED,
    FLOCK,
    HALF,
    HEADS,
    KNOWN,
    MUTED,
    NEEDED,
    NETWORKS,
    RATES,
    drawn,
)
from sociogram.experiments.emerging import STATISTICS, Settings, Trained, task_of, trained
from sociogram.experiments.induction import Plan, WithoutDistance, accuracy_under, always, by_place, earlier_rounds, unrepeated
from sociogram.experiments.study import Study, Table
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "emergence"

PATIENCE = {1: 2.0, 2: 1.0}
"""How many times the steps societies of so many layers get: one layer more, so that it does not fail for lack of them."""

THIN = 3
"""Of the steps at which all was measured, each so manieth stands in the tables of heads and flock."""

NOTES = {
    ENDS: "fall: of the loss over the last tenth of the steps; prefix: the head of the last layer that matches prefixes most; "
    "elsewhere: its score at the same places of texts that repeat nothing; even: if all were heard alike; beyond: the most that "
    "a head of the last layer gives to what stands one place further; previous: the head of the first layer that hears the token "
    "before most; unrepeated: accuracy on texts that repeat nothing",
    HALF: "two layers; the heads that the end shows, followed back: first step from which on the curve is above half of its end, "
    "and the step of its greatest rise; all were measured at the same steps",
    NEEDED: "two layers; kept: share of the accuracy without any change; cuts are of all heads of the layer; what followed, the "
    "token itself, what preceded: in the earlier rounds of the text",
    FIXED: "trained on one period alone; elsewhere: in texts that repeat nothing; other_periods: accuracy on random periods",
    NETWORKS: "two layers; means over seeds and heads; before: at step 0, which is the untrained null",
    RATES: "prefix, beyond: the largest of the last layer; another rate may find another way",
    MUTED: "two layers",
    COURSE: "prefix, elsewhere, previous: of the heads that the end shows",
    FLOCK: "one text; with and without its first token",
}

CANNOT_SHOW = (
    "Small societies of attention alone on random tokens: how and when large models learn to continue repetitions is not asked.",
    "That prefix matching and accuracy rise within the same steps is a coincidence in time. That the one is needed for the other "
    "is said by cutting, in the finished society, of what was cut.",
    "A muted head leaves the later ones a stream that they never met in training, and something breaks for that reason alone: "
    "muting the other heads of layer 0 costs accuracy too. Cut edges are the finer question; their controls are as many other "
    "edges of the same heads.",
    "Prefix matching is one way to continue a repetition. At the higher rate layer 1 listens one place further, to a token that "
    "was told by layer 0 what stood before it: as accurate, and hardly seen by the score (table of rates, `beyond`).",
    "Where several heads of a layer do the same, muting one of them shows nothing: they were muted together.",
    "Reciprocity is 0 in causal attention by construction, and not shown.",
    "One layer stays low for as long as it was trained here (twice the steps of two), at the best of few rates: no proof.",
)


FULL = Settings()
QUICK = Settings(seeds=(0,), rates=(0.01,), steps=10, batch=16, every=10, watched=2, tests=16, steered=1)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Train societies of one and two layers on repeated texts, watch them meanwhile, and take apart what came out.

    Raises:
        InputError: an unknown setting, a value that does not fit, texts that cannot be made of so many tokens.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    if chosen.watched < 2:
        raise sg.InputError(f"{NAME}: watched={chosen.watched}: two texts or more, whose scores are averaged")
    seeds = _seeds(chosen, seed)
    return conduct(NAME, _work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def _seeds(chosen: Settings, seed: int) -> list[int]:
    return [1000 * seed + each for each in chosen.seeds]


def _work(chosen: Settings, seed: int) -> list[Table]:
    task, seeds = task_of(chosen), _seeds(chosen, seed)
    plan = [(layers, each, rate) for layers in (1, 2) for each in seeds for rate in chosen.rates]
    tried = {one: trained(chosen, task, *one, part=PATIENCE[one[0]]) for one in steps(plan, "training", len(plan))}
    runs = {(layers, each): _best([tried[layers, each, rate] for rate in chosen.rates]) for layers in (1, 2) for each in seeds}
    twos = {each: runs[2, each] for each in seeds}
    muted = pd.concat([_muted(chosen, task, run, each) for each, run in steps(twos.items(), "muting", len(twos))])
    needed = pd.concat([_needed(chosen, task, run, each, muted) for each, run in steps(twos.items(), "cutting", len(twos))])
    fixed = pd.DataFrame([_fixed(chosen, each) for each in steps(seeds, "one period", len(seeds))])
    halves = pd.DataFrame([_half(each, run) for each, run in twos.items()])
    tables = [
        (KNOWN, _known(task), ("who",)),
        (ENDS, pd.DataFrame([_end(chosen, *key, run) for key, run in runs.items()]), ("layers", "seed")),
        (HALF, halves, ("seed",)),
        (NEEDED, needed, ("seed", "change")),
        (FIXED, fixed, ("seed",)),
        (NETWORKS, _networks(twos), ("role", "when")),
        (RATES, pd.DataFrame([_tried(*key, run) for key, run in tried.items()]), ("layers", "seed", "rate")),
        (MUTED, muted.reset_index(drop=True), ("seed", "layer", "head")),
        (COURSE, _stacked({key: run.followed() for key, run in runs.items()}, 1), ("layers", "seed", "step")),
        (
            HEADS,
            _stacked({key: run.heads for key, run in runs.items()}, THIN),
            ("layers", "seed", "step", "layer", "head"),
        ),
        (
            FLOCK,
            _stacked({key: run.flock for key, run in runs.items()}, THIN),
            ("layers", "seed", "step", "stop", "tokens"),
        ),
    ]
    return [Table(title, frame.reset_index(drop=True), keys, NOTES.get(title, "")) for title, frame, keys in tables]


def _best(several: list[Trained]) -> Trained:
    """The one of highest accuracy in the end."""
    return max(several, key=lambda run: float(run.end["accuracy"]))


def _known(task: sg.grow.Repeat) -> pd.DataFrame:
    """What can be said without any society."""
    batch = task.batch(256, torch.Generator().manual_seed(0))
    asked = batch["labels"] >= 0
    oracle = float((task.oracle(batch) == batch["labels"])[asked].double().mean())
    rows = [
        ("one token always", task.blind),
        ("one of the tokens that occur, but the present one", task.chance),
        ("the token at the distance that is right most often at this place", by_place(task)),
        ("what followed the same token before (oracle)", oracle),
    ]
    return pd.DataFrame(rows, columns=["who", "accuracy"])


def _tried(layers: int, seed: int, rate: float, run: Trained) -> dict[str, Any]:
    end = run.end
    late = run.heads[(run.heads["step"] == end["step"]) & (run.heads["layer"] == layers - 1)]
    row = {"layers": layers, "seed": seed, "rate": rate, "accuracy": end["accuracy"], "loss": end["test_loss"]}
    return row | {"fall": run.fall, "prefix": late["prefix"].max(), "beyond": late["beyond"].max()}


def _end(chosen: Settings, layers: int, seed: int, run: Trained) -> dict[str, Any]:
    ids = unrepeated(chosen.tests, chosen.length, chosen.vocabulary, seed)
    said = run.model.logits(ids)[:, chosen.shortest : -1].argmax(-1)
    plain = float((said == ids[:, chosen.shortest + 1 :]).double().mean())
    last, even = run.followed().iloc[-1], float(run.heads["even"].iloc[-1])
    scores = {"elsewhere": last["elsewhere"], "even": even, "previous": last["previous"]}
    return _tried(layers, seed, run.rate, run) | scores | {"unrepeated": plain}


def _half(seed: int, run: Trained) -> dict[str, Any]:
    """The steps at which three curves pass half of where they end, and those of their greatest rise."""
    course, row = run.followed(), {"seed": seed}
    for name in ("previous", "prefix", "accuracy"):
        row[f"{name}_half"] = passes_half(course["step"], course[name])
        row[f"{name}_rise"] = int(course["step"].iloc[int(np.diff(course[name]).argmax()) + 1])
    return row


def passes_half(at: pd.Series, curve: pd.Series) -> int:
    """The first step of those noted from which on the curve is at least half of its end."""
    low = (curve.to_numpy() < 0.5 * curve.iloc[-1]).nonzero()[0]
    return int(at.iloc[low[-1] + 1 if len(low) else 0])


def _questions(chosen: Settings, task: sg.grow.Repeat, seed: int) -> dict[str, torch.Tensor]:
    return task.batch(chosen.steered, torch.Generator().manual_seed(2**41 + seed))


def _muted(chosen: Settings, task: sg.grow.Repeat, run: Trained, seed: int) -> pd.DataFrame:
    """The accuracy without each head, one by one, beside its scores."""
    batch = _questions(chosen, task, seed)
    last = run.heads[run.heads["step"] == run.end["step"]]
    rows = []
    for row in last.itertuples():
        mute = sg.edits.mute(layer=int(row.layer), head=int(row.head))
        found = {"prefix": row.prefix, "previous": row.previous, "accuracy": accuracy_under(run.model, batch, always(mute))}
        rows.append({"seed": seed, "layer": row.layer, "head": row.head, **found})
    return pd.DataFrame(rows)


def matching(table: pd.DataFrame, score: str, layer: int) -> list[int]:
    """The heads of a layer that have at least half of its highest score, highest first."""
    own = table[table["layer"] == layer].sort_values(score, ascending=False)
    return [int(head) for head in own[own[score] >= 0.5 * own[score].max()]["head"]]


def _needed(chosen: Settings, task: sg.grow.Repeat, run: Trained, seed: int, muted: pd.DataFrame) -> pd.DataFrame:
    """What muting and cutting leave of the accuracy, with controls of the same layer and as many edges."""
    own = muted[muted["seed"] == seed]
    (late, early), every = (matching(own, "prefix", 1), matching(own, "previous", 0)), range(chosen.heads)
    plans: dict[str, tuple[Plan, str]] = {"none": (always(), "")}
    for name, layer, found in (("prefix-matching", 1, late), ("previous-token", 0, early)):
        others = [head for head in every if head not in found]
        drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed)).tolist()
        plans[f"mute the {name} heads"] = _mute(layer, found)
        if others:
            plans[f"control: mute others of layer {layer}"] = _mute(layer, [others[i] for i in drawn[: len(found)]])
    plans["cut layer 1 from what followed"] = earlier_rounds(1, 1), ""
    plans["control: cut layer 1 from the token itself"] = earlier_rounds(1, 0), ""
    plans["control: cut layer 1 from what preceded"] = earlier_rounds(1, -1), ""
    plans["cut layer 0 from the token before"] = always(WithoutDistance(layer=0, distance=1)), ""
    plans["control: cut layer 0 from two before"] = always(WithoutDistance(layer=0, distance=2)), ""
    batch, rows = _questions(chosen, task, seed), []
    for change, (plan, heads) in plans.items():
        rows.append((seed, change, heads, accuracy_under(run.model, batch, plan)))
    table = pd.DataFrame(rows, columns=["seed", "change", "heads", "accuracy"])
    return table.assign(kept=table["accuracy"] / table["accuracy"].iloc[0])


def _mute(layer: int, heads: list[int]) -> tuple[Plan, str]:
    return always(sg.edits.mute(layer=layer, head=heads)), ", ".join(f"{layer}.{head}" for head in heads)


def _fixed(chosen: Settings, seed: int) -> dict[str, Any]:
    """One layer on one period: what it comes to, whether that is position, and what is left of it where periods are others."""
    period = sg.grow.Repeat(chosen.vocabulary, chosen.length, chosen.fixed, chosen.fixed)
    run = trained(chosen, period, 1, seed, chosen.rates[-1], part=0.5)
    last, even = run.followed().iloc[-1], float(run.heads["even"].iloc[-1])
    scores = {"accuracy": last["accuracy"], "prefix": last["prefix"], "elsewhere": last["elsewhere"], "even": even}
    others = sg.grow.score(run.model.hf, task_of(chosen), count=chosen.tests)["accuracy"]
    return {"seed": seed, **scores, "other_periods": others}


def _networks(runs: Mapping[int, Trained]) -> pd.DataFrame:
    """Graph statistics by the role that a head has in the end, at the first step and at the last."""
    parts = []
    for run in runs.values():
        first, last = run.heads["step"].min(), run.heads["step"].max()
        table = run.heads[run.heads["step"].isin([first, last])]
        ends = table[table["step"] == last]
        roles = {(1, head): "prefix-matching" for head in matching(ends, "prefix", 1)}
        roles |= {(0, head): "previous-token" for head in matching(ends, "previous", 0)}
        places = zip(table["layer"].tolist(), table["head"].tolist(), strict=True)
        role = [roles.get(place, f"others of layer {place[0]}") for place in places]
        when = table["step"].map({first: "before", last: "after"})
        parts.append(table.assign(role=role, when=when))
    both = pd.concat(parts, ignore_index=True)
    found = both.groupby(["role", "when"], sort=False)[["prefix", "previous", *STATISTICS]].mean().reset_index()
    return found.sort_values(["role", "when"], ascending=[True, False], ignore_index=True)


def _stacked(tables: Mapping[tuple[int, int], pd.DataFrame], thin: int) -> pd.DataFrame:
    """The tables of all runs, each `thin`-th step and the last."""
    parts = []
    for (layers, seed), table in tables.items():
        own = table[table["step"].isin([*table["step"].unique()[::thin], table["step"].max()])]
        parts.append(pd.concat([pd.DataFrame({"layers": layers, "seed": seed}, index=own.index), own], axis=1))
    return pd.concat(parts, ignore_index=True)


def draw(study: Study) -> Figure:
    """Accuracy and scores over the steps, what cutting leaves, and how networks and flock change meanwhile."""
    figure: Figure = drawn(study)
    return figure
