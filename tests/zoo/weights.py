"""Random weights that hide nothing.

A fresh model is full of ones and zeros (gains, biases, gates) that make wrong accounts look right. Here every parameter
is drawn anew: matrices keep the scale of their input, gains scatter around what they were, gates and layer scales get
values of order one, biases move off zero. Buffers (rotary tables, running statistics) stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

_DYNAMICS = ("A_log", "dt_bias", "dt_proj.bias", ".D", "A_neg_log", "original0", "logit_scale", "time_decay")
"""Parameters whose initial values carry meaning (decay rates of state-space layers): only shaken a little."""


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Redraw all floating parameters in place, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for name, owner, parameter in _parameters(model):
        if parameter.is_floating_point():
            parameter.copy_(_draw(name, owner, parameter.float(), generator))


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """Every parameter once (tied ones at their first place), with the module that owns it."""
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield f"{path}.{name}", module, parameter


def _draw(name: str, owner: nn.Module, old: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(old.shape, generator=generator)
    uniform = torch.rand(old.shape, generator=generator)
    usable = bool(torch.isfinite(old).all()) and old.numel() > 0 and float(old.abs().max()) < 1e4
    if any(name.endswith(mark) or mark + "." in name for mark in _DYNAMICS) and usable:
        return old * (0.9 + 0.2 * uniform) + 0.02 * noise
    if isinstance(owner, nn.Embedding):
        return 0.5 * noise
    if name.endswith("bias") and old.ndim <= 2:
        return 0.1 * noise
    if not usable:
        return _matrix(owner, noise) if old.ndim > 1 else 0.3 * noise
    if old.numel() and float(old.max() - old.min()) <= 1e-12 and not 0 < float(old.abs().max()) < 1e-9:
        return _around(float(old.flatten()[0]), old.ndim, owner, noise, uniform)
    return _matrix(owner, noise) if old.ndim > 1 else old * (0.8 + 0.4 * uniform) + 0.05 * noise


def _around(constant: float, ndim: int, owner: nn.Module, noise: Tensor, uniform: Tensor) -> Tensor:
    """Values for a parameter that started constant: a gain, a gate, a layer scale, or a table left at zero."""
    if constant == 0:
        if "Norm" in type(owner).__name__ or ndim == 1:
            return torch.sign(noise) * (0.1 + 0.3 * uniform)
        return _matrix(owner, noise)
    if abs(constant) < 0.4:
        return math.copysign(1.0, constant) * (0.4 + 0.6 * uniform)
    return constant * (0.75 + 0.5 * uniform)


def _matrix(owner: nn.Module, noise: Tensor) -> Tensor:
    """Normal numbers scaled so that unit inputs give outputs of order one."""
    return noise / math.sqrt(max(_fan_in(owner, noise.shape), 1))


def _fan_in(owner: nn.Module, shape: torch.Size) -> float:
    if isinstance(owner, nn.Linear) and len(shape) == 2:
        return shape[1]
    if type(owner).__name__ == "Conv1D":
        return shape[0]
    if isinstance(owner, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return math.prod(shape[1:])
    if 1 in shape[:-1] or len(shape) > 3:
        return 4.0
    return (shape[-1] + shape[-2]) / 2
