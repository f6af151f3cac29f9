"""Arrays that fill layer by layer, each layer's numbers copied once, to their final place."""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def as_float(tensor: Tensor) -> Tensor:
    """On the CPU, half precisions as float32 (exact; numpy and Zarr have no bfloat16)."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.cpu()


_SMALL, _LARGE = 4_000_000, 1_000_000_000
"""From so many bytes on memory is asked for in large pages; and up to so many also where half of it may stay untouched."""


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, *, sparse: bool = False) -> Tensor:
    """Zeros whose memory the system hands out when it is first written to, in large pages.

    Writing to 288 MB of fresh memory takes 0.5 s in pages of 4 kB and 0.13 s in pages of 2 MB. What is `sparse` (causal weights,
    half of which stay zero) is better off with small pages once it is large: what is never touched then costs nothing.
    """
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    size = math.prod(shape) * kind.itemsize
    if size < _SMALL or (sparse and size > _LARGE) or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.from_numpy(np.zeros(shape, dtype=kind))
    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


class Rows:
    """A `[row, ...]` array whose rows arrive one by one, whole or in pieces.

    Rows that never arrive are `fill`, what a smaller row leaves over is `rest` (`fill` when left out).
    """

    def __init__(
        self, rows: int, *, lengths: Mapping[int, int] | None = None, fill: float = float("nan"), rest: float | None = None
    ) -> None:
        """Expect `rows` rows; `lengths`: axes of a row along which it arrives in pieces, and how long they will be."""
        self._rows = rows
        self._lengths = dict(lengths or {})
        self._fill, self._rest = fill, fill if rest is None else rest
        self._array: Tensor | None = None
        self._filled: set[int] = set()
        self._looked_at = False

    def place(self, row: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """The memory of one row, zeros, to be filled by whoever computes it and then given to `put`; None if it would not fit."""
        if self._lengths:
            return None
        if self._array is None:
            self._array = _zeros((self._rows, *shape), dtype, sparse=True)
        fits = tuple(self._array.shape[1:]) == shape and self._array.dtype == dtype and row not in self._filled
        return self._array[row] if fits else None

    def put(self, row: int, value: Tensor, at: Mapping[int, int] | None = None, *, add: bool = False) -> None:
        """Copy one row in (unless it is there already), growing the array if the row is larger than any before.

        A piece says where it begins along the axes of pieces (`at`); with `add` it is added to what is there.
        """
        value, starts = as_float(value), dict(at or {})
        shape = tuple(max(extent, self._lengths.get(axis, 0)) for axis, extent in enumerate(value.shape))
        if self._array is None:
            self._array = _zeros((self._rows, *shape), value.dtype)
        fresh = row not in self._filled
        if value.data_ptr() == self._array[row].data_ptr():
            self._filled.add(row)
            return
        most = tuple(map(max, zip(shape, self._array.shape[1:], strict=True)))
        if most != tuple(self._array.shape[1:]):
            self._grow(most)
        self._filled.add(row)
        target = self._array[row]
        if fresh and (self._looked_at or shape != tuple(target.shape)):
            target.fill_(self._rest)
            target[tuple(slice(extent) for extent in shape)] = 0
        where = tuple(slice(starts.get(i, 0), starts.get(i, 0) + extent) for i, extent in enumerate(value.shape))
        target[where] = target[where] + value if add else value

    def _grow(self, shape: tuple[int, ...]) -> None:
        """Make room for larger rows: those that have arrived are filled up, those to come are zeros, as at first."""
        assert self._array is not None
        larger = _zeros((self._rows, *shape), self._array.dtype)
        here = tuple(slice(extent) for extent in self._array.shape[1:])
        for row in self._filled:
            larger[row] = self._rest
            larger[row][here] = self._array[row]
        self._array = larger

    def finish(self, rows: int | None = None) -> np.ndarray | None:
        """The whole array (or its first `rows` rows), or None if no row ever arrived."""
        if self._array is None:
            return None
        self._looked_at = True  # rows still to come are no zeros any more
        whole = self._array[:rows]
        for row in set(range(len(whole))) - self._filled:
            whole[row] = self._fill
        return whole.numpy()
