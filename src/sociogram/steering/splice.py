"""Edits of pasts: tokens taken out, scaled, put in; keys moved to other positions, or to another model of the same shape."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.address import Address, indices
from sociogram.core.errors import InputError
from sociogram.models.continuing import following
from sociogram.models.inputs import Promptable
from sociogram.steering.reading import first_of, listed, shown_positions, tokens_and_mask

if TYPE_CHECKING:
    from sociogram.steering.past import Past


def erased(past: Past, gone: list[int], close: bool) -> Past:
    """Without some tokens; see `Past.erase`."""
    kept = [i for i in range(len(past)) if i not in set(gone)]
    if not kept:
        raise InputError("nothing would be left of this past: a model reads on from at least one token")
    rest = replace(past[kept], next_position=past.next_position)
    if not close:
        return rest
    steps = torch.diff(past.positions, append=past.positions.new_tensor([past.next_position]))
    lost = torch.zeros_like(steps)
    lost[gone] = steps[gone]
    return at(rest, rest.positions - lost.cumsum(0)[kept], past.next_position - int(lost.sum()))


def scaled(past: Past, where: list[int], key: float, value: float, layer: Address, head: Address) -> Past:
    """With keys and values of some tokens times factors; see `Past.scale`."""
    factors: dict[str, Any] = {"key": key, "value": value}
    for name, factor in factors.items():
        if isinstance(factor, bool) or not isinstance(factor, Real) or not math.isfinite(factor):
            raise InputError(f"scale {name}={factor!r}: a finite number is needed")
    keys, values = list(past.keys), list(past.values)
    for slot in indices(layer, len(keys), "layer"):
        heads = indices(head, len(keys[slot]), "head")
        keys[slot] = _times(keys[slot], heads, where, key)
        values[slot] = _times(values[slot], heads, where, value)
    return replace(past, keys=tuple(keys), values=tuple(values))


def _times(tensor: Float[Tensor, "kv_head token width"], heads: list[int], where: list[int], factor: float) -> Tensor:
    chosen = torch.zeros(tensor.shape[:2], dtype=torch.bool, device=tensor.device)
    chosen[torch.tensor(heads)[:, None], torch.tensor(where)] = True
    return torch.where(chosen[..., None], tensor * factor, tensor)


def spliced(past: Past, start: int, stop: int, source: Past | Promptable) -> Past:
    """With a source in the place of the tokens from `start` to `stop`, later ones moved; see `Past.insert` and `Past.replace`."""
    begin, after = (int(past.positions[i]) if i < len(past) else past.next_position for i in (start, stop))
    piece = _piece(past, start, begin, source)
    shift = piece.next_position - after
    tail = _from(past, stop)
    return _joined([first_of(past, start), piece, at(tail, tail.positions + shift, past.next_position + shift)])


def _from(past: Past, start: int) -> Past:
    keys, values = (tuple(t[:, start:] for t in tensors) for tensors in (past.keys, past.values))
    return replace(
        past, ids=past.ids[start:], texts=past.texts[start:], positions=past.positions[start:], keys=keys, values=values
    )


def _piece(past: Past, start: int, begin: int, source: Past | Promptable) -> Past:
    """What is put in, at its new place from position `begin` on: a past as it is, a text as it is read there."""
    if not hasattr(source, "next_position"):
        if start:
            return _from(first_of(past, start).read(source), start)
        ids = following(past.model.hf, past.model.tokenizer, source)
        alone = type(past).of(past.model, tokens_and_mask(past.model.hf, ids))
        return at(alone, alone.positions + begin, begin + len(alone))
    given: Any = source
    shift = begin - int(given.positions[0])
    positions = (given.positions + shift).to(past.ids.device)
    keys, values = _moved(given, past, positions)
    return replace(
        past,
        ids=given.ids.to(past.ids.device),
        texts=given.texts,
        positions=positions,
        next_position=given.next_position + shift,
        keys=keys,
        values=values,
    )


def _joined(parts: list[Past]) -> Past:
    """Pasts of one model laid end to end."""
    slots = range(len(parts[0].keys))
    return replace(
        parts[-1],
        ids=torch.cat([part.ids for part in parts]),
        texts=tuple(text for part in parts for text in part.texts),
        positions=torch.cat([part.positions for part in parts]),
        keys=tuple(torch.cat([part.keys[i] for part in parts], dim=1) for i in slots),
        values=tuple(torch.cat([part.values[i] for part in parts], dim=1) for i in slots),
    )


Tensors = tuple[Tensor, ...]


def at(past: Past, positions: Int[Tensor, " token"], next_position: int) -> Past:
    """The same tokens at other positions, their keys moved there.

    Raises:
        InputError: keys that cannot be moved.
    """
    return replace(past, positions=positions, next_position=next_position, keys=_moved(past, past, positions)[0])


def _moved(source: Past, target: Past, positions: Int[Tensor, " token"]) -> tuple[Tensors, Tensors]:
    """The keys and values of `source` as `target`'s model would read them at `positions`.

    Raises:
        InputError: a model of another shape or vocabulary; positions that change where keys cannot be moved.
    """
    foreign = source.model.hf is not target.model.hf
    if foreign:
        _check_fits(source, target)
    elif bool((source.positions == positions).all()):
        return source.keys, source.values
    _check_movable(source, target, positions)
    names = [{slot: name for name, slot in past.slots.items()} for past in (source, target)]
    if not foreign:
        move = source.rotation.move
        return tuple(move(names[0][i], key, source.positions, positions) for i, key in enumerate(source.keys)), source.values
    keys = []
    for slot, key in enumerate(source.keys):
        bare = source.rotation.strip(names[0][slot], key, source.positions).to(target.keys[slot])
        keys.append(target.rotation.place(names[1][slot], bare, positions).to(target.keys[slot]))
    return tuple(keys), tuple(value.to(own) for value, own in zip(source.values, target.values, strict=True))


def _check_movable(source: Past, target: Past, positions: Tensor) -> None:
    for past in (source, target):
        if past.rotation.kind == "absolute":
            there = "" if source.model is target.model else f" of {target.model.name}"
            raise InputError(
                f"tokens at {shown_positions(source)} would have to move to {listed(positions)}{there}, and keys of "
                f"{past.model.name} cannot be moved: {past.rotation.reason}. What stays possible: to put a span of a past of the "
                "same model where it stood already (replace), and to read a text at the end"
            )


def _check_fits(source: Past, target: Past) -> None:
    here, there = target.model.name, source.model.name
    shapes = [[(k.shape[0], k.shape[2], v.shape[2]) for k, v in zip(p.keys, p.values, strict=True)] for p in (source, target)]
    if len(shapes[0]) != len(shapes[1]):
        raise InputError(
            f"a past of {there} has {len(shapes[0])} layers, one of {here} {len(shapes[1])}: keys and values cannot be exchanged"
        )
    for i, (theirs, ours) in enumerate(zip(*shapes, strict=True)):
        if theirs != ours:
            raise InputError(
                f"layer {i} of {there} has {theirs[0]} key/value heads of {theirs[1]} (values {theirs[2]}), that of {here} "
                f"{ours[0]} of {ours[1]} (values {ours[2]}): keys and values cannot be exchanged"
            )
    size = target.model.hf.get_input_embeddings().num_embeddings
    if int(source.ids.max()) >= size or target.model.spell(source.ids.tolist()) != list(source.texts):
        raise InputError(f"{there} and {here} do not write the same tokens: their pasts cannot be joined")
