"""The arithmetic of messages: what each token told each other token, as numbers and as vectors, from a recording's arrays.

    message[h, q, k] = scale[q] * (weights[h, q, k] * value[h, k] * gate[h, q]) @ matrix[h]

`matrix` is the output projection with the branch's frozen norms and factors in it; `gate` and `scale` are 1 in most families.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import AccountError
from sociogram.models.anatomy import Layer
from sociogram.models.verify import Closing


@dataclass(frozen=True, eq=False)
class Messages:
    """One layer's attention branch of one sequence, ready to be asked.

    `sizes` are the value norms, where they were kept; `whole` is the branch's output where `out` is a part of it: what was heard
    from the sequence's own tokens, or from outside.
    """

    weights: Float[Tensor, "head query key"]
    value: Float[Tensor, "head key d_value"]
    matrix: Float[Tensor, "head d_value d_model"]
    bias: Float[Tensor, "query d_model"]
    out: Float[Tensor, "query d_model"]
    gate: Float[Tensor, "head query d_value"] | None = None
    scale: Float[Tensor, " query"] | None = None
    sizes: Float[Tensor, "head key"] | None = None
    whole: Float[Tensor, "query d_model"] | None = None

    @property
    def branch(self) -> Float[Tensor, "query d_model"]:
        """The whole branch's output, what came from outside included."""
        return self.out if self.whole is None else self.whole

    def of(self, head: Tensor, query: Tensor, key: Tensor) -> Float[Tensor, " edge"]:
        """The weights of edges."""
        return self.weights[head, query, key]

    def norms(self) -> Float[Tensor, "head query key"]:
        """Norm of every message (Kobayashi et al. 2020). With a gate per channel each reader needs its own value norms."""
        if self.gate is None:
            sizes = self.sizes if self.sizes is not None else (self.value @ self.matrix).norm(dim=-1)
            return self._scaled((self.weights * sizes[:, None, :]).abs_())
        factor = gram_factor(self.matrix).to(self.value.dtype)
        gated = [((self.value * self.gate[:, q, None]) @ factor).norm(dim=-1) for q in range(self.weights.shape[1])]
        return self._scaled((self.weights * torch.stack(gated, 1)).abs_())

    def _scaled(self, numbers: Float[Tensor, "head query key"]) -> Float[Tensor, "head query key"]:
        return numbers if self.scale is None else numbers * self.scale.abs()[:, None]

    def along(self, directions: Float[Tensor, "query d_model"]) -> Float[Tensor, "head query key"]:
        """Inner product of every message with its reader's direction."""
        turned = torch.einsum("hdm,qm->hqd", self.matrix, directions)
        if self.gate is not None:
            turned = turned * self.gate
        if self.scale is not None:
            turned = turned * self.scale[:, None]
        return self.weights * (turned @ self.value.transpose(1, 2))

    def contributions(self) -> Float[Tensor, "head query key"]:
        """(message . D) / (D . D), D the branch's whole output at the reader; with the bias's share a reader's sum is 1."""
        return self.along(self.branch / self.branch.square().sum(-1, keepdim=True))

    def vectors(self, head: Tensor, query: Tensor, key: Tensor) -> Float[Tensor, "edge d_model"]:
        """The message of each edge as a vector."""
        told = self.of(head, query, key)[:, None] * self.value[head, key]
        if self.gate is not None:
            told = told * self.gate[head, query]
        vectors = torch.empty(len(head), self.matrix.shape[-1], dtype=told.dtype)
        for one in head.unique():  # head by head: a gather of one matrix per edge would be as large as many layers
            vectors[head == one] = told[head == one] @ self.matrix[one]
        return vectors if self.scale is None else vectors * self.scale[query][:, None]

    def mixed(self, weights: Tensor | None = None) -> Float[Tensor, "query d_model"]:
        """Sum of messages over heads and keys, optionally with other weights (the diagonal alone, say)."""
        told = (self.weights if weights is None else weights) @ self.value
        if self.gate is not None:
            told = told * self.gate
        total = torch.einsum("hqd,hdm->qm", told, self.matrix)
        return total if self.scale is None else total * self.scale[:, None]

    def from_itself(self) -> Float[Tensor, "query d_model"]:
        """What each reader told itself, heads summed. Zero where keys are another sequence's."""
        return self.mixed(torch.diag_embed(torch.diagonal(self.weights, dim1=1, dim2=2)))

    def from_others(self) -> Float[Tensor, "query d_model"]:
        """What each reader heard from tokens other than itself, heads summed: a sum of its own, not a difference."""
        others = self.weights.clone()
        torch.diagonal(others, dim1=1, dim2=2).zero_()
        return self.mixed(others)


def gram_factor(matrix: Float[Tensor, "head d_value d_model"]) -> Float[Tensor, "head d_value d_value"]:
    """`F` with `F @ F.T = matrix @ matrix.T` for each head, so that `|v @ matrix| = |v @ F|`; computed in double."""
    wide = matrix.double()
    factor, failed = torch.linalg.cholesky_ex(wide @ wide.transpose(1, 2))
    if bool(failed.any()):  # a head that does not use all its channels
        factor = torch.linalg.qr(wide.transpose(1, 2), mode="r").R.transpose(1, 2)
    return factor


def name_the_gap(layer: Layer, label: str, closing: Closing) -> AccountError:
    """The error for an account that does not close: which layer, which part, how far off."""
    if not closing.branch <= closing.relative / 10:
        part = (
            "the messages and the bias do not sum to the attention branch's output (output projection, value bias, gate or norm)"
        )
    else:
        part = "attention adds up, but another entry (MLP, norm or residual) is missing or was changed"
    return AccountError(
        f"the account of layer {layer.index} ({layer.path}, {label}) does not add up: off by {closing.relative:.1e} of the "
        f"model's move ({closing.absolute:.1e} absolute): {part}. Nothing is shown of a layer whose numbers do not reconcile; "
        f"please report the model's architecture."
    )
