"""Small societies of one layer and of two, trained on repeated texts and recorded at regular steps while they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

import sociogram as sg
from sociogram.experiments.induction import head_scores, unrepeated


@dataclass(frozen=True)
class Settings:
    """Seeds; the society; its training, at the best of some rates; the texts; when it is watched; on how much it is tested."""

    seeds: tuple[int, ...] = (0, 1, 2)
    kind: str = "attention_only"
    positions: str = "learned"
    width: int = 64
    heads: int = 4
    rates: tuple[float, ...] = (0.005, 0.01)
    steps: int = 600
    batch: int = 32
    every: int = 10
    vocabulary: int = 64
    length: int = 64
    shortest: int = 8
    longest: int = 24
    fixed: int = 16
    watched: int = 8
    tests: int = 128
    steered: int = 24


SCORES = ("prefix", "elsewhere", "even", "beyond", "previous")
"""Of each head; see `induction.head_scores`."""
STATISTICS = ("entropy", "distance", "self_share", "sink_share", "sender_share", "clustering", "effective_rank")
"""Of each head's graph; see docs/networks.md."""
MEASURES = ("cohesion", "alignment", "dispersion", "nearest", "effective_rank")
"""Of the flock at each stop."""

Head = tuple[int, int]
"""Layer and head."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished society with what was noted on the way: a row for each step; for each step and head; for each step and stop."""

    model: sg.Model
    rate: float
    course: pd.DataFrame
    heads: pd.DataFrame
    flock: pd.DataFrame

    @property
    def end(self) -> pd.Series:
        """The last row of the course."""
        return self.course.iloc[-1]

    @property
    def fall(self) -> float:
        """How much the loss on held-out texts fell over the last tenth of the steps."""
        late = self.course[self.course["step"] <= 0.9 * self.end["step"]]
        return float(late["test_loss"].iloc[-1] - self.end["test_loss"])

    def best(self, score: str, layer: int) -> Head:
        """The head of a layer that has most of a score in the end."""
        last = self.heads[(self.heads["step"] == self.end["step"]) & (self.heads["layer"] == layer)]
        return layer, int(last["head"].iloc[int(last[score].to_numpy().argmax())])

    def line(self, score: str, head: Head) -> np.ndarray:
        """A score of one head over the steps."""
        own = self.heads[(self.heads["layer"] == head[0]) & (self.heads["head"] == head[1])]
        values: np.ndarray = own.sort_values("step")[score].to_numpy()
        return values

    def followed(self) -> pd.DataFrame:
        """The course with the scores of two heads, those that the end shows, followed back to the first step.

        `prefix` and `elsewhere` are of the head of the last layer that matches prefixes most, `previous` of the head of the first
        that hears the token before most.
        """
        late, early = self.best("prefix", int(self.heads["layer"].max())), self.best("previous", 0)
        scores = {"prefix": late, "elsewhere": late, "previous": early}
        return self.course.assign(**{name: self.line(name, head) for name, head in scores.items()})


def task_of(chosen: Settings) -> sg.grow.Repeat:
    """The texts that are asked for."""
    return sg.grow.Repeat(chosen.vocabulary, chosen.length, chosen.shortest, chosen.longest)


def trained(chosen: Settings, task: sg.grow.Repeat, layers: int, seed: int, rate: float, *, part: float = 1.0) -> Trained:
    """Train one society for `part` times the steps, watched on texts that training did not draw, as often if they are more."""
    config = sg.grow.SocietyConfig(
        kind=chosen.kind,
        vocab_size=chosen.vocabulary,
        hidden_size=chosen.width,
        num_hidden_layers=layers,
        num_attention_heads=chosen.heads,
        max_position_embeddings=chosen.length,
        positions=chosen.positions,
        initializer_range=0.1,
    )
    grown = sg.grow.train(
        config,
        task,
        steps=max(1, round(part * chosen.steps)),
        batch=chosen.batch,
        learning_rate=rate,
        schedule="constant_with_warmup",
        seed=seed,
        every=chosen.every * max(1, round(part)),
        test_count=chosen.tests,
        measure=_watch(chosen, task),
    )
    heads = _long(grown.history, "head", ["layer", "head"]).astype({"layer": int, "head": int})
    flock = _long(grown.history, "flock", ["stop", "tokens"]).astype({"stop": int})
    return Trained(sg.load(grown.model), rate, grown.history[["step", "test_loss", "accuracy"]], heads, flock)


def _watch(chosen: Settings, task: sg.grow.Repeat) -> Callable[[sg.grow.Society], Mapping[str, float]]:
    """What is measured of a society at a step: scores and graph statistics of each head, the flock at each stop."""
    draw = torch.Generator().manual_seed(2**40 - 1)
    ids = task.batch(chosen.watched, draw)["input_ids"]
    plain = unrepeated(chosen.watched, chosen.length, chosen.vocabulary, 2**40 - 2)

    def measure(society: sg.grow.Society) -> Mapping[str, float]:
        model = sg.load(society)
        rec = sg.record(model, ids)
        one = rec.sequence(0)
        table = head_scores(rec, sg.record(model, plain, keep=("weights",)))
        table = table.merge(sg.networks(one).summary()[["layer", "head", *STATISTICS]], on=["layer", "head"])
        found: dict[str, float] = {}
        for row in table.itertuples():
            found |= {f"head|{row.layer}|{row.head}|{name}": getattr(row, name) for name in (*SCORES, *STATISTICS)}
        places = one.dataset["residual"].values
        for tokens, some in (("all", places), ("without first", places[:, 1:])):
            for row in sg.measure_flock(some).itertuples():
                found |= {f"flock|{row.stop}|{tokens}|{name}": getattr(row, name) for name in MEASURES}
        return found

    return measure


def _long(history: pd.DataFrame, what: str, keys: list[str]) -> pd.DataFrame:
    """The columns `what|key|key|name` of a history as rows."""
    columns = [name for name in map(str, history) if name.startswith(f"{what}|")]
    tall = history.melt(["step"], columns)
    parts = tall["variable"].str.split("|", expand=True)
    tall[[*keys, "name"]] = parts[list(range(1, len(keys) + 2))]
    wide = tall.pivot(index=["step", *keys], columns="name", values="value").reset_index()
    order = [name.rsplit("|", 1)[1] for name in columns]
    return wide[["step", *keys, *dict.fromkeys(order)]].rename_axis(columns=None)
