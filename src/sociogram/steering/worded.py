"""What a receipt says of an edit, in words."""

from __future__ import annotations

from collections.abc import Mapping

from sociogram.steering.base import Edit
from sociogram.steering.output import OutputEdit
from sociogram.steering.residual import StreamEdit

LISTED = 8
"""How many of the positions at which a schedule was open are named in a line."""


def by_head(edit: Edit) -> bool:
    """Whether an edit counts by head."""
    return not isinstance(edit, StreamEdit | OutputEdit)


def words(edit: Edit, layers: int) -> tuple[str, str]:
    """What an edit counts, and what it moves."""
    if isinstance(edit, OutputEdit):
        return "predictions", "{:.3g} of probability moved"
    if isinstance(edit, StreamEdit):
        return f"tokens in {_layers(layers)}", "moved by {:.3g}"
    return f"entries in {_layers(layers)}", "{:.3g} of weight moved"


def opened(known: Mapping[int, bool] | None) -> str:
    """At how many of the positions met a schedule was open, and the first of them."""
    if known is None:
        return ""
    where = [position for position, said in sorted(known.items()) if said]
    listed = ", ".join(map(str, where[:LISTED])) + (" ..." if len(where) > LISTED else "")
    return f", open at {len(where):,} of {len(known):,} positions ({listed})"


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"
