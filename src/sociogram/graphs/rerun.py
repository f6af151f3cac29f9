"""Queries and keys of chosen layers, got by running the model once more: what a streamed recording's graphs are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.models.attention import AttentionCall
from sociogram.models.outside import Outside
from sociogram.models.rows import keys_gone
from sociogram.watch.again import Again, check_again

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

AT_ONCE = 1_000_000_000
"""Bytes of queries and keys that are held at a time; for more layers the model runs more than once."""


@dataclass(frozen=True, eq=False)
class Piece:
    """The readers of one pass in one layer.

    Attributes:
        call: the attention call, without its values.
        first: the number of its first reader.
        shift: what is to be added to a key's place in the call for the number of its token (the cache may have let keys go).
    """

    call: AttentionCall
    first: int
    shift: int

    def head(self, head: int) -> Piece:
        """One head of it."""
        return replace(self, call=one_head(self.call, head))


def layers_of(rec: Recording, stack: str, layers: list[int]) -> Iterator[tuple[int, list[Piece]]]:
    """Each asked layer with the pieces of its attention, in order.

    Raises:
        RecordingError: the model (or a steered run's edits) is not at hand, several sequences share a call, or an edit changed
            the weights themselves.
    """
    check_again(rec, "computing products with weights that were not kept")
    portion = max(1, int(AT_ONCE // _bytes_of_layer(rec, stack)))
    for start in range(0, len(layers), portion):
        collector = _Collector(rec, stack, layers[start : start + portion])
        collector.run()
        yield from collector.found.items()


def one_head(call: AttentionCall, head: int) -> AttentionCall:
    """One head of a call as a call of its own."""
    group = head // call.group
    query, key = call.query[:, head : head + 1], call.key[:, group : group + 1]

    def part(value: Tensor | None) -> Tensor | None:
        return value if value is None or value.ndim != 4 or value.shape[1] == 1 else value[:, head : head + 1]

    mask = part(call.mask) if call.mask is not None and call.mask.shape[1:2] != (1,) else call.mask
    sink = call.sink
    if sink is not None:
        sink = part(sink) if sink.ndim == 4 else sink.reshape(-1)[head : head + 1] if sink.numel() > 1 else sink
    return replace(
        call, query=query, key=key, value=call.value[:, group : group + 1], mask=mask, bias=part(call.bias), cut=part(call.cut),
        sink=sink, outside=tuple(_one_head(one, head) for one in call.outside),
    )  # fmt: skip


def _one_head(one: Outside, head: int) -> Outside:
    return replace(
        one,
        keep=None if one.keep is None else one.keep[head : head + 1],
        gain=None if one.gain is None else one.gain[head : head + 1],
    )


def _bytes_of_layer(rec: Recording, stack: str) -> int:
    data = rec.stack(stack)
    layers = rec.anatomy.stack(stack)
    heads, shared, width, _ = next(rec.anatomy.heads[step.calls[0]] for layer in layers for step in layer.heard)
    chunk = int(rec.tree.attrs.get("chunk", 0))
    tokens = data.sizes["query"]
    repeats = (-(-tokens // chunk) + 1) / 2 if chunk else 1  # every pass has all keys before it
    return max(1, int(4 * tokens * width * (heads + shared * repeats)))


class _Collector(Again):
    """An observer of the seam that holds on to the calls of some layers."""

    def __init__(self, rec: Recording, stack: str, layers: list[int]) -> None:
        super().__init__(rec)
        own = rec.anatomy.stack(stack)
        self.places = {name: i for i in layers for step in own[i].heard if not step.cross for name in step.calls}
        self.found: dict[int, list[Piece]] = {layer: [] for layer in layers}
        for layer in layers:
            calls = [name for name, place in self.places.items() if place == layer]
            if len(calls) != 1:
                raise RecordingError(
                    f"layer {layer} of {stack!r} makes {len(calls)} attention calls, and products are computed of one: record "
                    'with keep="default"'
                )

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """Hold the call, without its values."""
        layer = self.places.get(call.name)
        if layer is None:
            return
        if weights is not None:
            raise RecordingError(
                f"an edit changed the weights of layer {layer} after the softmax: they follow from no queries and keys, and have "
                'no products without being kept: record with keep="default"'
            )
        if len(call.query) != 1:
            raise RecordingError(
                f"layer {layer} computes {len(call.query)} groups of tokens apart, and products are computed of one: record with "
                'keep="default"'
            )
        no_values = call.value.new_empty(*call.value.shape[:-1], 0)
        self.found[layer].append(Piece(replace(call, value=no_values), self.past, keys_gone(call, self.past)))
