"""Notes: a small store of ideas, found by meaning, shared as a page, heard by a model (`pip install 'sociogram[memory]'`).

`Notes` is the store; a `Note` has a text, a date and its `Source`s. `to_html` makes a page of a `Cluster`, as `cluster` has it.
"""

from __future__ import annotations

from sociogram.memory.attaching import Attached
from sociogram.memory.cluster import Cluster
from sociogram.memory.finding import shortest
from sociogram.memory.folder import Exported, Imported
from sociogram.memory.note import KINDS, Note, Source
from sociogram.memory.notes import Notes, notes_folder
from sociogram.studio.notes_page import to_html

__all__ = [
    "KINDS",
    "Attached",
    "Cluster",
    "Exported",
    "Imported",
    "Note",
    "Notes",
    "Source",
    "notes_folder",
    "shortest",
    "to_html",
]
