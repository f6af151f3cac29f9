"""When something takes part: at which positions, at which of the tokens that a model writes, or in which layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.core.moment import Moment

OVER = ("positions", "generated", "layers")
_WORDS = {"positions": ("positions", ""), "generated": ("tokens", " that are written"), "layers": ("layers", "")}


@dataclass(frozen=True)
class Schedule:
    """Open for `open_for` out of every `every`, from number `start` on; before `start` closed. The plain one is always open.

    `over` says what is counted:

    - `"positions"`: where the reader stands, from the first token of the prompt on, the tokens that are written included;
    - `"generated"`: the reader among the tokens that the model writes, the first of them being number 0. A token of the prompt
      hears nothing then, and where nothing is written nobody does;
    - `"layers"`: the layer's number in its stack: of the layers that an edit addresses, those listen that are open.

    `Schedule.when(predicate)` opens where a function says so.

    Raises:
        InputError: numbers that are not whole, a period below 1, an opening that is longer than the period or empty, a negative
            start, or something else to count.
    """

    every: int = 1
    open_for: int = 1
    start: int = 0
    over: Literal["positions", "generated", "layers"] = "positions"
    predicate: Callable[[Moment], bool] | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, least in (("every", 1), ("open_for", 1), ("start", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"Schedule {name}={value!r}: a whole number of at least {least} is needed")
        if self.open_for > self.every:
            raise InputError(
                f"Schedule open_for={self.open_for} is longer than its period every={self.every}: make every at least as long"
            )
        if self.over not in OVER:
            raise InputError(f"Schedule over={self.over!r}: choose one of {', '.join(OVER)}")
        if self.predicate is not None:
            self._check_predicate()

    def _check_predicate(self) -> None:
        if not callable(self.predicate):
            raise InputError(f"Schedule.when({self.predicate!r}): give a function that takes an sg.Moment and says True or False")
        if dataclasses.replace(self, predicate=None) != Schedule():
            raise InputError(
                "a Schedule has numbers or a predicate, and both were given: ask the moment in the predicate (moment.position, "
                "moment.step)"
            )

    @classmethod
    def when(cls, predicate: Callable[[Moment], bool]) -> Schedule:
        """Open at the tokens of which `predicate(moment)` is True: asked once per token, before it is read.

        Of a token that the model has written, the moment has the distribution that the run itself gave for it. The tokens of a
        prompt are read in one pass, all at once, so that what the edited run will expect of them is not known beforehand: theirs
        is the plain model's, from one pass without edits before the run.

        Args:
            predicate: `lambda moment: moment.entropy > 2`, say; see `Moment`.

        Raises:
            InputError: what cannot be called; at a run, a predicate that fails, or says something else than True or False.
        """
        return cls(predicate=predicate)

    @overload
    def is_open(self, number: int) -> bool: ...
    @overload
    def is_open(self, number: Int[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]: ...
    def is_open(self, number: Any) -> Any:
        """Whether it is open at a number of what is counted (position, token written, layer), or at each of a tensor of them.

        Raises:
            InputError: a schedule with a predicate, which asks for moments (`is_open_at`).
        """
        if self.predicate is not None:
            raise InputError(f"{self} is asked about moments, not numbers: schedule.is_open_at(moment)")
        since = number - self.start
        return (since >= 0) & (since % self.every < self.open_for)

    def is_open_at(self, moment: Moment) -> bool:
        """Whether the predicate says so of a moment.

        Raises:
            InputError: there is no predicate; it fails, or says something else than True or False.
        """
        if self.predicate is None:
            raise InputError(f"{self} is asked about numbers, not moments: schedule.is_open(number)")
        where = f"position {moment.position} ({moment.text!r})"
        try:
            said: Any = self.predicate(moment)
        except Exception as error:
            raise InputError(f"Schedule.when({self.label}) failed at {where}: {type(error).__name__}: {error}") from error
        if isinstance(said, Tensor | np.ndarray) and said.shape == ():
            said = said.item()
        if not isinstance(said, bool | np.bool_):
            raise InputError(f"Schedule.when({self.label}) gave {said!r} at {where}: a predicate says True or False")
        return bool(said)

    @property
    def label(self) -> str:
        """What the predicate is called."""
        return str(getattr(self.predicate, "__name__", type(self.predicate).__name__)).strip("<>")

    def as_plain(self) -> dict[str, Any]:
        """For JSON; `from_plain` reads it.

        Raises:
            InputError: a predicate, which is code.
        """
        if self.predicate is not None:
            raise InputError(f"the schedule {self} is a function, which cannot be stored: give numbers, Schedule(every=, ...)")
        return {name: getattr(self, name) for name in _PLAIN}

    @classmethod
    def from_plain(cls, plain: Any) -> Schedule:
        """The schedule that `as_plain` wrote.

        Raises:
            InputError: anything else.
        """
        if not isinstance(plain, dict) or not set(plain) <= set(_PLAIN):
            raise InputError(f"{plain!r} is no schedule: it has {', '.join(_PLAIN)}")
        return cls(**plain)

    def __str__(self) -> str:
        """In words."""
        if self.predicate is not None:
            return f"when {self.label}"
        what, which = _WORDS[self.over]
        length = f"{self.open_for} of every {self.every} {what}" if self.open_for < self.every else f"all {what}"
        return f"{length}{which}" + (f" from {self.start} on" if self.start else "")


_PLAIN = ("every", "open_for", "start", "over")
