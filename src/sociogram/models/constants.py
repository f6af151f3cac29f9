"""Factors made of weights and numbers alone, as small recipes: computed anew from the model's present weights each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sociogram.models.trace import Ref, Trace


@dataclass(frozen=True)
class Weight:
    """A parameter or buffer, by its name in the model."""

    name: str


@dataclass(frozen=True, eq=False)
class Apply:
    """An operation on recipes and plain values; `item` picks one of several results."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    item: int | None


Recipe = Weight | Apply


def recipe(trace: Trace, index: int) -> Recipe:
    """The recipe of a constant node of a trace.

    Raises:
        ValueError: the node depends on the input of the pass.
    """
    node = trace.nodes[index]
    if not node.constant:
        raise ValueError(f"node {index} ({node.op}) depends on the input")
    if node.parameter is not None:
        return Weight(node.parameter)
    assert node.func is not None
    return Apply(node.func, _written(trace, node.args), _written(trace, node.kwargs), node.item)


def _written(trace: Trace, value: Any) -> Any:
    if isinstance(value, Ref):
        return recipe(trace, value.node)
    if isinstance(value, tuple):
        return tuple(_written(trace, item) for item in value)
    if isinstance(value, dict):
        return {key: _written(trace, item) for key, item in value.items()}
    return value


def cook(model: nn.Module, what: Any) -> Any:
    """The value of a recipe with the model's weights as they are now; anything else is returned as it is."""
    if isinstance(what, Weight):
        owner, _, name = what.name.rpartition(".")
        return getattr(model.get_submodule(owner), name)
    if isinstance(what, Apply):
        result = what.func(*cook(model, what.args), **cook(model, what.kwargs))
        return result if what.item is None else result[what.item]
    if isinstance(what, tuple):
        return tuple(cook(model, item) for item in what)
    if isinstance(what, dict):
        return {key: cook(model, item) for key, item in what.items()}
    return what


def constant_value(model: nn.Module, what: Recipe) -> Tensor:
    """The tensor that a recipe makes."""
    value: Tensor = cook(model, what)
    return value.detach()
