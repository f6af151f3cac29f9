"""Notes on disk: what is kept of each, in the tables of a memory's folder."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from sociogram.memory.finding import meant, meant_if_had
from sociogram.memory.note import Note, Source
from sociogram.memory.store import MEANINGS, PASSAGES, Store, numbers, vectors
from sociogram.watch.progress import bar

KIND, SOURCES = "store of notes", "sources"
COLUMNS = ["id", "text", "made"]
BATCH = 32
"""So many notes are saved at once, when there are many."""


class Shelf:
    """The notes of one folder. A folder that does not exist is made by the first writer."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            InputError: the folder holds something else.
            MissingExtraError: LanceDB is not installed.
        """
        self.folder = folder
        if folder.exists():
            self.store  # noqa: B018 - what cannot be opened is refused here

    @property
    def table(self) -> pd.DataFrame:
        """Columns `id, text, made, sources`, in the order in which they were written."""
        rows = self._rows(PASSAGES, COLUMNS)
        if rows is None:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in [*COLUMNS, "sources"]})
        frame: pd.DataFrame = rows.to_pandas().sort_values(["made", "id"], ignore_index=True)[COLUMNS]
        of = self._sources()
        return frame.assign(sources=pd.Series([of.get(one, ()) for one in frame["id"]], dtype=object))

    def save(self, some: Sequence[Note], *, again: bool = True) -> list[str]:
        """Save notes, many at a time; those whose id (and, unless `again`, whose text) is there already are left out.

        Returns:
            Ids of those that were saved.
        """
        saved: list[str] = []
        with bar("saving", len(some), len(some) // BATCH, unit="notes") as advance:
            for start in range(0, len(some), BATCH):
                batch = some[start : start + BATCH]
                known = meant_if_had([note.text for note in batch])
                with self.writing(*(note.id for note in batch)):
                    saved += self._put(batch, known, again)
                advance(len(batch))
        return saved

    @cached_property
    def store(self) -> Store:
        """Its tables.

        Raises:
            InputError: the folder holds something else, or cannot be made.
            MissingExtraError: LanceDB is not installed.
        """
        return Store(self.folder, KIND)

    @contextmanager
    def writing(self, *ids: str) -> Iterator[None]:
        """Inside, nobody else writes to the folder, which is one of notes from then on."""
        with self.store.writing(*ids):
            if not self.store.about:
                self.store.describe({"kind": KIND})
            yield

    def link(self, note: str, some: Sequence[Source]) -> list[Source]:
        """Add sources to a note, those that it has not; these are returned."""
        with self.writing():
            new = [source for source in some if source not in self._sources().get(note, ())]
            if new:
                self.store.add(SOURCES, _source_rows([(note, source) for source in new]))
        return new

    def unlink(self, note: str, what: str) -> None:
        """Take a source from a note, of whatever kind."""
        with self.writing():
            rows = self.store.rows(SOURCES)
            found = [] if rows is None else rows.to_pylist()
            if gone := [row["number"] for row in found if (row["passage"], row["what"]) == (note, what)]:
                self.store.database.open_table(SOURCES).delete(f"number IN ({', '.join(map(repr, gone))})")

    def _put(self, some: Sequence[Note], known: Float[np.ndarray, "note width"] | None, again: bool) -> list[str]:
        """Save notes, what they mean first and they themselves last, from which moment on they are there."""
        import pyarrow as pa

        table = self.table
        ids, texts = set(table["id"]), set() if again else set(table["text"])
        new = [place for place, note in enumerate(some) if note.id not in ids and note.text not in texts]
        if not new:
            return []
        some, known = [some[place] for place in new], None if known is None else known[new]
        if known is not None:
            self.store.add(MEANINGS, pa.table({"passage": [note.id for note in some], "vector": vectors(known)}))
        if links := [(note.id, source) for note in some for source in note.sources]:
            self.store.add(SOURCES, _source_rows(links))
        self.store.add(PASSAGES, pa.table({name: [getattr(note, name) for note in some] for name in COLUMNS}))
        return [note.id for note in some]

    def _rows(self, table: str, columns: Sequence[str] | None = None) -> Any:
        return self.store.rows(table, columns) if self.folder.exists() else None

    def understood(self) -> tuple[pd.DataFrame, Float[np.ndarray, "note width"]]:
        """All notes and what they mean, the same row in both; those that nobody has understood yet are now."""
        table = self.table
        done = self._rows(MEANINGS, ["passage"])
        known = set() if done is None else set(done.column("passage").to_pylist())
        self._understand(table[~table["id"].isin(known)])
        found = self._rows(MEANINGS)
        if found is None:
            return table[:0], np.zeros((0, 1), np.float32)
        places = {one: place for place, one in enumerate(found.column("passage").to_pylist())}
        table = table[table["id"].isin(places)].reset_index(drop=True)
        return table, numbers(found.column("vector"))[[places[one] for one in table["id"]]]

    def _understand(self, new: pd.DataFrame) -> None:
        """Store what notes mean that were saved without the sentence model."""
        import pyarrow as pa

        with bar("reading", len(new), len(new) // BATCH, unit="notes") as advance:
            for start in range(0, len(new), BATCH):
                some = new[start : start + BATCH]
                found = meant(some["text"].tolist())
                with self.writing():
                    self.store.add(MEANINGS, pa.table({"passage": some["id"].tolist(), "vector": vectors(found)}))
                advance(len(some))

    def _sources(self) -> dict[str, tuple[Source, ...]]:
        """Id -> sources, in the order in which they were added."""
        rows, found = self._rows(SOURCES), dict[str, tuple[Source, ...]]()
        for row in [] if rows is None else sorted(rows.to_pylist(), key=lambda row: row["place"]):
            found[row["passage"]] = (*found.get(row["passage"], ()), Source(row["what"], row["kind"]))
        return found


def _source_rows(links: Sequence[tuple[str, Source]]) -> Any:
    """Sources as rows. `place` orders them by when they were added."""
    import pyarrow as pa

    now = time.time_ns()
    return pa.table(
        {
            "passage": [note for note, _ in links],
            "number": [uuid.uuid4().hex for _ in links],
            "place": [now + place for place in range(len(links))],
            "what": [source.what for _, source in links],
            "kind": [source.kind for _, source in links],
        }
    )
