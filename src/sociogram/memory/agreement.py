"""What a memory is of, and that what is added agrees with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sociogram.core.address import Given, address, indices
from sociogram.core.errors import InputError
from sociogram.memory.passages import Passage, calls_of
from sociogram.memory.store import PASSAGES, Store
from sociogram.memory.told import turning
from sociogram.models.model import Model
from sociogram.watch.provenance import described, foreign


def kept(store: Store, layers: Given) -> list[int]:
    """The numbers of the attention calls kept of some layers."""
    if not store.count(PASSAGES):
        raise InputError(f"{store.folder} is empty: add passages before it is indexed")
    if not (calls := store.about["calls"]):
        return []
    wanted = indices(address(layers), calls[-1][3] + 1, "layer")
    there = {layer for *_, layer in calls}
    if layers is not None and (missing := [one for one in wanted if one not in there]):
        raise InputError(f"{store.folder} keeps nothing of layer {missing[0]}: it keeps {_layers_of(calls)}")
    return [number for number, (*_, layer) in enumerate(calls) if layer in wanted]


def agree(store: Store, model: Model, passage: Passage) -> None:
    """Note what the memory is of, or refuse what is of something else."""
    layers = calls_of(model, None)
    calls = [[*name, int(told[0].shape[0]), layers[name]] for name, told in passage.told.items()]
    about = store.about
    if not about or not store.count(PASSAGES):
        store.clear()  # tables of another model's width, if all that it held was removed
        holds = {"calls": calls, "states": passage.states is not None, "stripped": bool(calls) and turning(model) is not None}
        store.describe({**described(model), **holds})
        return
    if other := foreign(about, model):
        what, there, here = other
        raise InputError(
            f"{store.folder} is a memory of {about.get('model')} ({what} {there}), and this passage was read by "
            f"{model.name} ({what} {here}): a memory holds the keys of one model. Make another memory for it"
        )
    if about["states"] != (passage.states is not None) or bool(about["calls"]) != bool(calls):
        raise InputError(f"{store.folder} keeps {_kinds_of(about)}: give the same keep= for all passages of a memory")
    if about["calls"] != calls:
        raise InputError(
            f"{store.folder} keeps {_layers_of(about['calls'])}, and this passage has {_layers_of(calls)}: give the "
            "same layers= for all passages of a memory"
        )


def _kinds_of(about: Mapping[str, Any]) -> str:
    return " and ".join(kind for kind, there in (("keys", about["calls"]), ("states", about["states"])) if there)


def _layers_of(calls: Sequence[Sequence[Any]]) -> str:
    return f"{len(calls)} attention calls ({calls[0][0]} to {calls[-1][0]})"
