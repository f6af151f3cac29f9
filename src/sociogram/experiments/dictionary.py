"""A dictionary beside the prompt, not in it: does a model that is given the entries of what it reads say better what follows?

Entries are vectors, made once by the frozen model itself; no token of the prompt attends to them. At the token that ends a word
its entry is laid beside the stream, and a small MLP, the only part that is trained, adds to the stream what it makes of both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.dictionary_arms import (
    ARMS,
    DICTIONARY,
    PLAIN,
    PROMPT,
    Material,
    Result,
    Sizes,
    grown,
    material,
    one,
    untrained,
    words_of,
)  # fmt: skip
from sociogram.experiments.dictionary_bases import Base
from sociogram.experiments.dictionary_cost import cost
from sociogram.experiments.dictionary_entries import CHOICES
from sociogram.experiments.dictionary_tables import COST, DIFFERENCE, Found, tables_of, text_row
from sociogram.experiments.dictionary_texts import CLASSES
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.sense_contexts import CONTEXTS
from sociogram.experiments.study import Study, Table
from sociogram.experiments.watching import steps as watched
from sociogram.experiments.wordnet import open_wordnet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "dictionary"

CANNOT_SHOW = (
    "All text is WordNet's own example sentences, written to show a meaning in use, and the entries are WordNet's too: a "
    "dictionary can hardly be closer to a text. What helps here may help less elsewhere.",
    "The parts are disjoint by meaning: no test sentence is in what a society or an adapter was trained on. What the pretrained "
    "model was trained on is not known, and WordNet may be in it.",
    "Societies are small and were stopped long before they had settled: words are rare for them that larger models know. "
    "Adapters are small, see few texts (the pretrained model's some thousand tokens) and stand before the last layers. Another "
    "place or more text might do otherwise: no gain here is no proof that there is none.",
    "An entry is one vector, the mean over a definition; what is lost in it no adapter can bring back. Definitions in the prompt "
    "are read whole, by models that nobody has trained to read them there, without an adapter: compare what each gains over its "
    "own control (an adapter without a dictionary; the plain model).",
    "All of the wider adapter's parameters are used without a dictionary; of the adapter with zeros a third read nothing.",
)


@dataclass(frozen=True)
class Settings:
    """WordNet's folder (Debian's where empty); a pretrained model beside the society (none where empty); sizes of everything.

    `choice`: which senses are given, of `senses` kept (`model_senses` with the model; words of the pairs have four); `common`: so
    many of the most frequent words have no entry; `rare`: seen at most so often. `rows`, `model_rows`: to train on, to choose by,
    to test on, and how many of the last with definitions in the prompt. `base_lines`: the most that societies are grown on.
    """

    wordnet: str = ""
    model: str = "smollm2-135m"
    choice: str = "nearest"
    senses: int = 2
    common: int = 150
    rare: int = 5
    tokens: int = 32
    pairs: int = 28
    pieces: int = 2048
    width: int = 96
    layers: int = 3
    cut: int = 2
    base_lines: int = 200000
    base_steps: int = 400
    base_tokens: int = 384
    base_batch: int = 3
    base_rate: float = 4e-3
    units: int = 192
    rows: tuple[int, ...] = (2048, 128, 640, 96)
    steps: int = 100
    batch: int = 32
    rates: tuple[float, ...] = (2e-3, 6e-3)
    model_cut: int = 28
    model_units: int = 512
    model_senses: int = 1
    model_rows: tuple[int, ...] = (240, 32, 112, 24)
    model_steps: int = 30
    model_batch: int = 12
    model_rates: tuple[float, ...] = (5e-4, 1.5e-3)
    choices: bool = True
    rounds: int = 15
    seeds: int = 3


FULL = Settings()
QUICK = Settings(
    model="",
    pairs=6,
    pieces=512,
    width=32,
    layers=2,
    cut=1,
    base_lines=4000,
    base_steps=10,
    base_tokens=48,
    units=16,
    rows=(64, 16, 32, 4),
    steps=4,
    batch=8,
    rates=(2e-3,),
    choices=False,
    rounds=2,
    seeds=1,
)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """A society and a pretrained model, each with adapters of equal size, with and without a dictionary.

    Raises:
        InputError: an unknown setting, a value that does not fit, no WordNet.
        ModelNotFoundError: no such model.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    _check(chosen)
    open_wordnet(chosen.wordnet)
    seeds = [seed * 100 + number for number in range(chosen.seeds)]
    return conduct(NAME, lambda own, _: _work(own, seeds), chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def _check(chosen: Settings) -> None:
    """Refuse what could not be compared."""
    if chosen.choice not in CHOICES[:3]:
        raise sg.InputError(f"{NAME}: choice={chosen.choice!r}: one of {', '.join(map(repr, CHOICES[:3]))}")
    for name in ("units", "model_units"):
        if getattr(chosen, name) % 16 or getattr(chosen, name) < 16:
            raise sg.InputError(
                f"{NAME}: {name}={getattr(chosen, name)}: a multiple of 16, so that all adapters can be of one size"
            )
    for name in ("rows", "model_rows"):
        if len(getattr(chosen, name)) != 4 or min(getattr(chosen, name)) < 1:
            raise sg.InputError(
                f"{NAME}: {name}={getattr(chosen, name)}: four numbers from 1 on: to train on, choose by, test on, prompt"
            )
    if chosen.seeds < 1:
        raise sg.InputError(f"{NAME}: seeds={chosen.seeds}: one or more")


def _work(chosen: Settings, seeds: list[int]) -> list[Table]:
    wordnet = open_wordnet(chosen.wordnet)
    words = words_of(wordnet, chosen.common, chosen.rare, chosen.base_lines)
    society = {"vocab_size": chosen.pieces, "hidden_size": chosen.width, "num_hidden_layers": chosen.layers}
    training = {"steps": chosen.base_steps, "batch": chosen.base_batch, "learning_rate": chosen.base_rate}
    materials = []
    for seed in watched(seeds, "societies", len(seeds)):
        base = grown(words, society, training, cut=chosen.cut, tokens=chosen.base_tokens, seed=seed)
        materials.append(material(base, words, _sizes(chosen, False), CONTEXTS[: chosen.pairs], seed))
    found = [_compared(materials, seeds, chosen)]
    others = _chosen(materials, seeds, found[0].results) if chosen.choices else pd.DataFrame()
    if chosen.model:
        opened = sg.load(chosen.model)
        base = Base(opened.name, opened.hf, opened.tokenizer, chosen.model_cut)
        given = material(base, words, _sizes(chosen, True), CONTEXTS[: chosen.pairs], seeds[0])
        found.append(_compared([given] * len(seeds), seeds, chosen))
    return tables_of(found, others, rare=chosen.rare, pairs=chosen.pairs, tokens=chosen.tokens)


def _sizes(chosen: Settings, real: bool) -> Sizes:
    """Of the society's, or of the pretrained model's adapters."""
    rows = chosen.model_rows if real else chosen.rows
    few, told = (rows[0], rows[1], rows[2]), min(rows[3], rows[2])
    if real:
        units, steps, batch, rates = chosen.model_units, chosen.model_steps, chosen.model_batch, chosen.model_rates
        return Sizes(few, told, chosen.tokens, units, steps, batch, rates, chosen.model_senses, chosen.choice)
    units, steps, batch, rates = chosen.units, chosen.steps, chosen.batch, chosen.rates
    return Sizes(few, told, chosen.tokens, units, steps, batch, rates, chosen.senses, chosen.choice)


def _compared(materials: list[Material], seeds: list[int], chosen: Settings) -> Found:
    """Every arm from every seed: the rate that was best on the first seed's text to choose by is taken for the others."""
    results, rates = list[Result](), dict[str, tuple[float, ...]]()
    once = {id(given): untrained(given, 0) for given in {id(given): given for given in materials}.values()}
    for given, seed in zip(materials, seeds, strict=True):
        results += [replace(one, seed=seed) for one in once[id(given)][0]]
        for arm in watched(ARMS, f"{given.base.name}: adapters, seed {seed}", len(ARMS)):
            results.append(one(given, arm, seed, rates.get(arm, given.sizes.rates)))
            trained = results[-1].trained
            assert trained is not None
            rates.setdefault(arm, (trained.rate,))
    adapters = {r.arm: r.trained.adapter for r in results if r.seed == seeds[0] and r.trained is not None}
    given = materials[0]
    return Found(results, given, text_row(given, once[id(given)][1]), cost(given, adapters, chosen.rounds))


def _chosen(materials: list[Material], seeds: list[int], results: list[Result]) -> pd.DataFrame:
    """The dictionary's arm again, with entries chosen in every other way, at the rate that was best."""
    rows = []
    for given, seed in zip(materials, seeds, strict=True):
        own = next(r for r in results if r.arm == DICTIONARY and r.seed == seed)
        assert own.trained is not None
        for choice in watched(CHOICES, f"choices, seed {seed}", len(CHOICES)):
            done = own if choice == given.sizes.choice else one(given.chosen(choice, seed), DICTIONARY, seed, (own.trained.rate,))
            assert done.trained is not None
            rows.append(
                (
                    choice,
                    seed,
                    done.trained.adapter.count,
                    *(done.mean(given.where[kind]) for kind in CLASSES),
                    float(done.pairs.mean()),
                )
            )
    return pd.DataFrame(rows, columns=["choice", "seed", "parameters", *CLASSES, "senses"])


def draw(study: Study) -> Figure:
    """Differences between arms with their intervals, and loss against operations."""
    models = list(dict.fromkeys(study[DIFFERENCE]["model"]))
    figure, axes = panels(len(models), 2, size=(7.4, 4.6), title=study.question)
    own = ~study[DIFFERENCE]["second"].isin([PLAIN, PROMPT])
    for column, model in enumerate(models):
        ax, apart = axes[column], study[DIFFERENCE][(study[DIFFERENCE]["model"] == model) & own]
        pairs = list(dict.fromkeys(zip(apart["first"], apart["second"], strict=True)))
        for number, kind in enumerate(CLASSES):
            cells = apart[apart["where"] == kind]
            half = cells[["rows_half", "seeds_half"]].max(axis=1)
            at = [len(pairs) - place + 0.18 * (1.5 - number) for place in range(len(pairs))]
            ax.errorbar(cells["difference"], at, xerr=half, fmt="o", color=COLOURS[number], label=kind, markersize=4)
        ax.axvline(0, color=COLOURS[7], linewidth=0.8)
        ax.set_yticks(range(len(pairs), 0, -1), [f"{first}\nminus {second}" for first, second in pairs], fontsize=8)
        label(ax, f"{model}: left of 0 the first is better (wider of two 95 % intervals)", "loss minus loss, nats a token", "")
        ax, costs = axes[len(models) + column], study[COST][study[COST]["model"] == model].set_index("arm")["flops_times"]
        apart = study[DIFFERENCE][(study[DIFFERENCE]["model"] == model) & (study[DIFFERENCE]["second"] == PLAIN)]
        for number, arm in enumerate([*ARMS, PROMPT]):
            cells = apart[apart["first"] == arm].set_index("where").loc[["all", "after rare"], "difference"]
            for less, filled in zip(cells, ("full", "none"), strict=True):
                told = arm if filled == "full" else None
                ax.plot([costs[arm]], [less], "osD^vP"[number], color=COLOURS[number], label=told, fillstyle=filled)
        ax.axhline(0, color=COLOURS[7], linewidth=0.8)
        ax.set_xscale("log")
        label(
            ax,
            f"{model}: full: all tokens, empty: after rare words",
            "operations, times the plain model's",
            "loss minus the plain one's",
        )
    return figure
