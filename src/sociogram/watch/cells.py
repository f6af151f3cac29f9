"""The cells that a worksheet is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Number = float | np.ndarray


@dataclass(frozen=True, eq=False)
class Cell:
    """One number or vector: its name, how it was computed, and the names of the cells it was computed from."""

    name: str
    value: Number
    formula: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of the calculation: a title, what happens in it, and the names of its cells."""

    title: str
    text: str
    cells: tuple[str, ...]


class Sheet:
    """Collects cells and steps."""

    def __init__(self) -> None:
        """Empty."""
        self.cells: dict[str, Cell] = {}
        self.steps: list[Step] = []

    def add(self, name: str, value: Number, formula: str, sources: Sequence[str] = ()) -> str:
        """Enter a cell; returns its name."""
        self.cells[name] = Cell(name, value, formula, tuple(sources))
        return name

    def step(self, title: str, text: str, cells: Sequence[str]) -> None:
        """Close a step."""
        self.steps.append(Step(title, text, tuple(cells)))
