"""Linear geometry in float64: principal directions of many points, given axes, rotations, effective rank."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

DENSE = 2048
"""Up to this width all eigenvectors are computed; beyond it only the leading ones, by Lanczos iteration."""


class Basis(NamedTuple):
    """A centre and orthonormal directions; the coordinates of a point are `(point - mean) @ directions.T`."""

    mean: Float[np.ndarray, " d_model"]
    directions: Float[np.ndarray, "component d_model"]

    def project(self, points: Float[np.ndarray, "point d_model"]) -> Float[np.ndarray, "point component"]:
        """Coordinates of points."""
        coordinates: np.ndarray = (points - self.mean) @ self.directions.T
        return coordinates


class Scatter:
    """Mean and scatter matrix of points that arrive in batches; of the points nothing else is kept.

    The update is the pairwise one of Chan, Golub and LeVeque (1983): a mean that is large beside the spread costs no digits.

    Attributes:
        count: how many points have come.
        mean: their mean.
        matrix: sum of `(x - mean) (x - mean)^T` over them.
    """

    def __init__(self, width: int) -> None:
        """Expect points of `width` numbers."""
        self.count = 0
        self.mean = np.zeros(width)
        self.matrix = np.zeros((width, width))

    def add(self, points: Float[np.ndarray, "point d_model"]) -> None:
        """Take in a batch of points."""
        if not len(points):
            return
        centre = points.mean(0, dtype=np.float64)
        spread = points - centre
        apart = centre - self.mean
        total = self.count + len(points)
        self.matrix += spread.T @ spread
        self.matrix += np.outer(apart, apart * (self.count * len(points) / total))
        self.mean = self.mean + apart * (len(points) / total)
        self.count = total

    def most(self) -> int:
        """How many principal directions these points can have."""
        return min(max(self.count - 1, 1), len(self.mean))

    def principal(
        self, count: int, given: Float[np.ndarray, "axis d_model"] | None = None
    ) -> Float[np.ndarray, "component d_model"]:
        """`count` orthonormal directions: the given ones, then those along which the remainder varies most.

        Each found direction's largest loading is positive, so that the same points give the same directions.
        """
        given = np.zeros((0, len(self.mean))) if given is None else given
        _, found = leading(self._beside(given), count - len(given))
        return np.concatenate([given, with_fixed_signs(found)])

    def shares(self, count: int, given: Float[np.ndarray, "axis d_model"] | None = None) -> Float[np.ndarray, " component"]:
        """Share of the variance along each of the directions of `principal`; NaN where nothing varies."""
        given = np.zeros((0, len(self.mean))) if given is None else given
        along = np.einsum("ad,de,ae->a", given, self.matrix, given, optimize=True)
        return _shares(along, _largest(self._beside(given), count - len(given)), float(np.trace(self.matrix)))

    def _beside(self, given: np.ndarray) -> np.ndarray:
        """The scatter with given directions projected out; along them it is negative, so that they cannot be found again."""
        if not len(given):
            return self.matrix
        seen = given @ self.matrix
        cross = given.T @ seen
        down = max(float(np.trace(self.matrix)), 1.0)
        beside: np.ndarray = self.matrix - cross - cross.T + given.T @ (seen @ given.T) @ given - down * given.T @ given
        return beside


def shares_of_few(
    points: Float[np.ndarray, "point d_model"], count: int, given: Float[np.ndarray, "axis d_model"]
) -> Float[np.ndarray, " component"]:
    """`Scatter.shares` of points fewer than they are wide: from their inner products, which is less work."""
    spread = points - points.mean(0)
    coordinates = spread @ given.T
    rest = _largest(gram(spread - coordinates @ given), count - len(given))
    return _shares(np.square(coordinates).sum(0), rest, float(np.square(spread).sum()))


def _shares(along: np.ndarray, rest: np.ndarray, total: float) -> np.ndarray:
    shares: np.ndarray = np.concatenate([along, rest.clip(min=0)]) / (total if total > 0 else np.nan)
    return shares


def _largest(matrix: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest eigenvalues of a symmetric matrix, largest first; 0 where it has not as many."""
    values = leading(matrix, count)[0] if len(matrix) > DENSE else np.linalg.eigvalsh(matrix)[::-1][:count]
    return np.pad(values, (0, count - len(values)))


def basis_of(points: Float[np.ndarray, "point d_model"], count: int) -> Basis:
    """Mean and principal directions of points at hand."""
    mean = points.mean(0)
    spread = points - mean
    few = len(points) < points.shape[1]
    rows = np.linalg.svd(spread, full_matrices=False)[2][:count] if few else leading(spread.T @ spread, count)[1]
    return Basis(mean, with_fixed_signs(rows))


def leading(
    matrix: Float[np.ndarray, "d_model d_model"], count: int
) -> tuple[Float[np.ndarray, " component"], Float[np.ndarray, "component d_model"]]:
    """The `count` largest eigenvalues of a symmetric matrix, largest first, and their eigenvectors as rows."""
    width = len(matrix)
    if count < 1:
        return np.zeros(0), np.zeros((0, width))
    if width > DENSE and count < width // 8:
        from scipy.sparse.linalg import ArpackNoConvergence, eigsh

        try:
            values, vectors = eigsh(matrix, count, which="LA", v0=np.random.default_rng(0).standard_normal(width))
            order = np.argsort(values)[::-1]
            return values[order], vectors.T[order]
        except ArpackNoConvergence:  # eigenvalues too close together: all of them, then
            pass
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1][:count], vectors.T[::-1][:count]


def with_fixed_signs(rows: Float[np.ndarray, "component d_model"]) -> Float[np.ndarray, "component d_model"]:
    """Each row, or its negative, such that its largest number by size is positive."""
    if not len(rows):
        return rows
    largest = np.take_along_axis(rows, np.abs(rows).argmax(1, keepdims=True), 1)
    signed: np.ndarray = np.where(largest < 0, -rows, rows)
    return signed


def orthonormal(
    vectors: Float[np.ndarray, "axis d_model"],
) -> tuple[Float[np.ndarray, "axis d_model"], Float[np.ndarray, " axis"]]:
    """Gram-Schmidt in the given order: the first keeps its direction, each later one loses what lies along those before it.

    Returns:
        The orthonormal rows, and for each the share of its length that was left (0: it lies in the span of those before it,
        and its row means nothing).
    """
    rows = np.zeros(vectors.shape)
    left = np.zeros(len(vectors))
    for i, vector in enumerate(vectors.astype(np.float64)):
        size = np.linalg.norm(vector)
        rest = vector / size if size > 0 else vector
        for _ in range(2):  # once more takes away what rounding left
            rest = rest - rows[:i].T @ (rows[:i] @ rest)
        left[i] = np.linalg.norm(rest)
        rows[i] = rest / left[i] if left[i] > 0 else 0
    return rows, left


def rotation_onto(
    points: Float[np.ndarray, "point component"], target: Float[np.ndarray, "point component"]
) -> Float[np.ndarray, "component component"]:
    """The rotation or reflection `R` that brings `points @ R` closest to `target` (orthogonal Procrustes, Schönemann 1966)."""
    left, _, right = np.linalg.svd(points.T @ target)
    rotation: np.ndarray = left @ right
    return rotation


def gram(points: Float[np.ndarray, "*batch point d_model"]) -> Float[np.ndarray, "*batch point point"]:
    """Inner products of all pairs. One product after another, as a matrix times its own transpose costs half of another one."""
    *batch, count, _ = points.shape
    products = np.empty((*batch, count, count), points.dtype)
    for place in np.ndindex(*batch):
        np.matmul(points[place], points[place].T, out=products[place])
    return products


def effective_rank(points: Float[np.ndarray, "*batch point d_model"]) -> Float[np.ndarray, "*batch"]:
    """exp of the entropy of the singular values over their sum (Roy & Vetterli 2007, "The effective rank"); uncentred.

    Between 1 and min(points, width); NaN for points that are all zero, or none. Singular values come from the smaller Gram
    matrix; those below its rounding (about 1e-7 of the largest) count as 0.
    """
    count, width = points.shape[-2:]
    if not count:
        return np.full(points.shape[:-2], np.nan)
    wide = points.astype(np.float64, copy=False)
    return rank_of_products(gram(wide if count < width else wide.swapaxes(-1, -2)))


def rank_of_products(products: Float[np.ndarray, "*batch size size"]) -> Float[np.ndarray, "*batch"]:
    """`effective_rank` of points of which the inner products are at hand: of all pairs, or of all pairs of their coordinates."""
    values = np.linalg.eigvalsh(products)
    floor = products.shape[-1] * np.finfo(np.float64).eps * values[..., -1:]
    return rank_of_values(np.sqrt(np.where(values > floor, values, 0)))


def rank_of_values(singular: Float[np.ndarray, "*batch size"]) -> Float[np.ndarray, "*batch"]:
    """`effective_rank` of points of which the singular values are at hand, in any order."""
    total = singular.sum(-1, keepdims=True)
    shares = singular / np.where(total > 0, total, np.nan)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1)
    return np.asarray(np.exp(entropy))
