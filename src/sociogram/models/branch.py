"""What stands between an output projection and the stream, as the linear map that it is in one run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sociogram.core.errors import AccountError
from sociogram.models.anatomy import Heard, NormOp, Read, ScaleOp
from sociogram.models.constants import constant_value
from sociogram.models.frozen import FrozenNorm, freeze_norm, projection_matrix
from sociogram.models.seam import unwatched


def scaled(model: nn.Module, value: Tensor, op: ScaleOp) -> Tensor:
    """A value times (or divided by) a constant factor of the branch."""
    constant = op.factor
    factor = constant.number if constant.expression is None else constant_value(model, constant.expression).to(value)
    return value / factor if op.divide else value * factor


def apply_ops(model: nn.Module, value: Tensor, door: Read) -> Tensor:
    """What a value at a `Read.door` is when it reaches the stream."""
    for op in door.ops:
        assert isinstance(op, ScaleOp)  # norms end at the door
        value = scaled(model, value, op)
    return value if door.sign == 1 else -value


def undo_ops(model: nn.Module, value: Tensor, door: Read) -> Tensor:
    """What must stand at a `Read.door` for a value to reach the stream; not finite where a factor is zero."""
    value = value if door.sign == 1 else -value
    for op in reversed(door.ops):
        assert isinstance(op, ScaleOp)
        value = scaled(model, value, ScaleOp(op.factor, divide=not op.divide))
    return value


def frozen_norm(model: nn.Module, op: NormOp, like: Tensor) -> FrozenNorm:
    """The frozen form of a norm that was one when the anatomy was found.

    Raises:
        AccountError: it no longer acts as one.
    """
    norm = freeze_norm(model.get_submodule(op.path), like.shape[-1], like)
    if norm is None:
        raise AccountError(f"{op.path} no longer acts as the norm it was when the anatomy was found")
    return norm


def behind_norm(norm: FrozenNorm, matrix: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A projection's matrix and bias with a norm that stands before it taken in (without the norm's scale per token)."""
    spread = norm.linear(torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device))
    return spread @ matrix, norm.bias.to(matrix.dtype) @ matrix + bias


def effective_matrix(
    model: nn.Module, step: Heard, width: int, grafts: Mapping[int, Tensor] | None = None
) -> Float[Tensor, "inner d_model"]:
    """A branch's output projection with the frozen norms and factors that follow it, without the norms' scale per token.

    `grafts`: the projections `[d_value, d_model]` of heads that come from elsewhere.
    """
    module = model.get_submodule(step.projection)
    like = torch.zeros((), dtype=_dtype_of(module), device=_device_of(module))
    with unwatched():
        matrix, bias = projection_matrix(module, width, like)
        matrix = with_grafts(matrix, grafts or {})
        if step.norm is not None:
            matrix, _ = behind_norm(frozen_norm(model, step.norm, matrix.T), matrix, bias)
        matrix = matrix * step.projected.sign
        for op in step.projected.ops:
            matrix = scaled(model, matrix, op) if isinstance(op, ScaleOp) else frozen_norm(model, op, matrix).linear(matrix)
    return matrix.detach()


def with_grafts(matrix: Float[Tensor, "inner d_model"], grafts: Mapping[int, Tensor]) -> Float[Tensor, "inner d_model"]:
    """The projection with the slices of heads that came from elsewhere."""
    if not grafts:
        return matrix
    matrix = matrix.clone()
    for head, own in grafts.items():
        matrix[head * len(own) : (head + 1) * len(own)] = own
    return matrix


def _dtype_of(module: nn.Module) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def _device_of(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))
