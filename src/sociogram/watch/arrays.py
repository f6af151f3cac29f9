"""A recording's labelled arrays, and the small steps from them to what questions are asked of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.models.anatomy import Anatomy, Layer
from sociogram.models.branch import effective_matrix
from sociogram.models.model import Model
from sociogram.models.seam import Editor
from sociogram.models.tokens import find_token
from sociogram.watch.access import CROSS, OUTSIDE, check_index, inputs_of, only_sequence, own_stack, tensor
from sociogram.watch.account import Messages

Address = int | str


class Arrays:
    """One run of a model as arrays by name: stacks, sequences, tokens, and each layer's messages.

    Attributes:
        tree: an `xarray.DataTree`, one node per stack of layers (and one per cross-attention); dims are named, token-token
            arrays are `[..., query, key]`.
        model: the model, where it is at hand; questions that need its output projections ask for it.
        shown: what the observed run gave out (logits, or hidden states), kept for short prompts to compare with the plain run.
        editors: of a steered run, who edits a run on given inputs; None of a plain one.
    """

    def __init__(
        self,
        tree: xr.DataTree,
        *,
        model: Model | None = None,
        inputs: Mapping[str, Tensor] | None = None,
        anatomy: Anatomy | None = None,
        outputs: Mapping[str, np.ndarray] | None = None,
        shown: Tensor | None = None,
        editors: Callable[[Mapping[str, Tensor]], Sequence[Editor]] | None = None,
    ) -> None:
        """Made by `sg.record` and `sg.open_recording`."""
        self.tree = tree
        self.model = model
        self._inputs = inputs
        self._anatomy = anatomy
        self._outputs = dict(outputs or {})
        self.shown = shown
        self.editors = editors

    @property
    def dataset(self) -> xr.Dataset:
        """The main stack's arrays."""
        return self.stack(self.main)

    @property
    def main(self) -> str:
        """The main stack's name."""
        return str(self.tree.attrs["main"])

    @property
    def stacks(self) -> tuple[str, ...]:
        """The names of all nodes of the tree."""
        return tuple(str(name) for name in self.tree.children)

    @property
    def several(self) -> bool:
        """Whether the recording holds several sequences (or, in some stack, several images)."""
        return any("sequence" in self.stack(name).dims for name in self.stacks)

    @property
    def tokens(self) -> list[str]:
        """The tokens of the main stack as people read them (of one sequence)."""
        self._one("tokens", self.main)
        return [str(t) for t in self.dataset["query_token"].values]

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy of the model that was recorded."""
        if self._anatomy is None:
            if self.model is None:
                raise RecordingError("this needs the model: open the recording with sg.open_recording(path, model=...)")
            self._anatomy = self.model.find_anatomy(self.inputs)
        return self._anatomy

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """What went into the model."""
        if self._inputs is None:
            raise RecordingError(
                "this recording holds no inputs of the model (one of several sequences, cut from inputs that cannot be cut)"
            )
        return self._inputs

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """What the model said at the end, as far as it was kept: `final_logits` `[sequence, vocab]`."""
        return self._outputs

    def stack(self, name: str) -> xr.Dataset:
        """The arrays of one stack.

        Raises:
            InputError: no such stack; lists those there are.
        """
        if name not in self.tree.children:
            raise InputError(f"no stack {name!r} in this recording; it has {', '.join(self.stacks)}")
        dataset: xr.Dataset = self.tree[name].dataset
        return dataset

    def sequence(self, number: int) -> Self:
        """One sequence of several, its padding left out.

        Raises:
            InputError: no such sequence.
        """
        count = max([1, *self._counts().values()])
        if not -count <= number < count:
            raise InputError(f"no sequence {number}: this recording holds {count}, numbered 0 to {count - 1}")
        if not self.several:
            return self
        number %= count
        nodes = {
            name: only_sequence(self.stack(name), number) for name in self.stacks if number < self._counts().get(name, count)
        }
        tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=self.tree.attrs), **nodes})
        inputs = self._inputs
        if inputs is not None and "sequence" in self.dataset.dims:
            inputs = inputs_of(inputs, number, self.dataset.sizes["sequence"])
        outputs = {name: value[number : number + 1] for name, value in self._outputs.items()}
        return type(self)(tree, model=self.model, inputs=inputs, anatomy=self._anatomy, outputs=outputs, editors=self.editors)

    def layer(self, index: int, *, stack: str | None = None) -> int:
        """Check a layer's number; negative ones count from the end.

        Raises:
            InputError: with the valid range.
        """
        return check_index("layer", index, self.stack(stack or self.main).sizes["layer"])

    def find(self, axis: str, token: Address, *, stack: str | None = None) -> int:
        """The position of a token given by number or text along `"query"` or `"key"`."""
        self._one(f"{axis}={token!r}", stack or self.main)
        texts = [str(t) for t in self.stack(stack or self.main)[f"{axis}_token"].values]
        return find_token(texts, token)

    def messages(self, layer: int, *, stack: str | None = None) -> Messages:
        """The attention branch of one layer, with its output projection from the recording or from the model.

        Raises:
            RecordingError: an array was not kept, or the layer has no token-token matrix.
        """
        name = stack or self.main
        self._one("messages", name)
        dataset = self.stack(name).isel(layer=self.layer(layer, stack=name))
        self.check_closed(layer, dataset)
        self.need(dataset, "weights")
        out = tensor(self.need(dataset, "attention_out"))
        heads = slice(0, self._heads(name, layer, dataset))
        bias = tensor(dataset["bias"]) if "bias" in dataset else torch.zeros_like(out)
        parts = {name: tensor(dataset[name]) if name in dataset else None for name in ("head_gate", "message_scale")}
        matrix = self._matrix(name, layer, dataset)
        width = matrix.shape[1]
        gate, scale = parts["head_gate"], parts["message_scale"]
        weights, value = tensor(self.need(dataset, "weights"))[heads], tensor(self.need(dataset, "value_vector"))
        if "kv_head" in dataset["value_vector"].dims:  # beside a stream values are kept once for all heads that share them
            value = value[~value.isnan().flatten(1).all(1)]
            value = value.repeat_interleave(len(weights) // len(value), 0)
        value = value[heads, :, :width]
        if name.endswith(OUTSIDE):  # layers that hear fewer sources leave columns empty
            weights, value = weights.nan_to_num(), value.nan_to_num()
        return Messages(
            weights=weights,
            value=value,
            matrix=matrix,
            bias=torch.zeros_like(out) if bool(bias.isnan().all()) else bias,
            out=out,
            gate=None if gate is None or bool(gate.isnan().all()) else gate[heads, :, :width],
            scale=None if scale is None or bool(scale.isnan().all()) else scale,
            sizes=tensor(dataset["value_norm"])[heads] if "value_norm" in dataset else None,
            whole=self._whole(name, layer, out),
        )

    def check_closed(self, layer: int, data: xr.Dataset) -> None:
        """Refuse a layer without messages."""
        status = str(data["status"].values)
        if status != "closed":
            raise RecordingError(
                f"layer {layer} has no messages to show: it is {status} (no token-token matrix can be read there)"
            )

    def from_outside(self, layer: int) -> Tensor | None:
        """What the main stack's readers heard from outside in a layer, `[query, d_model]`; None where nothing was."""
        name = self.main + OUTSIDE
        if name not in self.stacks:
            return None
        out = tensor(self.stack(name)["attention_out"].isel(layer=self.layer(layer)))
        return None if bool(out.isnan().all()) else out

    def _whole(self, name: str, layer: int, out: Tensor) -> Tensor | None:
        """The branch's whole output where it is kept in two parts."""
        if name.endswith(CROSS):
            return None
        parts = [own_stack(name), own_stack(name) + OUTSIDE]
        if parts[1] not in self.stacks:
            return None
        other = tensor(self.stack(parts[name == parts[0]])["attention_out"].isel(layer=self.layer(layer, stack=name)))
        return None if bool(other.isnan().all()) else out + other

    def need(self, dataset: xr.Dataset, name: str) -> xr.DataArray:
        """A variable that a question needs.

        Raises:
            RecordingError: it was not kept; says how to keep it.
        """
        if name == "weights" and "top_key" in dataset:
            raise RecordingError(
                "this recording was streamed: nothing of the size tokens x tokens is in it. rec.dense(queries=...) computes the "
                'weights of a few readers; keep="default" keeps all of them'
            )
        if name not in dataset and name in self.tree.attrs["kept"]:
            cross = [repr(one) for one in self.stacks if one.endswith(CROSS)]
            where = f"; what tokens hear from another sequence is in {' and '.join(cross)}" if cross else ""
            raise RecordingError(f"this stack has no {name}: its tokens do not hear each other{where}")
        if name not in dataset:
            raise RecordingError(
                f'{name} was not kept: record again with keep="default" or with {name!r} among the names in keep'
            )
        return dataset[name]

    def layer_anatomy(self, layer: int, stack: str) -> Layer:
        """The anatomy of one layer of a stack of the tree."""
        return self.anatomy.stack(own_stack(stack))[self.layer(layer, stack=stack)]

    def _counts(self) -> dict[str, int]:
        """Stacks with several sequences, and how many."""
        sizes = {name: self.stack(name).sizes for name in self.stacks}
        return {name: int(size["sequence"]) for name, size in sizes.items() if "sequence" in size}

    def _heads(self, stack: str, layer: int, dataset: xr.Dataset) -> int:
        """How many heads this layer has; narrower layers are filled up with NaN."""
        present = ~dataset["weights"].isel(query=-1, key=0).isnull().values if "weights" in dataset else np.array([True])
        return int(present.sum())

    def _matrix(self, stack: str, layer: int, dataset: xr.Dataset) -> Tensor:
        if "output_projection" in dataset and not bool(dataset["output_projection"].isnull().all()):
            matrix = tensor(dataset["output_projection"])
            matrix = matrix[~matrix.isnan().flatten(1).all(1)]
            return matrix[:, ~matrix.isnan().all(2).all(0)]
        if self.model is None:
            raise RecordingError(
                "this needs the model's output projections: open the recording with sg.open_recording(path, model=...), "
                'or record with keep="qkv", which stores them'
            )
        own = self.layer_anatomy(layer, stack)
        step = next(step for step in own.heard if step.cross == stack.endswith(CROSS))
        like = tensor(dataset["value_vector"])
        heads, _, _, width = self.anatomy.heads[step.calls[0]]
        matrix = effective_matrix(self.model.hf, step, heads * width).to(device="cpu", dtype=like.dtype)
        return matrix.unflatten(0, (heads, width))

    def _one(self, call: str, stack: str) -> None:
        if (count := self._counts().get(stack)) is not None:
            raise InputError(f"{call} is about one sequence, and this recording holds {count}: choose one with rec.sequence(0)")

    def __repr__(self) -> str:
        """Model, tokens, stacks and what is kept."""
        sizes = self.dataset.sizes
        count = f"{sizes['sequence']} sequences of " if "sequence" in sizes else ""
        kept = ", ".join(sorted(str(name) for name in self.dataset.data_vars))
        count = f"interrupted, {self.tree.attrs['interrupted']}: {count}" if "interrupted" in self.tree.attrs else count
        what = f"{count}{sizes.get('query', 0)} tokens, {sizes['layer']} layers in {self.main!r}"
        return f"Recording({self.tree.attrs.get('model', 'model')}: {what}; stacks {', '.join(self.stacks)}; {kept})"
