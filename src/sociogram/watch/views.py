"""Where tokens are said to be before they are projected: the residual stream itself, or a transformation of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.models.anatomy import NormOp
from sociogram.models.branch import scaled
from sociogram.models.seam import unwatched
from sociogram.watch.access import is_own, own_stack, tensor

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

VIEWS = ("plain", "centred", "sphere", "normed")

LOUD = 4.0
"""A token whose norm is at some stop more than so many times the median's is left out of fits, as the first token is."""

Look = Callable[[Float[Tensor, "token d_model"]], Float[Tensor, "token d_model"]]
"""All tokens at one stop, as a view sees them, in float64."""


@dataclass(frozen=True, eq=False)
class Stream:
    """One stack's residual stream, with what names its stops and tokens.

    Attributes:
        places: where each token is.
        parts: what happened before each stop.
        coords: coordinates of stops and tokens, for labelled arrays.
    """

    places: Float[Tensor, "stop token d_model"]
    parts: tuple[str, ...]
    coords: dict[str, Any]

    @cached_property
    def left_out(self) -> tuple[int, ...]:
        """Which tokens take no part in fits: the first, and those as loud as sinks at some stop; none if too few would be left.

        A few tokens of trained models jump far out for some layers, and a principal component would be about them alone.
        """
        tokens = self.places.shape[1]
        if tokens < 2:
            return ()
        norms = torch.stack([torch.linalg.vector_norm(place, dim=-1) for place in self.places])
        loud = (norms > LOUD * norms[:, 1:].median(1, keepdim=True).values).any(0)
        loud[0] = True
        found = torch.nonzero(loud)[:, 0].tolist()
        return tuple(found) if tokens - len(found) >= 2 else (0,)

    @cached_property
    def fitted(self) -> Int[np.ndarray, " token"]:
        """The tokens that take part in fits."""
        return np.setdiff1d(np.arange(self.places.shape[1]), self.left_out)

    def labelled(self, values: np.ndarray, dims: tuple[str, ...], **more: Any) -> xr.DataArray:
        """An array with these dims and the coordinates that belong to them."""
        coords = {name: c for name, c in self.coords.items() if (c[0] if isinstance(c, tuple) else name) in dims}
        return xr.DataArray(values, dims=dims, coords={**coords, **more})


def stream_of(rec: Recording, stack: str) -> Stream:
    """The stream of one stack of a recording of one sequence.

    Raises:
        InputError: several sequences, or a cross-attention, which has no stream of its own.
        RecordingError: the stream was not kept, or holds numbers that are not finite.
    """
    dataset = rec.stack(stack)
    if not is_own(stack):
        raise InputError(f"stack={stack!r} has no stream of its own: its readers are in {own_stack(stack)!r}")
    rec._one("flock()", stack)
    places = tensor(rec.need(dataset, "residual"))
    if not all(bool(place.isfinite().all()) for place in places):
        raise RecordingError(f"the stream of {stack!r} holds numbers that are not finite, so its tokens have no place to show")
    parts = tuple(str(part) for part in dataset["stop_part"].values)
    coords = {
        "stop": np.arange(places.shape[0]),
        "query": np.arange(places.shape[1]),
        "stop_layer": ("stop", dataset["stop_layer"].values),
        "stop_part": ("stop", dataset["stop_part"].values),
        "query_token": ("query", dataset["query_token"].values),
    }
    return Stream(places, parts, coords)


def look_of(rec: Recording, view: str, stack: str) -> Look:
    """The transformation that a view's name stands for.

    Raises:
        InputError: no such view, or a final norm that this stack does not have.
        RecordingError: the final norm was asked for and the model is not at hand.
    """
    looks: dict[str, Look] = {"plain": plain, "centred": centred, "sphere": sphere}
    if view in looks:
        return looks[view]
    if view != "normed":
        raise InputError(f"view={view!r}: choose one of {', '.join(VIEWS)}")
    return _normed(rec, stack)


def plain(places: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """The residual stream as it is. Misleads: late stops are larger, and one direction shared by all takes most of the room."""
    return places.double()


def centred(places: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """The stream without the mean of the stop's tokens, the first not counted: what tells tokens apart, not where all go.

    Misleads: a token that stands still while the others move is seen moving the other way.
    """
    wide = places.double()
    return wide - wide[1 if len(wide) > 1 else 0 :].mean(0)


def sphere(places: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """Each vector divided by its norm: directions alone, as a root-mean-square norm without gains hands them on.

    A vector of zeros has no direction and stays at the centre.
    """
    wide = places.double()
    return wide / wide.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)


def _normed(rec: Recording, stack: str) -> Look:
    """The stream after the model's final norm: where the unembedding would find it at each stop."""
    model = rec.model
    if model is None:
        raise RecordingError(
            "view='normed' needs the model's final norm: open the recording with sg.open_recording(path, model=...)"
        )
    head = rec.anatomy.head
    if stack != rec.main:
        raise InputError(f"view='normed': only {rec.main!r} ends in the model's final norm, not {stack!r}")
    if head.problem:
        raise InputError(f"view='normed' cannot be had of {model.name}: {head.problem}")
    like = next(model.hf.get_submodule(head.path).parameters())

    def look(places: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        with torch.no_grad(), unwatched():
            x = places.to(like)[None]
            for op in head.before:
                x = model.hf.get_submodule(op.path)(x) if isinstance(op, NormOp) else scaled(model.hf, x, op)
        return x[0].double().cpu()

    return look
