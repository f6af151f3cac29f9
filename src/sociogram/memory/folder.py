"""Notes as a folder of Markdown files, out and in again: ids, dates, sources and texts come back exactly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sociogram.core.errors import InputError
from sociogram.core.files import whole
from sociogram.memory import markdown
from sociogram.memory.note import Note, moment

if TYPE_CHECKING:
    import pandas as pd

    from sociogram.memory.shelf import Shelf

SHOWN = 5
"""Of many faults so many are named."""


@dataclass(frozen=True)
class Exported:
    """What became of the notes.

    Attributes:
        folder: where their files are.
        written: how many were written; the files of the others were there, with the same content.
        notes: how many there are in all.
    """

    folder: Path
    written: int
    notes: int


@dataclass(frozen=True)
class Imported:
    """What became of the files.

    Attributes:
        added: ids of the new notes.
        there: how many files say what is there already.
        linked: ids of notes that were there and have sources from a file that they had not.
        differing: files of notes that are there with another text, which was left as it is.
        empty: files without any text.
    """

    added: tuple[str, ...]
    there: int
    linked: tuple[str, ...]
    differing: tuple[Path, ...]
    empty: tuple[Path, ...]


def export(table: pd.DataFrame, folder: Path, *, overwrite: bool = False) -> Exported:
    """Write each note as a Markdown file into a folder, which is made in one that exists.

    Raises:
        InputError: a file of a note is there with other content (unless `overwrite`), in which case nothing is written; the
            folder cannot be made or written to.
    """
    files = {folder / name: text.encode() for name, text in _files(table).items()}
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: name a folder")
        new = {file: content for file, content in files.items() if not file.exists() or file.read_bytes() != content}
        if not overwrite and (other := [file for file in new if file.exists()]):
            more = f" and {len(other) - 1} more" if len(other) > 1 else ""
            raise InputError(
                f"{other[0]}{more}: there already, with other content. Nothing was written: name another folder, or overwrite "
                "(notes.export(..., overwrite=True), sociogram notes export --overwrite)"
            )
        folder.mkdir(exist_ok=True)
        for file, content in new.items():
            with whole(file) as part:
                part.write_bytes(content)
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error.strerror or error}") from error
    return Exported(folder, len(new), len(files))


def _files(table: pd.DataFrame) -> dict[str, str]:
    """File name -> content. Two names that were the same have the whole id."""
    found: dict[str, str] = {}
    for row in table.to_dict("records"):
        note = Note(**{str(key): value for key, value in row.items()})
        name = markdown.file_name(note)
        found[markdown.file_name(note, len(note.id)) if name in found else name] = markdown.written(note)
    return found


def import_folder(shelf: Shelf, folder: Path) -> Imported:
    """Add the notes of a folder's Markdown files (`.md`, in folders within it too; not hidden ones).

    A file with our front matter is the note that it says, a file without is one note, whose date is the file's own. All files are
    read before any note is saved: where one cannot be read, none is. What is there already, by id or, of files without one, by
    text, is not added again; a note that is there with another text is left as it is, and told.

    Raises:
        InputError: no such folder, no Markdown file in it; files that cannot be read, each with its line.
    """
    read, empty = _read_all(folder)
    table = shelf.table
    known, texts = dict(zip(table["id"], table["text"], strict=True)), set(table["text"])
    new: list[Note] = []
    differing, linked = [], []
    for one in read:
        note = one.note
        if one.named and note.id in known:
            if known[note.id] != note.text:
                differing.append(one.file)
            elif note.sources and shelf.link(note.id, note.sources):
                linked.append(note.id)
        elif one.named or note.text not in texts:
            new.append(note)
            known[note.id] = note.text
            texts.add(note.text)
    added = tuple(shelf.save(new))
    there = len(read) - len(added) - len(linked) - len(differing)
    return Imported(added, there, tuple(linked), tuple(differing), tuple(empty))


@dataclass(frozen=True)
class _Read:
    """A file, the note in it, and whether it says the note's id."""

    file: Path
    note: Note
    named: bool


def _read_all(folder: Path) -> tuple[list[_Read], list[Path]]:
    """The files with their notes, those that say an id first; and the empty files.

    Raises:
        InputError: no such folder, no Markdown file in it; files that cannot be read, with what is wrong where.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is {'a file' if folder.exists() else 'not there'}: name a folder of Markdown files")
    files = sorted(file for file in folder.rglob("*.md") if _is_seen(file.relative_to(folder)) and file.is_file())
    if not files:
        raise InputError(f"{folder} has no Markdown file (.md)")
    read, empty, faults = list[_Read](), list[Path](), list[str]()
    first: dict[str, _Read] = {}
    for file in files:
        try:
            found = markdown.read(_content(file), moment(datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat()))
        except markdown.Fault as fault:
            faults.append(f"{file}, line {fault.line}: {fault.what}")
        except (InputError, OSError) as error:
            faults.append(f"{file}: {error}")
        else:
            one = None if found is None else _Read(file, *found)
            if one is None:
                empty.append(file)
            elif one.named and (other := first.setdefault(one.note.id, one)).note.text != one.note.text:
                faults.append(f"{file}: the same id as {other.file}, with another text")
            else:
                read.append(one)
    if faults:
        raise InputError(_told(faults))
    return sorted(read, key=lambda one: not one.named), empty


def _is_seen(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def _content(file: Path) -> str:
    """A file's text with its line ends as they are, without a byte order mark.

    Raises:
        Fault: no UTF-8 text.
    """
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise markdown.Fault(content.count(b"\n", 0, error.start) + 1, f"no UTF-8 text ({error.reason})") from error


def _told(faults: list[str]) -> str:
    some = "\n".join(faults[:SHOWN]) + (f"\nand {len(faults) - SHOWN} more" if len(faults) > SHOWN else "")
    which = "a file" if len(faults) == 1 else f"{len(faults)} files"
    return f"nothing was imported, since {which} cannot be read:\n{some}"
