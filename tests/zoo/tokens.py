"""Special token ids: brought inside a small vocabulary, distinct ones kept distinct."""

from __future__ import annotations

import re
from typing import Any

FIRST_FREE = 100
ORDINARY = range(20, 90)
"""Ids that no special token takes: plain text is drawn from here."""

_ID_NAME = re.compile(r"(token_id|token_index|token_ids|_token|pad_idx|(start|end|pad|bos|eos|unk|mask|newline|patch)_id(s)?)$")
_NOT_AN_ID = re.compile(r"max_|num_|per_token|_per_|img_max|timestamps?_token_count")


def is_token_id(name: str) -> bool:
    """Whether an attribute holds the id (or ids) of a special token."""
    return bool(_ID_NAME.search(name)) and not _NOT_AN_ID.search(name)


class Relabelling:
    """Maps large ids to small ones, the same everywhere in one tree of configs."""

    def __init__(self) -> None:
        """Start with nothing mapped."""
        self._new: dict[int, int] = {}

    def __call__(self, value: Any) -> Any:
        """The small counterpart of an id, or of a list of ids."""
        if isinstance(value, list | tuple):
            return [self(item) for item in value]
        if isinstance(value, bool) or not isinstance(value, int) or value < ORDINARY.start:
            return value
        return self._new.setdefault(value, FIRST_FREE + len(self._new))
