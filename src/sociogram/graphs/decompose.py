"""The largest singular values and their vectors: of a matrix at hand, or of one that is only known by its products."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from sociogram.core.errors import InputError

DENSE = 1024
"""Up to so many rows and columns all singular values of a matrix at hand are computed; beyond it the leading ones."""
BESIDE = 10
"""So many vectors more than are wanted go along, so that those that are wanted are told apart sooner."""
CLOSE = 1e-6
"""When a singular triplet is found: how far it is from being one, as a share of the largest value."""
ROOM = 320
"""The most vectors that a search by products may hold."""
FLOOR = 1e-6
"""Singular values below this share of the largest are known to that share of the largest alone."""


@runtime_checkable
class Products(Protocol):
    """A matrix that is known by its products: a `scipy.sparse.linalg.LinearOperator`, for one."""

    shape: tuple[int, int]

    def matmat(self, X: Any) -> Any:  # noqa: N803 - scipy's own name
        """Its product with columns."""

    def rmatmat(self, X: Any) -> Any:  # noqa: N803
        """The product of its transpose with columns."""


class Triplets(NamedTuple):
    """Leading singular triplets, largest first; each right vector's largest number by size is positive.

    `residual` is how far each is from a triplet, `|A^T left - value right|`: a singular value lies within so much of `values`.
    It is 0 where all triplets were computed.
    """

    left: Float[np.ndarray, "reader component"]
    values: Float[np.ndarray, " component"]
    right: Float[np.ndarray, "sender component"]
    residual: Float[np.ndarray, " component"]


def leading_triplets(matrix: np.ndarray | Products, count: int) -> Triplets:
    """The `count` largest singular values with their vectors.

    Args:
        matrix: at hand, or known by its products.
        count: how many; no more than the matrix has rows and columns.

    Raises:
        InputError: a count that the matrix cannot have, or numbers that are not finite.

    Misleads: where singular values are alike their vectors are any of the space that they share; `residual` is small then all
    the same. A search by products stops at `ROOM` vectors, found or not: look at `residual`.
    """
    most = min(matrix.shape)
    if not 1 <= count <= most:
        raise InputError(f"{count} singular values of a matrix {matrix.shape[0]} x {matrix.shape[1]}: 1 to {most}")
    if isinstance(matrix, np.ndarray):
        if not np.isfinite(matrix).all():
            raise InputError("the graph's weights are not all finite numbers, so that it has no singular values")
        if most <= DENSE:
            left, values, rows = np.linalg.svd(matrix, full_matrices=False)
            return with_signs(left[:, :count], values[:count], rows[:count].T, np.zeros(count))
    return with_signs(*by_products(matrix, count))


def with_signs(left: np.ndarray, values: np.ndarray, right: np.ndarray, residual: np.ndarray) -> Triplets:
    """The same triplets with the sign that makes each right vector's largest number by size positive."""
    top = np.take_along_axis(right, np.abs(right).argmax(0)[None], 0)
    sign = np.where(top < 0, -1.0, 1.0)
    return Triplets(left * sign, values, right * sign, residual)


def by_products(matrix: np.ndarray | Products, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same by block Lanczos on `A^T A`, all vectors kept orthogonal (Golub, Luk & Overton 1981; Musco & Musco 2015).

    The values and vectors are those of `A` restricted to the space that was searched, so that none is larger than the true one.
    The start is fixed: the same matrix gives the same numbers.
    """
    columns = matrix.shape[1]
    width = min(count + BESIDE, columns)
    block, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((columns, width)))
    basis, heard, back = np.zeros((columns, 0)), np.zeros((matrix.shape[0], 0)), np.zeros((columns, 0))
    while True:
        there, again = normal(matrix, block)
        basis, heard, back = (np.concatenate(pair, 1) for pair in ((basis, block), (heard, there), (back, again)))
        left, values, right, residual = _restricted(basis, heard, back, count)
        if (residual <= CLOSE * values[0]).all() or basis.shape[1] + width > max(ROOM, 2 * width):
            return left, values, right, residual
        block = _beyond(again, basis)
        if not block.shape[1]:
            return left, values, right, residual


def normal(matrix: np.ndarray | Products, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`A X` and `A^T A X`; from one reading of the matrix where it knows how."""
    if isinstance(matrix, np.ndarray):
        heard = matrix @ columns
        return heard, matrix.T @ heard
    both = getattr(matrix, "both", None)
    if both is not None:
        there, again = both(columns)
        return np.asarray(there), np.asarray(again)
    heard = np.asarray(matrix.matmat(columns))
    return heard, np.asarray(matrix.rmatmat(heard))


def _restricted(
    basis: np.ndarray, heard: np.ndarray, back: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best triplets within a searched space, and how far each is from one."""
    left, values, rows = np.linalg.svd(heard, full_matrices=False)
    mixed, values = rows[:count].T, values[:count]
    right = basis @ mixed
    floor = np.maximum(values, FLOOR * max(float(values[0]), np.finfo(np.float64).tiny))
    residual = np.linalg.norm(back @ mixed - right * values**2, axis=0) / floor
    return left[:, :count], values, right, residual


def _beyond(block: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Orthonormal columns for what a block has outside the searched space; none where it has nothing."""
    size = np.linalg.norm(block)
    rest = block
    for _ in range(2):  # once more takes away what rounding left
        rest = rest - basis @ (basis.T @ rest)
    found, values, _ = np.linalg.svd(rest, full_matrices=False)
    new = found[:, values > 1e-12 * size] if size > 0 else found[:, :0]
    new = new[:, : basis.shape[0] - basis.shape[1]]
    if not new.shape[1]:
        return new
    rest = new - basis @ (basis.T @ new)
    return np.asarray(np.linalg.qr(rest)[0])


def relative(
    residual: Float[np.ndarray, " component"], values: Float[np.ndarray, " component"]
) -> Float[np.ndarray, " component"]:
    """How far triplets are from being some, as a share of the largest value."""
    return residual / max(float(values[0]), float(np.finfo(np.float64).tiny))
