"""Tokens as particles: how attention gathers them on the sphere, what it collapses to without skips, and what a real model's do.

Geshkovski et al. (2312.10794): attention as a pull of all on all; Dong et al. (2103.03404): attention alone loses rank doubly
exponentially. The same measures are then taken of the layers of a trained model, beside matched random walks and fresh weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.sphere import common_cosine, flow, layers, unlike
from sociogram.experiments.study import Study, Table
from sociogram.experiments.subjects import fresh, pieces
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "collective-motion"
COMMON, CLUSTERS, COLLAPSE, MODEL, SHORT = (
    "The common cosine from orthogonal tokens",
    "Clusters over time",
    "Rank with and without skips and MLPs",
    "Every stop of the model",
    "The model, first, middle and last stop",
)

CLOSE = 0.999
"""Particles whose cosine is at least this are one cluster here: 32 on a circle are nearer than the flock's 0.9 from the start."""

CANNOT_SHOW = (
    "The motion on the sphere has equal weights in every layer, W_Q^T W_K = W_V = I and no MLP: it shows what attention alone "
    "does, not what trained layers do.",
    "That a trained model's tokens have high cosines is no clustering: a direction that all share makes them high. Effective "
    "rank, the null bands and the columns without the first token stand beside them for that reason.",
    "Matched random walks know how far each token moves and nothing else: to be beyond them is easy, and says that moves are "
    "ordered, not why.",
    "A few texts of one length are described; effective rank and clusters depend on the number of tokens and cannot be compared "
    "with texts of another.",
)


@dataclass(frozen=True)
class Settings:
    """Which model and what it reads; sizes of the simulations, each number of draws of which is averaged over."""

    model: str = "smollm2-135m"
    texts: int = 3
    tokens: int = 64
    null: int = 20
    particles: int = 32
    until: float = 100.0
    draws: int = 5
    depth: int = 8


FULL = Settings()
QUICK = Settings(texts=1, tokens=24, null=5, until=20.0, draws=2)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """The common cosine against its equation, clusters over time, collapse of rank, and the flock measures of a model's layers.

    Raises:
        InputError: an unknown setting, a value that does not fit, more tokens than the texts have.
        ModelNotFoundError: no such model.
    """
    return conduct(NAME, _work, choose(NAME, FULL, QUICK, quick, settings), CANNOT_SHOW, quick=quick, seed=seed)


def _work(chosen: Settings, seed: int) -> list[Table]:
    stops = _model(chosen, seed)
    return [
        Table(COMMON, common(), ("tokens", "beta", "time"), "spread: largest minus smallest simulated cosine"),
        Table(CLUSTERS, _clusters(chosen, seed), ("d_model", "beta", "time"), f"{chosen.particles} tokens, joined at {CLOSE}"),
        Table(
            COLLAPSE,
            _collapse(chosen, seed),
            ("layers", "stop"),
            "unlike: |X - 1 mean| / |X|, geometric mean over draws; factor: the step of its logarithm over the step before (3: "
            "doubly exponential, 1: exponential); not told below 1e-13, where float64 ends",
        ),
        Table(
            SHORT, _short(stops), ("weights", "measure", "where"), "means over texts; null: 5 % to 95 % of matched random walks"
        ),
        Table(MODEL, stops, ("weights", "measure", "stop")),
    ]


def common(sizes: tuple[tuple[int, float], ...] = ((8, 1.0), (32, 1.0), (32, 4.0))) -> pd.DataFrame:
    """Simulated from orthogonal tokens and by the equation of the one cosine that all pairs keep."""
    rows = []
    for tokens, beta in sizes:
        times = np.linspace(0, 8 if beta < 2 else 40, 9)
        places, expected = flow(np.eye(tokens), beta, times), common_cosine(tokens, beta, times)
        one, other = np.triu_indices(tokens, 1)
        for time, now, wanted in zip(times, places, expected, strict=True):
            cosines = (now @ now.T)[one, other]
            row = (float(cosines.mean()), float(np.ptp(cosines)), float(wanted), float(np.abs(cosines - wanted).max()))
            rows.append((tokens, beta, float(time), *row))
    return pd.DataFrame(rows, columns=["tokens", "beta", "time", "cosine", "spread", "equation", "difference"])


def _clusters(chosen: Settings, seed: int) -> pd.DataFrame:
    """How many clusters there are at a time, mean over draws of tokens uniform on the sphere."""
    times = np.concatenate([[0], np.geomspace(0.5, chosen.until, 12)])
    parts = []
    for width, beta in ((2, 9.0), (2, 1.0), (64, 1.0)):
        found = []
        for number in steps(range(chosen.draws), f"particles in {width} dimensions, beta {beta:g}", chosen.draws):
            start = np.random.default_rng([seed, width, number]).standard_normal((chosen.particles, width))
            places = flow(start / np.linalg.norm(start, axis=1, keepdims=True), beta, times, tolerance=1e-8)
            found.append(sg.measure_flock(places, joined=CLOSE)[["clusters", "cohesion"]].to_numpy())
        mean, several = np.mean(found, 0), np.mean([one[:, 0] > 1 for one in found], 0)
        columns = {"clusters": mean[:, 0], "share_of_draws_with_several": several, "cohesion": mean[:, 1]}
        parts.append(pd.DataFrame({"d_model": width, "beta": beta, "time": times, **columns}))
    return pd.concat(parts, ignore_index=True)


def _collapse(chosen: Settings, seed: int) -> pd.DataFrame:
    """Random layers, of attention alone and with what trained models have beside it."""
    kinds = {
        "attention": (False, False),
        "attention, skips": (True, False),
        "attention, MLPs": (False, True),
        "all": (True, True),
    }
    parts = []
    for name, (skip, mlp) in kinds.items():
        shares, measures = [], []
        for number in range(chosen.draws):
            rng = np.random.default_rng([seed, number])
            places = layers(rng.standard_normal((chosen.particles, 64)), chosen.depth, rng, skip=skip, mlp=mlp)
            shares.append(unlike(places))
            measures.append(sg.measure_flock(places)[["cohesion", "effective_rank"]].to_numpy())
        logs = np.log(shares).mean(0)
        step = np.diff(logs, prepend=np.nan)
        factor = np.where(np.min(shares, 0) > 1e-13, step / np.roll(step, 1), np.nan)
        cohesion, rank = np.mean(measures, 0).T
        columns = {"unlike": np.exp(logs), "factor": factor, "cohesion": cohesion, "effective_rank": rank}
        parts.append(pd.DataFrame({"layers": name, "stop": np.arange(len(logs)), **columns}))
    return pd.concat(parts, ignore_index=True)


def _model(chosen: Settings, seed: int) -> pd.DataFrame:
    """The flock measures at every stop of the trained model and of a fresh one, mean over texts."""
    if chosen.null < 1:
        raise sg.InputError(f"{NAME}: null={chosen.null}: one or more random walks, to compare with")
    real = sg.load(chosen.model)
    texts = pieces(real, chosen.texts, chosen.tokens)
    parts = []
    for weights, model in (("trained", real), ("fresh", fresh(real, seed))):
        tables = []
        for ids in steps(texts, f"{chosen.model}, {weights}", len(texts)):
            rec = sg.record(model, ids, keep=("residual",))
            tables.append(rec.flock(null=chosen.null, seed=seed, components=1).measures_table())
        keys = ["stop", "layer", "part", "measure"]
        mean = pd.concat(tables).groupby(keys, sort=False, as_index=False).mean()
        beyond = (mean["without_first"] < mean["null_low"]) | (mean["without_first"] > mean["null_high"])
        beyond &= mean["stop"] > 0  # walks start where the tokens do
        parts.append(mean.assign(beyond_null=beyond, weights=weights))
    columns = ["weights", "measure", "stop", "layer", "part", "all", "without_first", "null_low", "null_high", "beyond_null"]
    return pd.concat(parts, ignore_index=True)[columns]


def _short(stops: pd.DataFrame) -> pd.DataFrame:
    last = int(stops["stop"].max())
    places = {"first": 0, "middle": last // 2, "last": last}
    parts = [stops[stops["stop"] == stop].assign(where=where) for where, stop in places.items()]
    return pd.concat(parts, ignore_index=True).sort_values(["weights", "measure", "stop"], ignore_index=True, kind="stable")


def draw(study: Study) -> Figure:
    """The cosine and its equation, clusters over time, collapse, and effective rank through the model."""
    figure, (one, two, three, four) = panels(2, 2, size=(5.6, 3.8), title=study.question)
    for colour, (key, own) in zip(COLOURS, study[COMMON].groupby(["tokens", "beta"], sort=False), strict=False):
        one.plot(own["time"], own["equation"], color=colour, label=f"n {key[0]}, beta {key[1]:g}")
        one.plot(own["time"], own["cosine"], "o", color=colour, markersize=4)
    for colour, (key, own) in zip(COLOURS, study[CLUSTERS].groupby(["d_model", "beta"], sort=False), strict=False):
        two.plot(own["time"], own["clusters"], "o-", color=colour, markersize=3, label=f"d {key[0]}, beta {key[1]:g}")
    two.set_xscale("symlog", linthresh=0.5)
    for colour, (kind, own) in zip(COLOURS, study[COLLAPSE].groupby("layers", sort=False), strict=False):
        three.plot(own["stop"], own["unlike"], "o-", color=colour, markersize=3, label=str(kind))
    three.set_yscale("log")
    stops = study[MODEL]
    ranks = stops[stops["measure"] == "effective_rank"].groupby("weights", sort=False)
    for colour, (weights, own) in zip(COLOURS, ranks, strict=False):
        four.plot(own["stop"], own["without_first"], color=colour, label=f"{weights}, without the first token")
        four.fill_between(
            own["stop"], own["null_low"], own["null_high"], color=colour, alpha=0.2, label=f"{weights}: random walks"
        )
    label(one, "orthogonal tokens: simulated (dots), equation (lines)", "time", "common cosine")
    label(two, "clusters, mean over draws", "time", f"groups joined at cosine {CLOSE}")
    label(three, "random layers", "layer", "|X - 1 mean| / |X|")
    label(four, str(study.settings["model"]), "stop", "effective rank")
    return figure
