"""What a note is: a text, when it was written, and the sources of its idea."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sociogram.core.errors import InputError

KINDS = ("read", "talk", "video")
"""What a source may be: something read, a talk that was heard, a video that was seen."""
DIGITS = "0123456789abcdef"
LENGTH = 32
"""Characters of an id."""
SHOWN = 8
"""So many of them are shown where that tells all notes apart."""


@dataclass(frozen=True)
class Source:
    """Where an idea comes from.

    Attributes:
        what: a URL or a title, in one line: white space of any kind between words counts as one space.
        kind: `"read"`, `"talk"` or `"video"`.

    Raises:
        InputError: no text, or another kind.
    """

    what: str
    kind: str = "read"

    def __post_init__(self) -> None:
        """Check it."""
        if not isinstance(self.what, str) or not self.what.strip():
            raise InputError(f"a source of a note is a URL or a title, not {self.what!r}")
        if self.kind not in KINDS:
            raise InputError(f"kind={self.kind!r}: a source is one of {', '.join(KINDS)}")
        object.__setattr__(self, "what", storable(" ".join(self.what.split())))

    def __str__(self) -> str:
        """Kind and text."""
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True)
class Note:
    """An idea as it was written down.

    Attributes:
        id: 32 hexadecimal digits.
        text: as it was given.
        made: when, as an ISO date and time in UTC.
        sources: where the idea comes from, in the order in which they were added.
    """

    id: str
    text: str
    made: str
    sources: tuple[Source, ...] = ()


def new_note(text: Any, sources: tuple[Source, ...] = (), made: str | None = None) -> Note:
    """A note with an id of its own, made now unless it is said when.

    Raises:
        InputError: no text, or none that can be stored.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"a note needs a text, not {text!r}")
    return Note(uuid.uuid4().hex, storable(text), moment(datetime.now(UTC).isoformat()) if made is None else made, sources)


def storable(text: str) -> str:
    """The text, if it can be written as UTF-8.

    Raises:
        InputError: half a surrogate pair, as undecodable bytes of a command line become.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{text[:40]!r} is no UTF-8 text: {error.reason}") from error
    return text


def moment(text: str) -> str:
    """An ISO date, or date and time, as it is kept: UTC to the microsecond. Without a time zone it is taken as UTC.

    Raises:
        InputError: no such date.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{text!r} is no date such as 2026-11-22 or 2026-11-22T08:30:00+00:00") from error
    return found.isoformat(timespec="microseconds")


def is_id(text: str) -> bool:
    """Whether this can be the id of a note."""
    return len(text) == LENGTH and set(text) <= set(DIGITS)
