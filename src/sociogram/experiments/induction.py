"""Heads that continue a repetition (Elhage et al. 2021, Olsson et al. 2022): how they are told, and what they are needed for.

When a token comes again, whatever followed it before is likely to follow it again. A head matches prefixes when it listens to
that follower. Two layers can do it for any distance (the first tells each token what stood before it, the second asks who was
told the present token); one layer can only where the distance is always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int
from torch import Tensor

import sociogram as sg


def followers(ids: Int[Tensor, "sequence token"]) -> Bool[Tensor, "sequence query key"]:
    """Which tokens followed an earlier occurrence of the reader's own token: where a head looks that continues a repetition."""
    reader, sender = torch.arange(ids.shape[1])[:, None], torch.arange(ids.shape[1])[None]
    earlier = (ids[:, :, None] == ids[:, None]) & (sender < reader)
    return torch.nn.functional.pad(earlier, (1, 0))[:, :, :-1]


def unrepeated(count: int, tokens: int, vocabulary: int, seed: int) -> Int[Tensor, "count tokens"]:
    """Texts in which no token comes twice, every order equally likely.

    Raises:
        InputError: more tokens than there are different ones.
    """
    if tokens > vocabulary:
        raise sg.InputError(
            f"length={tokens}: texts without repetition need as many different tokens, and vocabulary={vocabulary}"
        )
    return torch.rand(count, vocabulary, generator=torch.Generator().manual_seed(seed)).argsort(1)[:, :tokens]


def head_scores(rec: sg.Recording, plain: sg.Recording) -> pd.DataFrame:
    """What each head does of that which a repetition asks for; a row for each head.

    Args:
        rec: of texts that repeat themselves, several of one length.
        plain: of as many texts, as long, that do not.

    Returns:
        Columns `layer, head, prefix, elsewhere, even, beyond, previous`. `prefix`: what a reader whose token came before gives to
        all that followed it then, mean over such readers; `elsewhere`: the same pairs of places in the texts that repeat nothing,
        which is what position alone makes of it; `even`: the same if all were heard alike; `beyond`: what the same readers give
        to the tokens one place further; `previous`: what a token gives to the one before it.
    """
    where = followers(torch.from_numpy(rec.dataset["token_id"].values)).double().numpy()
    asked = where.any(-1).sum()
    weights, without = (each.dataset["weights"].values for each in (rec, plain))
    further = np.tril(np.pad(where, ((0, 0), (0, 0), (1, 0)))[..., :-1])
    matched = [np.einsum("slhqk,sqk->lh", *each) / asked for each in ((weights, where), (without, where), (weights, further))]
    even = (where.sum(-1) / np.arange(1, where.shape[1] + 1)).sum() / asked
    previous = np.diagonal(weights, -1, -2, -1).mean((0, -1))
    layer, head = np.indices(previous.shape)
    columns = {"layer": layer, "head": head, "prefix": matched[0], "elsewhere": matched[1]}
    columns |= {"even": np.full(previous.shape, even), "beyond": matched[2], "previous": previous}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


@dataclass(frozen=True, kw_only=True)
class WithoutDistance(sg.edits.Topology):
    """Nobody hears the token that stands `distance` before."""

    name: ClassVar[str] = "without_distance"
    distance: int

    def keeps(self, query: Tensor, key: Tensor) -> Bool[Tensor, "query key"]:
        """All but that one."""
        return query - key != self.distance


@dataclass(frozen=True, kw_only=True)
class WithoutRounds(sg.edits.Topology):
    """Nobody hears what stands `after` places behind his own place in the earlier rounds of a period: with 1 what followed there.

    With 0 that is the reader's own token, with -1 what stood before it: about as many edges, of the same heads.
    """

    name: ClassVar[str] = "without_rounds"
    period: int
    after: int

    def keeps(self, query: Tensor, key: Tensor) -> Bool[Tensor, "query key"]:
        """All but those."""
        place = key - self.after
        return (place < 0) | (place >= query) | ((query - place) % self.period != 0)


def period_of(ids: Int[Tensor, " token"]) -> int:
    """After how many tokens the first one comes again."""
    return int((ids[1:] == ids[0]).nonzero()[0, 0]) + 1


Plan = Callable[[Tensor], list[sg.edits.Edit]]
"""The edits for one text, from its ids."""


def always(*edits: sg.edits.Edit) -> Plan:
    """The same edits for every text."""
    return lambda ids: list(edits)


def earlier_rounds(layer: int, after: int) -> Plan:
    """Cut all heads of a layer by the rule `WithoutRounds`, for each text by its own period."""
    return lambda ids: [WithoutRounds(layer=layer, period=period_of(ids), after=after)]


def accuracy_under(model: sg.Model, batch: dict[str, Tensor], plan: Plan) -> float:
    """The share of what is asked of a batch of texts that the model answers right, steered by the edits planned for each."""
    right = []
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        asked = labels >= 0
        with sg.steer(model, plan(ids)) as steered:
            right.append((steered.logits(ids).argmax(-1)[asked] == labels[asked]).double())
    return float(torch.cat(right).mean())


def by_place(task: sg.grow.Repeat) -> float:
    """The accuracy of who knows only places: for each the token at the distance that is right for most periods, exactly.

    No token is compared with another; a distance one less than a multiple of the period is right.
    """
    periods = range(task.shortest, task.longest + 1)
    right = 0
    for place in range(task.shortest, task.length):
        open_ = [period for period in periods if period <= place]
        right += max(sum((distance + 1) % period == 0 for period in open_) for distance in range(place + 1))
    return right / sum(task.length - period for period in periods)
