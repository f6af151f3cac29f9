"""Norms of what keys have to tell: each value's length once it is in the stream."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from sociogram.models.frozen import remembered
from sociogram.models.run import HeardRun
from sociogram.watch.account import gram_factor


def kept_factor(heard: HeardRun) -> Callable[[], Tensor] | None:
    """The factor of a branch's Gram matrix, kept with its projection where nothing else is in the matrix."""
    if heard.step.projected.ops or heard.step.norm is not None or heard.told.projections:
        return None
    return lambda: remembered(heard.module, f"gram {heard.told.value.dtype}", lambda: gram_factor(heard.matrix).to(heard.matrix))


def value_norms(
    value: Float[Tensor, "batch kv_head key d_value"],
    matrix: Float[Tensor, "head d_value d_model"],
    factor: Callable[[], Float[Tensor, "head d_value d_value"]] | None = None,
) -> Float[Tensor, "batch head key"]:
    """Norm of `value[k] @ W_O[h]` per query head and key.

    For many keys through a factor of W_O's Gram matrix, which is d_value wide instead of d_model; `factor` may give one kept
    from an earlier run.
    """
    batch, groups, keys, width = value.shape
    if batch * keys > 2 * width:
        matrix = (gram_factor(matrix) if factor is None else factor()).to(value.dtype)
    side = matrix.unflatten(0, (groups, -1)).transpose(1, 2).flatten(2)  # the heads of a group beside each other
    told = (value @ side).unflatten(-1, (matrix.shape[0] // groups, -1))
    return told.norm(dim=-1).transpose(2, 3).reshape(batch, -1, keys)
