"""From the layers of a run to labelled arrays: one xarray Dataset per stack, and one for cross-attention."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from sociogram.models.anatomy import Anatomy, Layer
from sociogram.models.attention import AttentionCall
from sociogram.models.frozen import remembered
from sociogram.models.run import HeardRun, LayerRun
from sociogram.watch.account import gram_factor
from sociogram.watch.rows import Rows

DIMS: dict[str, tuple[str, ...]] = {
    "weights": ("head", "query", "key"),
    "sink_weight": ("head", "query"),
    "value_norm": ("head", "key"),
    "value_vector": ("head", "key", "d_value"),
    "query_vector": ("head", "query", "d_head"),
    "key_vector": ("head", "key", "d_head"),
    "output_projection": ("head", "d_value", "d_model"),
    "log_sum_exp": ("head", "query"),
    "head_gate": ("head", "query", "d_value"),
    "message_scale": ("query",),
    **dict.fromkeys(("attention_out", "mlp_out", "bias", "rescaling", "opaque", "edited"), ("query", "d_model")),
}
"""Dimensions of each variable after `layer` (and a leading `sequence` where there are several)."""
SHARED = frozenset({"output_projection"})
"""Variables that are the model's, not one sequence's."""


@dataclass(eq=False)
class StackBuilder:
    """Fills the arrays of one stack while the run goes on."""

    layers: tuple[Layer, ...]
    names: frozenset[str]
    cross: bool = False
    outside: bool = False
    senders: dict[tuple[tuple[str, ...], int], int] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    stops: list[tuple[int, str]] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    scales: dict[int, float] = field(default_factory=dict)
    same_width: bool = True
    _last: Tensor | None = None

    def place(self, layer: Layer, call: AttentionCall) -> Tensor | None:
        """The memory for a layer's weights, where it can be written to directly."""
        if (
            "weights" not in self.names
            or call.outside
            or call.query.device.type != "cpu"
            or call.value.dtype not in (torch.float32, torch.float64)
        ):
            return None
        shape = (*call.query.shape[:3], call.key.shape[2])
        return self.rows.setdefault("weights", Rows(len(self.layers))).place(layer.index, shape, call.value.dtype)

    def take(self, run: LayerRun) -> None:
        """Enter one layer of the run."""
        index = run.layer.index
        if not (self.cross or self.outside):
            self._stream(index, run)
            self._entries(index, run)
        for group in run.groups:
            for heard in group.heard:
                if heard.from_outside == self.outside and heard.step.cross == self.cross:
                    self._heard(index, self._in_columns(heard) if self.outside else heard)

    @property
    def sender_names(self) -> list[str]:
        """What the senders from outside are called."""
        return [name for (names, _), _ in self.senders.items() for name in names]

    def _in_columns(self, heard: HeardRun) -> HeardRun:
        """The same with every source's keys at the columns that it has in all layers."""
        told, seen = heard.told, Counter[tuple[str, ...]]()
        columns: list[int] = []
        for one in told.outside:
            source = one.names, seen[one.names]
            seen[one.names] += 1
            start = self.senders.setdefault(source, len(self.sender_names))
            columns += range(start, start + one.count)
        width, place = len(self.sender_names), torch.tensor(columns, device=told.value.device)
        assert told.weights is not None
        value = told.value.new_zeros(*told.value.shape[:2], width, told.value.shape[3]).index_copy_(2, place, told.value)
        key = told.key.new_zeros(*told.key.shape[:2], width, told.key.shape[3]).index_copy_(2, place, told.key)
        weights = told.weights.new_zeros(*told.weights.shape[:3], width).index_copy_(3, place, told.weights)
        return replace(heard, told=replace(told, value=value, key=key, weights=weights))

    def _stream(self, index: int, run: LayerRun) -> None:
        if "residual" not in self.names:
            return
        if self._last is None or not torch.equal(self._last, run.before):
            self._stop(index, "input", run.before)
        self.starts[index] = len(self.stops) - 1
        for group in run.groups:
            self._stop(index, group.group.label, group.after)

    def _stop(self, index: int, part: str, place: Tensor) -> None:
        most = sum(1 + len(layer.groups) for layer in self.layers)
        self.rows.setdefault("residual", Rows(most)).put(len(self.stops), place)
        self.stops.append((index, part))
        self._last = place

    def _entries(self, index: int, run: LayerRun) -> None:
        alone = {kind: [v for g in run.groups for s, v in g.alone if s.kind == kind] for kind in ("mlp", "opaque")}
        changes = [g.rescaling for g in run.groups if g.rescaling is not None]
        edited = [g.edited for g in run.groups if g.edited is not None]
        entries = {"mlp_out": alone["mlp"], "opaque": alone["opaque"], "rescaling": changes, "edited": edited}
        for name, parts in entries.items():
            if parts:
                self._put(name, index, torch.stack(parts).sum(0) if len(parts) > 1 else parts[0])

    def _heard(self, index: int, heard: HeardRun) -> None:
        told = heard.told
        group = told.mixed.shape[2] // told.value.shape[1]
        self.scales[index] = told.scale
        self.same_width &= told.query.shape[-1] == told.value.shape[-1]
        self._put("attention_out", index, heard.out)
        if bool(heard.bias.any()):
            self._put("bias", index, heard.bias.expand_as(heard.out))
        if told.weights is not None:
            self._put("weights", index, told.weights)
        if told.sink is not None:
            self._put("sink_weight", index, told.sink, always=True)
        if "value_norm" in self.names:
            self._put("value_norm", index, value_norms(told.value, heard.matrix, _kept_factor(heard)))
        self._vectors(index, heard, group)

    def _vectors(self, index: int, heard: HeardRun, group: int) -> None:
        told = heard.told
        for name, vectors in (("value_vector", told.value), ("key_vector", told.key)):
            if name in self.names:
                repeats = group if vectors.shape[1] != told.mixed.shape[2] else 1
                self._put(name, index, vectors.repeat_interleave(repeats, dim=1))
        self._put("query_vector", index, told.query)
        self._put("output_projection", index, heard.matrix, always=bool(told.projections))
        if heard.gate is not None:
            self._put("head_gate", index, heard.gate.transpose(1, 2), always=True)
        if heard.scale is not None:
            self._put("message_scale", index, heard.scale, always=True)
        if told.log_sum_exp is not None:
            self._put("log_sum_exp", index, told.log_sum_exp)

    def _put(self, name: str, index: int, value: Tensor, *, always: bool = False) -> None:
        if always or name in self.names:
            self.rows.setdefault(name, Rows(len(self.layers))).put(index, value)

    def dataset(self) -> xr.Dataset:
        """The labelled arrays; several sequences get a leading `sequence` dimension, one has none."""
        variables: dict[str, Any] = {}
        for name, rows in self.rows.items():
            array = rows.finish(len(self.stops) if name == "residual" else None)
            if array is not None:
                variables[name] = _labelled(name, array)
        if {"output_projection", "value_vector"} <= set(variables):
            variables["output_projection"] = _as_wide(variables["output_projection"], variables["value_vector"][1].shape[-1])
        if self.same_width:
            variables = {
                name: (tuple("d_head" if d == "d_value" else d for d in dims), a) for name, (dims, a) in variables.items()
            }
        return xr.Dataset(variables, coords=self._coords(variables))

    def _coords(self, variables: dict[str, Any]) -> dict[str, Any]:
        sizes = {d: n for dims, a in variables.values() for d, n in zip(dims, a.shape, strict=True)}
        coords: dict[str, Any] = {d: np.arange(sizes[d]) for d in ("stop", "head", "query", "key", "sequence") if d in sizes}
        coords["layer"] = np.arange(len(self.layers))
        coords["status"] = ("layer", np.array([layer.status for layer in self.layers]))
        coords["placement"] = ("layer", np.array([layer.placement for layer in self.layers]))
        coords["score_scale"] = ("layer", np.array([self.scales.get(i, np.nan) for i in range(len(self.layers))]))
        if "stop" in sizes:
            coords["stop_layer"] = ("stop", np.array([layer for layer, _ in self.stops]))
            coords["stop_part"] = ("stop", np.array([part for _, part in self.stops]))
            coords["layer_start"] = ("layer", np.array([self.starts.get(i, -1) for i in range(len(self.layers))]))
        return coords


def _as_wide(projection: tuple[tuple[str, ...], np.ndarray], width: int) -> tuple[tuple[str, ...], np.ndarray]:
    """A projection with as many rows as the widest layer's values have channels; those too many are NaN."""
    dims, array = projection
    rows = np.full((*array.shape[:2], max(width, array.shape[2]), array.shape[3]), np.nan, array.dtype)
    rows[:, :, : array.shape[2]] = array
    return dims, rows


def _labelled(name: str, array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    if name in SHARED:
        return ("layer", *DIMS[name]), array
    return _arranged(("stop", "query", "d_model") if name == "residual" else ("layer", *DIMS[name]), array)


def _arranged(dims: tuple[str, ...], array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Rows come as `[row, sequence, ...]`: put the sequence first, or take the only one."""
    return (("sequence", *dims), array.swapaxes(0, 1)) if array.shape[1] > 1 else (dims, array[:, 0])


def _kept_factor(heard: HeardRun) -> Callable[[], Tensor] | None:
    """The factor of a branch's Gram matrix, kept with its projection where nothing else is in the matrix."""
    if heard.step.projected.ops or heard.step.norm is not None or heard.told.projections:
        return None
    return lambda: remembered(heard.module, f"gram {heard.told.value.dtype}", lambda: gram_factor(heard.matrix).to(heard.matrix))


def value_norms(
    value: Float[Tensor, "batch kv_head key d_value"],
    matrix: Float[Tensor, "head d_value d_model"],
    factor: Callable[[], Float[Tensor, "head d_value d_value"]] | None = None,
) -> Float[Tensor, "batch head key"]:
    """Norm of `value[k] @ W_O[h]` per query head and key.

    For many keys through a factor of W_O's Gram matrix, which is d_value wide instead of d_model; `factor` may give one kept
    from an earlier run.
    """
    batch, groups, keys, width = value.shape
    if batch * keys > 2 * width:
        matrix = (gram_factor(matrix) if factor is None else factor()).to(value.dtype)
    side = matrix.unflatten(0, (groups, -1)).transpose(1, 2).flatten(2)  # the heads of a group beside each other
    told = (value @ side).unflatten(-1, (matrix.shape[0] // groups, -1))
    return told.norm(dim=-1).transpose(2, 3).reshape(batch, -1, keys)


def builders(anatomy: Anatomy, names: frozenset[str]) -> dict[str, list[StackBuilder]]:
    """For each stack its builder, one for what edits let it hear, and one more where it listens to another sequence."""
    result: dict[str, list[StackBuilder]] = {}
    for stack in anatomy.stacks:
        layers = anatomy.stack(stack)
        result[stack] = [StackBuilder(layers, names), StackBuilder(layers, names, outside=True)]
        if any(step.cross for layer in layers for step in layer.heard):
            result[stack].append(StackBuilder(layers, names, cross=True))
    return result
