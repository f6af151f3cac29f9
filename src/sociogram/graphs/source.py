"""The weights of a recording as batches of graphs: one per head, per layer, or one for all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.watch.access import is_own, no_messages
from sociogram.watch.account import Messages
from sociogram.watch.edges import EdgeNumbers

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

WEIGHTS = ("attention", "message", "contribution", "toward")
LEVELS = ("head", "layer", "all")

UNDERFLOW = 1e-30
"""Where a reader's smallest weight above zero is below this, its zeros may be weights too small for float32."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Graphs of one layer (or the one of all layers).

    Attributes:
        first: the number of the first graph among all.
        weights: float64, none negative. allowed: which pairs the model's mask (and `drop_first`) leaves.
        whole: the sum of each graph's weights before a threshold took some away.
        dropped: the share of each graph's weights that the first token had, if it was dropped; else 0.
    """

    first: int
    weights: Float[np.ndarray, "graph query key"]
    allowed: Bool[np.ndarray, "graph query key"]
    whole: Float[np.ndarray, " graph"]
    dropped: Float[np.ndarray, " graph"]


class Source:
    """Where `Networks` has its graphs from, layer by layer, so that never more than one layer's are alive."""

    def __init__(
        self, rec: Recording, weight: str, by: str, stack: str, drop_first: bool, threshold: int | float, toward: str | int | None
    ) -> None:
        """Check the wishes; nothing is computed yet."""
        _check(rec, weight, by, stack, threshold, toward)
        self.rec, self.weight, self.by, self.stack = rec, weight, by, stack
        self.drop_first, self.threshold, self.toward = drop_first, float(threshold), toward
        self.numbers = EdgeNumbers(rec, stack, toward)
        if drop_first and rec.stack(stack).sizes["query"] < 2:
            raise InputError("drop_first=True: there is one token, and nothing is left without it")
        self.layers = list(self.numbers.layers())
        if not self.layers:
            raise no_messages(rec.tree, stack, "make graphs of")

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One row per graph: its layer and head; -1 where it is about all of them."""
        if self.by == "all":
            pairs = [(-1, -1)]
        elif self.by == "layer":
            pairs = [(layer, -1) for layer in self.layers]
        else:
            pairs = [(layer, head) for layer in self.layers for head in range(self.heads(layer))]
        return pd.DataFrame(pairs, columns=["layer", "head"])

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens that the graphs are about."""
        names = [str(text) for text in self.rec.stack(self.stack)["query_token"].values]
        return names[1:] if self.drop_first else names

    def heads(self, layer: int) -> int:
        """How many heads a layer has."""
        data = self.rec.stack(self.stack).isel(layer=layer)
        if "weights" in data:
            return self.rec._heads(self.stack, layer, data)
        if "attention_sum" in data:
            return int((~data["attention_sum"].isel(query=-1).isnull()).sum())
        return data.sizes["head"]

    def batches(self) -> Iterator[Batch]:
        """All graphs, in the order of `labels`."""
        if self.by == "all":
            yield self._trimmed(0, *(one[None] for one in self.together(self.layers)))
            return
        first = 0
        for layer in self.layers:
            batch = self.layer(layer, first)
            yield batch
            first += len(batch.weights)

    def layer(self, layer: int, first: int = 0) -> Batch:
        """One layer's graphs: of its heads, or the one of all its heads."""
        if self.by == "layer":
            return self._trimmed(first, *(one[None] for one in self.together([layer])))
        return self._trimmed(first, self.whole_layer(layer), allowed_of(self.attention(layer)))

    def whole_layer(self, layer: int) -> Float[np.ndarray, "head query key"]:
        """The weights of a layer's heads as they are, nothing left out."""
        if self.weight == "attention":
            return _not_signed(self.attention(layer), layer).astype(np.float64)
        messages = self.rec.messages(layer, stack=self.stack)
        return self.numbers.sizes(self.weight, messages).abs().double().numpy()

    def attention(self, layer: int) -> Float[np.ndarray, "head query key"]:
        """The attention of a layer's heads; the model is not needed for it."""
        data = self.rec.stack(self.stack).isel(layer=layer)
        self.rec.check_closed(layer, data)
        found: np.ndarray = self.rec.need(data, "weights").values[: self.heads(layer)]
        return found

    def graph(self, index: int) -> Batch:
        """One graph by its number."""
        if self.by == "all":
            return next(self.batches())
        layer, head = (int(number) for number in self.labels.iloc[index])
        batch = self.layer(layer, index)
        if head < 0:
            return batch
        one = slice(head, head + 1)
        return Batch(index, batch.weights[one], batch.allowed[one], batch.whole[one], batch.dropped[one])

    def together(self, layers: list[int]) -> tuple[Float[np.ndarray, "query key"], Bool[np.ndarray, "query key"]]:
        """All heads of some layers as one graph, nothing left out, and its mask: attention averaged, messages added as vectors,
        signed numbers added."""
        heard = [self.attention(layer) for layer in layers]
        allowed = np.logical_or.reduce([allowed_of(one).any(0) for one in heard])
        if self.weight == "attention":
            pairs = zip(heard, layers, strict=True)
            return np.mean([_not_signed(one, layer).mean(0, dtype=np.float64) for one, layer in pairs], 0), allowed
        parts = [self.rec.messages(layer, stack=self.stack) for layer in layers]
        if self.weight == "message":
            return norms_of_sums(parts).double().numpy(), allowed
        weights = torch.stack([self.numbers.sizes(self.weight, part).double().sum(0) for part in parts]).sum(0).abs()
        return weights.numpy(), allowed

    def _trimmed(self, first: int, weights: np.ndarray, allowed: np.ndarray) -> Batch:
        all_of_it = weights.sum((1, 2))
        if self.drop_first:
            weights, allowed = weights[:, 1:, 1:], allowed[:, 1:, 1:]
        whole = weights.sum((1, 2))
        dropped = 1 - np.divide(whole, all_of_it, out=np.ones_like(whole), where=all_of_it > 0)
        kept = np.where(weights > self.threshold, weights, 0.0) if self.threshold > 0 else weights
        return Batch(first, kept, allowed, whole, dropped)


def _not_signed(weights: Float[np.ndarray, "head query key"], layer: int) -> Float[np.ndarray, "head query key"]:
    """Weights of a network are sizes.

    Raises:
        InputError: some are below 0, as those of linear attention are.
    """
    if (weights < 0).any():
        raise InputError(
            f'sg.networks(weight="attention"): layer {layer} is linear attention, whose weights are signed '
            f'(down to {weights.min():.3g}); a network needs sizes. Choose weight="message", the size of what was told.'
        )
    return weights


def allowed_of(weights: Float[np.ndarray, "head query key"]) -> Bool[np.ndarray, "head query key"]:
    """Which pairs a head's mask leaves, read off the attention after softmax.

    A weight that is not zero is allowed. A zero is forbidden, unless another head of the layer hears this pair and this
    reader's weights go down to where float32 ends, so that the zero may be one of them rounded off.
    """
    there = weights != 0
    least = np.where(there, np.abs(weights), np.inf).min(-1, keepdims=True)
    return there | (there.any(0) & (least < UNDERFLOW))


def norms_of_sums(layers: list[Messages]) -> Float[Tensor, "query key"]:
    """The norm of what each key told each query in all heads and layers together: of the sum of vectors, not of norms."""
    queries, keys = layers[0].weights.shape[1:]
    norms = torch.empty(queries, keys, dtype=layers[0].weights.dtype)
    ungated = [None if part.gate is not None else part.value @ part.matrix for part in layers]
    for q in range(queries):
        total = torch.zeros(keys, layers[0].matrix.shape[-1], dtype=norms.dtype)
        for part, told in zip(layers, ungated, strict=True):
            vectors = told if told is not None else (part.value * part.gate[:, q, None]) @ part.matrix  # type: ignore[index]
            heard = torch.einsum("hk,hkd->kd", part.weights[:, q], vectors)
            total += heard if part.scale is None else heard * part.scale[q]
        norms[q] = total.norm(dim=-1)
    return norms


def _check(rec: Recording, weight: str, by: str, stack: str, threshold: int | float, toward: str | int | None) -> None:
    if weight not in WEIGHTS:
        raise InputError(f"weight={weight!r}: choose one of {', '.join(WEIGHTS)}")
    if weight == "toward" and toward is None:
        raise InputError('weight="toward" needs a token to go towards: sg.networks(rec, weight="toward", toward=" Paris")')
    if by not in LEVELS:
        raise InputError(f"by={by!r}: choose one of {', '.join(LEVELS)}")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold < np.inf:
        raise InputError(f"threshold={threshold!r}: a number from 0 up; weights at or below it are left out")
    rec.stack(stack)
    if not is_own(stack):
        raise InputError(f"stack={stack!r}: its readers and senders are different tokens; networks are about one set of tokens")
    rec._one("sg.networks()", stack)
