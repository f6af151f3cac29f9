"""Attention calls read in blocks of readers: exact, in one pass, and nothing of the size tokens x tokens ever exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.anatomy import Heard
from sociogram.models.attention import AttentionCall, masked_scores, mix, totals
from sociogram.models.branch import effective_matrix
from sociogram.models.frozen import remembered
from sociogram.models.masks import LazyMask
from sociogram.models.rows import keys_gone, rows_of, some_rows
from sociogram.watch.account import gram_factor
from sociogram.watch.norms import value_norms
from sociogram.watch.rowwise import Standing, columns_of, edges_of, numbers_of, strongest
from sociogram.watch.scan import Scan, can_scan
from sociogram.watch.streamed import Streamed, Wanted, bands_for

_BYTES = {"cpu": 16_000_000, "other": 256_000_000}
"""How large a block of scores may be in torch."""

Rows = Callable[[int, int], tuple[Tensor, Tensor | None, Tensor, int, Callable[[], Tensor]]]
"""Weights, sink weights, log-sum-exp and first key of the readers from one number to another, and who makes their output."""


@dataclass(eq=False)
class Streamer:
    """Reads the attention calls of one run.

    Attributes:
        model: the transformers model.
        wanted: what to keep.
        real: `[batch, token]` per stack, which tokens are no padding; stacks without padding are left out.
        tokens: how many tokens all passes will have, which decides the bands of distance; None for one pass.
        past: how many tokens the cache held before this pass.
    """

    model: nn.Module
    wanted: Wanted
    real: Mapping[str, Tensor]
    tokens: int | None = None
    past: int = 0

    def listen(self, stack: str, step: Heard, call: AttentionCall) -> tuple[Float[Tensor, "batch query head d_value"], Streamed]:
        """Compute a call in blocks: its output, and what is kept of it."""
        return self._each(stack, step, call, self._scanned if can_scan(call) else self._in_torch)

    def read(
        self, stack: str, step: Heard, call: AttentionCall, weights: Tensor, sink: Tensor | None, output: Tensor
    ) -> Streamed:
        """What is kept of a call whose weights exist, because an edit made them or because they are kept."""

        def whole(number: int, one: AttentionCall) -> Rows:
            def rows(start: int, stop: int) -> tuple[Tensor, Tensor | None, Tensor, int, Callable[[], Tensor]]:
                here = (slice(number, number + 1), slice(None), slice(start, stop))
                part, gone = weights[here], None if sink is None else sink[here]
                part, gone = part.to(_wide(part.dtype)), None if gone is None else gone.to(_wide(gone.dtype))
                return part, gone, _totals(one, start, stop).to(part), 0, lambda: output[number : number + 1, start:stop]

            return rows

        numbers = iter(range(len(weights)))
        return self._each(stack, step, call, lambda one, *rest: self._in_torch(one, *rest, rows=whole(next(numbers), one)))[1]

    def _each(
        self, stack: str, step: Heard, call: AttentionCall, way: Callable[..., tuple[Tensor, Streamed]]
    ) -> tuple[Tensor, Streamed]:
        """One sequence after the other, joined."""
        if call.linear:
            raise UnsupportedModelError(
                f'keep="stream": {call.path} is linear attention, whose weights are signed and no shares of a row, and streamed '
                'recordings keep shares of rows. Record with keep="default".'
            )
        by = "attention" if step.gated else self.wanted.by
        wanted = replace(self.wanted, by=by)
        sizes = self._sizes(step, call)
        found = [
            way(_sequence(call, i), sizes[i], wanted, self._standing(stack, step, call, i), self._real(stack, step, call, i))
            for i in range(len(call.query))
        ]
        outputs, streamed = zip(*found, strict=True)
        if len(found) == 1:
            return found[0]
        return torch.cat(outputs), _joined(list(streamed))

    def _sizes(self, step: Heard, call: AttentionCall) -> Float[Tensor, "batch head own_key"]:
        """Value norms of the sequence's own keys."""
        value = call.value[:, :, : call.keys]
        heads = call.query.shape[1]
        matrix = effective_matrix(self.model, step, heads * value.shape[-1], call.projections).to(value).unflatten(0, (heads, -1))
        factor: Callable[[], Tensor] | None = None
        if not (step.projected.ops or step.norm or call.projections):
            module = self.model.get_submodule(step.projection)
            factor = partial(remembered, module, f"gram {value.dtype}", lambda: gram_factor(matrix).to(matrix))
        return value_norms(value, matrix, factor)

    def _standing(self, stack: str, step: Heard, call: AttentionCall, number: int) -> Standing:
        gone = 0 if step.cross else keys_gone(call, self.past)
        return Standing(None if step.cross else self.past - gone, self._first(stack, step, call, number) - gone)

    def _first(self, stack: str, step: Heard, call: AttentionCall, number: int) -> int:
        """The first key that is a token and no padding, as the mask says or, where it is no rule any more, the inputs."""
        if isinstance(call.mask, LazyMask) and call.mask.rule.padding is not None:
            return int(call.mask.rule.padding[number].int().argmax())
        others = (real for name, real in self.real.items() if name != stack)
        known = next(others, None) if step.cross else self.real.get(stack)
        return 0 if known is None or known.shape[1] != call.keys else int(known[number].int().argmax())

    def _real(self, stack: str, step: Heard, call: AttentionCall, number: int) -> Bool[Tensor, " query"]:
        queries = call.query.shape[2]
        known = self.real.get(stack)
        if known is None or known.shape[1] < self.past + queries:
            return torch.ones(queries, dtype=torch.bool, device=call.query.device)
        return known[number, self.past : self.past + queries].bool().to(call.query.device)

    def _bands(self, call: AttentionCall, at: Standing) -> tuple[int, ...]:
        return bands_for(self.tokens or call.keys, own=at.own is not None)

    def _scanned(self, call: AttentionCall, sizes: Tensor, wanted: Wanted, at: Standing, real: Tensor) -> tuple[Tensor, Streamed]:
        found = Scan(call, sizes, wanted, self._bands(call, at), at, real).run()
        names = ("numbers", "keys", "attention", "messages", "columns", "edges")
        arrays = {name: torch.from_numpy(getattr(found, name))[None] for name in names}
        again = partial(self._columns_again, call, at, real)
        return found.output, Streamed(**arrays, sizes=sizes[None], outside=None, by=wanted.by, again=again)

    def _in_torch(
        self, call: AttentionCall, sizes: Tensor, wanted: Wanted, at: Standing, real: Tensor, *, rows: Rows | None = None
    ) -> tuple[Tensor, Streamed]:
        rows = partial(_rows, call) if rows is None else rows
        bands = self._bands(call, at) if wanted.columns else ()
        columns = sizes.new_zeros(1, len(sizes), len(bands), sizes.shape[-1], dtype=_wide(sizes.dtype))
        edges = torch.zeros(1, len(sizes), 3, dtype=torch.int64, device=sizes.device)
        parts: list[tuple[Tensor, ...]] = []
        for start, stop in _blocks(call):
            weights, sink, total, first, mixed = rows(start, stop)
            own = weights[..., : call.keys - first] if call.outside else weights
            here = sizes[None, :, first : first + own.shape[-1]]
            standing = replace(at, own=None if at.own is None else at.own + start)
            numbers = numbers_of(weights, sink, total, here, standing, first)
            ranks = own * here[:, :, None] if wanted.by == "message" else own
            keys, attention = strongest(own, ranks, wanted.top, first)
            messages = attention * here.expand(1, -1, -1).gather(2, (keys - first).clamp(min=0).long().flatten(2)).view(
                keys.shape
            )
            parts.append((mixed(), numbers, keys, attention, messages, weights[..., own.shape[-1] :]))
            edges += edges_of(own, real[None, start:stop], standing, first)
            if bands:
                given = columns_of(own, real[None, start:stop].to(own.dtype), standing, first, bands)
                columns[..., first : first + own.shape[-1]] += given
        axes = {"output": 1, "numbers": 3, "keys": 2, "attention": 2, "messages": 2, "outside": 2}
        joined = {n: torch.cat(p, axis) for (n, axis), p in zip(axes.items(), zip(*parts, strict=True), strict=True)}
        output, told = joined.pop("output"), joined.pop("outside")
        again = partial(self._columns_again, call, at, real, rows=rows)
        outside = told if call.outside else None
        rest = {"columns": columns, "edges": edges, "sizes": sizes[None]}
        return output, Streamed(**joined, **rest, outside=outside, by=wanted.by, again=again)

    def _columns_again(
        self, call: AttentionCall, at: Standing, real: Tensor, factor: Float[Tensor, "1 query"], rows: Rows | None = None
    ) -> Float[Tensor, "1 head band key"]:
        rows = partial(_rows, call) if rows is None else rows
        bands = self._bands(call, at)
        columns = factor.new_zeros(1, call.query.shape[1], len(bands), call.keys, dtype=_wide(factor.dtype))
        for start, stop in _blocks(call):
            weights, _, _, first, _ = rows(start, stop)
            own = weights[..., : call.keys - first] if call.outside else weights
            standing = replace(at, own=None if at.own is None else at.own + start)
            given = columns_of(own, (factor * real)[:, start:stop].to(own.dtype), standing, first, bands)
            columns[..., first : first + own.shape[-1]] += given
        return columns


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _blocks(call: AttentionCall) -> list[tuple[int, int]]:
    """Where blocks of readers begin and end."""
    _, heads, queries, _ = call.query.shape
    room = _BYTES.get(call.query.device.type, _BYTES["other"])
    rows = max(1, min(queries, room // (4 * heads * call.key.shape[2])))
    return [(start, min(start + rows, queries)) for start in range(0, queries, rows)]


def _rows(call: AttentionCall, start: int, stop: int) -> tuple[Tensor, Tensor | None, Tensor, int, Callable[[], Tensor]]:
    few, first = some_rows(call, start, stop)
    weights, sink, total = rows_of(few)
    return weights, sink, total, first, lambda: mix(weights.to(call.value.dtype), few)


def _totals(call: AttentionCall, start: int, stop: int) -> Float[Tensor, "batch head some_query"]:
    """Each row's log-sum-exp where its weights are at hand; NaN where they are no softmax of scores."""
    if call.reweighed:
        return call.query.new_full((*call.query.shape[:2], stop - start), torch.nan)
    few, _ = some_rows(call, start, stop)
    return totals(few, masked_scores(few))


def _sequence(call: AttentionCall, number: int) -> AttentionCall:
    """One sequence of several."""
    if len(call.query) == 1:
        return call
    here = slice(number, number + 1)

    def part(value: Tensor | None) -> Tensor | None:
        return value if value is None or len(value) == 1 else value[here]

    mask: Tensor | None = call.mask
    if isinstance(mask, LazyMask):
        mask = mask.sequence(number)
    sink = part(call.sink) if call.sink is not None and call.sink.ndim == 4 else call.sink
    return replace(
        call, query=call.query[here], key=call.key[here], value=call.value[here], mask=part(mask) if mask is call.mask else mask,
        bias=part(call.bias), cut=part(call.cut), sink=sink, indices=part(call.indices),
    )  # fmt: skip


def _joined(parts: list[Streamed]) -> Streamed:
    """Several sequences' findings as one."""
    arrays = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("numbers", "keys", "attention", "messages", "columns", "edges", "sizes")
    }
    outside = [part.outside for part in parts if part.outside is not None]

    def again(factor: Tensor) -> Tensor:
        return torch.cat([part.again(factor[i : i + 1]) for i, part in enumerate(parts)])

    return Streamed(**arrays, outside=torch.cat(outside) if outside else None, by=parts[0].by, again=again)
