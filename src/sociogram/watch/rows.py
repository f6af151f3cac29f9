"""Arrays that fill layer by layer, each layer's numbers copied once, to their final place."""

from __future__ import annotations

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


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros whose memory the system hands out when it is first written to: what stays zero (behind the diagonal) costs nothing.

    torch.zeros writes them all at once: 0.18 s for the weights of 512 tokens of the default model.
    """
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    return torch.from_numpy(np.zeros(shape, dtype=kind))


class Rows:
    """A `[row, ...]` array whose rows arrive one by one, whole or in pieces.

    Rows that never arrive, and what a smaller row leaves over, are `fill`.
    """

    def __init__(self, rows: int, *, lengths: Mapping[int, int] | None = None, fill: float = float("nan")) -> None:
        """Expect `rows` rows; `lengths`: axes of a row along which it arrives in pieces, and how long they will be."""
        self._rows = rows
        self._lengths = dict(lengths or {})
        self._fill = fill
        self._array: Tensor | None = None
        self._filled: set[int] = set()

    def place(self, row: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """The memory of one row, zeros, to be filled by whoever computes it and then given to `put`; None if it would not fit."""
        if self._lengths:
            return None
        if self._array is None:
            self._array = _zeros((self._rows, *shape), dtype)
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
        self._filled.add(row)
        if value.data_ptr() == self._array[row].data_ptr():
            return
        most = tuple(map(max, zip(shape, self._array.shape[1:], strict=True)))
        if most != tuple(self._array.shape[1:]):
            self._grow(most)
        target = self._array[row]
        if fresh and shape != tuple(target.shape):
            target.fill_(self._fill)
            target[tuple(slice(extent) for extent in shape)] = 0
        where = tuple(slice(starts.get(i, 0), starts.get(i, 0) + extent) for i, extent in enumerate(value.shape))
        target[where] = target[where] + value if add else value

    def _grow(self, shape: tuple[int, ...]) -> None:
        assert self._array is not None
        larger = torch.full((self._rows, *shape), self._fill, dtype=self._array.dtype)
        larger[tuple(slice(extent) for extent in self._array.shape)] = self._array
        self._array = larger

    def finish(self, rows: int | None = None) -> np.ndarray | None:
        """The whole array (or its first `rows` rows), or None if no row ever arrived."""
        if self._array is None:
            return None
        whole = self._array[:rows]
        for row in set(range(len(whole))) - self._filled:
            whole[row] = self._fill
        return whole.numpy()
