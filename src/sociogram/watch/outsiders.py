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

    names: list[str] = field(default_factory=list)
    _columns: dict[tuple[object, ...], int] = field(default_factory=dict)
    _sources: list[tuple[object, ...]] = field(default_factory=list)
    _told: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def in_columns(self, index: int, heard: HeardRun) -> HeardRun:
        """What one layer heard in one pass, every sender at its column; who tells nothing here has zeros."""
        told, seen = heard.told, Counter[tuple[object, ...]]()
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

    @property
    def sources(self) -> list[str]:
        """Of which source each sender is: what its edit calls it, else a number; no two sources of a name."""
        called, seen = dict[tuple[object, ...], str](), Counter[str]()
        for number, source in enumerate(dict.fromkeys(self._sources)):
            label = str(source[0]) or f"source {number}"
            seen[label] += 1
            called[source] = label if seen[label] == 1 else f"{label} ({seen[label]})"
        return [called[source] for source in self._sources]

    def _of(self, one: Outside, seen: Counter[tuple[object, ...]]) -> list[int]:
        """The columns of one source's keys. A source is told by its label and by who appended it; a second one of the same names
        in a layer is another source.
        """
        part = one.label, id(one.source)
        if one.places is not None:
            return [self._column(part, (place,), (name,)) for name, place in zip(one.names, one.places, strict=True)]
        source = *part, one.names
        seen[source] += 1
        start = self._column((*source, seen[source]), (), one.names)
        return list(range(start, start + one.count))

    def _column(self, source: tuple[object, ...], place: tuple[int, ...], names: tuple[str, ...]) -> int:
        """Where the senders of a source stand, or one of them; new ones come last."""
        column = source + place
        if column not in self._columns:
            self._columns[column] = len(self.names)
            self.names += names
            self._sources += [source] * len(names)
        return self._columns[column]
