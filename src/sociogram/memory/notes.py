"""A small store of ideas: notes with their sources, found by meaning, in the same kind of folder as a memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from sociogram.core.errors import InputError
from sociogram.memory.cluster import Cluster
from sociogram.memory.finding import check, cosines_to, order, ordered, shortest
from sociogram.memory.note import SHOWN, Note, Source, new_note
from sociogram.memory.shelf import Shelf

if TYPE_CHECKING:
    from sociogram.core.address import Given
    from sociogram.memory.attaching import Attached
    from sociogram.memory.folder import Exported, Imported
    from sociogram.models.model import Model


def notes_folder() -> Path:
    """Where notes are kept unless it is said: `$SOCIOGRAM_NOTES`, or the platform's folder for a user's data."""
    chosen = os.environ.get("SOCIOGRAM_NOTES")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("sociogram") / "notes"


@final
class Notes:
    """Ideas in a folder: each a text with the time at which it was written and the sources of the idea.

    Meaning is by MiniLM (all-MiniLM-L6-v2): cosines of sentence embeddings. A note is named by its id or by a beginning of it
    that no other id has. Any number of processes may read while one writes; a note is there as a whole or not at all, also after
    `kill -9`. A folder that does not exist is made with the first note.

    Misleads: the sentence model reads the first 256 tokens of a note.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        """Open a folder of notes; the user's own when left out (`$SOCIOGRAM_NOTES`, or the platform's folder for a user's data).

        Raises:
            InputError: the folder holds something else.
            MissingExtraError: LanceDB is not installed (`pip install 'sociogram[memory]'`).
        """
        self.folder = notes_folder() if path is None else Path(path).expanduser()
        self._shelf = Shelf(self.folder)

    def add(self, text: str, *, sources: Sequence[Source] = (), again: bool = False) -> str:
        """Save a note.

        Returns:
            Its id; of a text that is there already, letter by letter, the id of that note, and nothing is saved (unless `again`).

        Raises:
            InputError: no text; a folder that cannot be made or written to.
        """
        note = new_note(text, tuple(sources))
        saved = self._shelf.save([note], again=again)
        return saved[0] if saved else self.same(text)[0]

    @property
    def table(self) -> pd.DataFrame:
        """Columns `id, text, made, sources`, in the order in which they were written."""
        return self._shelf.table

    def note(self, name: str) -> Note:
        """The note of this id, or of a beginning of it that is no other's.

        Raises:
            InputError: none, or several.
        """
        wanted, table = str(name).strip().lower(), self.table
        found = table[table["id"].str.startswith(wanted)] if wanted else table[:0]
        if found.empty:
            raise InputError(f"no note {name!r} in {self.folder}: notes.table (sociogram notes list) has those there are")
        if len(found) > 1:
            some = ", ".join(one[: shortest(table["id"])] for one in found["id"][:4])
            raise InputError(
                f"note {name!r}: {len(found)} ids begin so ({some}{' ...' if len(found) > 4 else ''}): give more of it"
            )
        return Note(*found.iloc[0][["id", "text", "made", "sources"]])

    def same(self, text: str) -> list[str]:
        """Ids of the notes with this very text, oldest first."""
        table = self.table
        return table["id"][table["text"] == text].tolist()

    def find(self, query: str, *, top: int = 5, least: float = -1.0) -> pd.DataFrame:
        """The notes nearest in meaning to a text: at most `top`, each with a cosine of at least `least`.

        Returns:
            `id, text, made, sources, cosine`, nearest first.

        Raises:
            InputError: nothing to look for; no such number.
            ModelNotFoundError: the sentence model cannot be had.
        """
        check(query, top, least)
        table, rows = self._shelf.understood()
        return ordered(table, cosines_to(query, rows), top, least)

    def near(self, name: str, *, top: int = 5, least: float = -1.0) -> pd.DataFrame:
        """The notes nearest in meaning to a note, which is not among them; as `find`."""
        note = self.note(name)
        check(note.text, top, least)
        table, rows = self._shelf.understood()
        itself = (table["id"] == note.id).to_numpy()
        cosines = np.clip(rows[~itself] @ rows[itself].sum(0), -1, 1)  # one row, or none if it was removed meanwhile
        return ordered(table[~itself], cosines, top, least)

    def cluster(self, query: str, *, top: int = 12, least: float = 0.3) -> Cluster:
        """The notes about something: those of `find`, with what tells how near they are to each other.

        Raises:
            InputError: as `find`; none is near enough, with the cosine of the nearest.
            ModelNotFoundError: the sentence model cannot be had.
        """
        check(query, top, least)
        table, rows = self._shelf.understood()
        cosines = cosines_to(query, rows)
        enough = order(cosines, len(table), least)
        if not len(enough):
            best = int(cosines.argmax()) if len(table) else None
            why = "there are no notes" if best is None else f"the nearest ({table['id'][best][:SHOWN]}) has {cosines[best]:.2f}"
            raise InputError(f"no note has a cosine of {least:g} or more to {query!r}: {why}. Ask for less, or something else")
        near, beyond = rows[enough[:top]], max(len(enough) - top, 0)
        return Cluster(query, ordered(table, cosines, top, least), near, top=top, least=least, beyond=beyond, total=len(table))

    def remove(self, *names: str) -> None:
        """Take notes away, with their sources.

        Raises:
            InputError: no such note.
        """
        ids = [self.note(name).id for name in names]
        with self._shelf.writing(*ids):
            self._shelf.store.remove(ids)

    def link(self, name: str, source: str, kind: str = "read") -> Note:
        """Say where the idea of a note comes from; one that it has already changes nothing.

        Args:
            name: which note.
            source: a URL or a title.
            kind: `"read"`, `"talk"` or `"video"`.

        Returns:
            The note as it is now.

        Raises:
            InputError: no such note; no source; another kind.
        """
        wanted, note = Source(source, kind), self.note(name)
        self._shelf.link(note.id, [wanted])
        return self.note(note.id)

    def unlink(self, name: str, source: str) -> Note:
        """Take a source from a note, of whatever kind.

        Raises:
            InputError: no such note; it has no such source, with those that it has.
        """
        note, wanted = self.note(name), " ".join(source.split())
        if wanted not in [one.what for one in note.sources]:
            those = "; ".join(map(str, note.sources)) or "none"
            raise InputError(f"note {note.id[:SHOWN]} has no source {wanted!r}; its sources: {those}")
        self._shelf.unlink(note.id, wanted)
        return self.note(note.id)

    def attach(
        self,
        path: str | PathLike[str],
        *,
        model: Model,
        query: str | None = None,
        top: int | None = None,
        least: float | None = None,
        layers: Given = None,
    ) -> Attached:
        """Make or update a memory from notes, for `edits.attend(source=sg.Memory(path))`.

        Each note becomes a passage whose origin is the note's id; those that are passages already are not read again, so that
        what was interrupted goes on where it stopped.

        Args:
            path: the memory's folder.
            model: who reads the notes, and will listen.
            query, top, least: which notes, as in `find`; all when left out.
            layers: whose keys and values are kept; all when left out.

        Raises:
            InputError: no notes; a memory of another model or of other layers; `top` or `least` without a query.
        """
        from sociogram.memory.attaching import attach

        return attach(self._chosen(query, top, least), Path(path), model, layers)

    def export(self, folder: str | PathLike[str], *, overwrite: bool = False) -> Exported:
        """Write each note as a Markdown file into a folder: front matter (id, date, sources), then its text byte for byte.

        Raises:
            InputError: a file of a note is there with other content (unless `overwrite`), in which case nothing is written; the
                folder cannot be made or written to.
        """
        from sociogram.memory.folder import export

        return export(self.table, Path(folder), overwrite=overwrite)

    def import_folder(self, folder: str | PathLike[str]) -> Imported:
        """Add the notes of a folder's Markdown files (`.md`, in folders within it too; not hidden ones).

        A file with front matter of ours is the note that it says; any other is one note, dated by the file. What is there
        already, by id or, of files without one, by text, is not added again; a note that is there with another text stays.

        Raises:
            InputError: no such folder, no Markdown file in it; files that cannot be read, with their line: then none is imported.
        """
        from sociogram.memory.folder import import_folder

        return import_folder(self._shelf, Path(folder))

    def _chosen(self, query: str | None, top: int | None, least: float | None) -> pd.DataFrame:
        if query is not None:
            return self.find(query, top=len(self) or 1 if top is None else top, least=-1.0 if least is None else least)
        if top is not None or least is not None:
            raise InputError("top and least choose among what a query finds: give a query, or leave them out")
        return self.table

    def __len__(self) -> int:
        """How many notes."""
        return len(self.table)

    def __repr__(self) -> str:
        """Where, and how many."""
        return f"Notes({str(self.folder)!r}: {len(self)} notes)"
