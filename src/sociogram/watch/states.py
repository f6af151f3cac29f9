"""Where tokens stand before the last layer's MLP: the states by which one moment of reading is like another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.anatomy import Alone, Layer
from sociogram.models.model import Model
from sociogram.models.seam import unwatched, watching
from sociogram.models.trace import Site


def state_site(layers: Sequence[Layer]) -> Site:
    """Where a stack shows the stream before its last layer's MLP (before that layer, where it has none after attention).

    Raises:
        UnsupportedModelError: the last layer's parts cannot be read.
    """
    last = layers[-1]
    site = last.before
    for before, group in zip((None, *last.groups), last.groups, strict=False):
        if any(isinstance(step, Alone) and step.kind == "mlp" for step in group.steps):
            site = last.before if before is None else before.stop
    if site is None:
        raise UnsupportedModelError(f"{last.path} does not show the stream before its MLP, so that its states cannot be kept")
    return site


def unit(state: Float[Tensor, "*tokens d_model"]) -> Float[Tensor, "*tokens d_model"]:
    """States scaled to a mean square of 1, in float32 at least."""
    wide = state if state.dtype == torch.float64 else state.float()
    return wide / wide.pow(2).mean(-1, keepdim=True).sqrt().clamp_min(torch.finfo(wide.dtype).tiny)


def states_of(model: Model, ids: Sequence[int]) -> Float[Tensor, "token d_model"]:
    """The states of a text's tokens, by one pass of the plain model.

    Raises:
        UnsupportedModelError: the last layer's parts cannot be read.
    """
    given = {"input_ids": torch.tensor([list(ids)], device=model.device)}
    anatomy = model.find_anatomy(given)
    found: list[Tensor] = []

    def look(value: Tensor) -> Tensor:
        found.append(value.detach())
        return value

    with unwatched(), torch.no_grad(), watching(model.hf, []) as session:
        session.doors.change(state_site(anatomy.stack(anatomy.main)), look)
        model.hf(**given)
    return unit(found[0].reshape(len(ids), -1))
