"""What edits of other sequences are given: schedules, gates and gains, rates of forgetting; checked, or refused with words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.core.schedule import Schedule
from sociogram.steering.base import check_number
from sociogram.steering.source import Source


def choice(edit: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is none of those there are."""
    if value not in choices:
        raise InputError(f"{edit} {name}={value!r}: choose one of {', '.join(choices)}")


def as_schedule(edit: str, given: Any) -> Schedule | None:
    """A schedule as users give it, or as it was stored."""
    if given is None or isinstance(given, Schedule):
        return given
    if isinstance(given, dict):
        return Schedule.from_plain(given)
    raise InputError(f"{edit} schedule={given!r}: give an sg.Schedule(every=, open_for=, start=, over=) or sg.Schedule.when(...)")


def numbers(edit: str, name: str, given: Any) -> tuple[float, ...]:
    """A number, or one per head, as a tuple."""
    values = tuple(given) if isinstance(given, list | tuple) else (given,)
    for value in values:
        check_number(edit, name, value)
    if not values:
        raise InputError(f"{edit} {name}={given!r}: give a number, or one per head")
    return tuple(float(value) if isinstance(value, Real) else value for value in values)


def rate(edit: str, given: Any) -> float:
    """A rate of forgetting, or words that it is none."""
    check_number(edit, "forget", given)
    if not 0 <= given <= 1:
        raise InputError(
            f"{edit} forget={given!r}: a rate lies between 0 (nothing is forgotten) and 1 (the newest alone is heard)"
        )
    return float(given)


def forgotten(edit: str, source: Source, forget: float) -> Float[Tensor, " token"] | None:
    """What is added to the scores of a source's tokens, age * log(1 - forget), so that older ones are heard less; None for 0.

    Raises:
        InputError: a source that does not say how old its tokens are.
    """
    if not forget:
        return None
    ages = getattr(source, "ages", None)
    if ages is None:
        raise InputError(
            f"`{edit}`: this source does not say how old its tokens are, so that none can be forgotten: give letters or a memory"
        )
    return torch.where(ages > 0, ages * (math.log1p(-forget) if forget < 1 else -math.inf), 0.0)
