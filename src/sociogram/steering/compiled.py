"""From edits to what happens at each attention call: addresses resolved against a model's layers and a prompt's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from sociogram.core.address import Places, indices, places
from sociogram.core.errors import EditDidNotLand, InputError
from sociogram.models.anatomy import Anatomy, Heard, Layer
from sociogram.models.tokens import find_token
from sociogram.steering.base import Edit

Name = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Act:
    """One edit at one attention call: which heads, readers and senders it means there."""

    edit: Edit
    number: int
    layer: int
    heads: tuple[int, ...]
    query: Places
    key: Places
    texts: list[str]
    material: Any = None
    step: Heard | None = None
    stack: str = ""


@dataclass(eq=False)
class Plan:
    """All edits of a run by attention call. Each act holds the tokens of its stack; a generating model adds to the main one's."""

    edits: tuple[Edit, ...]
    acts: dict[Name, list[Act]]
    texts: list[str]
    _regions: dict[tuple[object, ...], Tensor] = field(default_factory=dict)

    def region(self, act: Act, heads: int, queries: range, keys: range, device: torch.device) -> Bool[Tensor, "head query key"]:
        """The entries that an edit addresses in a call; the same in all its layers, so made once per pass."""
        told = len(act.texts) if act.query.conditions or act.key.conditions else 0
        name = (act.heads, heads, id(act.query), id(act.key), queries.start, queries.stop, keys.start, keys.stop, told, device)
        if name not in self._regions:
            if len(self._regions) > 64:  # a long generation asks about ever new ranges
                self._regions.clear()
            chosen = torch.zeros(heads, dtype=torch.bool, device=device)
            chosen[list(act.heads)] = True
            query, key = (_held(p, at, act.texts).to(device) for p, at in ((act.query, queries), (act.key, keys)))
            self._regions[name] = chosen[:, None, None] & query[None, :, None] & key[None, None]
        return self._regions[name]


def _held(where: Places, at: range, texts: list[str]) -> Bool[Tensor, " token"]:
    """Which positions of a range an address means."""
    if where.everything:
        return torch.ones(len(at), dtype=torch.bool)
    return torch.tensor([where.holds(i, texts[i] if 0 <= i < len(texts) else None) for i in at], dtype=torch.bool)


def compiled(
    edits: Sequence[Edit],
    anatomy: Anatomy,
    texts: Mapping[str, list[str]],
    *,
    materials: Sequence[Any] | None = None,
    to_come: int = 0,
) -> Plan:
    """Resolve every edit but those of the residual stream, which `stream.streamed` does.

    Args:
        edits: in the order in which they act.
        anatomy: the model's.
        texts: the tokens of each stack.
        materials: what each edit made ready (`Edit.ready`).
        to_come: how many tokens of the main stack may be generated.

    Raises:
        InputError: an address outside what there is, or one (or an edit) that has no meaning while the model writes.
        EditDidNotLand: layers without a token-token matrix.
    """
    acts: dict[Name, list[Act]] = {}
    for number, edit in enumerate(edits):
        if to_come and not edit.decodes:
            raise InputError(f"`{edit}` depends on the whole prompt at once and cannot act while the model writes")
        if not edit.hears:
            continue
        stack = _stack(edit, anatomy)
        own, later = texts[stack], to_come if stack == anatomy.main else 0
        edit.refuse(len(own) + later)
        query, key = (places(getattr(edit, axis), own, find_token, later, axis) for axis in ("query", "key"))
        _check_first(edit, key)
        material = None if materials is None else materials[number]
        for layer, branches in _layers(edit, anatomy):
            for step, call in branches:
                heads = edit.heads(anatomy.heads[call][0])
                acts.setdefault(call, []).append(Act(edit, number, layer.index, heads, query, key, own, material, step, stack))
    return Plan(tuple(edits), acts, texts[anatomy.main])


def _stack(edit: Edit, anatomy: Anatomy) -> str:
    if not anatomy.stacks:
        why = "; ".join(anatomy.problems) or "no attention of this model passes the seam"
        raise EditDidNotLand(f"`{edit}`: no layer of this model can be edited: {why}")
    name = edit.stack or anatomy.main
    if name not in anatomy.stacks:
        cross = " Edits act on self-attention; what one stack hears from another cannot be edited." * name.endswith("_cross")
        raise InputError(f"`{edit}`: no stack {name!r}; there are {', '.join(anatomy.stacks)}.{cross}")
    return name


def _check_first(edit: Edit, key: Places) -> None:
    if getattr(edit, "policy", None) == "to_first" and key.holds(0, None):
        raise InputError(f"`{edit}`: the first token is addressed itself, so nothing can be moved to it: choose another policy")


def _layers(edit: Edit, anatomy: Anatomy) -> list[tuple[Layer, tuple[tuple[Heard, Name], ...]]]:
    """The layers that an edit addresses, and the self-attention branches and calls of each."""
    name = _stack(edit, anatomy)
    stack = anatomy.stack(name)
    known = {layer.index: _self_calls(layer, edit, anatomy) for layer in stack}
    if not edit.asks_positions() and not any(known.values()):  # tokens that hear another sequence alone, as patches
        known = {layer.index: tuple((step, call) for step in layer.heard for call in step.calls) for layer in stack}
    chosen = [stack[i] for i in indices(edit.layer, len(stack), "layer")]
    heard = [(layer, known[layer.index]) for layer in chosen if known[layer.index]]
    silent = [layer for layer in chosen if not known[layer.index]]
    if silent and edit.layer is not None:
        layer = silent[0]
        why = layer.problem or ("its readers and senders are not the same tokens" if layer.heard else layer.status)
        raise EditDidNotLand(
            f"`{edit}`: layer {layer.index} has no token-token matrix to edit ({why}); "
            f"layers that have one: {_ranges([index for index, calls in known.items() if calls])}"
        )
    if not heard:
        raise EditDidNotLand(f"`{edit}`: no layer of {name!r} has a token-token matrix to edit")
    return heard


def _self_calls(layer: Layer, edit: Edit, anatomy: Anatomy) -> tuple[tuple[Heard, Name], ...]:
    """Calls in which tokens hear their own sequence; for edits that ask for positions, with as many readers as senders."""
    calls = [(step, call) for step in layer.heard if not step.cross for call in step.calls]
    if edit.asks_positions():
        calls = [(step, call) for step, call in calls if anatomy.lengths[call][1] == anatomy.lengths[call][2]]
    return tuple(calls)


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as people list them: `0 to 3, 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]} to {p[-1]}" for p in parts) or "none"
