"""Which column of a recording's arrays each sender from outside stands in: the same in all layers and passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sociogram.models.outside import Outside
from sociogram.models.run import HeardRun


@dataclass(eq=False)
class Outsiders:
    """The senders of one stack that are no tokens of the sequence, in the order in which they were first heard.

    All of a source's tokens have columns of their own; of a source that is heard in part, those that somebody heard.
    """

    _columns: dict[tuple[object, int], int] = field(default_factory=dict)
    _told: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def in_columns(self, index: int, heard: HeardRun) -> HeardRun:
        """What one layer heard in one pass, every sender at its column; who tells nothing here has zeros."""
        told, seen = heard.told, Counter[tuple[str, ...]]()
        columns = [column for one in told.outside for column in self._of(one, seen)]
        width, place = len(self.names), torch.tensor(columns, device=told.value.device)
        assert told.weights is not None
        before = self._told.get(index, (told.key[:, :, :0], told.value[:, :, :0]))  # what was met in passes before
        key, value = (
            F.pad(old, (0, 0, 0, width - old.shape[2])).index_copy_(2, place, new)
            for old, new in zip(before, (told.key, told.value), strict=True)
        )
        self._told[index] = key, value
        weights = told.weights.new_zeros(*told.weights.shape[:3], width).index_copy_(3, place, told.weights)
        return replace(heard, told=replace(told, value=value, key=key, weights=weights))

    def _of(self, one: Outside, seen: Counter[tuple[str, ...]]) -> list[int]:
        """The columns of one source's keys."""
        if one.places is not None:
            return [self._column((id(one.source), place), (name,)) for name, place in zip(one.names, one.places, strict=True)]
        start = self._column((one.names, seen[one.names]), one.names)
        seen[one.names] += 1
        return list(range(start, start + one.count))

    def _column(self, source: tuple[object, int], names: tuple[str, ...]) -> int:
        """Where the senders of a source stand, or one of them; new ones come last."""
        if source not in self._columns:
            self._columns[source] = len(self.names)
            self.names += names
        return self._columns[source]
