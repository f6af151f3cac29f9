"""Counts of what edits met and did, kept while a run goes on and added up when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sociogram.steering.clock import Clock


@dataclass(eq=False)
class Count:
    """What one edit did at one layer, by head, over all passes. Added up when asked for: each pass only notes its numbers."""

    parts: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    @property
    def addressed(self) -> Tensor:
        """Entries addressed that exist."""
        return self.total(0)

    @property
    def changed(self) -> Tensor:
        """Entries whose weight became another."""
        return self.total(1)

    @property
    def moved(self) -> Tensor:
        """Sum of absolute changes of weights."""
        return self.total(2)

    def total(self, which: int) -> Tensor:
        """One of the three numbers, by head."""
        kind = torch.float64 if which == 2 else torch.long
        return torch.stack([part[which].to("cpu", kind) for part in self.parts]).sum(0)


class Counted(Protocol):
    """An act of some edit in some layer."""

    @property
    def number(self) -> int:
        """Which edit, by its place in the list."""

    @property
    def layer(self) -> int:
        """In which layer."""


@dataclass(eq=False)
class Tally:
    """Counts by (number of the edit, layer), and which paths the edited calls took."""

    counts: dict[tuple[int, int], Count] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    hidden: dict[int, int] = field(default_factory=dict)
    """Per edit, entries addressed that the model itself masks."""
    gone: dict[int, int] = field(default_factory=dict)
    """Per edit, entries addressed that another edit has cut."""

    clock: Clock | None = None
    """What is known of the moments at which schedules were asked."""
    openings: dict[int, dict[int, bool]] = field(default_factory=dict)
    """Per edit with a schedule over tokens, whether it was open to the readers addressed, by position."""

    def hear(self, number: int, at: range, found: Tensor, readers: Tensor) -> None:
        """Note to which of the readers at these positions a schedule was open; the same in all layers of a pass."""
        known = self.openings.setdefault(number, {})
        if at.stop - 1 in known:
            return
        known |= {p: o for p, o, addressed in zip(at, found.tolist(), readers.tolist(), strict=True) if addressed}

    def miss(self, act: Counted, missing: tuple[int, int]) -> None:
        """Entries addressed that do not exist: by the model's mask, by another edit."""
        for known, count in zip((self.hidden, self.gone), missing, strict=True):
            known[act.number] = known.get(act.number, 0) + count

    def add(self, act: Counted, addressed: Tensor, changed: Tensor, moved: Tensor) -> None:
        """Add what an edit did in one call; one number per head; for edits of the stream one number in all."""
        self.counts.setdefault((act.number, act.layer), Count()).parts.append((addressed, changed, moved))
