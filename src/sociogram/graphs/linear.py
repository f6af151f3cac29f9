"""Multi-head attention with its weights frozen is one linear operator: the sum over heads of A_h (x) M_h."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from sociogram.core.errors import InputError, RecordingError
from sociogram.core.linear import effective_rank
from sociogram.graphs.asked import picture
from sociogram.watch.axes import value_jacobian

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

ROUNDING = 1e-6
"""Singular values below this share of the largest count as 0 (float32 weights)."""


@dataclass(frozen=True, eq=False)
class LinearView:
    """One layer's attention, weights frozen, as a linear map from all tokens' streams to all tokens' moves.

    Attributes:
        layer: which.
        attention: A_h, each head's weights.
        maps: M_h = J_h^T W_O, what a small change of a sender's stream becomes in its message, with J_h the Jacobian of the
            head's value averaged over tokens without the first.
        told: each head's messages before weights, `value @ W_O`, exact.
        out: what the branch gave, without biases.
    """

    layer: int
    attention: Float[np.ndarray, "head query key"]
    maps: Float[np.ndarray, "head d_model d_model"]
    told: Float[np.ndarray, "head key d_model"]
    out: Float[np.ndarray, "query d_model"]

    def fused(self) -> tuple[Float[np.ndarray, "query head_key"], Float[np.ndarray, "head_key d_model"]]:
        """The two factors that splitting into heads and concatenating them amount to: weights side by side, messages stacked.

        Their product is the branch's output: all heads' attention as one matrix of `heads * tokens` columns.
        """
        heads, queries, keys = self.attention.shape
        blocks = self.attention.transpose(1, 0, 2).reshape(queries, heads * keys)
        return blocks, self.told.reshape(heads * keys, -1)

    @cached_property
    def error(self) -> float:
        """Largest difference between the fused product and the model's own output, over the output's largest number."""
        blocks, stacked = self.fused()
        return float(np.abs(blocks @ stacked - self.out).max() / np.abs(self.out).max())

    @cached_property
    def heads(self) -> pd.DataFrame:
        """Each head's ranks.

        Columns `head`; `attention_rank` and `map_rank` (numerical), `operator_rank` (their product: the rank of A_h (x) M_h),
        `output_rank` (of what the head gave out, never above the smaller of both), and the effective ranks `attention_effective`,
        `map_effective`.
        """
        rows = [
            (
                head, _rank(weights), _rank(matrix), _rank(weights) * _rank(matrix), _rank(weights @ told),
                float(effective_rank(weights)), float(effective_rank(matrix)),
            )
            for head, (weights, matrix, told) in enumerate(zip(self.attention, self.maps, self.told, strict=True))
        ]  # fmt: skip
        columns = ["head", "attention_rank", "map_rank", "operator_rank", "output_rank", "attention_effective", "map_effective"]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def head_spectrum(self) -> Float[np.ndarray, " head"]:
        """Singular values of the operator as a sum of products of one pattern and one map each, largest first.

        The operator rearranged to `[query * key, d_model * d_model]` is the sum of vec(A_h) vec(M_h)^T (Van Loan & Pitsianis
        1993): as many values above zero as there are heads that no others make up.
        """
        patterns, maps = (np.einsum("hab,gab->hg", part, part, optimize=True) for part in (self.attention, self.maps))
        values, vectors = np.linalg.eigh(patterns)
        root = vectors * np.sqrt(values.clip(min=0))
        squares = np.linalg.eigvalsh(root.T @ maps @ root)[::-1]
        return np.asarray(np.sqrt(squares.clip(min=0)))

    @property
    def effective_heads(self) -> float:
        """exp of the entropy of `head_spectrum` over its sum: how many heads the layer amounts to, 1 to the number of heads."""
        shares = self.head_spectrum / self.head_spectrum.sum()
        return float(np.exp(-(shares * np.log(np.where(shares > 0, shares, 1))).sum()))

    @property
    def norm(self) -> float:
        """The operator's Frobenius norm, from inner products of patterns and of maps."""
        return float(np.sqrt(np.square(self.head_spectrum).sum()))

    def apply(self, streams: Float[np.ndarray, "key d_model"]) -> Float[np.ndarray, "query d_model"]:
        """The operator on changes of all tokens' streams: the sum of A_h X M_h."""
        moved = np.zeros((self.attention.shape[1], self.maps.shape[2]))
        for weights, matrix in zip(self.attention, self.maps, strict=True):
            moved += weights @ (streams @ matrix)
        return moved

    def spectrum(self, count: int = 8) -> Float[np.ndarray, " value"]:
        """The operator's largest singular values: how much it can stretch a change of the streams. Without building it.

        Raises:
            InputError: a count below 1 or not below the number of tokens times d_model.
        """
        from scipy.sparse.linalg import LinearOperator, svds

        keys, width = self.attention.shape[2], self.maps.shape[1]
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < keys * width:
            raise InputError(f"count={count!r}: a whole number from 1 to {keys * width - 1}")

        def back(moves: np.ndarray) -> np.ndarray:
            given = moves.reshape(self.attention.shape[1], -1)
            return sum(w.T @ (given @ m.T) for w, m in zip(self.attention, self.maps, strict=True)).ravel()

        operator = LinearOperator(
            (self.attention.shape[1] * self.maps.shape[2], keys * width),
            matvec=lambda x: self.apply(x.reshape(keys, width)).ravel(),
            rmatvec=back,
            dtype=np.float64,
        )
        start = np.random.default_rng(0).standard_normal(min(operator.shape))
        values: np.ndarray = svds(operator, count, v0=start, return_singular_vectors=False)
        return np.sort(values)[::-1]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """`head_spectrum` as a picture; see `sg.plot.linear_view`."""
        return picture("linear_view", self, ax=ax)

    def __repr__(self) -> str:
        """How many heads, and what they amount to."""
        heads, queries, _ = self.attention.shape
        return (
            f"LinearView(layer {self.layer}: {heads} heads amount to {self.effective_heads:.2f}, {queries} tokens, "
            f"fused product off by {self.error:.1e} of the model's output)"
        )


def linear_view(networks: Networks, layer: int) -> LinearView:
    """One layer's attention as one linear operator, weights frozen.

    Raises:
        InputError: no such layer.
        RecordingError: the model is not at hand; the layer has no messages, or its values are no function of each token's own
            stream; or its heads' outputs pass a gate that differs between readers, or a norm after the projection.

    Misleads: the weights depend on the streams too, so that a real change of a stream does more than this. `maps` are averages
    over tokens, whose norms scale them differently; `fused` and `error` are about the very messages.
    """
    source = networks.source
    rec, index = source.rec, source.rec.layer(layer, stack=source.stack)
    if source.stack != rec.main:
        raise InputError(f"linear_view() is about the main stack {rec.main!r}; these networks are of {source.stack!r}")
    messages = rec.messages(index)
    if messages.gate is not None or messages.scale is not None:
        raise RecordingError(f"layer {index} scales or gates what each reader hears, which is no one operator for all readers")
    heads = range(messages.weights.shape[0])
    maps = [value_jacobian(rec, index, head).double().T @ messages.matrix[head].double() for head in heads]
    return LinearView(
        layer=index,
        attention=messages.weights.double().numpy(),
        maps=torch.stack(maps).numpy(),
        told=(messages.value.double() @ messages.matrix.double()).numpy(),
        out=(messages.out - messages.bias).double().numpy(),
    )


def _rank(matrix: np.ndarray) -> int:
    values = np.linalg.svd(matrix, compute_uv=False)
    return int((values > ROUNDING * values[0]).sum()) if values.size and values[0] > 0 else 0
