"""One sequence's attention call read by the fused kernel, block after block of readers, by as many threads as torch may use."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import isfinite

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from sociogram.models.attention import AttentionCall, additive, is_hidden, masked_scores, sink_column
from sociogram.models.masks import LazyMask
from sociogram.models.rows import is_plain, some_rows
from sociogram.watch.pool import share_out, workers
from sociogram.watch.rowwise import Standing
from sociogram.watch.streamed import KINDS, NUMBERS, Wanted

HALF = (torch.float16, torch.bfloat16)
_MOST = 1e28
"""Scores are smaller than this, or the kernel does not read them (what it takes for hidden lies below -1e29)."""
_ROWS = 192
"""So many rows (readers times heads of a group) are read together: enough for a fast product, few enough for the cache."""


def can_scan(call: AttentionCall) -> bool:
    """Whether the kernel can read a call: float32 or less, on the CPU, one softmax, no keys from outside, finite scores."""
    if call.query.device.type != "cpu" or call.query.dtype not in (torch.float32, *HALF) or call.outside or call.dropout:
        return False
    if not (call.key.numel() and call.query.numel()):
        return False
    if call.cut is None and (extra := additive(call)) is not None and bool(is_hidden(extra).all(-1).any()):
        return False  # a reader from whom a finite minimum hides all keys hears all of them alike
    return _is_finite(call) and _is_compiled()


def _is_finite(call: AttentionCall) -> bool:
    """Whether all scores are numbers, and none is so large or small that the kernel would take it for hidden.

    Its arithmetic assumes so: where it is not so, torch says what the model's own softmax would.
    """
    query, key, value = (float(part.abs().amax()) for part in (call.query, call.key, call.value))
    dots = query * key * call.query.shape[-1] * abs(call.scale)
    added = [part for part in (call.bias, additive(call), call.sink) if part is not None]
    return dots < _MOST and isfinite(value) and all(bool((part < _MOST).all()) for part in added)


@cache
def _is_compiled() -> bool:
    try:
        import sociogram.watch.fused  # noqa: F401
    except ImportError:  # no wheel of numba for this Python yet
        return False
    return True


class Scan:
    """The reading of one sequence's call; after `run` the arrays hold what was found.

    Attributes:
        output: `[1, query, head, d_value]`, as the model wants it.
        numbers, keys, attention, messages, columns, edges: as in `streamed.Streamed`, of one sequence.
    """

    def __init__(
        self,
        call: AttentionCall,
        sizes: Float[Tensor, "head key"],
        wanted: Wanted,
        bands: tuple[int, ...],
        at: Standing,
        real: Bool[Tensor, " query"],
    ) -> None:
        """Of a call of one sequence; `wanted.by` says whether the value norms take part in the ranking."""
        self.dtype = call.query.dtype
        if self.dtype in HALF:
            call = replace(call, query=call.query.float(), key=call.key.float(), value=call.value.float())
        self.call, self.at, self.real = call, at, real.numpy()
        _, self.heads, self.queries, _ = call.query.shape
        self.count = call.key.shape[2]
        self.sizes = pad(sizes.float(), (0, _block_size())).numpy()
        tiny = np.finfo(np.float32).tiny
        self.extra = np.log(np.maximum(self.sizes, tiny)) if wanted.by == "message" else np.zeros_like(self.sizes)
        self.bands = np.array(bands, dtype=np.int64)
        self.plain = is_plain(call) and isinstance(call.mask, LazyMask) and call.mask.rule.to_itself
        self.sinks = _sinks(call)
        self._key, self._value = call.key[0].transpose(1, 2), call.value[0]
        self._query = call.query[0] * call.scale
        self._make_room(wanted)

    def _make_room(self, wanted: Wanted) -> None:
        threads = workers()
        self.output = torch.empty(1, self.queries, self.heads, self.call.value.shape[-1])
        self.keys = np.full((self.heads, self.queries, wanted.top), -1, dtype=np.int32)
        self.attention = np.zeros((self.heads, self.queries, wanted.top), dtype=np.float32)
        self.messages = np.zeros_like(self.attention)
        self._numbers = np.empty((self.heads, len(NUMBERS) + 1, self.queries), dtype=np.float32)
        bands = len(self.bands) if wanted.columns else 0
        self._columns = np.zeros((threads, self.heads, bands, self.count), dtype=np.float32)
        self._edges = np.zeros((threads, self.heads, len(KINDS)), dtype=np.int64)

    def run(self) -> Scan:
        """Read all blocks, the long ones first."""
        rows = max(1, min(_ROWS // self.call.group, 128))
        share_out(list(range(0, self.queries, rows)), lambda starts, worker: self._work(starts, worker, rows))
        self.keys[self.attention == 0] = -1
        self.numbers, self.columns = self._numbers[:, : len(NUMBERS)], self._columns.sum(0)
        self.edges = self._edges.sum(0)
        self.output = self.output.to(self.dtype)
        return self

    def _work(self, starts: Iterator[int], worker: int, rows: int) -> None:
        space = _space(self.call.group * min(rows, self.queries) * _whole(self.count))
        for start in starts:
            self._block(start, min(start + rows, self.queries), worker, space)

    def _block(self, start: int, stop: int, worker: int, space: Tensor) -> None:
        own = -1 if self.at.own is None else self.at.own
        scores, first, last = (None, 0, own + stop) if self.plain else self._open_scores(start, stop)
        counts = np.arange(own + start + 1, own + stop + 1) if scores is None else np.full(stop - start, last - first)
        for group in range(self._value.shape[0]):
            heads = slice(group * self.call.group, (group + 1) * self.call.group)
            part = self._dots(heads, group, start, stop, last, space) if scores is None else scores[heads]
            self._read(part, counts, heads.start, start, first, own + start, worker)
            mixed = part.flatten(0, 1)[:, : last - first] @ self._value[group, first:last]
            factor = torch.from_numpy(self._numbers[heads, len(NUMBERS), start:stop])
            self.output[0, start:stop, heads] = (mixed.unflatten(0, factor.shape) * factor[..., None]).transpose(0, 1)

    def _dots(self, heads: slice, group: int, start: int, stop: int, last: int, space: Tensor) -> Tensor:
        """Scores of a group of heads where the mask is nothing but "no key behind the reader", with room for whole blocks."""
        rows, width = self._query[heads, start:stop].flatten(0, 1), _whole(last)
        out = space[: len(rows) * width].view(len(rows), width)
        torch.mm(rows, self._key[group, :, :last], out=out[:, :last])
        return out.view(self.call.group, stop - start, width)

    def _open_scores(self, start: int, stop: int) -> tuple[Tensor, int, int]:
        """Scores under whatever the model does to them, `[head, row, key]` up to a whole block, the number of their first key
        and the number behind their last."""
        from sociogram.watch.fused import HIDDEN

        few, first = some_rows(self.call, start, stop)
        scores = masked_scores(few)[0].float().clamp_(min=float(HIDDEN))
        count = scores.shape[2]
        return pad(scores, (0, _whole(count) - count)).contiguous(), first, first + count

    def _read(self, scores: Tensor, counts: np.ndarray, head: int, start: int, first: int, own: int, worker: int) -> None:
        from sociogram.watch.fused import read_rows

        read_rows(
            scores.numpy(), counts, self.real, head, start, first, own, self.at.first, self.at.own is not None, self.sizes,
            self.extra, self.sinks, self.bands, self._columns[worker], self.keys, self.attention, self.messages,
            self._numbers, self._edges[worker],
        )  # fmt: skip


def _block_size() -> int:
    """How many keys the kernel takes together."""
    from sociogram.watch.fused import BLOCK

    return BLOCK


def _whole(count: int) -> int:
    """How many keys whole blocks have room for."""
    return -(-count // _block_size()) * _block_size()


_spaces = threading.local()


def _space(size: int) -> Tensor:
    """This thread's memory for scores, kept from call to call: fresh memory costs more than writing to it."""
    space: Tensor | None = getattr(_spaces, "space", None)
    if space is None or not size <= space.numel() <= 4 * size:
        with torch.inference_mode(False):  # it is written to again by runs outside of that mode
            space = _spaces.space = torch.empty(size)
    return space


def _sinks(call: AttentionCall) -> np.ndarray:
    """A score per head and reader that takes part in the softmax and tells nothing."""
    from sociogram.watch.fused import HIDDEN

    _, heads, queries, _ = call.query.shape
    if call.sink is None:
        return np.full((heads, queries), HIDDEN, dtype=np.float32)
    column = sink_column(call, call.query[..., :1].float())
    return np.ascontiguousarray(column[0, :, :, 0].clamp(min=float(HIDDEN)).numpy())
