"""Whether a model goes on from an ambiguous word as the sense in its context asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sociogram.experiments.dictionary_adapters import Adapter, Lesson, losses
from sociogram.experiments.dictionary_bases import Base
from sociogram.experiments.dictionary_entries import Lexicon, slots
from sociogram.experiments.dictionary_texts import Rows, read_lines
from sociogram.experiments.sense_contexts import Twice


@dataclass(frozen=True, eq=False)
class Asked:
    """Every context of every word with both continuations, ready for adapters.

    Attributes:
        lesson: a row for each of them: word by word, context by context, continuation by continuation; padded behind.
        said: where a token of the continuation is predicted.
    """

    lesson: Lesson
    said: Tensor

    def scored(self, lost: Tensor) -> np.ndarray:
        """For each word, how much likelier its two contexts make the continuations that fit them: nats, half the sum over both.

        The log-probability of a continuation where it fits minus that where it does not, so that what is likely anyway cancels:
        above 0 is right, and who does not look at the context has 0. `lost` `[row, query]` are losses in the order of the lesson.
        """
        one, other = (lost * self.said).sum(1).double().view(-1, 2, 2).unbind(1)
        found: np.ndarray = ((one[:, 1] - one[:, 0]) + (other[:, 0] - other[:, 1])).numpy() / 2
        return found


def texts_of(pairs: Sequence[Twice]) -> list[str]:
    """The texts, in the order of `Asked.lesson`."""
    return [context + then for pair in pairs for context in pair.contexts for then in pair.continuations]


def rows_of(base: Base, pairs: Sequence[Twice]) -> tuple[Rows, Tensor]:
    """The texts as rows as long as the longest, and where a token of the continuation is the next."""
    lines = read_lines(base.tokenizer, texts_of(pairs))
    lengths = [len(base.tokenizer(context, add_special_tokens=False)["input_ids"]) for pair in pairs for context in pair.contexts]
    longest = max(len(line.ids) for line in lines)

    def filled(some: list[Any], with_what: Any) -> list[Any]:
        return some + [with_what] * (longest - len(some))

    rows = Rows(
        torch.tensor([filled(line.ids, line.ids[-1]) for line in lines]),
        [filled(line.read, "") for line in lines],
        [filled(line.whole, "") for line in lines],
        torch.tensor([filled(line.ends, False) for line in lines]),
    )
    places = torch.arange(1, longest)
    begins, ends = (
        torch.tensor(some)[:, None] for some in ([n for n in lengths for _ in range(2)], [len(x.ids) - 1 for x in lines])
    )
    return rows, (places >= begins) & (places < ends)


def ask(base: Base, lexicon: Lexicon, pairs: Sequence[Twice], choice: str, like: Tensor) -> Asked:
    """The pairs for one base; `like`: the streams by whose mean and spread senses are chosen."""
    rows, said = rows_of(base, pairs)
    streams = base.streams(rows.inputs)
    return Asked(Lesson(streams, rows.labels, slots(lexicon, rows, streams, choice, like=like), lexicon.vectors), said)


def scores(base: Base, adapter: Adapter | None, asked: Asked, table: Tensor) -> np.ndarray:
    """The pairs' scores with what an adapter adds, or without: see `Asked.scored`."""
    return asked.scored(losses(base, adapter, replace(asked.lesson, table=table)))
