"""The family's own rotation of keys: which function turns them, in which channels, and with which tables of sines and cosines."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sociogram.models.attention import AttentionCall
from sociogram.models.seam import watching

Table: TypeAlias = tuple[Tensor, ...]
"""Cosines and sines of some positions, or one tensor of complex numbers, as the model made them."""
Name: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class Turn:
    """How one attention call's keys are turned: by a function of the family's, in the channels from `start` to `stop`.

    Attributes:
        function: from the Python module of the attention; `names` are its parameters for the table, `pair` says whether it takes
            queries and keys, `swapped` whether it takes `[batch, token, head, d_head]`.
        which: which of the tables that lie within the call's reach.
    """

    function: Callable[..., Any] = field(repr=False)
    names: tuple[str, ...]
    pair: bool
    swapped: bool
    start: int
    stop: int
    which: int

    def apply(self, keys: Float[Tensor, "*heads token d_head"], table: Table) -> Float[Tensor, "*heads token d_head"]:
        """Turn keys by a table of one position per token. Half precision is widened and stays wide."""
        rows = _wide(keys).reshape(1, -1, *keys.shape[-2:])
        part = rows[..., self.start : self.stop]
        part = part.transpose(1, 2) if self.swapped else part
        given = dict(zip(self.names, map(_wide, table), strict=True))
        turned = self.function(part, part, **given)[0] if self.pair else self.function(part, **given)
        turned = turned.transpose(1, 2) if self.swapped else turned
        return torch.cat([rows[..., : self.start], turned, rows[..., self.stop :]], dim=-1).reshape(keys.shape)

    def unapply(self, keys: Float[Tensor, "*heads token d_head"], table: Table) -> Float[Tensor, "*heads token d_head"]:
        """Turn keys back: the same function with the inverse table, a factor on the rotation included."""
        if len(table) == 1:
            return self.apply(keys, (1 / table[0],))
        cos, sin = map(_wide, table)
        square = cos**2 + sin**2
        return self.apply(keys, (cos / square, -sin / square))


def mirrored(table: Table, where: Bool[Tensor, " token"]) -> Table:
    """The table with the turns of some tokens the other way round."""
    turned = torch.where(where.to(table[-1].device)[:, None], table[-1].conj() if len(table) == 1 else -table[-1], table[-1])
    return (*table[:-1], turned)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@dataclass(eq=False)
class Making:
    """One call of a module that took the positions and gave floating-point tensors."""

    module: nn.Module
    given: tuple[tuple[Any, ...], dict[str, Any]]
    positions: Tensor
    made: list[Tensor]


@dataclass(eq=False)
class Capture:
    """What one pass showed: every attention call, the tables within its reach, and the modules that were given the positions."""

    calls: dict[Name, AttentionCall] = field(default_factory=dict)
    tables: dict[Name, list[Table]] = field(default_factory=dict)
    makings: list[Making] = field(default_factory=list)

    def wants_weights(self, call: AttentionCall) -> bool:
        """Never."""
        return False

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """Keep the call."""
        self.calls[call.name] = call


def capture(hf: Any, arguments: Mapping[str, Any]) -> Capture:
    """Run one pass and keep what its attention calls were shown."""
    seen = Capture()
    inputs: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    outputs: dict[str, Any] = {}
    positions = arguments.get("position_ids")

    def enter(path: str) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
        return lambda args, kwargs: inputs.__setitem__(path, (args, kwargs))

    def leave(path: str, module: nn.Module) -> Callable[[Any], None]:
        def after(output: Any) -> None:
            outputs[path] = output
            given, made = inputs[path], _made(output)
            if made and positions is not None and any(_is_places(t, positions) for t in _tensors(given)):
                seen.makings.append(Making(module, given, positions, made))

        return after

    with watching(hf, [seen]) as session:
        for path, module in hf.named_modules():
            session.on_input(path, enter(path))
            session.on_output(path, leave(path, module))
        hf(**arguments)
    for name in seen.calls:
        inner = [output for path, output in outputs.items() if path.startswith(f"{name[0]}.")]
        seen.tables[name] = list(_pairs([inputs.get(name[0]), inner]))
    return seen


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _is_places(tensor: Tensor, positions: Tensor) -> bool:
    """Whether a tensor holds the positions of the pass, possibly once per axis."""
    whole = not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool
    return whole and tensor.shape[-1:] == positions.shape[-1:] and bool((tensor == positions[0]).all())


def _pairs(value: Any) -> Iterator[Table]:
    """Everything nested in a value that may be a table: two tensors of one shape, or complex numbers."""
    if isinstance(value, Tensor):
        if value.is_complex():
            yield (value,)
    elif isinstance(value, Mapping):
        if isinstance(value.get("cos"), Tensor) and isinstance(value.get("sin"), Tensor):
            yield value["cos"], value["sin"]
        yield from _pairs(list(value.values()))
    elif isinstance(value, list | tuple):
        both = len(value) == 2 and all(isinstance(t, Tensor) and t.is_floating_point() for t in value)
        if both and value[0].shape == value[1].shape:
            yield value[0], value[1]
        for one in value:
            yield from _pairs(one)


def made(shown: Capture, table: Table) -> tuple[Making, list[int]] | None:
    """Which module made a table, and which of its outputs it is; None where no module made all of it."""
    for making in shown.makings:
        at = [i for tensor in table for i, one in enumerate(making.made) if one is tensor]
        if len(at) == len(table):
            return making, at
    return None


def replayed(shown: Capture, table: Table, positions: Tensor) -> Table | None:
    """A table of the same kind for other positions, by asking the module that made it; None where no module did.

    Args:
        shown: the pass in which the table was met.
        table: as the attention call was handed it.
        positions: `[token]`.
    """
    if (found := made(shown, table)) is None:
        return None
    making, at = found
    args, kwargs = _placed(making.given, making.positions, positions)
    again = _made(making.module(*args, **kwargs))
    return tuple(again[i] for i in at)


def _made(output: Any) -> list[Tensor]:
    return [tensor for tensor in _tensors(output) if tensor.is_floating_point() or tensor.is_complex()]


def _placed(value: Any, old: Tensor, new: Tensor) -> Any:
    """A module's arguments, other positions `[token]` in the place of the old ones."""
    if isinstance(value, Tensor):
        return new.to(value).expand(*value.shape[:-1], -1) if _is_places(value, old) else value
    if isinstance(value, Mapping):
        return {name: _placed(one, old, new) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_placed(one, old, new) for one in value])
    return value


Shown: TypeAlias = Sequence[tuple[Tensor, list[Table]]]
"""Of one attention call, per proving pass: its keys `[kv_head, token, d_head]` and the tables within its reach."""


def find_turn(module: nn.Module, shown: Shown, same: Callable[[Tensor, Tensor], bool]) -> Turn | None:
    """The turn that carries the keys of each pass onto those of every other, or None.

    Args:
        module: the attention module, in whose Python module the function is sought.
        shown: one entry per position.
        same: when two tensors count as equal.
    """
    width = shown[0][0].shape[-1]
    for which in range(min(len(tables) for _, tables in shown)):
        table = shown[0][1][which]
        for function, names, pair in _functions(module, len(table)):
            for start, stop in _channels(width, table[0].shape[-1]):
                for swapped in (False, True):
                    turn = Turn(function, names, pair, swapped, start, stop, which)
                    if _holds(turn, shown, same):
                        return turn
    return None


def _functions(module: nn.Module, tables: int) -> Iterator[tuple[Callable[..., Any], tuple[str, ...], bool]]:
    """Functions next to the attention class that take one or two things to turn, then a table by name."""
    wanted = ("cos", "sin") if tables == 2 else ("freqs_cis",)
    for function in vars(sys.modules[type(module).__module__]).values():
        if inspect.isclass(function) or not callable(function):
            continue
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            continue
        needed = [name for name, one in parameters.items() if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
        turned = [name for name in needed if name not in wanted]
        if set(wanted) <= set(needed) and len(turned) in (1, 2):
            yield function, wanted, len(turned) == 2


def _channels(width: int, table: int) -> Iterator[tuple[int, int]]:
    """Where the turned channels may lie, for tables that name each channel or each pair of channels once."""
    for count in dict.fromkeys((table, 2 * table)):
        if count <= width:
            yield from dict.fromkeys(((0, count), (width - count, width)))


def _holds(turn: Turn, shown: Shown, same: Callable[[Tensor, Tensor], bool]) -> bool:
    try:
        still = [turn.unapply(keys, tables[turn.which]) for keys, tables in shown]
        return all(same(turn.apply(base, tables[turn.which]), keys) for base in still for keys, tables in shown)
    except (RuntimeError, ValueError, IndexError, TypeError):  # not meant for such tensors
        return False
