"""One head's graph as a linear map, computed in blocks of readers: nothing of the size tokens x tokens ever exists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.rerun import Piece, layers_of
from sociogram.models.attention import AttentionCall, masked_scores, normalised
from sociogram.models.masks import LazyMask
from sociogram.models.rows import is_plain, some_rows
from sociogram.watch.access import tensor
from sociogram.watch.few import is_streamed

if TYPE_CHECKING:
    from sociogram.graphs.source import Source

ROWS = 128
"""The most readers in a block."""
BYTES = 8_000_000
"""The most bytes of scores in a block."""


class Block(NamedTuple):
    """The weights of some readers: `weights[i, j]` is what reader `reader + i` hears from sender `sender + j`."""

    reader: int
    sender: int
    weights: Float[Tensor, "reader sender"]


@final
class AttentionOperator(LinearOperator):  # type: ignore[misc]
    """The graph of one head as a `scipy.sparse.linalg.LinearOperator` `[query, key]`, exact, in float64.

    `A @ x` is what each reader hears of numbers `x` that the senders have; `A.T @ y` what each sender gives to readers that
    weigh `y`. Products are computed from queries and keys, under the model's own rule (mask, window, sink, soft cap, position
    bias, edits before the softmax), in blocks of readers, so that memory grows with the tokens and not with their square. Each
    product reads all scores once; `both` computes `A X` and `A^T A X` in one reading, which is what singular values need.
    """

    def __init__(
        self,
        pieces: list[Piece],
        tokens: int,
        *,
        drop_first: bool = False,
        threshold: float = 0.0,
        sizes: Float[Tensor, " sender"] | None = None,
        factors: Float[Tensor, " reader"] | None = None,
    ) -> None:
        """Made by `networks.operator`: of pieces of one head, and what its weights are multiplied by for messages."""
        self.pieces, self.tokens = pieces, tokens
        self.drop_first, self.threshold = drop_first, threshold
        self.sizes, self.factors = sizes, factors
        size = tokens - int(drop_first)
        super().__init__(np.dtype(np.float64), (size, size))

    def again(self, *, drop_first: bool) -> AttentionOperator:
        """The same graph with the first token, or without it."""
        options = {"threshold": self.threshold, "sizes": self.sizes, "factors": self.factors}
        return AttentionOperator(self.pieces, self.tokens, drop_first=drop_first, **options)  # type: ignore[arg-type]

    def both(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`A X` and `A^T (A X)`, reading the scores once."""
        given = self._in(columns)
        heard, back = torch.zeros_like(given), torch.zeros_like(given)
        for block in self.blocks():
            here, there = _places(block)
            heard[here] = block.weights @ given[there]
            back[there] += block.weights.T @ heard[here]
        return self._out(heard), self._out(back)

    def _matmat(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - scipy's own name
        given = self._in(X)
        heard = torch.zeros_like(given)
        for block in self.blocks():
            here, there = _places(block)
            heard[here] = block.weights @ given[there]
        return self._out(heard)

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(np.reshape(x, (-1, 1)))[:, 0]

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        given = self._in(X)
        back = torch.zeros_like(given)
        for block in self.blocks():
            here, there = _places(block)
            back[there] += block.weights.T @ given[here]
        return self._out(back)

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self._rmatmat(np.reshape(x, (-1, 1)))[:, 0]

    def blocks(self) -> Iterator[Block]:
        """The weights, some readers at a time; of a dropped first token they are zero."""
        for piece in self.pieces:
            queries = piece.call.query.shape[2]
            rows = max(1, min(ROWS, BYTES // (4 * piece.call.key.shape[2])))
            for start in range(0, queries, rows):
                yield self._block(piece, start, min(start + rows, queries))

    def _block(self, piece: Piece, start: int, stop: int) -> Block:
        weights, first = _weights(piece.call, start, stop)
        weights, reader, sender = weights.double(), piece.first + start, first + piece.shift
        if self.sizes is not None:
            weights = weights * self.sizes[sender : sender + weights.shape[1]]
        if self.factors is not None:
            weights = weights * self.factors[reader : reader + len(weights), None]
        if self.drop_first and reader == 0:
            weights[0] = 0
        if self.drop_first and sender == 0:
            weights[:, 0] = 0
        if self.threshold > 0:
            weights = torch.where(weights > self.threshold, weights, 0.0)
        return Block(reader, sender, weights)

    def _in(self, columns: np.ndarray) -> Tensor:
        if np.iscomplexobj(columns):
            raise InputError("a graph's products are computed of real numbers: give real and imaginary part one after the other")
        given = torch.from_numpy(np.ascontiguousarray(columns, np.float64))
        if self.drop_first:
            given = torch.cat([given.new_zeros(1, given.shape[1]), given])
        return given.to(self.pieces[0].call.query.device)

    def _out(self, columns: Tensor) -> np.ndarray:
        return columns[int(self.drop_first) :].cpu().numpy()


def _weights(call: AttentionCall, start: int, stop: int) -> tuple[Float[Tensor, "reader sender"], int]:
    """What some readers of a call of one head hear from the sequence's own tokens, and the number of the first of those."""
    with torch.no_grad():
        if _is_causal(call):
            return _causal(call, start, stop), 0
        few, first = some_rows(call, start, stop)
        weights, _ = normalised(few, masked_scores(few))
    return weights[0, 0, :, : call.keys - first], first


def _is_causal(call: AttentionCall) -> bool:
    """Whether each query reads all keys up to its own, by dot products alone."""
    return is_plain(call) and call.sink is None and isinstance(call.mask, LazyMask) and call.mask.rule.to_itself


def _causal(call: AttentionCall, start: int, stop: int) -> Float[Tensor, "reader sender"]:
    """The same weights where only the last keys of a block need a mask at all."""
    last = call.key.shape[2] - call.query.shape[2] + stop
    scores = (call.query[0, 0, start:stop] * call.scale) @ call.key[0, 0, :last].T
    scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
    ahead = torch.ones(stop - start, stop - start, dtype=torch.bool, device=scores.device).triu_(1)
    scores[:, last - (stop - start) :].masked_fill_(ahead, -torch.inf)
    return torch.softmax(scores, -1)


def _places(block: Block) -> tuple[slice, slice]:
    readers, senders = block.weights.shape
    return slice(block.reader, block.reader + readers), slice(block.sender, block.sender + senders)


def operators(source: Source, chosen: list[tuple[int, int]]) -> Iterator[tuple[int, int, AttentionOperator]]:
    """Layer, head and operator of chosen graphs, by running the model once more (or more often, where there are many).

    Raises:
        RecordingError: the graphs are not each head's attention or messages, a gate gives each reader value norms of its own, or
            the model is not at hand.
    """
    check(source)
    layers = list(dict.fromkeys(layer for layer, _ in chosen))
    tokens = source.rec.stack(source.stack).sizes["query"]
    for layer, pieces in layers_of(source.rec, source.stack, layers):
        for head in [head for other, head in chosen if other == layer]:
            sizes, factors = _factors(source, layer, head)
            parts = [piece.head(head) for piece in pieces]
            options = {"drop_first": source.drop_first, "threshold": source.threshold}
            yield layer, head, AttentionOperator(parts, tokens, sizes=sizes, factors=factors, **options)  # type: ignore[arg-type]


def check(source: Source) -> None:
    """Refuse graphs whose products are not to be had from queries and keys alone.

    Raises:
        RecordingError: says which, and what to do.
    """
    if source.by == "head" and source.weight in ("attention", "message"):
        return
    how = 'record with keep="default"' if is_streamed(source.rec.stack(source.stack)) else "use networks.weights(...)"
    raise RecordingError(
        f'by="{source.by}", weight="{source.weight}": products without the weights are computed of each head\'s attention or '
        f'messages: ask with by="head" and weight="attention" or "message", or {how}'
    )


def _factors(source: Source, layer: int, head: int) -> tuple[Tensor | None, Tensor | None]:
    """What a head's weights are multiplied by to be norms of messages: per sender, per reader."""
    if source.weight == "attention":
        return None, None
    data = source.rec.stack(source.stack).isel(layer=layer)
    if "head_gate" in data and not bool(data["head_gate"].isnull().all()):
        raise RecordingError(
            f"in layer {layer} a gate gives each reader value norms of its own, so that messages have no products without being "
            'kept: ask with weight="attention", or record with keep="default"'
        )
    sizes = tensor(source.rec.need(data, "value_norm"))[head]
    scale = tensor(data["message_scale"]).abs() if "message_scale" in data else None
    return sizes, None if scale is None or bool(scale.isnan().any()) else scale
