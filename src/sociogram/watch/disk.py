"""A recording that is written to disk while the text is read: whole up to its last whole block, whatever happens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.watch.layout import SUMS
from sociogram.watch.rows import Rows, as_float

if TYPE_CHECKING:
    from sociogram.watch.build import StackBuilder
    from sociogram.watch.tokens import StackTokens

COMPLETE, TOKENS, SLOT = "complete", "tokens", "slot"
"""Attributes of a folder that was written while reading: how many tokens are whole, of how many, and where their sums are."""
BLOCK = 1024
"""Tokens in one file of an array."""


Namer = Callable[["StackBuilder", Mapping[str, int]], "StackTokens"]


class Disk:
    """A Zarr folder that grows.

    After each pass the sums over readers are written to one of two places in turn, then one small file, replaced at once, says
    how many tokens are whole and where their sums are. So what was killed opens as it was after its last whole pass; files of
    arrays that pass by pass are filled up further are replaced at once too, which Zarr does from 3.1.3 on.

    Attributes:
        path: the folder.
    """

    def __init__(
        self, path: str | PathLike[str], attributes: Mapping[str, Any], inputs: Mapping[str, Tensor], tokens: int, namer: Namer
    ) -> None:
        """Make the folder; `namer` gives the names of a node's tokens.

        Raises:
            RecordingError: something is there already, or it cannot be made.
        """
        import zarr

        self.path, self._tokens, self._slot, self._namer = Path(path), tokens, 0, namer
        if self.path.exists():
            raise RecordingError(f"{self.path} exists already: choose another name")
        try:
            self._root = zarr.open_group(self.path, mode="w-", zarr_format=3)
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be written: {error}") from error
        self._attributes = {**attributes, "stacks": [], COMPLETE: 0, TOKENS: tokens, SLOT: 0}
        self._arrays("inputs", {name: as_float(value).numpy() for name, value in inputs.items()})
        self._say({})

    def _arrays(self, kind: str, arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            dims = tuple(f"{kind}.{name}.{i}" for i in range(array.ndim))
            self._root.create_array(f"{kind}.{name}", data=array, dimension_names=dims)

    def rows(
        self, node: str, name: str, axes: Sequence[str], rows: int, *, lengths: Mapping[int, int] | None = None, fill: float
    ) -> Rows:
        """An array of one node, to be filled row by row."""
        return DiskRows(self._root, f"{node}/{name}", axes, rows, lengths or {}, fill)

    def sizes(self, builder: StackBuilder) -> dict[str, int]:
        """The lengths of the axes of a builder's arrays."""
        found: dict[str, int] = {}
        for name, rows in builder.rows.items():
            if isinstance(rows, DiskRows):
                found |= rows.sizes()
            elif (array := rows.finish()) is not None:
                found |= dict(zip(builder.dims(name), array.shape[2:], strict=True))
        return found

    def finish_block(self, builders: Sequence[StackBuilder], tokens: int, attributes: Mapping[str, Any]) -> None:
        """So many tokens are whole; `attributes` say what is known of the run so far."""
        slot = 1 - self._slot
        for builder in builders:
            if "residual" in builder.rows and isinstance(rows := builder.rows["residual"], DiskRows):
                rows.cut(len(builder.stops))
            self._coordinates(builder)
            for name, rows in builder.rows.items():
                if name in SUMS and (array := rows.finish()) is not None:
                    dims = ("layer", *builder.dims(name))
                    self._root.create_array(
                        f"{builder.node}/{name}.{slot}", data=array[:, 0], dimension_names=dims, compressors=None, overwrite=True
                    )
        self._slot = slot
        stacks = sorted({builder.node for builder in builders}, key=len)
        self._say({**attributes, "stacks": stacks, COMPLETE: tokens, SLOT: slot})

    def _coordinates(self, builder: StackBuilder) -> None:
        from sociogram.watch.stored import without_texts

        group = self._root.require_group(builder.node)
        if "layer" in group:
            return
        sizes = self.sizes(builder)
        plain = without_texts(self._namer(builder, sizes).label(xr.Dataset(coords=builder.coords(sizes))))
        for name, coord in plain.coords.items():
            group.create_array(str(name), data=coord.values, dimension_names=[str(dim) for dim in coord.dims])
        group.attrs.update({**plain.attrs, "coordinates": " ".join(map(str, plain.coords))})

    def close(self, outputs: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
        """All is there."""
        self._arrays("outputs", outputs)
        self._say({**attributes, COMPLETE: self._tokens})

    def discard(self) -> None:
        """Remove the folder of a run that failed, unless something whole is in it."""
        if not self._attributes[COMPLETE]:
            shutil.rmtree(self.path)

    def _say(self, attributes: Mapping[str, Any]) -> None:
        """Replace the folder's attributes at once."""
        self._attributes |= attributes
        file = self.path / "zarr.json"
        whole = {**json.loads(file.read_text(encoding="utf-8")), "attributes": self._attributes}
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(whole, indent=1), encoding="utf-8")
        draft.replace(file)


class DiskRows(Rows):
    """`Rows` of one sequence in a Zarr array: each piece of a row is written as it comes."""

    def __init__(self, root: Any, name: str, axes: Sequence[str], rows: int, lengths: Mapping[int, int], fill: float) -> None:
        """`axes` name the array's axes, the rows' first."""
        super().__init__(rows, lengths=lengths, fill=fill)
        self._root, self._name, self._axes = root, name, tuple(axes)
        self._stored: Any = None

    def place(self, row: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """Nowhere in memory."""
        return None

    def put(self, row: int, value: Tensor, at: Mapping[int, int] | None = None, *, add: bool = False) -> None:
        """Write one row, or a piece of it."""
        array, starts = as_float(value)[0].numpy(), dict(at or {})
        shape = tuple(max(extent, self._lengths.get(axis + 1, 0)) for axis, extent in enumerate(array.shape))
        if self._stored is None:
            self._make(shape, array.dtype, rounded=value.dtype == torch.bfloat16)
        most = tuple(map(max, zip(shape, self._stored.shape[1:], strict=True)))
        if most != tuple(self._stored.shape[1:]):
            self._stored.resize((self._stored.shape[0], *most))
        where = (slice(starts.get(i + 1, 0), starts.get(i + 1, 0) + extent) for i, extent in enumerate(array.shape))
        self._stored[(row, *where)] = array

    def _make(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, rounded: bool) -> None:
        from zarr.codecs import BloscCodec

        chunk = tuple(min(BLOCK, extent) if axis + 1 in self._lengths else extent for axis, extent in enumerate(shape))
        shuffled = BloscCodec(cname="lz4", clevel=1, shuffle="shuffle")  # half of each rounded number is zeros
        self._stored = self._root.create_array(
            self._name, shape=(self._rows, *shape), chunks=(1, *chunk), dtype=dtype, fill_value=self._fill,
            compressors=shuffled if rounded else None, dimension_names=self._axes,
        )  # fmt: skip

    def sizes(self) -> dict[str, int]:
        """The lengths of its axes."""
        return {} if self._stored is None else dict(zip(self._axes, self._stored.shape, strict=True))

    def cut(self, rows: int) -> None:
        """So many rows there are."""
        if self._stored is not None and self._stored.shape[0] != rows:
            self._stored.resize((rows, *self._stored.shape[1:]))
