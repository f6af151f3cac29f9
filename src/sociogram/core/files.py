"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


class whole:  # noqa: N801 - used like a function
    """A file that is whole or not there: `with whole(path) as part` writes `part`, which then takes the place of `path`.

    Whatever ends the block early leaves an older file as it was, and nothing half written. `part` lies in the same folder and
    has the same ending.
    """

    def __init__(self, path: Path) -> None:
        """Take the path that shall be."""
        self.path, self.part = path, path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")

    def __enter__(self) -> Path:
        """Where to write meanwhile."""
        return self.part

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Put it in place, or take it away."""
        try:
            if kind is None:
                self.part.replace(self.path)
        finally:
            self.part.unlink(missing_ok=True)
