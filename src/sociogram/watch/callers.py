"""Who is heard from outside in a run: a column for each sender of each source, the same in all layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sociogram.models.outside import Outside


@dataclass(eq=False)
class Callers:
    """Columns by source, in the order in which sources were first heard. A source is told by its label and its tokens' names; a
    second one of the same in a layer is another source.
    """

    starts: dict[tuple[str, tuple[str, ...], int], int] = field(default_factory=dict)

    def columns(self, outside: Sequence[Outside]) -> list[int]:
        """The columns of a layer's senders; new sources get new ones."""
        seen, columns = Counter[tuple[str, tuple[str, ...]]](), list[int]()
        for one in outside:
            source = one.label, one.names, seen[one.label, one.names]
            seen[one.label, one.names] += 1
            start = self.starts.setdefault(source, len(self.names))
            columns += range(start, start + one.count)
        return columns

    @property
    def names(self) -> list[str]:
        """What the senders are called."""
        return [name for _, names, _ in self.starts for name in names]

    @property
    def sources(self) -> list[str]:
        """Of which source each sender is: what its edit calls it, else a number; no two sources of a name."""
        found, seen = list[str](), Counter[str]()
        for number, (label, names, _) in enumerate(self.starts):
            label = label or f"source {number}"
            seen[label] += 1
            found += [label if seen[label] == 1 else f"{label} ({seen[label]})"] * len(names)
        return found
