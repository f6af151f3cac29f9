"""A note as a Markdown file: front matter with its id, date and sources, then its text, byte for byte."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from sociogram.core.errors import InputError
from sociogram.memory.note import KINDS, LENGTH, SHOWN, Note, Source, is_id, moment, new_note, storable

if TYPE_CHECKING:
    from yaml import Node

MARK = "sociogram"
"""The key that tells our front matter from another program's."""
FENCE = "---"
WORDS, CHARACTERS = 6, 40


class Fault(Exception):  # noqa: N818 - it never leaves the room: what is wrong in a file, and in which line
    """A front matter that cannot be read."""

    def __init__(self, line: int, what: str) -> None:
        """Take the line, from 1, and what is wrong there."""
        super().__init__(what)
        self.line, self.what = line, what


def written(note: Note) -> str:
    """The file of a note."""
    import yaml

    head: dict[str, Any] = {MARK: "note", "id": note.id, "made": note.made}
    if note.sources:
        head["sources"] = [{source.kind: source.what} for source in note.sources]
    block = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=float("inf"))
    return f"{FENCE}\n{block}{FENCE}\n{note.text}"


def file_name(note: Note, digits: int = SHOWN) -> str:
    """Date, first words and id."""
    words = re.findall(r"\w+", unicodedata.normalize("NFC", note.text[:400]).lower())
    return "-".join([note.made[:10], "-".join(words[:WORDS])[:CHARACTERS].strip("-") or "note", note.id[:digits]]) + ".md"


def read(content: str, made: str) -> tuple[Note, bool] | None:
    """The note of a file, and whether the file says its id; None for an empty one.

    A file whose front matter is not ours, or which has none, is text as a whole, and made when it is said here.

    Raises:
        Fault: front matter of ours that cannot be read.
        InputError: no text that can be stored.
    """
    parts = _split(content)
    block, text = ("", content) if parts is None else parts
    if not text.strip():
        return None
    head = _head(block)
    note = new_note(text, head.get("sources", ()), head.get("made", made))
    return (Note(head["id"], note.text, note.made, note.sources), True) if "id" in head else (note, False)


def _split(content: str) -> tuple[str, str] | None:
    """Front matter and text; None where there is none of ours."""
    first, *lines = content.split("\n")
    if first.rstrip() != FENCE:
        return None
    end = next((place for place, line in enumerate(lines) if line.rstrip() == FENCE), None)
    if not any(line.startswith(f"{MARK}:") for line in lines[: 1 if end is None else end]):
        return None
    if end is None:
        raise Fault(1, f"this front matter is not closed: a line {FENCE} is missing")
    return "\n".join(lines[:end]), "\n".join(lines[end + 1 :])


def _head(block: str) -> dict[str, Any]:
    """What front matter says: `id`, `made`, `sources`, as far as they are there."""
    found: dict[str, Any] = {}
    if not block:
        return found
    for key, value in _pairs(_composed(block), "the front matter"):
        name = _text(key)
        if name not in _READ:
            raise Fault(_line(key), f"{name!r} is nothing that notes have: {', '.join(_READ)}")
        if name in found:
            raise Fault(_line(key), f"{name} is there twice")
        found[name] = _checked(_READ[name], value)
    return found


def _composed(block: str) -> Node:
    """YAML as nodes, which know their lines and are texts whatever they look like."""
    import yaml

    try:
        found = yaml.compose(block, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        raise Fault(block.count("\n", 0, error.position) + 2, "a character that YAML does not allow") from error
    except yaml.MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line
        raise Fault(line + 2, f"no YAML: {error.problem}") from error
    except RecursionError as error:
        raise Fault(2, "no YAML that can be read: too many brackets in each other") from error
    if found is None:
        raise Fault(2, "no YAML")
    return found


def _checked(read: Callable[[Node], Any], value: Node) -> Any:
    try:
        return read(value)
    except InputError as error:
        raise Fault(_line(value), str(error)) from error


def _is_ours(value: Node) -> str:
    if (text := _text(value)) != "note":
        raise Fault(_line(value), f"{MARK}: {text!r} is not to be read by this version, which reads {MARK}: note")
    return text


def _id(value: Node) -> str:
    text = _text(value)
    if not is_id(text):
        raise Fault(_line(value), f"{text!r} is no id of a note: {LENGTH} digits from 0 to f")
    return text


def _sources(value: Node) -> tuple[Source, ...]:
    from yaml import SequenceNode

    if not isinstance(value, SequenceNode):
        raise Fault(_line(value), f"sources is a list, of lines such as '- {KINDS[0]}: https://example.org'")
    found = []
    for one in value.value:
        for kind, what in _pairs(one, "a source"):
            found.append(_checked(partial(_source, kind), what))
    return tuple(dict.fromkeys(found))


def _source(kind: Node, what: Node) -> Source:
    return Source(_text(what), _text(kind))


_READ: dict[str, Callable[[Node], Any]] = {
    MARK: _is_ours,
    "id": _id,
    "made": lambda value: moment(_text(value)),
    "sources": _sources,
}


def _pairs(node: Node, what: str) -> list[tuple[Node, Node]]:
    from yaml import MappingNode

    if not isinstance(node, MappingNode):
        raise Fault(_line(node), f"{what} is of lines such as 'name: value'")
    pairs: list[tuple[Node, Node]] = node.value
    return pairs


def _text(node: Node) -> str:
    from yaml import ScalarNode

    if not isinstance(node, ScalarNode):
        raise Fault(_line(node), "a text is wanted here, not a list")
    return storable(str(node.value))


def _line(node: Node) -> int:
    """In the file, from 1: the front matter begins in its second line."""
    return int(node.start_mark.line) + 2
