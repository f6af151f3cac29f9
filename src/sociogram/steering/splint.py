"""Behind an output projection: what grafted heads said through it is said through their own instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sociogram.models.anatomy import Heard
from sociogram.models.doors import Doors
from sociogram.models.frozen import projection_matrix
from sociogram.models.seam import unwatched


@dataclass(eq=False)
class Splint:
    """The correction at one branch: its projection's output, minus what the grafted heads' slices made of them, plus what their
    own projections do.

    `projections` holds, by call, the projection `[d_value, d_model]` of each grafted head.
    """

    model: nn.Module
    step: Heard
    projections: Mapping[tuple[str, int], Mapping[int, Tensor]]
    name: tuple[str, int]
    taken: Tensor | None = field(default=None)

    def attach(self, doors: Doors) -> None:
        """Stand before and behind the projection."""
        doors.change(self.step.taken, self._look)
        doors.change(self.step.projected.site, self._correct, explained=True)

    def _look(self, taken: Tensor) -> Tensor:
        self.taken = taken
        return taken

    def _correct(self, out: Tensor) -> Tensor:
        own, taken = self.projections.get(self.name), self.taken
        if not own or taken is None:
            return out
        width = next(iter(own.values())).shape[0]
        module = self.model.get_submodule(self.step.projection)
        with unwatched(), torch.no_grad():
            matrix, _ = projection_matrix(module, taken.shape[-1], taken)
        slices = matrix.unflatten(0, (-1, width))
        said = taken.unflatten(-1, (-1, width))
        change = torch.stack([said[..., head, :] @ (other.to(matrix) - slices[head]) for head, other in own.items()]).sum(0)
        return out + change.reshape(out.shape)
