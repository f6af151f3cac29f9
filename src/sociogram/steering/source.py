"""Where heads can listen besides their own sequence: stored pasts, recordings, memories."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.anatomy import Anatomy
from sociogram.watch.recording import Recording
from sociogram.watch.stored import open_recording

if TYPE_CHECKING:
    from sociogram.models.model import Model


MEMORY = "memory.json"
"""The file by which a folder is known as a memory."""


@runtime_checkable
class Source(Protocol):
    """Keys and values that are not the prompt's own, with the names and positions of their tokens. A `Past` is one.

    With `ages` `[token]` (whole numbers, 0 the newest) it says how old its tokens are, for edits with `forget`.
    What has `heard_by(model) -> Source` gives the source to listen to itself, when somebody begins to (a memory does). What has
    `nearest(name, query, count, asking) -> Found | None` can find tokens by their keys without comparing all of them.
    """

    @property
    def names(self) -> list[str]:
        """What its tokens are called, one each."""

    @property
    def positions(self) -> Int[Tensor, " token"]:
        """At which positions its keys were made."""

    def told(
        self, name: tuple[str, int]
    ) -> tuple[Float[Tensor, "kv_head token d_head"], Float[Tensor, "kv_head token d_value"]] | None:
        """Keys (position-encoded at `positions`) and values for one attention call; None where it has none."""


@dataclass(frozen=True, eq=False)
class Found:
    """Some tokens of a source with many, found by their keys.

    Attributes:
        chosen: for each query of each head, who answers it best, as columns of `places` (any column where a query did not ask).
        places: which of the source's tokens these are, ascending.
        key, value: of those, keys as they are at position 0.
    """

    chosen: Int[Tensor, "head query count"]
    places: Int[Tensor, " found"]
    key: Float[Tensor, "kv_head found d_head"]
    value: Float[Tensor, "kv_head found d_value"]


class RecordingSource:
    """The tokens of a recording as a source: needs `keep="qkv"`. One key and value per query head."""

    def __init__(self, rec: Recording, anatomy: Anatomy, stack: str | None = None) -> None:
        """`anatomy`: of the model that is to hear them; `stack`: which of its stacks, and of the recording's.

        Raises:
            InputError: keys or values were not kept, or several prompts.
        """
        self._dataset = rec.stack(stack or rec.main)
        missing = [name for name in ("key_vector", "value_vector") if name not in self._dataset]
        if missing or "sequence" in self._dataset.dims:
            raise InputError(
                f"a recording to listen to must hold one prompt with keys and values ({', '.join(missing) or 'one prompt'} "
                'is missing): record it with keep="qkv"'
            )
        layers = anatomy.stack(stack or anatomy.main)
        self._layers = {call: layer.index for layer in layers for step in layer.heard if not step.cross for call in step.calls}

    @property
    def names(self) -> list[str]:
        """The recorded tokens."""
        return [str(token) for token in self._dataset["key_token"].values]

    @property
    def positions(self) -> Tensor:
        """From 0."""
        return torch.arange(self._dataset.sizes["key"])

    def told(self, name: tuple[str, int]) -> tuple[Tensor, Tensor] | None:
        """The recorded layer with this call's number."""
        layer = self._layers.get(name)
        if layer is None or layer >= self._dataset.sizes["layer"]:
            return None
        row = self._dataset.isel(layer=layer)
        key, value = (torch.from_numpy(row[part].values) for part in ("key_vector", "value_vector"))
        return None if bool(key.isnan().all()) else (_present(key), _present(value))


def _present(array: Tensor) -> Tensor:
    """Without the heads and channels that narrower layers lack."""
    array = array[~array.isnan().flatten(1).all(1)]
    return array[..., ~array.isnan().flatten(0, 1).all(0)]


def source_of(edit: str, given: Any, model: Model, stack: str | None = None) -> Source:
    """A source from what users give: a source itself, a recording, or the path of a saved past, recording or memory.

    Raises:
        InputError: none of these, or a file that is neither a past nor a recording.
    """
    if isinstance(given, Recording):
        return RecordingSource(given, given.anatomy if given.model is model else model.anatomy, stack)
    given = opened(given, model)
    if isinstance(given, str | PathLike):
        return _loaded(Path(given), model, stack)
    if isinstance(given, Source):
        return given
    raise InputError(
        f"`{edit}`: {given!r} is nothing to listen to: give a Past, a recording, a memory, letters, or the path of one of them"
    )


def opened(given: Any, model: Model) -> Any:
    """A memory or letters (or what else has `heard_by`) for the model that listens, from itself or its path; else as it is."""
    if isinstance(given, str | PathLike) and not hasattr(given, "heard_by"):
        given = _folder(Path(given)) or given
    return given.heard_by(model) if hasattr(given, "heard_by") else given


def _folder(path: Path) -> Any:
    """What a folder holds, if that is a memory or letters; None otherwise."""
    import sociogram as sg  # the public face: memories and letters are made of what is here

    if (path / MEMORY).is_file():
        return sg.Memory(path)
    return sg.Letters(path) if next(path.glob("[0-9]*.safetensors"), None) else None


def _loaded(path: Path, model: Model, stack: str | None) -> Source:
    if path.is_dir():
        return RecordingSource(open_recording(path), model.anatomy, stack)
    from sociogram.steering.past import Past

    return Past.load(path, model)


def given_recording(edit: str, given: Any) -> None:
    """Refuse what is neither a recording nor a path.

    Raises:
        InputError: with what to give.
    """
    if not isinstance(given, Recording | str | PathLike):
        raise InputError(f"{edit} source={given!r}: give a recording, or the path of a saved one")


def recording(edit: str, given: Any) -> Recording:
    """The recording given, or the one saved at a path."""
    return given if isinstance(given, Recording) else open_recording(Path(given))
