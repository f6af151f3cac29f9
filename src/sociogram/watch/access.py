"""Small steps between a recording's labelled arrays and the questions put to them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError

CROSS, OUTSIDE = "_cross", "_outside"
"""What a node of the tree is called after its stack: messages from another sequence of the model, or from outside (edits)."""


def own_stack(name: str) -> str:
    """The stack whose tokens read in a node of the tree."""
    return name.removesuffix(CROSS).removesuffix(OUTSIDE)


def is_own(name: str) -> bool:
    """Whether the readers of a node hear their own stack's tokens in it."""
    return own_stack(name) == name


def listens(dataset: xr.Dataset, index: int) -> bool:
    """Whether the tokens of a node heard anything in a layer: layers (or whole stacks) may hear another sequence alone."""
    return "attention_out" in dataset and not bool(dataset["attention_out"].isel(layer=index).isnull().all())


def no_messages(tree: xr.DataTree, stack: str, what: str) -> RecordingError:
    """The error of a question about a node in which nobody heard anybody; `what` was to be made of the messages."""
    elsewhere = [name for name in (stack + CROSS, stack + OUTSIDE) if name in tree.children]
    if elsewhere:
        return RecordingError(
            f"no layer of {stack!r} has messages to {what}: its tokens do not hear each other; what they hear from another "
            f"sequence is {' and '.join(map(repr, elsewhere))}, rec.edges(stack={elsewhere[0]!r})"
        )
    return RecordingError(f"no layer of {stack!r} has messages to {what}: all are opaque or unsupported")


def tensor(array: xr.DataArray) -> Tensor:
    """An array of the recording as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array.values))


def check_index(what: str, index: int, count: int) -> int:
    """A number within range, negative ones counted from the end.

    Raises:
        InputError: with the valid range.
    """
    if not -count <= index < count:
        raise InputError(f"no {what} {index}: there are {count}, numbered 0 to {count - 1} (or -{count} to -1)")
    return index % count


def only_sequence(dataset: xr.Dataset, number: int) -> xr.Dataset:
    """One sequence's arrays, its padding left out."""
    one = dataset.isel(sequence=number, drop=True) if "sequence" in dataset.dims else dataset
    for axis in ("query", "key"):
        if f"{axis}_real" in one.coords:
            if axis == "key" and "top_key" in one:
                one = one.assign(top_key=_renumbered(one["top_key"], one["key_real"].values))
            one = one.isel({axis: np.flatnonzero(one[f"{axis}_real"].values)}).drop_vars(f"{axis}_real")
            one = one.assign_coords({axis: np.arange(one.sizes[axis])})
    return one


def _renumbered(keys: xr.DataArray, real: np.ndarray) -> xr.DataArray:
    """Key numbers (-1: none) as they are once the padding is cut out."""
    number = np.cumsum(real) - 1
    return keys.copy(data=np.where(keys.values >= 0, number[keys.values], -1).astype(keys.dtype))


def inputs_of(inputs: Mapping[str, Tensor], number: int, count: int) -> dict[str, Tensor] | None:
    """One of `count` sequences' inputs, its padding cut off; None where some input is not laid out by sequences (patches)."""
    if any(value.ndim == 0 or value.shape[0] != count for value in inputs.values()):
        return None
    row: dict[str, Tensor] = {name: value[number : number + 1] for name, value in inputs.items()}
    mask = row.get("attention_mask")
    if mask is not None and "input_ids" in row and mask.shape == row["input_ids"].shape:
        real = mask[0].bool()
        row |= {n: v[:, real] for n, v in row.items() if v.shape[:2] == mask.shape and not n.startswith("decoder")}
    return row
