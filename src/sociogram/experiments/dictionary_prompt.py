"""Definitions placed in the prompt, in front of the text: each is heard only from where its word has been read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from sociogram.experiments.dictionary_bases import Base
from sociogram.experiments.dictionary_entries import LONGEST, Lexicon
from sociogram.experiments.dictionary_texts import Rows
from sociogram.experiments.watching import steps as watched

Prompt = tuple[Int[Tensor, "one token"], Float[Tensor, "one one token token"]]
"""Tokens, and what is added to their scores: 0 where they may hear, the smallest number where not."""


def prompt_of(base: Base, lexicon: Lexicon, ids: Int[Tensor, " query"], read: Sequence[str]) -> Prompt:
    """One text behind the definitions of its words, the most frequent sense of each.

    A definition hears itself alone, the text hears itself and the definitions of the words that it has read; those of later words
    stand farther in front, so that they do not even move others. The whole is as causal as the text: a definition that is heard
    before its word would tell which word is to come.
    """
    since: dict[str, int] = {}
    for number, word in enumerate(read[: len(ids)]):
        if word in lexicon.rows:
            since.setdefault(lexicon.texts[lexicon.rows[word][0] - 1], number)
    first = dict(reversed(since.items()))
    told = [base.tokenizer(f"{text}\n", add_special_tokens=False)["input_ids"][:LONGEST] for text in first]
    sizes = [*map(len, told), len(ids)]
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    begins = torch.tensor([*first.values(), len(ids)])[owner]
    place = torch.arange(len(owner))
    text = owner == len(told)
    own = owner[:, None] == owner[None]
    now = place - (len(owner) - len(ids))
    heard = (own & (place[None] <= place[:, None])) | (text[:, None] & ~text[None] & (begins[None] <= now[:, None]))
    mask = torch.zeros(heard.shape).masked_fill(~heard, torch.finfo(torch.float32).min)
    whole = torch.cat((torch.tensor([token for some in told for token in some], dtype=ids.dtype), ids))
    return whole[None], mask[None, None]


def in_prompt(base: Base, lexicon: Lexicon, rows: Rows) -> tuple[Float[Tensor, "row query"], float]:
    """Minus the log-probability of every next token with the definitions in front; and the tokens read for each of the text."""
    found, tokens = [], 0
    for number in watched(range(len(rows)), f"{base.name}: definitions in the prompt", len(rows)):
        ids, mask = prompt_of(base, lexicon, rows.inputs[number], rows.read[number])
        said = base.whole(ids, mask)[0, -rows.inputs.shape[1] :] @ base.head.T
        found.append(F.cross_entropy(said, rows.labels[number], reduction="none"))
        tokens += ids.shape[1]
    return torch.stack(found), tokens / rows.inputs.numel()
