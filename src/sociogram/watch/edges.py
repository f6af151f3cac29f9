"""Edges: who told what to whom, as a table of the strongest messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.watch.access import is_own, listens, no_messages
from sociogram.watch.account import Messages
from sociogram.watch.few import Few, is_streamed

if TYPE_CHECKING:
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording

WEIGHTS = ("message", "attention", "contribution", "toward")
COLUMNS = ["layer", "head", "query", "key", "query_token", "key_token", "attention", "message", "contribution", "pull"]
_CHUNK = 4096


def edges(
    rec: Recording,
    weight: str = "message",
    *,
    top: int | None,
    layer: int | None,
    head: int | None,
    query: Address | None,
    key: Address | None,
    drop_first: bool,
    toward: str | int | None,
    group: str,
    stack: str,
) -> pd.DataFrame:
    """The strongest edges key -> query, strongest first.

    Args:
        weight: what to rank by: `"message"` (norm of what was told, Kobayashi et al. 2020), `"attention"` (the weight),
            `"contribution"` (share of the reader's attention branch, by size), or `"toward"` (by size; needs `toward`).
        top: how many edges; None for all that exist.
        layer, head, query, key: only these; queries and keys by position or text.
        drop_first: leave out edges from and to the first token, which in trained decoders soaks up attention.
        toward: a token; adds the column `toward`, what each message adds directly to that token's logit at its reader
            (final norm's scale frozen).
        group: `"token"`, or `"word"`: edges between words; each column is summed over the sender's tokens and averaged over
            the reader's, `pull` averaged with the messages as weights.
        stack: which stack of layers.

    Returns:
        Columns `layer, head, query, key, query_token, key_token, attention, message, contribution, pull` (and `toward`).
        `contribution` is (m . D) / (D . D) with D the reader's whole attention-branch output in that layer: over heads, keys
        and bias it sums to 1. `pull` is the cosine between the message and (key - query) before the layer: above 0 the reader
        is drawn towards the sender, below 0 pushed away; NaN for a token's message to itself and across sequences.
        `attrs["share"]` is the share of the total (of `weight`, by absolute value) that the rows carry, `attrs["total"]` that
        total, `attrs["edges"]` how many edges there were. Of a streamed recording only each reader's strongest keys are there:
        see `watch.streamed_edges`.

    Raises:
        InputError: an unknown weight, layer, head or token.
        RecordingError: what is needed was not kept.

    Misleads: a large message may be cancelled by another; `contribution` shows that, `message` does not. The measures
    disagree, and where they do is worth a look.
    """
    _check(weight, toward, group)
    if is_streamed(rec.stack(stack)):
        from sociogram.watch.streamed_edges import streamed_edges

        return streamed_edges(
            rec, weight, top=top, layer=layer, head=head, query=query, key=key, drop_first=drop_first, toward=toward, group=group,
            stack=stack,
        )  # fmt: skip
    asked = _Asked(rec, weight, layer, head, query, key, drop_first, toward, stack)
    if group == "word":
        from sociogram.watch.words import by_words

        return _finished(*by_words(asked, top), asked, top)
    found = [asked.strongest(i, top) for i in asked.layers()]
    if not found:
        raise no_messages(rec.tree, stack, "show")
    sizes = torch.cat([size for _, size, _, _ in found])
    order = torch.argsort(sizes, descending=True, stable=True)
    order = order if top is None else order[:top]
    table = asked.table([(i, places) for i, _, places, _ in found], order)
    return _finished(table, sum(total for *_, (total, _) in found), sum(count for *_, (_, count) in found), asked, top)


def _check(weight: str, toward: Any, group: str) -> None:
    if weight not in WEIGHTS:
        raise InputError(f"weight={weight!r}: choose one of {', '.join(WEIGHTS)}")
    if weight == "toward" and toward is None:
        raise InputError('weight="toward" needs a token to go towards: edges("toward", toward=" Paris")')
    if group not in ("token", "word"):
        raise InputError(f'group={group!r}: choose "token" or "word"')


def _finished(table: pd.DataFrame, total: float, count: int, asked: _Asked, top: int | None) -> pd.DataFrame:
    if top is not None:
        table = table.head(top).reset_index(drop=True)
    carried = float(table[asked.weight].abs().sum())
    table.attrs |= {"weight": asked.weight, "total": total, "share": carried / total if total else 0.0, "edges": count}
    return table


class _Asked:
    """One question about edges, layer by layer."""

    def __init__(
        self, rec: Recording, weight: str, layer: int | None, head: int | None, query: Address | None, key: Address | None,
        drop_first: bool, toward: str | int | None, stack: str,
    ) -> None:  # fmt: skip
        self.rec, self.weight, self.stack = rec, weight, stack
        self.layer = None if layer is None else rec.layer(layer, stack=stack)
        self.head = head
        self.query = None if query is None else rec.find("query", query, stack=stack)
        self.key = None if key is None else rec.find("key", key, stack=stack)
        self.drop_first = drop_first
        self.numbers = EdgeNumbers(rec, stack, toward)

    def layers(self) -> Iterator[int]:
        """The layers asked for that have messages."""
        return self.numbers.layers(self.layer)

    def chosen(self, weights: Tensor) -> Tensor:
        """Which edges exist and are asked for: `[head, query, key]`."""
        chosen = weights != 0
        if self.head is not None:
            from sociogram.watch.access import check_index

            only = torch.zeros(weights.shape[0], dtype=torch.bool)
            only[check_index("head", self.head, weights.shape[0])] = True
            chosen = chosen & only[:, None, None]
        for axis, place in ((1, self.query), (2, self.key)):
            if place is not None:
                index = torch.arange(weights.shape[axis]).view([-1 if a == axis else 1 for a in range(3)])
                chosen = chosen & (index == place)
        if self.drop_first:
            chosen[:, :, 0] = False
            if not self.numbers.cross:
                chosen[:, 0, :] = False
        return chosen

    def strongest(self, index: int, top: int | None) -> tuple[int, Tensor, Tensor, tuple[float, int]]:
        """One layer's strongest edges: their sizes and places `[edge, 3]`, the layer's total and number of edges."""
        messages = self.rec.messages(index, stack=self.stack)
        chosen = self.chosen(messages.weights)
        sizes = self.numbers.sizes(self.weight, messages).abs().masked_fill(~chosen, -1.0).flatten()
        count = int(chosen.sum())
        values, places = torch.topk(sizes, count if top is None else min(top, count))
        total = float(sizes.clamp_min(0).sum(dtype=torch.float64))
        _, queries, keys = messages.weights.shape
        where = torch.stack([places // (queries * keys), places // keys % queries, places % keys], 1)
        return index, values, where, (total, count)

    def table(self, found: list[tuple[int, Tensor]], order: Tensor) -> pd.DataFrame:
        """The rows of the chosen edges, in order, every column computed from the message itself."""
        layers = torch.cat([torch.full((len(places),), i) for i, places in found])[order]
        places = torch.cat([places for _, places in found])[order]
        parts = [self._rows(int(i), places[layers == i], torch.nonzero(layers == i)[:, 0]) for i in layers.unique()]
        if not parts:
            return pd.DataFrame(columns=COLUMNS)
        return pd.concat(parts).sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)

    def _rows(self, index: int, places: Tensor, order: Tensor) -> pd.DataFrame:
        table = self.numbers.rows(index, self.rec.messages(index, stack=self.stack), places)
        table["order"] = order.numpy()
        return table


class EdgeNumbers:
    """What can be said of the edges of one stack of a recording."""

    def __init__(self, rec: Recording, stack: str, toward: str | int | None = None) -> None:
        """Of `stack`, and if `toward` is given, towards that token's logit."""
        self.rec, self.stack = rec, stack
        self.cross = not is_own(stack)
        self.directions: Tensor | None = None
        if toward is not None:
            from sociogram.watch.toward import logit_directions

            self.directions = logit_directions(rec, toward).directions

    def layers(self, only: int | None = None) -> Iterator[int]:
        """The layers that have messages (or the one asked for, whatever its status)."""
        dataset = self.rec.stack(self.stack)
        for index, status in enumerate(dataset["status"].values):
            wanted = only is None or index == only
            if wanted and (str(status) == "closed" or only is not None) and self._listens(index):
                yield index

    def _listens(self, index: int) -> bool:
        data = self.rec.stack(self.stack)
        if is_streamed(data):
            return bool((data["top_key"].isel(layer=index) >= 0).any())
        if "attention_out" not in self.rec.tree.attrs["kept"]:
            self.rec.need(data, "attention_out")
        return listens(data, index)

    def sizes(self, weight: str, messages: Messages) -> Tensor:
        """One weight of every edge of a layer, `[head, query, key]`."""
        if weight == "message":
            return messages.norms()
        if weight == "attention":
            return messages.weights
        if weight == "contribution":
            return messages.contributions()
        assert self.directions is not None
        return messages.along(self.directions)

    def rows(self, index: int, messages: Messages | Few, places: Tensor) -> pd.DataFrame:
        """A table with every column, of edges of one layer given as `[edge, (head, query, key)]`."""
        pieces = [self.columns(index, messages, part) for part in places.split(_CHUNK)]
        return pd.concat([pd.DataFrame(piece) for piece in pieces])

    def columns(self, index: int, messages: Messages | Few, places: Tensor) -> dict[str, Any]:
        """Every column for edges of one layer, given as `[edge, (head, query, key)]`."""
        head, query, key = places.unbind(1)
        vectors = messages.vectors(head, query, key)
        out = messages.branch[query]
        dataset = self.rec.stack(self.stack)
        result: dict[str, Any] = {
            "layer": index,
            "head": head.numpy(),
            "query": query.numpy(),
            "key": key.numpy(),
            "query_token": dataset["query_token"].values[query],
            "key_token": dataset["key_token"].values[key],
            "attention": messages.of(head, query, key).numpy(),
            "message": vectors.norm(dim=-1).numpy(),
            "contribution": ((vectors * out).sum(-1) / out.square().sum(-1)).numpy(),
            "pull": self._pull(index, vectors, query, key).numpy(),
        }
        if self.directions is not None:
            result["toward"] = (vectors * self.directions[query]).sum(-1).numpy()
        return result

    def _pull(self, index: int, vectors: Tensor, query: Tensor, key: Tensor) -> Tensor:
        from sociogram.watch.audit import stream

        data = self.rec.stack(self.stack)
        if self.cross or "residual" not in data or int(data["layer_start"].isel(layer=index)) < 0:
            return torch.full((len(query),), float("nan"))
        before = stream(self.rec, self.stack, index)[0]
        apart = before[key] - before[query]
        pull = torch.nn.functional.cosine_similarity(vectors, apart, dim=-1)
        return torch.where(query == key, torch.full_like(pull, float("nan")), pull)
