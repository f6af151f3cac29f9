"""Norms and projections as the linear maps that they are once a run's statistics are frozen."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """A norm with its statistics taken out: `norm(x) = scale * gain * (x - centred * mean(x)) + bias`, `scale` one per token.

    Root-mean-square norms have `centred` 0, layer norms 1. What the scale was in a run is read from what went in and came out.
    """

    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]
    centred: bool

    def linear(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """The part without the scale: `gain * (x - mean)`."""
        return self.gain * (x - x.mean(-1, keepdim=True) if self.centred else x)

    def transposed(self, directions: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """The transpose of `linear`: carries directions after the norm back to before it."""
        turned = self.gain * directions
        return turned - turned.mean(-1, keepdim=True) if self.centred else turned

    def scale(self, before: Float[Tensor, "... d_model"], after: Float[Tensor, "... d_model"]) -> Float[Tensor, ...]:
        """The number each token was multiplied by in a run, by least squares over the channels."""
        shape = self.linear(before)
        return (shape * (after - self.bias)).sum(-1) / shape.square().sum(-1).clamp_min(torch.finfo(shape.dtype).tiny)


def _probe(width: int, like: Tensor) -> Tensor:
    """Plus and minus one in turn, with a zero where the width is odd: mean 0, mean square about 1."""
    pattern = torch.ones(width, dtype=like.dtype, device=like.device)
    pattern[1::2] = -1
    if width % 2:
        pattern[-1] = 0
    return pattern


def freeze_norm(module: nn.Module, width: int, like: Tensor) -> FrozenNorm | None:
    """The frozen form of a norm module, found by asking it, or None where it is no norm of this kind.

    Asks at four points: zero (gives the bias), two patterns of plus and minus one (the gain), a shifted pattern (centred or
    not), and a random vector, which must come out as the form says (relative 1e-4).
    """
    try:
        with torch.no_grad():
            return _freeze(module, width, like)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _freeze(module: nn.Module, width: int, like: Tensor) -> FrozenNorm | None:
    pattern = 64 * _probe(width, like)
    rolled = pattern.roll(1)
    rows = torch.stack([torch.zeros_like(pattern), pattern, rolled, pattern + 64])
    out = module(rows.view(1, 4, width))
    if not isinstance(out, Tensor) or out.shape != (1, 4, width):
        return None
    bias, first, second, shifted = (out[0].to(like.dtype)).unbind(0)
    safe = torch.where(pattern != 0, pattern, rolled)
    gain = torch.where(pattern != 0, first - bias, second - bias) / safe
    peak = gain.abs().max()
    if not torch.isfinite(gain).all() or peak == 0:
        return None
    gain = gain * (pattern.square().mean().sqrt())
    norm = FrozenNorm(gain, bias, bool(torch.allclose(shifted, first, rtol=1e-3, atol=1e-3 * float(first.abs().max()))))
    return norm if _holds(module, norm, like) else None


def _holds(module: nn.Module, norm: FrozenNorm, like: Tensor) -> bool:
    width = norm.gain.shape[0]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, width, generator=generator).to(like) * torch.tensor([1.0, 5.0]).to(like)[:, None, None]
    y = module(x).to(like.dtype)
    predicted = norm.scale(x, y)[..., None] * norm.linear(x) + norm.bias
    tolerance = 2e-2 if like.dtype in (torch.float16, torch.bfloat16) else 1e-4
    return bool((predicted - y).norm() <= tolerance * y.norm()) and not torch.allclose(module(x[1:]), 5 * module(x[1:] / 5))


def is_affine(module: nn.Module, width: int, like: Tensor) -> bool:
    """Whether a module maps the last axis by an affine map, each token for itself: checked at random points."""
    try:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(1)
            x = torch.randn(1, 5, width, generator=generator).to(like)
            x[:, 2], x[:, 3], x[:, 4] = x[:, 0] + x[:, 1], 3 * x[:, 0], 0
            y = module(x)
            if not isinstance(y, Tensor) or y.shape[:2] != (1, 5):
                return False
            y = y - y[:, 4:]
            wide = y.double()
            tolerance = 5e-2 if like.dtype in (torch.float16, torch.bfloat16) else 1e-4
            sums = (wide[:, 2] - wide[:, 0] - wide[:, 1]).norm(), (wide[:, 3] - 3 * wide[:, 0]).norm()
            size = wide.norm()
            return bool(size > 0 and max(sums) <= tolerance * size)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return False


_remembered: weakref.WeakKeyDictionary[nn.Module, dict[str, tuple[Any, Any]]] = weakref.WeakKeyDictionary()


def remembered(module: nn.Module, what: str, make: Callable[[], T]) -> T:
    """What `make` computes from a module's weights, kept until one of them is changed or replaced.

    Changes are told by what the weights are, not by torch's version counter, which writes through `.data` do not move.
    """
    if not all(map(_is_plain, module.parameters())):
        return make()
    stamp = [(p.data_ptr(), p.dtype, p.shape, _fingerprint(p)) for p in module.parameters()]
    kept = _remembered.setdefault(module, {})
    if what not in kept or kept[what][0] != stamp or not stamp:
        kept[what] = (stamp, make())
    value: T = kept[what][1]
    return value


def _is_plain(weight: Tensor) -> bool:
    """Whether a weight is the numbers that it shows; quantised ones are tensors of their own kind, and the module is asked."""
    return type(weight) in (Tensor, nn.Parameter)


def _fingerprint(weight: Tensor) -> float:
    """One number that changes with any weight: a bilinear form with two fixed random vectors (one pass over the weights)."""
    with torch.no_grad():
        rows = weight.detach().reshape(weight.shape[0] if weight.ndim > 1 else 1, -1)
        rows = rows if rows.is_floating_point() and rows.dtype not in (torch.float16, torch.bfloat16) else rows.float()
        left, right = (torch.randn(n, generator=torch.Generator().manual_seed(n)).to(rows) for n in rows.shape)
        return float(left @ (rows @ right))


def projection_matrix(
    module: nn.Module, width: int, like: Tensor
) -> tuple[Float[Tensor, "inner d_model"], Float[Tensor, " d_model"]]:
    """The matrix and bias of an affine module as `x @ matrix + bias`, from its weight where that is it, else by asking it."""
    return remembered(module, f"projection {width} {like.dtype}", lambda: _ask_for_matrix(module, width, like))


def _ask_for_matrix(module: nn.Module, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        zero = module(torch.zeros(1, 1, width, dtype=like.dtype, device=like.device))[0, 0]
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 2 and weight.is_floating_point() and _is_plain(weight):
            for matrix in (weight.T, weight):
                if matrix.shape == (width, zero.shape[0]) and _same_map(module, matrix, zero):
                    return matrix.detach(), zero
        eye = torch.eye(width, dtype=like.dtype, device=like.device)
        return module(eye[None])[0] - zero, zero


def _same_map(module: nn.Module, matrix: Tensor, bias: Tensor) -> bool:
    x = torch.randn(1, 1, matrix.shape[0], generator=torch.Generator().manual_seed(2)).to(matrix)
    y, expected = module(x)[0, 0], x[0, 0] @ matrix + bias
    tolerance = 2e-2 if matrix.dtype in (torch.float16, torch.bfloat16) else 1e-4
    return bool((y - expected).norm() <= tolerance * (y - bias).norm())
