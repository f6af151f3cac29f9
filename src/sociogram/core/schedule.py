"""When something takes part: on which of a model's positions, counted from the first one that it writes or reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, overload

from jaxtyping import Bool, Int
from torch import Tensor

from sociogram.core.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """Open for `open_for` positions out of every `every`, from `start` on; before `start` closed. The plain one is always open.

    Raises:
        InputError: numbers that are not whole, a period below 1, an opening that is longer than the period or empty, or a
            negative start.
    """

    every: int = 1
    open_for: int = 1
    start: int = 0

    def __post_init__(self) -> None:
        """Check the three numbers."""
        for name, least in (("every", 1), ("open_for", 1), ("start", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"Schedule {name}={value!r}: a whole number of at least {least} is needed")
        if self.open_for > self.every:
            raise InputError(
                f"Schedule open_for={self.open_for} is longer than its period every={self.every}: make every at least as long"
            )

    @overload
    def is_open(self, position: int) -> bool: ...
    @overload
    def is_open(self, position: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]: ...
    def is_open(self, position: Any) -> Any:
        """Whether it is open at a position, or at each of a tensor of positions."""
        since = position - self.start
        return (since >= 0) & (since % self.every < self.open_for)

    def as_plain(self) -> dict[str, int]:
        """For JSON; `from_plain` reads it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: Any) -> Schedule:
        """The schedule that `as_plain` wrote.

        Raises:
            InputError: anything else.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(plain, dict) or not set(plain) <= known:
            raise InputError(f"{plain!r} is no schedule: it has {', '.join(sorted(known))}")
        return cls(**plain)

    def __str__(self) -> str:
        """In words."""
        length = f"{self.open_for} of every {self.every} positions" if self.open_for < self.every else "all positions"
        return f"{length} from {self.start} on" if self.start else length
