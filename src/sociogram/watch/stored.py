"""Recordings on disk: a Zarr folder that opens lazily next month, and says if it is opened with another model."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Hashable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from sociogram.core.errors import RecordingError
from sociogram.models.model import Model
from sociogram.watch.disk import COMPLETE, SLOT, TOKENS
from sociogram.watch.provenance import FORMAT, foreign
from sociogram.watch.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Mapping

_TEXTS = "sociogram_texts"
"""Attribute that holds a node's text coordinates as JSON: Zarr has no settled encoding for strings."""


def save(rec: Recording, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Store a recording as a Zarr folder, with what went in and what the model said last.

    The folder appears at once when it is complete; an interrupted save leaves nothing under this name.

    Raises:
        RecordingError: something is there already (unless `overwrite`), or the folder cannot be written.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise RecordingError(f"{target} exists already: choose another name, or save(..., overwrite=True)")
    if target.exists() and not _is_recording(target):
        raise RecordingError(f"{target} is not a recording, so it is not overwritten: choose another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            fresh = Path(folder) / "new"
            _write(rec, fresh)
            if target.exists():
                target.rename(Path(folder) / "old")
            fresh.rename(target)
    except OSError as error:
        raise RecordingError(f"{target} cannot be written: {error}") from error


def _is_recording(path: Path) -> bool:
    try:
        return "format" in json.loads((path / "zarr.json").read_text())["attributes"]
    except (OSError, ValueError, KeyError):
        return False


def _write(rec: Recording, path: Path) -> None:
    nodes = {name: without_texts(rec.stack(name)) for name in rec.stacks}
    root = xr.Dataset(attrs=dict(rec.tree.attrs))
    for kind, arrays in (("inputs", _inputs(rec)), ("outputs", rec.outputs)):
        for name, array in arrays.items():
            root[f"{kind}.{name}"] = (tuple(f"{kind}.{name}.{i}" for i in range(array.ndim)), array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        tree = xr.DataTree.from_dict({"/": root, **nodes})
        tree.to_zarr(path, zarr_format=3, consolidated=False)


def _inputs(rec: Recording) -> Mapping[str, np.ndarray]:
    from sociogram.watch.rows import as_float

    return {} if rec._inputs is None else {name: as_float(value).numpy() for name, value in rec._inputs.items()}


def without_texts(dataset: xr.Dataset) -> xr.Dataset:
    """The same with its text coordinates as an attribute: Zarr has no settled encoding for strings."""
    texts = {name: coord for name, coord in dataset.coords.items() if coord.dtype.kind in "UO"}
    stored = {str(n): {"dims": list(map(str, c.dims)), "values": c.values.tolist()} for n, c in texts.items()}
    plain = dataset.drop_vars(list(texts))
    return plain.assign_attrs({_TEXTS: json.dumps(stored)})


def with_texts(dataset: xr.Dataset) -> xr.Dataset:
    """The reverse of `without_texts`."""
    stored = json.loads(dataset.attrs.get(_TEXTS, "{}"))
    coords: dict[Hashable, Any] = {n: (tuple(c["dims"]), np.array(c["values"], dtype=np.str_)) for n, c in stored.items()}
    attributes = {name: value for name, value in dataset.attrs.items() if name != _TEXTS}
    fresh = dataset.assign_coords(coords)
    fresh.attrs = attributes
    return fresh


def open_recording(path: str | PathLike[str], model: Model | None = None) -> Recording:
    """Open a stored recording lazily: arrays are read from disk when they are asked for.

    Args:
        path: the folder that `rec.save` wrote.
        model: the model it was made with; needed for messages unless the recording holds its output projections
            (`keep="qkv"`).

    Raises:
        RecordingError: nothing there, no recording, a newer format, or another model than the one it was made with.
    """
    folder = Path(path)
    if not folder.exists():
        raise RecordingError(f"no recording at {folder}: nothing is there")
    if not _is_recording(folder):
        raise RecordingError(f"{folder} is not a recording of Sociogram (no zarr.json with a format version in it)")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to open Zarr store with consolidated metadata")
        warnings.filterwarnings("ignore", message="Object at .* is not recognized")  # what was being written when it was killed
        stored = xr.open_datatree(folder, engine="zarr", consolidated=False, chunks=None)
    _check_format(folder, int(stored.attrs["format"]))
    if TOKENS in stored.attrs and not stored.attrs[COMPLETE]:
        raise RecordingError(f"{folder} was interrupted before its first block was whole: nothing can be read of it")
    if model is not None:
        _check_model(stored.attrs, model)
    root = stored.to_dataset()
    nodes = {name: _node(folder, stored, name) for name in stored.attrs["stacks"]}
    attributes = dict(stored.attrs)
    inputs = {name: torch.from_numpy(array) for name, array in _part(root, "inputs").items()}
    if (whole := int(attributes.get(COMPLETE, 0))) < int(attributes.get(TOKENS, 0)):
        attributes["interrupted"] = f"{whole:,} of {attributes[TOKENS]:,} tokens"
        inputs = {name: value[:, :whole] for name, value in inputs.items()}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **nodes})
    return Recording(tree, model=model, inputs=inputs or None, outputs=_part(root, "outputs"))


def _node(folder: Path, stored: xr.DataTree, name: str) -> xr.Dataset:
    """One node's arrays; of a folder that was written while reading, the sums that belong to its last whole block."""
    data: xr.Dataset = with_texts(stored[name].to_dataset())
    if TOKENS not in stored.attrs:
        return data
    whole, slot = int(stored.attrs[COMPLETE]), int(stored.attrs[SLOT])
    sums = {str(n): n.removesuffix(f".{slot}") for n in map(str, data.data_vars) if n.endswith(f".{slot}")}
    data = data.drop_vars([n for n in map(str, data.data_vars) if n.endswith(f".{1 - slot}")]).rename(sums)
    data = data.set_coords([n for n in str(data.attrs.pop("coordinates", "")).split() if n in data])
    return data.isel({axis: slice(whole) for axis in ("query", "key") if axis in data.dims})


def _part(root: xr.Dataset, kind: str) -> dict[str, np.ndarray]:
    prefix = f"{kind}."
    return {str(n).removeprefix(prefix): v.values for n, v in root.data_vars.items() if str(n).startswith(prefix)}


def _check_format(folder: Path, found: int) -> None:
    if found != FORMAT:
        raise RecordingError(
            f"{folder} is of format {found}, and this version of Sociogram reads format {FORMAT}: "
            f"{'upgrade Sociogram' if found > FORMAT else 'record it again'}"
        )


def _check_model(attributes: Mapping[Any, Any], model: Model) -> None:
    """A recording's messages need the very projections it was made with."""
    if other := foreign(attributes, model):
        what, there, here = other
        raise RecordingError(
            f"this recording was made with {attributes['model']} ({what} {there}), and it is opened with {model.name} "
            f"({what} {here}): messages would be computed from the wrong projections. Load the model it was made with."
        )
