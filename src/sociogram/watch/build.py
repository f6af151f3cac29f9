"""From the layers of a run to labelled arrays: one xarray Dataset per stack, and one for cross-attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.models.anatomy import Anatomy, Layer
from sociogram.models.attention import AttentionCall
from sociogram.models.run import GroupRun, HeardRun, LayerRun
from sociogram.watch.access import CROSS, OUTSIDE
from sociogram.watch.layout import OF_NEW_KEYS, SHARED, SUMS, WHOLE_NUMBERS, Pieces, arranged, as_wide, dims_of
from sociogram.watch.norms import kept_factor, value_norms
from sociogram.watch.outsiders import Outsiders
from sociogram.watch.rows import Rows
from sociogram.watch.streamed import BANDS, KINDS
from sociogram.watch.told import variables


@dataclass(eq=False)
class StackBuilder:
    """Fills the arrays of one stack while the run goes on.

    Attributes:
        layers: of the stack. names: the variables to keep. cross, outside: whose messages are entered here.
        pieces: which pass of several this is, or None where there is one.
        streaming: whether calls are read in blocks, so that values are kept once per value head, and entries that lie between two
            stops of the stream are not kept a second time.
        store: makes `Rows` that are kept on disk.
        stream_layers: the layers whose stops are kept; None for all. stream_dtype: what places in the stream are rounded to.
    """

    layers: tuple[Layer, ...]
    names: frozenset[str]
    cross: bool = False
    outside: bool = False
    pieces: Pieces | None = None
    streaming: bool = False
    store: Callable[..., Rows] | None = None
    stream_layers: frozenset[int] | None = None
    stream_dtype: torch.dtype | None = None
    senders: Outsiders = field(default_factory=Outsiders)
    rows: dict[str, Rows] = field(default_factory=dict)
    stops: list[tuple[int, str]] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    scales: dict[int, float] = field(default_factory=dict)
    same_width: bool = True
    ranked: dict[int, str] = field(default_factory=dict)
    _last: Tensor | None = None
    _at: int = 0
    _end: int = 0

    def dims(self, name: str) -> tuple[str, ...]:
        """Dimensions of a variable after `layer`."""
        return dims_of(name, streaming=self.streaming)

    def place(self, layer: Layer, call: AttentionCall) -> Tensor | None:
        """The memory for a layer's weights, where it can be written to directly."""
        if (
            "weights" not in self.names
            or call.outside
            or self.pieces is not None
            or call.query.device.type != "cpu"
            or call.value.dtype not in (torch.float32, torch.float64)
        ):
            return None
        shape = (*call.query.shape[:3], call.key.shape[2])
        return self.rows.setdefault("weights", Rows(len(self.layers))).place(layer.index, shape, call.value.dtype)

    def take(self, run: LayerRun) -> None:
        """Enter one layer of the run."""
        index = run.layer.index
        self._end = run.before.shape[1] + (self.pieces.past if self.pieces else 0)
        if not (self.cross or self.outside):
            self._stream(index, run)
            self._entries(index, run)
        for group in run.groups:
            for heard in group.heard:
                if heard.from_outside == self.outside and heard.step.cross == self.cross:
                    between = not self.outside and self._has_stops(index) and all(map(_is_a_move, run.groups))
                    heard = self.senders.in_columns(index, heard) if self.outside else heard
                    self._heard(index, heard, is_a_move=between)

    def _stream(self, index: int, run: LayerRun) -> None:
        if "residual" not in self.names:
            return
        jump = self._last is None or not torch.equal(self._last, run.before)
        self._last = run.groups[-1].after if run.groups else run.before
        if not self._keeps(index):
            return
        if jump or not self._keeps(index - 1):
            self._stop(index, "input", run.before)
        self.starts.setdefault(index, self._at - 1)
        for group in run.groups:
            self._stop(index, group.group.label, group.after)

    def _keeps(self, index: int) -> bool:
        """Whether the stops of a layer are wanted."""
        return self.stream_layers is None or index in self.stream_layers

    def _has_stops(self, index: int) -> bool:
        return "residual" in self.names and self._keeps(index)

    def _stop(self, index: int, part: str, place: Tensor) -> None:
        if self.stream_dtype is not None:
            place = place.to(self.stream_dtype)
        if self._at == len(self.stops):
            self.stops.append((index, part))
        elif self.stops[self._at] != (index, part):  # a pass in which two places happen to be equal, or are not
            self._at = self.stops.index((index, part))
        self._rows("residual", sum(1 + len(layer.groups) for layer in self.layers)).put(self._at, place, self._start("residual"))
        self._at += 1

    def begin(self, pieces: Pieces) -> None:
        """A further pass of the same run."""
        self.pieces, self._last, self._at = pieces, None, 0

    def _rows(self, name: str, rows: int | None = None) -> Rows:
        if name not in self.rows:
            lengths = {}
            if self.pieces is not None:
                lengths = {i + 1: self.pieces.tokens for i, dim in enumerate(self.dims(name)) if self.grows(dim)}
            fill = -1 if name in WHOLE_NUMBERS else torch.nan
            make = partial(Rows, rest=0.0 if self.outside else None)  # who was not heard from outside told nothing
            if self.store is not None and name not in SUMS:
                make = partial(self.store, self.node, name, self._axes(name))
            self.rows[name] = make(rows or len(self.layers), lengths=lengths, fill=fill)
        return self.rows[name]

    def _axes(self, name: str) -> tuple[str, ...]:
        """All dimensions of a variable of one sequence."""
        dims = ("stop" if name == "residual" else "layer", *self.dims(name))
        return tuple("d_head" if dim == "d_value" and self.same_width else dim for dim in dims)

    @property
    def node(self) -> str:
        """What its arrays are called in the tree."""
        return self.layers[0].stack + (CROSS if self.cross else OUTSIDE if self.outside else "")

    def grows(self, dim: str) -> bool:
        """Whether an axis is one of tokens that come pass by pass."""
        return dim == "query" or (dim == "key" and not (self.cross or self.outside))

    def _start(self, name: str, keys: int = 0) -> dict[int, int]:
        """Where a pass's numbers begin along each axis; `keys`: how many of the last keys are there."""
        if self.pieces is None:
            return {}
        starts = {"query": self.pieces.past, "key": self.pieces.past if name in OF_NEW_KEYS else self._end - keys}
        return {i + 1: starts[dim] for i, dim in enumerate(self.dims(name)) if self.grows(dim)}

    def _entries(self, index: int, run: LayerRun) -> None:
        alone = {kind: [v for g in run.groups for s, v in g.alone if s.kind == kind] for kind in ("mlp", "opaque")}
        changes = [g.rescaling for g in run.groups if g.rescaling is not None]
        edited = [g.edited for g in run.groups if g.edited is not None]
        entries = {"mlp_out": alone["mlp"], "opaque": alone["opaque"], "rescaling": changes, "edited": edited}
        mixed = self.streaming and self._has_stops(index) and not all(map(_is_a_move, run.groups))
        for name, parts in entries.items():
            if parts:
                self._put(name, index, torch.stack(parts).sum(0) if len(parts) > 1 else parts[0], always=mixed)

    def _heard(self, index: int, heard: HeardRun, *, is_a_move: bool) -> None:
        """Enter one branch; `is_a_move`: what it gave out is what lies between two stops of the stream."""
        told = heard.told
        group = told.mixed.shape[2] // told.value.shape[1]
        self.scales[index] = told.scale
        self.same_width &= told.query.shape[-1] == told.value.shape[-1]
        self._put("attention_out", index, heard.out, always=self.streaming and not is_a_move and self._has_stops(index))
        if bool(heard.bias.any()):
            self._put("bias", index, heard.bias.expand_as(heard.out))
        if told.weights is not None:
            self._put("weights", index, told.weights, always=self.streaming and self.outside)
        if told.streamed is not None:
            self._streamed(index, heard)
        if told.sink is not None:
            self._put("sink_weight", index, told.sink, always=True)
        if "value_norm" in self.names and told.streamed is None:
            self._put("value_norm", index, value_norms(told.value, heard.matrix, kept_factor(heard)))
        self._vectors(index, heard, group)

    def _vectors(self, index: int, heard: HeardRun, group: int) -> None:
        told = heard.told
        for name, vectors in (("value_vector", told.value), ("key_vector", told.key)):
            if name in self.names and not (name == "value_vector" and self.streaming and not self.outside):
                repeats = group if vectors.shape[1] != told.mixed.shape[2] else 1
                self._put(name, index, vectors.repeat_interleave(repeats, dim=1))
        self._put("query_vector", index, told.query)
        self._put("output_projection", index, heard.matrix, always=bool(told.projections))
        if heard.gate is not None:
            self._put("head_gate", index, heard.gate.transpose(1, 2), always=True)
        if heard.scale is not None:
            self._put("message_scale", index, heard.scale, always=True)
        if told.log_sum_exp is not None:
            self._put("lse", index, told.log_sum_exp)

    def _streamed(self, index: int, heard: HeardRun) -> None:
        self.ranked[index] = heard.told.streamed.by
        past = 0 if self.pieces is None else self._end - heard.told.streamed.sizes.shape[-1]
        for name, value in variables(heard, self.names).items():
            shifted = torch.where(value >= 0, value + past, value) if name == "top_key" and past and not self.cross else value
            self._put(name, index, shifted)

    def _put(self, name: str, index: int, value: Tensor, *, always: bool = False) -> None:
        if not (always or name in self.names):
            return
        keys = 0
        if self.pieces is not None and "key" in self.dims(name) and self.grows("key"):
            axis = self.dims(name).index("key") + 1
            if name in OF_NEW_KEYS:
                new = self._end - self.pieces.past
                value = value.narrow(axis, value.shape[axis] - new, new)
            keys = value.shape[axis]
        self._rows(name).put(index, value, self._start(name, keys), add=name in SUMS and self.pieces is not None)

    def dataset(self) -> xr.Dataset:
        """The labelled arrays; several sequences get a leading `sequence` dimension, one has none."""
        arrays: dict[str, Any] = {}
        for name, rows in self.rows.items():
            array = rows.finish(len(self.stops) if name == "residual" else None)
            if array is not None:
                arrays[name] = self._labelled(name, array)
        if {"output_projection", "value_vector"} <= set(arrays):
            arrays["output_projection"] = as_wide(arrays["output_projection"], arrays["value_vector"][1].shape[-1])
        if self.same_width:
            arrays = {name: (tuple("d_head" if d == "d_value" else d for d in dims), a) for name, (dims, a) in arrays.items()}
        sizes = {d: n for dims, a in arrays.values() for d, n in zip(dims, a.shape, strict=True)}
        return xr.Dataset(arrays, coords=self.coords(sizes))

    def _labelled(self, name: str, array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        dims = ("stop" if name == "residual" else "layer", *self.dims(name))
        return (dims, array) if name in SHARED else arranged(dims, array)

    def coords(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """What names the places along each axis, for axes of these lengths."""
        coords: dict[str, Any] = {d: np.arange(sizes[d]) for d in ("stop", "head", "query", "key", "sequence") if d in sizes}
        coords["layer"] = np.arange(len(self.layers))
        coords["status"] = ("layer", np.array([layer.status for layer in self.layers]))
        coords["placement"] = ("layer", np.array([layer.placement for layer in self.layers]))
        coords["score_scale"] = ("layer", np.array([self.scales.get(i, np.nan) for i in range(len(self.layers))]))
        if self.ranked:
            coords["ranked_by"] = ("layer", np.array([self.ranked.get(i, "") for i in range(len(self.layers))]))
        if self.outside and "key" in sizes:
            coords["key_source"] = ("key", np.array(self.senders.sources))
        if "kind" in sizes:
            coords["kind"] = list(KINDS)
        if "band" in sizes:
            coords["band"] = list(BANDS[: sizes["band"]])
        if "stop" in sizes:
            coords["stop_layer"] = ("stop", np.array([layer for layer, _ in self.stops]))
            coords["stop_part"] = ("stop", np.array([part for _, part in self.stops]))
            coords["layer_start"] = ("layer", np.array([self.starts.get(i, -1) for i in range(len(self.layers))]))
        return coords


def _is_a_move(group: GroupRun) -> bool:
    """Whether a group has one entry alone, which is then what lies between two stops of the stream (up to their rounding: in
    half precision that is as large as the stream, and what lies between two stops says little of a small entry).
    """
    entries = len(group.heard) + len(group.alone) + (group.rescaling is not None) + (group.edited is not None)
    return entries == 1 and group.after.element_size() > 2


def builders(anatomy: Anatomy, names: frozenset[str], **settings: Any) -> dict[str, list[StackBuilder]]:
    """For each stack its builder, one for what edits let it hear, and one more where it listens to another sequence.

    `settings` are those of `StackBuilder`.
    """
    result: dict[str, list[StackBuilder]] = {}
    for stack in anatomy.stacks:
        layers = anatomy.stack(stack)
        make = partial(StackBuilder, layers, names, **settings)
        result[stack] = [make(), make(outside=True)]
        if any(step.cross for layer in layers for step in layer.heard):
            result[stack].append(make(cross=True))
    return result
