"""Several graphs of the same tokens in one space, so that they can be compared there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sociogram.graphs.decompose import Products, leading_triplets, relative, with_signs


class Omnibus(NamedTuple):
    """Positions of every token in every graph, in one space (OMNI)."""

    reader: Float[np.ndarray, "graph token component"]
    sender: Float[np.ndarray, "graph token component"]
    values: Float[np.ndarray, " component"]
    residual: Float[np.ndarray, " component"]


class OmnibusMatrix:
    """The omnibus matrix of Levin et al. (2017), known by its products: block (i, j) is the mean of graphs i and j.

    It has as many rows as graphs times tokens, and is never built: with graphs side by side a product costs twice what the
    products with each graph cost.
    """

    def __init__(self, graphs: Float[np.ndarray, "graph reader sender"]) -> None:
        """Of graphs of the same tokens."""
        self.graphs = graphs
        self.shape = (graphs.shape[0] * graphs.shape[1],) * 2

    def matmat(self, X: np.ndarray) -> np.ndarray:  # noqa: N803 - scipy's own name
        """Product with columns."""
        return self._product(self.graphs, X)

    def rmatmat(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Product of the transpose with columns."""
        return self._product(self.graphs.swapaxes(1, 2), X)

    def _product(self, graphs: np.ndarray, columns: np.ndarray) -> np.ndarray:
        count, tokens = graphs.shape[:2]
        parts = columns.reshape(count, tokens, -1)
        own = graphs @ parts.sum(0)
        product: np.ndarray = (own + (graphs @ parts).sum(0)) / 2
        return product.reshape(count * tokens, -1)


def omnibus(graphs: Float[np.ndarray, "graph reader sender"], dimension: int) -> Omnibus:
    """OMNI: the adjacency spectral embedding of the omnibus matrix (Levin et al. 2017), left and right."""
    count, tokens = graphs.shape[:2]
    left, values, right, residual = leading_triplets(OmnibusMatrix(graphs), dimension)
    root = np.sqrt(values)
    return Omnibus(
        (left * root).reshape(count, tokens, dimension),
        (right * root).reshape(count, tokens, dimension),
        values,
        relative(residual, values),
    )


class Common(NamedTuple):
    """One position of every token for all graphs, and a matrix of scores for each graph (MASE).

    `reader @ scores[i] @ sender.T` approximates graph number i; the columns of `reader` and of `sender` are orthonormal.
    """

    reader: Float[np.ndarray, "token component"]
    sender: Float[np.ndarray, "token component"]
    scores: dict[int, Float[np.ndarray, "component other"]]
    reader_values: Float[np.ndarray, " component"]
    sender_values: Float[np.ndarray, " component"]
    residual: Float[np.ndarray, " component"]


def common(graphs: Callable[[], Iterable[tuple[int, np.ndarray | Products]]], dimension: int, *, scaled: bool = True) -> Common:
    """MASE (Arroyo et al. 2021): the space that the graphs' own singular vectors have in common, and each graph within it.

    Args:
        graphs: gives the graphs, with their numbers, one after the other; called twice.
        dimension: of each graph's own embedding, and of the common one.
        scaled: whether each graph's vectors count by the root of their singular values, or alike.
    """
    readers, senders, residual = [], [], np.zeros(dimension)
    for _, matrix in graphs():
        left, values, right, off = leading_triplets(matrix, dimension)
        weight = np.sqrt(values) if scaled else np.ones(dimension)
        readers.append(left * weight)
        senders.append(right * weight)
        residual = np.maximum(residual, relative(off, values))
    reader, reader_values = _span(np.concatenate(readers, 1), dimension)
    sender, sender_values = _span(np.concatenate(senders, 1), dimension)
    scores = {number: reader.T @ _times(matrix, sender) for number, matrix in graphs()}
    return Common(reader, sender, scores, reader_values, sender_values, residual)


def _span(vectors: np.ndarray, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading left singular vectors of many side by side, and their values; largest numbers positive."""
    left, values, _ = np.linalg.svd(vectors, full_matrices=False)
    _, _, signed, _ = with_signs(left, values, left, values)
    return signed[:, :dimension], values[:dimension]


def _times(matrix: np.ndarray | Products, columns: np.ndarray) -> np.ndarray:
    return matrix @ columns if isinstance(matrix, np.ndarray) else np.asarray(matrix.matmat(columns))
