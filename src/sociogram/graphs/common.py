"""What is common to many prompts: generic patterns, how much of a new prompt they predict, and how much is position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from sociogram.core.errors import InputError
from sociogram.graphs.asked import check_room, picture, ratio, shares_of
from sociogram.graphs.diff import QUESTION
from sociogram.graphs.distances import BY_READER, by_reader, names_of, readers_with_choice
from sociogram.graphs.parts import decomposed
from sociogram.graphs.source import Batch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

Texts = Float[np.ndarray, "prompt head query key"]
Mask = Bool[np.ndarray, "head query key"]

TINY = 1e-12
"""Less than this is no variance and no information."""
EVEN_SHARE = 1e-3
"""A predicted pattern is mixed with this much of an even one, so that what was never seen is unlikely and not impossible."""


@dataclass(frozen=True, eq=False)
class Common:
    """What `networks.common(others)` found, head by head over several prompts.

    Attributes:
        average: the generic pattern: mean weights over all prompts, `[graph, query, key]`.
        table: one row per graph: `layer, head`; how much of a prompt the mean of the *other* prompts predicts: `explained` (share
            of the squared weights about their row's mean; below 0 is worse than an even pattern), `cross_entropy`, `even_entropy`
            (log of the number of tokens that may be heard) and `own_entropy` (what no pattern can be below), mean over readers
            in nats, and `predicted` (how far from even to own the pattern gets: 1 all, 0 nothing); where the weights' variance
            over pairs and prompts lies: `offset` (distance from reader to sender, and the first token apart), `place` (reader and
            sender beyond that, the same in all prompts) and `content` (differs between prompts), which sum to 1, and
            `place_by_chance` (what `place` would be if all were noise: few prompts don't average it out).
        prompts: one row per prompt: `prompt, tokens` (it has) `, used` (in the comparison), `text`.
        networks: the graphs that were put in.
    """

    average: xr.DataArray
    table: pd.DataFrame
    prompts: pd.DataFrame
    networks: tuple[Networks, ...]

    def residual(self, prompt: int, layer: int | None = None, head: int | None = None) -> xr.DataArray:
        """What one prompt's graph has beyond the mean of the others: `[query, key]`, above and below 0.

        Raises:
            InputError: no such prompt or graph.
        """
        count = len(self.networks)
        if isinstance(prompt, bool) or not isinstance(prompt, int) or not -count <= prompt < count:
            raise InputError(f"prompt={prompt!r}: there are {count}, numbered 0 to {count - 1}")
        own = self.networks[prompt]
        number = own.number(layer, head)
        length = self.average.sizes["query"]
        weights = own.weights(layer, head)[:length, :length]
        others = (self.average.values[number] * count - weights) / (count - 1)
        place, texts = self.average["query"].values, own.tokens[:length]
        coords = {"query": place, "key": place, "query_token": ("query", texts), "key_token": ("key", texts)}
        return xr.DataArray(weights - others, dims=("query", "key"), coords=coords, name="residual")

    def predicts(self, other: Networks) -> pd.DataFrame:
        """How much of a new prompt the generic patterns predict, as far as both are long.

        Returns:
            `layer, head, explained, cross_entropy, even_entropy, own_entropy, predicted`, as in `table`.

        Raises:
            InputError: another question, other heads, or a longer prompt without a causal mask.
        """
        length = min(_check((self.networks[0], other)), self.average.sizes["query"])
        tables = []
        for weights, allowed, labels in _layers((other,), length):
            guess = self.average.values[labels.index, :length, :length]
            tables.append(labels.assign(**scored(weights, guess[None], allowed)))
        return pd.concat(tables, ignore_index=True)

    def distances(self, metric: str = "jensen-shannon") -> xr.DataArray:
        """How far prompts are from each other in every graph, mean over readers: `[graph, prompt, other]`.

        Raises:
            InputError: a metric that is not between readers.
        """
        if metric not in BY_READER:
            raise InputError(f"metric={metric!r}: choose one of {', '.join(BY_READER)}")
        length = self.average.sizes["query"]
        found = []
        for weights, allowed, _ in _layers(self.networks, length):
            shares = shares_of(weights[:, :, readers_with_choice(allowed)])
            found.append(np.stack([[by_reader(one, two, metric).mean(-1) for two in shares] for one in shares]))
        values = np.moveaxis(np.concatenate(found, -1), -1, 0)
        number = np.arange(len(self.networks))
        coords = {"graph": names_of(self.networks[0].labels), "prompt": number, "other": number}
        return xr.DataArray(values, dims=("graph", "prompt", "other"), coords=coords, name=metric)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Where the variance lies, layer by layer; see `sg.plot.common`."""
        return picture("common", self, ax=ax)

    def __repr__(self) -> str:
        """How many prompts, cut to what, and what is common to them."""
        mean = self.table[["explained", "offset", "place", "content"]].mean()
        cut = int((self.prompts["tokens"] > self.prompts["used"]).sum())
        return (
            f"Common({len(self.prompts)} prompts of {self.average.sizes['query']} tokens ({cut} cut), {len(self.table)} graphs; "
            f"held out, {mean['explained']:.1%} explained; variance: offset {mean['offset']:.1%}, place {mean['place']:.1%}, "
            f"content {mean['content']:.1%})"
        )


def common(networks: Networks, others: Sequence[Networks]) -> Common:
    """What this prompt and others have in common, head by head.

    Args:
        networks, others: graphs of recordings of one model by one question. Prompts are cut to the shortest; that needs a causal
            mask, under which the first tokens hear the same whatever follows.

    Returns:
        Average and residual graphs, how much of a held-out prompt the others' mean predicts; how much of each head is position.

    Raises:
        InputError: no others, another question or other heads, or prompts of unequal length without a causal mask.
        RecordingError: what is needed was not kept.
        MemoryLimitError: the average graphs do not fit into half of the free memory.

    Misleads: `offset` is what distance alone says. A head that hears all tokens equally has none of it, and no content either:
    its pattern is `place`, the same in all texts. Prompts that are alike (the same first words) make `content` small; take
    prompts that have nothing to do with each other.
    """
    every = (networks, *others)
    length = _check(every)
    check_room("common()", len(networks), length, 'make the networks by="layer", or of shorter texts')
    averages, tables = [], []
    for weights, allowed, labels in _layers(every, length):
        averages.append(weights.mean(0))
        tables.append(labels.assign(**predicted(weights, allowed), **decomposed(weights, allowed)))
    prompts = pd.DataFrame(
        {
            "prompt": np.arange(len(every)),
            "tokens": [len(one.tokens) for one in every],
            "used": length,
            "text": ["".join(one.tokens[:length]) for one in every],
        }
    )
    place = np.arange(length) + int(networks.source.drop_first)
    coords = {"graph": names_of(networks.labels), "query": place, "key": place}
    average = xr.DataArray(np.concatenate(averages), dims=("graph", "query", "key"), coords=coords, name=networks.source.weight)
    return Common(average, pd.concat(tables, ignore_index=True), prompts, every)


def predicted(weights: Texts, allowed: Mask) -> dict[str, Float[np.ndarray, " head"]]:
    """How much of each prompt the mean of the others predicts, over all prompts."""
    return scored(weights, (weights.sum(0) - weights) / (len(weights) - 1), allowed)


def scored(
    weights: Texts, others: Float[np.ndarray, "guess head query key"], allowed: Mask
) -> dict[str, Float[np.ndarray, " head"]]:
    """How much of prompts a pattern (of each, or one for all) predicts; readers without a choice left out."""
    count = allowed.sum(-1, keepdims=True)
    choice = allowed & (count > 1)
    own, guess = (_about_row(part, choice) for part in (weights, others))
    over = (0, 2, 3)
    shares, pattern = shares_of(np.where(choice, weights, 0.0)), shares_of(np.where(choice, others, 0.0))
    pattern = np.where(choice, (1 - EVEN_SHARE) * pattern + EVEN_SHARE / np.maximum(count, 1), 0.0)
    heard = np.asarray(shares.any(-1))
    logs = [np.log(np.where(part > 0, part, 1.0)) for part in (pattern, shares)]
    crossed, alone = (_mean(-(shares * log).sum(-1), heard) for log in logs)
    even = _mean(np.broadcast_to(np.log(np.maximum(count[..., 0], 1)), heard.shape), heard)
    return {
        "explained": 1 - ratio(np.square(own - guess).sum(over), np.square(own).sum(over), TINY),
        "cross_entropy": crossed,
        "even_entropy": even,
        "own_entropy": alone,
        "predicted": ratio(even - crossed, even - alone, TINY),
    }


def _about_row(weights: Texts, choice: Mask) -> Texts:
    """Weights less the mean of their row, over the pairs in question; 0 elsewhere."""
    count = np.maximum(choice.sum(-1, keepdims=True), 1)
    inside = np.where(choice, weights, 0.0)
    centred: np.ndarray = np.where(choice, inside - inside.sum(-1, keepdims=True) / count, 0.0)
    return centred


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over prompts and readers that count."""
    return ratio(np.where(counted, values, 0.0).sum((0, 2)), counted.sum((0, 2)))


def _layers(networks: Sequence[Networks], length: int) -> Iterator[tuple[Texts, Mask, pd.DataFrame]]:
    """All prompts' graphs of one layer after the other, cut to their first tokens, their mask and labels."""
    labels = networks[0].labels
    for batches in zip(*(one.source.batches() for one in networks), strict=True):
        weights = np.stack([batch.weights[:, :length, :length] for batch in batches])
        allowed = np.logical_or.reduce([batch.allowed[:, :length, :length] for batch in batches])
        _check_causal(batches, length)
        first = batches[0].first
        yield weights, allowed, labels.iloc[first : first + weights.shape[1]]


def _check_causal(batches: Sequence[Batch], length: int) -> None:
    for number, batch in enumerate(batches):
        if batch.allowed[:, :length, length:].any():
            raise InputError(
                f"common(): prompt {number} has {batch.allowed.shape[-1]} tokens and the shortest {length}, and here tokens hear "
                "later ones, so that cutting would leave parts of what they hear: give prompts of equally many tokens"
            )


def _check(every: Sequence[Networks]) -> int:
    if len(every) < 2:
        raise InputError("common(others): give the networks of at least one other prompt")
    one = every[0]
    for number, other in enumerate(every[1:], 1):
        for name in QUESTION:
            a, b = getattr(one.source, name), getattr(other.source, name)
            if a != b:
                raise InputError(
                    f"common(): {name}={a!r} here and {b!r} in number {number} of the others' prompts: ask all the same question"
                )
        if not one.labels.equals(other.labels):
            raise InputError(f"common(): {len(one)} graphs here and {len(other)} in prompt {number}: they are not the same heads")
    length = min(len(network.tokens) for network in every)
    if length < 2:
        raise InputError("common(): the shortest prompt has one token, and one token hears only itself")
    return length
