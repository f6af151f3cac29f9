"""A dictionary's entries as vectors of a frozen model, computed once, and which of them is given at which token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

import sociogram as sg
from sociogram.experiments.dictionary_bases import Base
from sociogram.experiments.dictionary_texts import Rows
from sociogram.experiments.watching import steps as watched
from sociogram.experiments.wordnet import Sense, WordNet

CHOICES = ("first", "mean", "nearest", "two, sorted", "two, unsorted")
"""Which of a word's senses are given: the most frequent; the mean of all kept; that nearest to the token's own vector by cosine;
the two most frequent in two slots, in their order or in one drawn for each word."""
LONGEST = 24
"""Tokens of an entry that are read."""


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Entries of words as vectors.

    Attributes:
        vectors: the first row, all zeros, stands for no entry; the others have mean 0 and variance 1 in each channel.
        rows: for each word the rows of its senses, the most frequent first.
        means: for each word the row of the mean of its senses.
        texts: what was read for each row from 1 on; rows behind these are means.
        tokens: how many tokens were read in all.
    """

    vectors: Float[Tensor, "entry d_model"]
    rows: dict[str, list[int]]
    means: dict[str, int]
    texts: list[str]
    tokens: int

    def shuffled(self, seed: int) -> Float[Tensor, "entry d_model"]:
        """The same vectors, each given to another entry by a permutation that `seed` draws; no entry stays no entry."""
        count = len(self.vectors) - 1
        turn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
        return torch.cat((self.vectors[:1], self.vectors[1:][turn]))


def text_of(sense: Sense) -> str:
    """An entry as it is read: the word, and its definition behind a colon."""
    return f"{sense.lemma.replace('_', ' ')}: {sense.synset.definition}"


def lexicon_of(base: Base, wordnet: WordNet, words: Mapping[str, int]) -> Lexicon:
    """The entries of words, of each at most so many senses.

    A sense's vector is the mean over its definition's tokens, read behind the word itself, of the stream at the adapter's place.

    Raises:
        InputError: none of the words is in the dictionary.
    """
    found = {word: wordnet.senses(word)[:senses] for word, senses in words.items()}
    texts = list(dict.fromkeys(text_of(sense) for own in found.values() for sense in own))
    if not texts:
        raise sg.InputError("dictionary: none of the words has an entry: take more text, or a higher `common`")
    vectors, tokens = _read(base, texts)
    place = {text: number for number, text in enumerate(texts, 1)}
    rows = {word: [place[text_of(sense)] for sense in own] for word, own in found.items() if own}
    several = [(word, own) for word, own in rows.items() if len(own) > 1]
    means = {word: own[0] for word, own in rows.items()} | {word: 1 + len(texts) + n for n, (word, _) in enumerate(several)}
    table = torch.cat((vectors, *(vectors[torch.tensor(own) - 1].mean(0, keepdim=True) for _, own in several)))
    centre, spread = vectors.mean(0), vectors.std(0)
    return Lexicon(torch.cat((torch.zeros_like(table[:1]), (table - centre) / spread)), rows, means, texts, tokens)


def _read(base: Base, texts: Sequence[str], batch: int = 64) -> tuple[Float[Tensor, "entry d_model"], int]:
    """The means over the tokens behind the colon, in batches of about the same length, padded behind."""
    found = base.tokenizer(list(texts), return_offsets_mapping=True, add_special_tokens=False)
    tokens = [ids[:LONGEST] for ids in found["input_ids"]]
    starts = [text.index(": ") + 1 for text in texts]
    after = [[end > start for _, end in spans[:LONGEST]] for start, spans in zip(starts, found["offset_mapping"], strict=True)]
    order = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
    vectors = torch.empty(len(texts), base.width)
    parts = [order[at : at + batch] for at in range(0, len(order), batch)]
    for part in watched(parts, f"{base.name}: reading entries", len(parts)):
        longest = len(tokens[part[-1]])
        ids = torch.tensor([tokens[n] + [0] * (longest - len(tokens[n])) for n in part])
        counted = torch.tensor([after[n] + [False] * (longest - len(tokens[n])) for n in part])[..., None]
        vectors[torch.tensor(part)] = (base.lower(ids) * counted).sum(1) / counted.sum(1).clamp_min(1)
    return vectors, sum(map(len, tokens))


def slots(
    lexicon: Lexicon,
    rows: Rows,
    streams: Float[Tensor, "row query d_model"],
    choice: str,
    *,
    like: Float[Tensor, "some_row some_query d_model"] | None = None,
    seed: int = 0,
) -> Int[Tensor, "row query slot"]:
    """Which entries are given at each token, as rows of the lexicon's vectors; 0 for none.

    At a token stands the entry of the word that ends with it if one ends there: what comes behind does not decide, so that a word
    in several pieces may bring the entries of its beginnings too (`bank` in `banker`). The nearest sense is that nearest to the
    token's own vector, both without the mean of their kind: `like` are the streams whose mean and spread are taken.

    Raises:
        InputError: no such choice.
    """
    if choice not in CHOICES:
        raise sg.InputError(f"dictionary: choice={choice!r}: choose from {', '.join(map(repr, CHOICES))}")
    words = [word for row in rows.read for word in row[:-1]]
    own = [lexicon.rows.get(word, []) for word in words]
    if choice == "nearest":
        return _nearest(lexicon, own, streams.flatten(0, 1), like=streams if like is None else like).view(*rows.inputs.shape, 1)
    if choice == "mean":
        return torch.tensor([lexicon.means.get(word, 0) for word in words]).view(*rows.inputs.shape, 1)
    if choice == "first":
        return torch.tensor([some[0] if some else 0 for some in own]).view(*rows.inputs.shape, 1)
    turned = _turned(lexicon, seed) if choice.endswith("unsorted") else set()
    both = [[*some, 0, 0][:2][:: -1 if word in turned else 1] for word, some in zip(words, own, strict=True)]
    return torch.tensor(both).view(*rows.inputs.shape, 2)


def _turned(lexicon: Lexicon, seed: int) -> set[str]:
    """The words whose two slots change places: one in two."""
    coins = torch.rand(len(lexicon.rows), generator=torch.Generator().manual_seed(seed)) < 0.5
    return {word for word, coin in zip(lexicon.rows, coins.tolist(), strict=True) if coin}


def _nearest(lexicon: Lexicon, own: Sequence[Sequence[int]], streams: Tensor, like: Tensor) -> Int[Tensor, " place"]:
    """Of each place's rows that with the largest cosine to the place's vector `[place, d_model]`, both centred and scaled."""
    most = max(1, *(len(some) for some in own))
    rows = torch.tensor([[*some, *[0] * (most - len(some))] for some in own])
    flat = like.flatten(0, 1)
    states = F.normalize((streams - flat.mean(0)) / flat.std(0), dim=-1)
    near = (F.normalize(lexicon.vectors, dim=-1)[rows] * states[:, None]).sum(-1).masked_fill(rows == 0, -2.0)
    return rows.gather(1, near.argmax(1, keepdim=True))[:, 0]
