"""Small societies that classify texts by planted evidence, trained to be read at their first token or off the mean of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

import sociogram as sg


@dataclass(frozen=True)
class Settings:
    """Seeds; tasks (lengths; clues, half as many distractors); society and training; sizes of tests; the encoder, its texts."""

    seeds: tuple[int, ...] = (0, 1, 2)
    lengths: tuple[int, ...] = (16, 40, 100)
    clues: tuple[int, ...] = (2, 6)
    width: int = 32
    layers: int = 1
    rates: tuple[float, ...] = (0.003, 0.01)
    steps: int = 200
    batch: int = 32
    every: int = 10
    tests: int = 512
    probed: int = 1000
    moved: int = 200
    draws: int = 2000
    model: str = "minilm-l6"
    passages: int = 40
    pieces: tuple[int, ...] = (8, 16, 32, 64, 128)


CLASSES = 4

Condition = tuple[int, int]
"""Length and clues."""


@dataclass(frozen=True, eq=False)
class Trained:
    """A society, the rate that made it (0: none), and its history."""

    model: sg.Model
    rate: float
    history: pd.DataFrame

    @property
    def accuracy(self) -> float:
        """In the end."""
        return float(self.history["accuracy"].iloc[-1])

    @property
    def fall(self) -> float:
        """Of the loss on held-out texts, over the last tenth of the steps."""
        late = self.history[self.history["step"] <= 0.9 * self.history["step"].iloc[-1]]
        return float(late["test_loss"].iloc[-1] - self.history["test_loss"].iloc[-1])

    @property
    def soon(self) -> float:
        """The first step noted from which on the accuracy stays at 0.9 or above; NaN where it does not."""
        low = (self.history["accuracy"].to_numpy() < 0.9).nonzero()[0]
        at = low[-1] + 1 if len(low) else 0
        return float(self.history["step"].iloc[at]) if at < len(self.history) else float("nan")


Runs = dict[tuple[int, int, str, int], Trained]
"""By length, clues, how it was trained (`cls`, `mean`, `not`) and seed."""


def task_of(length: int, clues: int) -> sg.grow.Evidence:
    """So many clues for the right class and half as many for others."""
    return sg.grow.Evidence(classes=CLASSES, length=length, clues=clues, distractors=clues // 2)


def config_of(chosen: Settings, length: int, pool: str) -> sg.grow.SocietyConfig:
    """A flock that hears both ways and knows no positions, so that a token may join anywhere."""
    return sg.grow.SocietyConfig(
        kind="flock",
        objective="class",
        pool=pool,
        classes=CLASSES,
        vocab_size=64,
        hidden_size=chosen.width,
        num_hidden_layers=chosen.layers,
        max_position_embeddings=length + 1,
        positions="none",
        causal=False,
        initializer_range=0.1,
    )


def trained(chosen: Settings, length: int, clues: int, pool: str, seed: int, rate: float) -> Trained:
    """One society, trained to be read one way."""
    grown = sg.grow.train(
        config_of(chosen, length, pool),
        task_of(length, clues),
        steps=chosen.steps,
        batch=chosen.batch,
        learning_rate=rate,
        seed=seed,
        every=chosen.every,
        test_count=chosen.tests,
    )
    return Trained(sg.load(grown.model), rate, grown.history)


def untrained(chosen: Settings, length: int, seed: int) -> Trained:
    """The same weights that training begins with; how it would be pooled makes no difference to them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        society = sg.grow.Society(config_of(chosen, length, "mean"))
    return Trained(sg.load(society.eval()), 0.0, pd.DataFrame())


def over_seeds(runs: Runs, ways: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], list[Trained]]]:
    """For each condition and way of training, the societies of all seeds."""
    for length, clues in dict.fromkeys((key[0], key[1]) for key in runs):
        for way in ways:
            several = [one for key, one in runs.items() if key[:3] == (length, clues, way)]
            yield {"length": length, "clues": clues, "trained": way}, several


def texts_of(chosen: Settings, length: int, clues: int, part: int) -> dict[str, torch.Tensor]:
    """Texts that training did not draw: to fit probes on (1), to ask them (2), to be changed (3)."""
    draw = torch.Generator().manual_seed(2**42 + 1009 * length + 101 * clues + part)
    return task_of(length, clues).batch(chosen.probed if part < 3 else chosen.moved, draw)
