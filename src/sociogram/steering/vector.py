"""Directions of the residual stream as values: equal by their numbers, hashable, printed short, stored exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError

DEPENDENT = 1e-6
"""Unit vectors that are left this short along a direction do not span it (a rounding of float32 is 10 times smaller)."""


@dataclass(frozen=True)
class Vector:
    """One vector `[d_model]` or several `[n, d_model]`, kept in double precision, which holds every float32 exactly."""

    shape: tuple[int, ...]
    numbers: bytes

    @classmethod
    def of(cls, given: Any, edit: str) -> Vector:
        """Take a tensor, an array, a list of numbers (or of such), or the path of a `.npy` file of them.

        Raises:
            InputError: nothing of that kind, or numbers that are not finite; `edit` is the edit's name.
        """
        if isinstance(given, Vector):
            return given
        array = _array(given, edit)
        if array.ndim not in (1, 2) or not array.size:
            raise InputError(
                f"{edit} vector= of shape {list(array.shape)}: one vector is a list of numbers, several are a list of such"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{edit} vector=: {int((~np.isfinite(array)).sum())} of its {array.size} numbers are not finite")
        return cls(array.shape, array.tobytes())

    @property
    def width(self) -> int:
        """How many numbers one vector has."""
        return self.shape[-1]

    @property
    def has_directions(self) -> bool:
        """Whether no vector is zero."""
        return bool(np.atleast_2d(self.array).any(axis=1).all())

    @cached_property
    def array(self) -> Float[np.ndarray, "*count d_model"]:
        """As an array, `[d_model]` or `[n, d_model]`."""
        return np.frombuffer(self.numbers).reshape(self.shape)

    def like(self, value: Tensor) -> Float[Tensor, "*count d_model"]:
        """As a tensor of another's dtype and device."""
        return torch.tensor(self.array).to(value)

    @cached_property
    def basis(self) -> Float[np.ndarray, "axis d_model"]:
        """Orthonormal rows that span the same; fewer than there are vectors where these depend on each other."""
        rows = np.atleast_2d(self.array)
        _, sizes, basis = np.linalg.svd(rows / np.linalg.norm(rows, axis=1, keepdims=True), full_matrices=False)
        return basis[sizes > DEPENDENT]

    def as_plain(self) -> list[Any]:
        """For JSON: Python's floats, which read back as the same numbers."""
        plain: list[Any] = self.array.tolist()
        return plain

    def __str__(self) -> str:
        """How many numbers, and how long."""
        if len(self.shape) == 1:
            return f"<{self.width} numbers, norm {np.linalg.norm(self.array):.3g}>"
        return f"<{self.shape[0]} vectors of {self.width} numbers>"

    __repr__ = __str__


def _array(given: Any, edit: str) -> np.ndarray:
    """Numbers in double precision."""
    if isinstance(given, str | Path):
        given = _read(Path(given), edit)
    if isinstance(given, Tensor):
        given = given.detach().cpu().double().numpy()
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"numbers of type {array.dtype}")
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{edit} vector= is no vector ({error}): give a tensor, an array, a list or a .npy file") from error


def _read(path: Path, edit: str) -> np.ndarray:
    try:
        with path.open("rb") as file:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{edit} vector={path}: cannot be read as a .npy file of numbers ({error})") from error
    return array
