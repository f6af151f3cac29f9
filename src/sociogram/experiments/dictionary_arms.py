"""What is compared: adapters of equal size that are given a dictionary, a shuffled one, or none; on one base."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sociogram as sg
from sociogram.experiments.dictionary_adapters import Across, Adapter, Beside, Lesson, Trained, losses, teach
from sociogram.experiments.dictionary_bases import Base, Stream, subwords
from sociogram.experiments.dictionary_entries import Lexicon, lexicon_of, slots
from sociogram.experiments.dictionary_prompt import in_prompt
from sociogram.experiments.dictionary_senses import Asked, ask, rows_of, scores
from sociogram.experiments.dictionary_texts import Rows, counts_of, lines_of, packed
from sociogram.experiments.sense_contexts import Twice
from sociogram.experiments.wordnet import WordNet

PLAIN, PROMPT = "plain", "in the prompt"
ZEROS, WIDER, DICTIONARY, SHUFFLED, ACROSS = (
    "zeros",
    "wider",
    "dictionary",
    "shuffled",
    "cross-attention",
)
ARMS = (ZEROS, WIDER, DICTIONARY, SHUFFLED, ACROSS)
"""Adapters, all of the same number of parameters: the first reads zeros for entries, the second has no place for them."""


@dataclass(frozen=True)
class Sizes:
    """Of one base: rows to train on, to choose by, to test on; tokens of a row; the adapter's hidden units, its training."""

    rows: tuple[int, int, int]
    prompt_rows: int
    tokens: int
    units: int
    steps: int
    batch: int
    rates: tuple[float, ...]
    senses: int
    choice: str


@dataclass(frozen=True, eq=False)
class Words:
    """The parts' lines, how often words occur in the part that societies are grown on, and which are common or rare there."""

    wordnet: WordNet
    lines: dict[str, list[str]]
    common: set[str]
    counts: dict[str, int]
    most: int

    def is_rare(self, word: str) -> bool:
        """In the dictionary, and seen at most so often."""
        return bool(word) and self.counts.get(word, 0) <= self.most and bool(self.wordnet.senses(word))


def words_of(wordnet: WordNet, common: int, most: int, grown_on: int) -> Words:
    """Parts and counts, of as many lines as societies are grown on."""
    lines = lines_of(wordnet)
    lines["base"] = lines["base"][:grown_on]
    counts = counts_of(lines["base"])
    return Words(wordnet, lines, {word for word, _ in counts.most_common(common)}, dict(counts), most)


def grown(words: Words, config: Mapping[str, Any], training: Mapping[str, Any], *, cut: int, tokens: int, seed: int) -> Base:
    """A small society grown on its part of the text (definitions and examples, in WordNet's order), cut before a layer."""
    lines = [f"{line}\n" for line in words.lines["base"]]
    tokenizer = subwords(lines, int(config["vocab_size"]))
    ids = torch.tensor([token for one in tokenizer(lines)["input_ids"] for token in one])
    wanted = sg.grow.SocietyConfig(kind="flock", max_position_embeddings=tokens, **config)
    task = Stream(ids, len(tokenizer), tokens)
    made = sg.grow.train(wanted, task, seed=seed, every=max(1, training["steps"] // 10), test_count=8, **training)
    return Base("society", made.model, tokenizer, cut)


@dataclass(frozen=True, eq=False)
class Material:
    """All that adapters on one base are trained and tested with; `where`: where on the test part the next token is predicted."""

    base: Base
    lexicon: Lexicon
    train: Lesson
    check: Lesson
    test: Lesson
    rows: dict[str, Rows]
    where: dict[str, np.ndarray]
    asked: Asked
    sizes: Sizes

    def chosen(self, choice: str, seed: int) -> Material:
        """The same with other entries at each token."""

        def given(lesson: Lesson, part: str) -> Lesson:
            own = slots(self.lexicon, self.rows[part], lesson.streams, choice, like=self.train.streams, seed=seed)
            return replace(lesson, slots=own)

        asked = replace(self.asked, lesson=given(self.asked.lesson, "asked"))
        train, check, test = (given(getattr(self, part), part) for part in ("train", "check", "test"))
        return replace(self, train=train, check=check, test=test, asked=asked)


def material(base: Base, words: Words, sizes: Sizes, pairs: Sequence[Twice], seed: int) -> Material:
    """Rows of the three parts below the adapter, entries of their words, and the pairs."""
    rows = {
        part: packed(base.tokenizer, words.lines[part], sizes.tokens, count, seed if part == "train" else 0)
        for part, count in zip(("train", "check", "test"), sizes.rows, strict=True)
    }
    rows["asked"], _ = rows_of(base, pairs)
    senses = dict.fromkeys(sorted(set().union(*(own.words() for own in rows.values())) - words.common), sizes.senses)
    lexicon = lexicon_of(base, words.wordnet, senses | {pair.word: max(4, sizes.senses) for pair in pairs})
    streams = [base.streams(rows[part].inputs) for part in ("train", "check", "test")]
    train, check, test = (
        Lesson(own, rows[part].labels, slots(lexicon, rows[part], own, sizes.choice, like=streams[0]), lexicon.vectors)
        for part, own in zip(("train", "check", "test"), streams, strict=True)
    )
    rare = {word for word in {word for row in rows["test"].whole for word in row} if words.is_rare(word)}
    where = {name: some.numpy() for name, some in rows["test"].classes(rare).items()}
    asked = ask(base, lexicon, pairs, sizes.choice, train.streams)
    return Material(base, lexicon, train, check, test, rows, where, asked, sizes)


def table_of(arm: str, lexicon: Lexicon, seed: int) -> Tensor:
    """The entries that an arm is given."""
    if arm in (ZEROS, WIDER):
        return torch.zeros_like(lexicon.vectors)
    return lexicon.shuffled(seed) if arm == SHUFFLED else lexicon.vectors


def maker(arm: str, streams: Tensor, units: int, places: int = 1) -> Callable[[], Adapter]:
    """An arm's adapter before training; every arm has three parameters for each channel and unit.

    With two slots there are four matrices of the size of a unit's and a channel's, and three quarters of the units.
    """
    if arm == WIDER:
        return lambda: Beside(streams, units * 3 // 2, 0)
    if arm == ACROSS:
        return lambda: Across(streams, units * 3 // 4, 4)
    return lambda: Beside(streams, units * 3 // (2 + places), places)


@dataclass(frozen=True, eq=False)
class Result:
    """One arm on one base from one seed: losses `[row, query]` on the test part, scores of the pairs, how it was trained."""

    arm: str
    seed: int
    losses: np.ndarray
    pairs: np.ndarray
    trained: Trained | None = None
    tried: tuple[float, ...] = ()

    def mean(self, where: np.ndarray) -> float:
        """The mean loss somewhere."""
        return float(self.losses[where[: len(self.losses)]].mean())


def one(given: Material, arm: str, seed: int, rates: Sequence[float]) -> Result:
    """Train an arm at each of the rates, and test that which ended lowest on the text to choose by."""
    table, sizes = table_of(arm, given.lexicon, seed), given.sizes
    train, check, test = (replace(lesson, table=table) for lesson in (given.train, given.check, given.test))
    make = maker(arm, train.streams, sizes.units, train.slots.shape[-1])
    tried = [teach(given.base, make, train, check, steps=sizes.steps, batch=sizes.batch, rate=rate, seed=seed) for rate in rates]
    best = min(tried, key=lambda trained: trained.check)
    lost = losses(given.base, best.adapter, test).double().numpy()
    return Result(arm, seed, lost, scores(given.base, best.adapter, given.asked, table), best, tuple(t.check for t in tried))


def untrained(given: Material, seed: int) -> tuple[list[Result], float]:
    """The plain base, and with definitions in the prompt (on as many rows as the sizes say); tokens read for each of the text."""
    base, lexicon, asked = given.base, given.lexicon, given.asked
    plain = losses(base, None, given.test).double().numpy()
    found = [Result(PLAIN, seed, plain, scores(base, None, asked, lexicon.vectors))]
    longer, tokens = in_prompt(base, lexicon, given.rows["test"].some(given.sizes.prompt_rows))
    pairs, _ = in_prompt(base, lexicon, given.rows["asked"])
    return [*found, Result(PROMPT, seed, longer.double().numpy(), asked.scored(pairs))], tokens
