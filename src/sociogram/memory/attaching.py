"""Notes as a memory that a model can listen to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sociogram.core.errors import InputError
from sociogram.memory.note import SHOWN
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    import pandas as pd

    from sociogram.core.address import Given
    from sociogram.memory.memory import Memory
    from sociogram.models.model import Model


@dataclass(frozen=True)
class Attached:
    """What became of the notes.

    Attributes:
        memory: where their keys and values are now.
        added: how many were read by the model now.
        there: how many had been read before.
        positions: where `edits.attend(positions=)` can put them all: `"before"` the prompt, or, where the model has not as many
            positions, `"none"`; `"as_stored"` in models whose keys cannot be moved.
    """

    memory: Memory
    added: int
    there: int
    positions: str


def attach(table: pd.DataFrame, path: Path, model: Model, layers: Given = None) -> Attached:
    """Add notes to a memory, those that it has not: each a passage whose origin is the note's id.

    Each note is there or not, so that what was interrupted goes on where it stopped.

    Raises:
        InputError: no notes; a memory of another model or of other layers; a note that the model cannot read.
    """
    from sociogram.memory.memory import Memory

    if table.empty:
        raise InputError("there are no notes to attach")
    memory = Memory(path)
    if len(memory):
        memory.heard_by(model)  # refuses another model before anything is read
    known = set(memory.passages["origin"])
    new = table[~table["id"].isin(known)]
    with bar("attaching", len(new), len(new), unit="notes") as advance:
        for row in new.to_dict("records"):
            try:
                memory.add(row["text"], model=model, origin=row["id"], layers=layers)
            except InputError as error:
                raise InputError(f"note {row['id'][:SHOWN]}: {error}") from error
            advance(1)
    return Attached(memory, len(new), len(table) - len(new), _positions(memory, model))


def _positions(memory: Memory, model: Model) -> str:
    from sociogram.models.inputs import max_positions
    from sociogram.models.rotary import find_rotation

    if find_rotation(model).kind == "absolute":
        return "as_stored"
    most = max_positions(model.hf)
    return "before" if most is None or memory.stats["tokens"] < most else "none"
