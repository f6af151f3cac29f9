"""Arrays that fill layer by layer, each layer's numbers copied once, to their final place."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_float(tensor: Tensor) -> Tensor:
    """On the CPU, half precisions as float32 (exact; numpy and Zarr have no bfloat16)."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.cpu()


class Rows:
    """A `[row, ...]` array whose rows arrive one by one. Rows that never arrive, and what a smaller row leaves over, are NaN."""

    def __init__(self, rows: int, shape: tuple[int, ...] | None = None) -> None:
        """Expect `rows` rows; `shape` is the largest row's where that is known."""
        self._rows, self._shape = rows, shape
        self._array: Tensor | None = None
        self._filled: set[int] = set()

    def put(self, row: int, value: Tensor) -> None:
        """Copy one row in, growing the array if the row is larger than any before."""
        value = as_float(value)
        shape = tuple(map(max, zip(value.shape, self._shape or value.shape, strict=True)))
        if self._array is None:
            self._array = torch.empty((self._rows, *shape), dtype=value.dtype)
        elif any(map(int.__gt__, shape, self._array.shape[1:])):
            self._grow(tuple(map(max, zip(shape, self._array.shape[1:], strict=True))))
        target = self._array[row]
        if value.shape != target.shape:
            target.fill_(float("nan"))
        target[tuple(slice(extent) for extent in value.shape)] = value
        self._filled.add(row)

    def _grow(self, shape: tuple[int, ...]) -> None:
        assert self._array is not None
        larger = torch.full((self._rows, *shape), float("nan"), dtype=self._array.dtype)
        larger[tuple(slice(extent) for extent in self._array.shape)] = self._array
        self._array = larger

    def finish(self) -> np.ndarray | None:
        """The whole array, or None if no row ever arrived."""
        if self._array is None:
            return None
        for row in set(range(self._rows)) - self._filled:
            self._array[row] = float("nan")
        return self._array.numpy()
