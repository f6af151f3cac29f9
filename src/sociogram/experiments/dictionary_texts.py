"""WordNet's example sentences as texts: disjoint parts, rows of tokens, and the word that has been read at each token."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sociogram.experiments.wordnet import WordNet

PARTS = {"base": 0.6, "train": 0.24, "check": 0.06, "test": 0.1}
"""Shares of the meanings: what a society is grown on; what adapters are trained, chosen and tested on."""
CLASSES = ("all", "after rare", "of rare", "rest")
"""Where the next token is predicted: everywhere; behind the end of a rare word; where it belongs to one; neither."""
_WORD = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*")
_BEGUN = re.compile(r"[A-Za-z]+(?:['-][A-Za-z]+)*\Z")


@dataclass(frozen=True)
class Line:
    """A line of text in tokens.

    Attributes:
        ids: its tokens.
        read: for each token the word that stands before its end, as if it ended there, or `""`: only what has been read tells it.
        whole: for each token the word that it belongs to, which the text behind it may tell, or `""`.
        ends: for each token whether that word ends with it.
    """

    ids: list[int]
    read: list[str]
    whole: list[str]
    ends: list[bool]


@dataclass(frozen=True, eq=False)
class Rows:
    """Lines packed into rows of as many tokens, and one more whose prediction is asked last; each begins with a line."""

    ids: Int[Tensor, "row place"]
    read: list[list[str]]
    whole: list[list[str]]
    ends: Bool[Tensor, "row place"]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.ids)

    @property
    def inputs(self) -> Int[Tensor, "row query"]:
        """What is read."""
        return self.ids[:, :-1]

    @property
    def labels(self) -> Int[Tensor, "row query"]:
        """What comes next."""
        return self.ids[:, 1:]

    def words(self) -> set[str]:
        """Every word that was read at some token that is read."""
        return {word for row in self.read for word in row[:-1] if word}

    def classes(self, rare: set[str]) -> dict[str, Bool[Tensor, "row query"]]:
        """Where the next token is predicted, by `CLASSES`; `after rare` and `of rare` overlap where rare words are neighbours."""
        is_rare = torch.tensor([[word in rare for word in row] for row in self.whole])
        after, of = (is_rare & self.ends)[:, :-1], is_rare[:, 1:]
        return dict(zip(CLASSES, (torch.ones_like(of), after, of, ~(after | of)), strict=True))

    def some(self, count: int) -> Rows:
        """The first rows."""
        return Rows(self.ids[:count], self.read[:count], self.whole[:count], self.ends[:count])


def part_of(number: int) -> str:
    """The part of the meaning with this number in WordNet's order: spread evenly, the same for everybody."""
    at = (number * 0.6180339887498949) % 1
    for part, share in PARTS.items():
        at -= share
        if at < 0:
            return part
    return "test"


def lines_of(wordnet: WordNet) -> dict[str, list[str]]:
    """By part, the examples of its meanings, and in the part that societies are grown on their definitions too.

    A sentence that stands at several meanings belongs to the part of the first alone.
    """
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    seen = set[str]()
    for number, synset in enumerate(wordnet.synsets.values()):
        part = part_of(number)
        found[part] += [line for line in dict.fromkeys(synset.examples) if line not in seen]
        if part == "base" and synset.definition not in seen:
            found[part].append(synset.definition)
        seen.update((*synset.examples, synset.definition))
    return found


def counts_of(lines: Sequence[str]) -> Counter[str]:
    """How often each word occurs, in small letters."""
    return Counter(word.lower() for line in lines for word in _WORD.findall(line))


def read_lines(tokenizer: Any, lines: Sequence[str]) -> list[Line]:
    """Lines in tokens, each ending with a line break, and what word is read at each of them."""
    texts = [f"{line}\n" for line in lines]
    found = tokenizer(texts, return_offsets_mapping=True, add_special_tokens=False)
    return [_line(*one) for one in zip(texts, found["input_ids"], found["offset_mapping"], strict=True)]


def _line(text: str, ids: list[int], spans: list[tuple[int, int]]) -> Line:
    words = [(match.start(), match.end(), match.group().lower()) for match in _WORD.finditer(text)]
    read, whole, ends = [], [], []
    for _, end in spans:
        begun = _BEGUN.search(text, 0, end)
        read.append(begun.group().lower() if begun else "")
        own = next(((stop, word) for start, stop, word in words if start < end <= stop), (-1, ""))
        whole.append(own[1])
        ends.append(own[0] == end)
    return Line(ids, read, whole, ends)


def packed(tokenizer: Any, lines: Sequence[str], tokens: int, count: int, seed: int) -> Rows:
    """As many rows of `tokens` and one more, of lines in an order drawn by `seed`; lines are taken again when all were used."""
    drawn = torch.randperm(len(lines), generator=torch.Generator().manual_seed(seed)).tolist()
    order = [lines[number] for number in drawn]
    waiting, rows, at = list[Line](), list[Line](), 0
    while len(rows) < count:
        own = Line([], [], [], [])
        while len(own.ids) < tokens + 1:
            if not waiting:
                waiting = read_lines(tokenizer, order[at : at + 256])[::-1]
                at = at + 256 if at + 256 < len(order) else 0
            line = waiting.pop()
            own = Line(own.ids + line.ids, own.read + line.read, own.whole + line.whole, own.ends + line.ends)
        rows.append(own)
    cut = slice(tokens + 1)
    ids, ends = torch.tensor([row.ids[cut] for row in rows]), torch.tensor([row.ends[cut] for row in rows])
    return Rows(ids, [row.read[cut] for row in rows], [row.whole[cut] for row in rows], ends)
