"""Latent positions of the tokens of one graph, as reader and as sender, by its leading singular vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator

from sociogram.core.linear import rotation_onto
from sociogram.graphs.decompose import Products, leading_triplets, relative

LOOSE = 1e-4
"""Singular vectors that are further from being some than this share of the largest value are no positions."""


class Positions(NamedTuple):
    """Where each token is as reader and as sender; `reader @ sender.T` approximates the matrix.

    `values` are the singular values, `residual` how far each is from one, as a share of the largest.
    """

    reader: Float[np.ndarray, "token component"]
    sender: Float[np.ndarray, "token component"]
    values: Float[np.ndarray, " component"]
    residual: Float[np.ndarray, " component"]

    def joined(self) -> Float[np.ndarray, "both component"]:
        """Readers, and sender below them: what one rotation turns."""
        return np.concatenate([self.reader, self.sender])


def adjacency(matrix: np.ndarray | Products, dimension: int) -> Positions:
    """Directed adjacency spectral embedding (Sussman et al. 2012): left and right singular vectors times the values' roots."""
    left, values, right, residual = leading_triplets(matrix, dimension)
    root = np.sqrt(values)
    return Positions(left * root, right * root, values, relative(residual, values))


class Degrees(NamedTuple):
    """What a Laplacian divides by: one over the root of what each token hears and tells, each with the mean added."""

    reader: Float[np.ndarray, " token"]
    sender: Float[np.ndarray, " token"]
    mean: float

    def of_row(self, row: Float[np.ndarray, " sender"]) -> Float[np.ndarray, " sender"]:
        """A further reader's row of the Laplacian."""
        return np.asarray(row * self.sender / np.sqrt(row.sum() + self.mean))

    def of_column(self, column: Float[np.ndarray, " reader"]) -> Float[np.ndarray, " reader"]:
        """A further sender's column of the Laplacian."""
        return np.asarray(column * self.reader / np.sqrt(column.sum() + self.mean))


def degrees_of(matrix: np.ndarray | Products) -> Degrees:
    """In and out strengths, regularised by their mean (Chaudhuri et al. 2012; Qin & Rohe 2013)."""
    heard, told = _sums(matrix)
    mean = float(heard.mean())
    if mean <= 0:
        return Degrees(np.zeros_like(heard), np.zeros_like(told), 0.0)
    return Degrees(1 / np.sqrt(heard + mean), 1 / np.sqrt(told + mean), mean)


def laplacian(matrix: np.ndarray | Products) -> np.ndarray | Products:
    """The directed regularised Laplacian (Rohe, Qin & Yu 2016): weights over the roots of reader's and sender's strength."""
    degrees = degrees_of(matrix)
    if isinstance(matrix, np.ndarray):
        return degrees.reader[:, None] * matrix * degrees.sender
    return Scaled(matrix, degrees.reader, degrees.sender)


class Scaled(LinearOperator):  # type: ignore[misc]
    """A matrix known by its products, with its rows and columns multiplied by numbers."""

    def __init__(self, inner: Products, rows: np.ndarray, columns: np.ndarray) -> None:
        """Of an operator, a factor per row, and a factor per column."""
        self.inner, self.rows, self.columns = inner, rows[:, None], columns[:, None]
        super().__init__(np.dtype(np.float64), inner.shape)

    def _matmat(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - scipy's own name
        return np.asarray(self.rows * self.inner.matmat(self.columns * X))

    def _rmatmat(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return np.asarray(self.columns * self.inner.rmatmat(self.rows * X))

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        return self._matmat(np.reshape(x, (-1, 1)))[:, 0]

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        return self._rmatmat(np.reshape(x, (-1, 1)))[:, 0]


def _sums(matrix: np.ndarray | Products) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(matrix, np.ndarray):
        return matrix.sum(1), matrix.sum(0)
    ones = np.ones((matrix.shape[0], 1))
    return np.asarray(matrix.matmat(ones))[:, 0], np.asarray(matrix.rmatmat(ones))[:, 0]


def procrustes_distance(one: Float[np.ndarray, "row component"], other: Float[np.ndarray, "row component"]) -> float:
    """How far two sets of positions are after the best rotation or reflection of the first: a Frobenius norm."""
    return float(np.linalg.norm(one @ rotation_onto(one, other) - other))
