"""Computing wholly in double precision, also where a model asks for float32 by name."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_WIDER = {torch.float32: torch.float64, torch.complex64: torch.complex128}


def _widen(value: Any) -> Any:
    """Replace the narrow dtypes in an argument."""
    if isinstance(value, torch.dtype):
        return _WIDER.get(value, value)
    if type(value) in (list, tuple) and any(isinstance(item, torch.dtype) for item in value):
        return type(value)(_widen(item) for item in value)
    return value


class _Widening(TorchFunctionMode):
    """Rewrites every request for float32 into one for float64."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass the call on with wider dtypes."""
        kwargs = kwargs or {}
        if func is torch.Tensor.float:
            return args[0].double()
        if func is torch.Tensor.view:
            return func(*args, **kwargs)
        return func(*(_widen(item) for item in args), **{key: _widen(item) for key, item in kwargs.items()})


def _forget_tables() -> None:
    """Empty the caches of modeling files (tables of coordinates), which hold tensors of the other precision."""
    modeling = [module for name, module in [*sys.modules.items()] if ".modeling_" in name]
    for module in modeling:
        for value in vars(module).values():
            # transformers wraps the cached function once more and keeps it in the closure
            for cached in (value, *(cell.cell_contents for cell in getattr(value, "__closure__", None) or ())):
                if isinstance(cached, functools._lru_cache_wrapper):
                    cached.cache_clear()


@contextmanager
def float64_everywhere() -> Iterator[None]:
    """Within this context `.float()`, `.to(torch.float32)`, `dtype=torch.float32` and default dtypes mean float64."""
    before = torch.get_default_dtype()
    _forget_tables()
    torch.set_default_dtype(torch.float64)
    try:
        with _Widening():
            yield
    finally:
        _forget_tables()
        torch.set_default_dtype(before)
