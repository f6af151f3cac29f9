"""Tables of a memory on disk: passages, what they tell at each attention call, and their meanings, in a LanceDB folder.

A passage is there from the moment on at which its row in `passages` is: what it tells is written before. What is about to be
changed is noted in a file first, so that the next writer can take away what an interrupted one left behind.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from sociogram.core.errors import InputError, MissingExtraError
from sociogram.core.files import whole

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
"""Of the folder's layout."""
PASSAGES, MEANINGS, STATES = "passages", "meanings", "states"
ABOUT, PENDING, LOCK = "memory.json", "pending.json", "writer.lock"
EVERY = 64
"""Changes of a table after which its pieces are put together."""
KEPT = timedelta(minutes=2)
"""For so long states of a table that are no longer the last stay readable, for those who read just then."""
PATIENCE = 60.0
"""Seconds that a writer waits for another one."""


class Store:
    """The tables in one folder. Any number of readers, one writer at a time."""

    def __init__(self, folder: Path, kind: str = "memory") -> None:
        """Open a folder of this kind ("memory", "store of notes"), or make one.

        Raises:
            InputError: the folder holds something else, or cannot be made.
            MissingExtraError: LanceDB is not installed.
        """
        self.folder = folder
        self.database = _connected(folder, kind)
        if (about := self.about) and (there := about.get("kind", "memory")) != kind:
            raise InputError(f"{folder} is a {there}, not a {kind}: name another folder")

    @property
    def about(self) -> dict[str, Any]:
        """What the memory is of: empty until something was added."""
        file = self.folder / ABOUT
        if not file.is_file():
            return {}
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            written = about["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} cannot be read ({error}): this folder is no memory, or a broken one") from error
        if written != FORMAT:
            raise InputError(f"{self.folder} is a memory of format {written}, and this version of Sociogram reads {FORMAT}")
        return dict(about)

    @contextmanager
    def writing(self, *changed: str) -> Iterator[None]:
        """Inside, nobody else writes. `changed` are the passages that are being added or removed; if the writer does not come to
        an end, the next one takes away what is left of those that are not there.

        Raises:
            InputError: another writer does not come to an end, or the folder cannot be written to.
        """
        from filelock import FileLock, Timeout

        pending = self.folder / PENDING
        try:
            with FileLock(self.folder / LOCK, timeout=PATIENCE):
                if pending.is_file():
                    self._tidy(self._pending(pending))
                with whole(pending) as part:
                    part.write_text(json.dumps(changed), encoding="utf-8")
                with _plainly(self.folder, "written to"):
                    yield
                pending.unlink(missing_ok=True)
        except Timeout as error:
            raise InputError(
                f"{self.folder} is being written to by another process for more than {PATIENCE:.0f} s: wait until it has ended"
            ) from error
        except OSError as error:
            raise InputError(f"{self.folder} cannot be written to: {error.strerror or error}") from error

    def describe(self, about: Mapping[str, Any]) -> None:
        """Note what the memory is of."""
        with whole(self.folder / ABOUT) as part:
            part.write_text(json.dumps({"format": FORMAT, **about}, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def names(self) -> set[str]:
        """Which tables there are."""
        return {str(name) for name in self.database.list_tables().tables}

    def add(self, table: str, rows: pa.Table) -> None:
        """Append rows to a table, which is made where there is none: one step, that is done or not. Now and then a table's pieces
        are put together, without which each addition would take longer than the one before.
        """
        if table not in self.names():
            self.database.create_table(table, data=rows)
            return
        grown = self.database.open_table(table)
        grown.add(rows)
        if grown.version % EVERY == 0:
            grown.optimize(cleanup_older_than=KEPT)

    def rows(self, table: str, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table | None:
        """A table's rows; None where there is no such table."""
        if table not in self.names():
            return None
        with _plainly(self.folder, "read"):
            found = self.database.open_table(table).search()
            found = found if where is None else found.where(where)
            found = found if columns is None else found.select(list(columns))
            return found.to_arrow()

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.database.open_table(table).count_rows()) if table in self.names() else 0

    def clear(self) -> None:
        """Take all tables away."""
        for table in self.names():
            self.database.drop_table(table)

    def remove(self, ids: Sequence[str]) -> None:
        """Take passages away, their row in `passages` first, so that nobody sees a half one."""
        for table in (PASSAGES, *sorted(self.names() - {PASSAGES})):
            if table in self.names():
                self.database.open_table(table).delete(f"{_key(table)} IN ({quoted(ids)})")

    def _pending(self, file: Path) -> list[str]:
        """What an interrupted writer was changing; all that is not whole, where its note cannot be read."""
        try:
            return [str(one) for one in json.loads(file.read_text(encoding="utf-8"))]
        except ValueError:
            tables = self.names() - {PASSAGES}
            return sorted(
                {one for name in tables if (rows := self.rows(name, ["passage"])) for one in rows["passage"].to_pylist()}
            )

    def _tidy(self, changed: Sequence[str]) -> None:
        """Take away what is left of passages that are not there."""
        known = self.rows(PASSAGES, ["id"])
        there = set() if known is None else set(known.column("id").to_pylist())
        if gone := [one for one in changed if one not in there]:
            self.remove(gone)


@contextmanager
def _plainly(folder: Path, done: str) -> Iterator[None]:
    """What LanceDB meets on the disk, in our words: it raises RuntimeError for a full disk and for a file that is gone."""
    try:
        yield
    except RuntimeError as error:
        if "lance" not in str(error).lower():
            raise
        cause = re.search(r"No space left on device|Permission denied|Not found|Read-only file system", str(error))
        raise InputError(f"{folder} cannot be {done}: {cause[0] if cause else str(error).splitlines()[0]}") from error


def _key(table: str) -> str:
    return "id" if table == PASSAGES else "passage"


def quoted(ids: Sequence[str]) -> str:
    """Texts as SQL has them."""
    return ", ".join("'" + one.replace("'", "''") + "'" for one in ids)


def _connected(folder: Path, kind: str) -> Any:
    os.environ.setdefault("LANCEDB_LOG", "error")  # else it warns, unasked, of parts of an index that nothing fell into
    try:
        import lancedb
    except ImportError as error:
        raise MissingExtraError(f"a {kind} needs LanceDB: pip install 'sociogram[memory]'") from error
    try:
        if folder.is_file():
            raise InputError(f"{folder} is a file; a {kind} is a folder")
        if folder.is_dir() and _others(folder) and not (folder / ABOUT).is_file():
            raise InputError(f"{folder} holds other things than a {kind}: name a new folder, or one that a {kind} was made in")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
    return lancedb.connect(folder)


def _others(folder: Path) -> bool:
    """Whether there is more in it than what the first writer leaves behind if it is killed before it said what this is."""
    return any(not file.name.removeprefix(".").startswith((LOCK, "pending.", "memory.")) for file in folder.iterdir())


def vectors(array: Float[np.ndarray, "row width"]) -> pa.FixedSizeListArray:
    """Rows of numbers as a column."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).reshape(-1)), array.shape[1])


def numbers(column: pa.ChunkedArray) -> Float[np.ndarray, "row width"]:
    """A column as rows of numbers."""
    joined = column.combine_chunks()
    return np.asarray(joined.flatten().to_numpy(zero_copy_only=False)).reshape(len(joined), -1)


def exchanged(count: int, seed: int) -> Int[np.ndarray, " row"]:
    """Whose place each of so many takes when all are dealt out anew, none (of two or more) its own."""
    order = np.random.default_rng(seed).permutation(count)
    found = np.empty(count, dtype=np.int64)
    found[order] = np.roll(order, 1)
    return found
