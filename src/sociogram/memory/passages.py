"""What a passage is: its tokens, and what they tell at each attention call of a model."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.address import Given, address, indices
from sociogram.core.errors import InputError
from sociogram.models.model import Model
from sociogram.steering.past import Past
from sociogram.steering.source import RecordingSource
from sociogram.watch.recording import Recording
from sociogram.watch.states import states_of

if TYPE_CHECKING:
    from sociogram.models.inputs import Promptable

Name = tuple[str, int]
Told = tuple[Float[Tensor, "kv_head token d_head"], Float[Tensor, "kv_head token d_value"]]


@dataclass(frozen=True, eq=False)
class Passage:
    """One text as a model read it.

    Attributes:
        id: its name in the memory.
        text: it as a whole. origin: where it comes from, in the user's words.
        tokens: as people read them. positions: where each stood.
        told: attention call -> keys (position-encoded at `positions`) and values; nothing where they are not kept.
        states: the tokens' ids, and where each stood before the last layer's MLP; None where they are not kept.
    """

    text: str
    origin: str
    tokens: tuple[str, ...]
    positions: Int[Tensor, " token"]
    told: Mapping[Name, Told] = field(repr=False)
    states: tuple[list[int], Float[Tensor, "token d_model"]] | None = field(default=None, repr=False)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


def passage_of(
    what: Promptable | Past | Recording,
    model: Model | None,
    layers: Given,
    origin: str,
    text: str | None,
    keep: Sequence[str] = ("keys",),
) -> tuple[Model, Passage]:
    """A passage from what users give, and the model that read it.

    Raises:
        InputError: no model where one is needed, or another one than the past's or the recording's; no such layer; a recording
            without keys and values; states of something that is no text, or of a single token.
    """
    if "states" in keep:
        return _with_states(what, model, layers, origin, text, keep)
    if isinstance(what, Recording):
        return _of_recording(what, model, layers, origin, text)
    past = what if isinstance(what, Past) else _read(what, model)
    if model is not None and past.model is not model:
        raise InputError("memory.add(past, model=...): the past is of another model: leave model= out")
    said = text if text is not None else what if isinstance(what, str) else "".join(past.texts)
    wanted = calls_of(past.model, layers)
    told = {name: found for name in wanted if (found := past.told(name)) is not None}
    return past.model, _checked(Passage(said, origin, past.texts, past.positions, told), layers)


def _with_states(
    what: Any, model: Model | None, layers: Given, origin: str, text: str | None, keep: Sequence[str]
) -> tuple[Model, Passage]:
    """A text read for its states, and for its keys and values if these are kept too."""
    if isinstance(what, Past | Recording):
        raise InputError(f"memory.add(keep={tuple(keep)!r}): a {type(what).__name__.lower()} holds no states: give the text")
    if model is None:
        raise InputError("memory.add(text): which model is to read it? memory.add(text, model=...)")
    if not model.hf.can_generate() or model.hf.config.is_encoder_decoder:
        raise InputError(
            f"memory.add(keep={tuple(keep)!r}): states are kept with the token that a model writes next, and "
            f"{type(model.hf).__name__} does not write from left to right alone"
        )
    if "keys" in keep:
        model, passage = passage_of(what, model, layers, origin, text)
    else:
        if layers is not None:
            raise InputError(f"memory.add(layers={layers!r}, keep={tuple(keep)!r}): layers are of keys, which are not kept")
        tokens = tuple(model.spell(model.encode(what)["input_ids"][0].tolist()))
        said = text if text is not None else what if isinstance(what, str) else "".join(tokens)
        passage = Passage(said, origin, tokens, torch.arange(len(tokens)), {})
    ids = model.encode(what)["input_ids"][0].tolist()
    if len(ids) < 2:
        raise InputError(f"memory.add({what!r}, keep={tuple(keep)!r}): one token is followed by none: give a longer text")
    return model, replace(passage, states=(ids, states_of(model, ids)))


def _read(what: Any, model: Model | None) -> Past:
    if model is None:
        raise InputError("memory.add(text): which model is to read it? memory.add(text, model=...)")
    return Past.of(model, what)


def _of_recording(rec: Recording, model: Model | None, layers: Given, origin: str, text: str | None) -> tuple[Model, Passage]:
    model = rec.model if model is None else model
    if model is None:
        raise InputError("memory.add(recording): it was opened without its model: memory.add(recording, model=...)")
    source = RecordingSource(rec, rec.anatomy)
    heads = rec.anatomy.heads
    told = {
        name: _shared(found, *heads[name][:2]) for name in calls_of(model, layers) if (found := source.told(name)) is not None
    }
    said = text if text is not None else str(rec.tree.attrs.get("text") or "".join(rec.tokens))
    return model, _checked(Passage(said, origin, tuple(source.names), source.positions, told), layers)


def _shared(told: tuple[Tensor, Tensor], heads: int, groups: int) -> Told:
    """Keys and values once for all heads that share them, as a cache has them."""
    every = heads // groups if told[0].shape[0] == heads else 1
    return told[0][::every], told[1][::every]


def calls_of(model: Model, layers: Given) -> dict[Name, int]:
    """The self-attention calls of the main stack's layers wanted, with their layer.

    Raises:
        InputError: no such layer.
    """
    anatomy = model.anatomy
    stack = anatomy.stack(anatomy.main)
    chosen = [stack[i] for i in indices(address(layers), len(stack), "layer")]
    return {call: layer.index for layer in chosen for step in layer.heard if not step.cross for call in step.calls}


def _checked(passage: Passage, layers: Given) -> Passage:
    if not passage.told:
        raise InputError(f"memory.add(layers={layers!r}): nothing of these layers has keys and values to keep")
    if not torch.stack([torch.isfinite(key).all() & torch.isfinite(value).all() for key, value in passage.told.values()]).all():
        raise InputError("memory.add(...): some keys or values are no finite numbers")
    return passage
