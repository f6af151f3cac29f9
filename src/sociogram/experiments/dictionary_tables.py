"""Tables of `dictionary`: losses, differences with their intervals, word senses, the ways of choosing entries, the texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sociogram.experiments.dictionary_arms import (
    ACROSS,
    DICTIONARY,
    PLAIN,
    PROMPT,
    SHUFFLED,
    WIDER,
    ZEROS,
    Material,
    Result,
)  # fmt: skip
from sociogram.experiments.dictionary_cost import COST_NOTE
from sociogram.experiments.dictionary_texts import CLASSES
from sociogram.experiments.study import Table

LOSS, DIFFERENCE, SENSES, COST = "Loss on the test text", "Who is better than whom", "Words of two senses", "What a token costs"
CHOICE, RUNS, TEXTS = "Which entries are given (society)", "Every run", "Texts and entries"

COMPARED = (
    (DICTIONARY, SHUFFLED), (DICTIONARY, WIDER), (DICTIONARY, ZEROS), (SHUFFLED, ZEROS), (ACROSS, WIDER), (DICTIONARY, ACROSS),
    (ZEROS, PLAIN), (WIDER, PLAIN), (DICTIONARY, PLAIN), (SHUFFLED, PLAIN), (ACROSS, PLAIN), (PROMPT, PLAIN),
)  # fmt: skip
"""Whose loss minus whose."""
DIFFERENCE_NOTE = (
    "first minus second, nats a token, below 0 the first is better; seeds_half, rows_half: half of the 95 % interval over seeds "
    "(t) and over rows of the test text (mean of the seeds, rows as clusters); lower: seeds in which it is below 0"
)
SENSE_NOTE = (
    "score: by how much (nats) two contexts make the continuation that fits them likelier than the other context does, mean over "
    "{count} words and seeds, 0 for who does not look at it; right: share of words above 0; error: standard error over words"
)

_LOSS_NOTE = (
    "nats a token, means over seeds; zeros, wider: adapters without a dictionary; in the prompt: definitions, no adapter, fewer "
    "rows, which the table of differences compares with the same of others; after rare: the next token behind the end of a rare "
    "word (in WordNet, at most {rare} times in what the society was grown on); of rare: where the next token belongs to one; "
    "rest: neither"
)
_RUN_NOTE = (
    "check: loss on the text to choose by, among the tokens that occur; fell: of the training loss over the last fifth, as a "
    "share; senses: mean score of the pairs"
)
_TEXT_NOTE = (
    "tokens of each part, entries read, share of tokens at which one is given, shares of the test text; in_prompt: tokens read "
    "for each of the text with definitions in the prompt"
)


@dataclass
class Found:
    """What was found on one model: every run, what it was run on, and what is told of it once."""

    results: list[Result]
    given: Material
    text: dict[str, object]
    cost: pd.DataFrame


def loss_rows(name: str, results: Sequence[Result], masks: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row for each run."""
    rows = []
    for one in results:
        trained = one.trained
        told = (np.nan, np.nan, np.nan) if trained is None else (trained.rate, trained.check, trained.fell)
        rows.append((name, one.arm, one.seed, *told, *(one.mean(masks[kind]) for kind in CLASSES), float(one.pairs.mean())))
    return pd.DataFrame(rows, columns=["model", "arm", "seed", "rate", "check", "fell", *CLASSES, "senses"])


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of the loss, everywhere and by class, and its spread over seeds everywhere."""
    grouped = runs.groupby(["model", "arm"], sort=False)
    table = grouped[list(CLASSES)].mean()
    table["lowest"], table["highest"] = grouped["all"].min(), grouped["all"].max()
    return table.reset_index()


def differences(name: str, results: Sequence[Result], masks: dict[str, np.ndarray]) -> pd.DataFrame:
    """Every comparison in every class, on the rows that both arms have."""
    found = {(one.arm, one.seed): one.losses for one in results}
    seeds = sorted({one.seed for one in results})
    rows = []
    for first, second in COMPARED:
        pairs = [(found[first, seed], found[second, seed]) for seed in seeds if {(first, seed), (second, seed)} <= set(found)]
        if not pairs:
            continue
        count = min(len(one) for pair in pairs for one in pair)
        less = np.stack([one[:count] - other[:count] for one, other in pairs])
        rows += [(name, first, second, kind, *interval(less, masks[kind][:count]), count) for kind in CLASSES]
    columns = ["model", "first", "second", "where", "difference", "seeds_half", "rows_half", "lower", "seeds", "rows"]
    return pd.DataFrame(rows, columns=columns)


def interval(less: np.ndarray, where: np.ndarray) -> tuple[float, float, float, int, int]:
    """The mean difference `[seed, row, query]` where asked, half its intervals over seeds and rows, seeds below 0, and seeds.

    One seed, or seeds that all give the same, have no interval over seeds (NaN).
    """
    from scipy.stats import t

    means = (less * where).sum((1, 2)) / where.sum()
    many = len(means) > 1 and bool(np.ptp(means) > 0)
    half = float(t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / len(means) ** 0.5) if many else np.nan
    own = (less.mean(0) * where).sum(1) - means.mean() * where.sum(1)
    rows_half = float(1.96 * np.sqrt((own**2).sum()) / where.sum())
    return float(means.mean()), half, rows_half, int((means < 0).sum()), len(means)


def sense_rows(name: str, results: Sequence[Result]) -> pd.DataFrame:
    """By arm: the mean score, its standard error over words (means over seeds), the share of words that are right, the spread."""
    rows = []
    for arm in dict.fromkeys(one.arm for one in results):
        own = np.stack([one.pairs for one in results if one.arm == arm])
        words, seeds = own.mean(0), own.mean(1)
        error = words.std(ddof=1) / len(words) ** 0.5
        rows.append((name, arm, words.mean(), error, float((own > 0).mean()), seeds.min(), seeds.max()))
    return pd.DataFrame(rows, columns=["model", "arm", "score", "error", "right", "lowest", "highest"])


def text_row(given: Material, read: float) -> dict[str, object]:
    """How much text, how much of it rare, how many entries."""
    named = {name: float(given.where[name].mean()) for name in CLASSES[1:]}
    rows, tokens = given.sizes.rows, given.sizes.tokens
    given_at = float((given.test.slots > 0).any(-1).double().mean())
    counts = {"train": rows[0] * tokens, "check": rows[1] * tokens, "test": rows[2] * tokens, "entries": len(given.lexicon.texts)}
    return {"model": given.base.name, **counts, "given_at": given_at, **named, "in_prompt": read}


def tables_of(found: Sequence[Found], others: pd.DataFrame, *, rare: int, pairs: int, tokens: int) -> list[Table]:
    """All tables of a study."""
    named = [(one.given.base.name, one, one.given.where) for one in found]
    runs = pd.concat([loss_rows(name, one.results, there) for name, one, there in named], ignore_index=True)
    apart = pd.concat([differences(name, one.results, there) for name, one, there in named], ignore_index=True)
    senses = pd.concat([sense_rows(name, one.results) for name, one, _ in named], ignore_index=True)
    costs = pd.concat([one.cost for one in found], ignore_index=True)
    texts = pd.DataFrame([one.text for one in found])
    tables = [
        Table(DIFFERENCE, apart, ("model", "first", "second", "where"), DIFFERENCE_NOTE),
        Table(LOSS, summary(runs), ("model", "arm"), _LOSS_NOTE.format(rare=rare)),
        Table(SENSES, senses, ("model", "arm"), SENSE_NOTE.format(count=pairs)),
        Table(COST, costs, ("model", "arm"), COST_NOTE.format(tokens=tokens)),
        Table(RUNS, runs, ("model", "arm", "seed"), _RUN_NOTE),
        Table(TEXTS, texts, ("model",), _TEXT_NOTE),
    ]
    return (
        tables
        if others.empty
        else [*tables, Table(CHOICE, others, ("choice", "seed"), "losses, and the mean score of the pairs")]
    )
