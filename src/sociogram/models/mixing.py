"""Whether a branch lets tokens meet: asked of the module itself, by changing one token and looking at the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sociogram.models.trace import Site, Trace, at_slot


class Mixing:
    """Answers for the branches of one trace, once per class of module and shape of input."""

    def __init__(self, trace: Trace) -> None:
        """Ask about modules of this trace."""
        self.trace = trace
        self._memo: dict[tuple[Any, ...], bool] = {}

    def acts_alone(self, site: Site) -> bool:
        """True where the module that gives this site out moves each token for itself; False where tokens meet in it.

        The first token's input is changed and the module called again: another token's output that changes with it has heard it.
        A module that cannot be called again is taken for a mixer, the answer that claims less.
        """
        if site.end != "out":
            return False
        module = self.trace.model.get_submodule(site.path)
        args, kwargs = self.trace.arguments(site.path, site.number)
        key = (type(module), tuple(t.shape for t in args if isinstance(t, Tensor)), _signature(module))
        if key not in self._memo:
            self._memo[key] = _alone(module, args, kwargs, lambda out: at_slot(out, site.slot))
        return self._memo[key]


def _signature(module: nn.Module) -> tuple[Any, ...]:
    return tuple((name, tuple(p.shape)) for name, p in module.named_parameters())


def _alone(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], pick: Callable[[Any], Tensor]) -> bool:
    try:
        with torch.no_grad():
            plain = pick(module(*_changed(args, 0.0), **_changed(kwargs, 0.0)))
            moved = pick(module(*_changed(args, 1.0), **_changed(kwargs, 1.0)))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError):
        return False
    rows, others = (_tokens(t) for t in (plain, moved))
    if rows.shape[0] < 2:
        return True
    return bool((rows[1:] - others[1:]).abs().max() <= 1e-5 * rows.abs().max().clamp_min(1e-6))


def _tokens(tensor: Tensor) -> Tensor:
    """The tokens of the first sequence, one a row."""
    tensor = tensor.detach().double()
    first = tensor[0] if tensor.ndim > 2 else tensor
    return first.reshape(-1, tensor.shape[-1])


def _changed(value: Any, amount: float) -> Any:
    """A copy of the arguments in which the first token of every activation is moved."""
    if isinstance(value, Tensor):
        copy = value.clone()
        if value.is_floating_point() and value.ndim >= 2:
            first = copy[(0,) * (value.ndim - 1)]
            noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(3)).to(first)
            first += amount * noise
        return copy
    if isinstance(value, tuple | list):
        return type(value)(_changed(item, amount) for item in value)
    if isinstance(value, dict):
        return {key: _changed(item, amount) for key, item in value.items()}
    return value
