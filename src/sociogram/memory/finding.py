"""Which notes are nearest in meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from sociogram.core.errors import InputError, ModelNotFoundError
from sociogram.memory.note import SHOWN


def check(query: Any, top: Any, least: Any) -> None:
    """Refuse what cannot be looked for.

    Raises:
        InputError: no text; `top` is no number from 1 up; `least` is no cosine.
    """
    if not isinstance(query, str) or not query.strip():
        raise InputError(f"give a text to look for, not {query!r}")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise InputError(f"top={top!r}: a whole number from 1 up")
    if isinstance(least, bool) or not isinstance(least, int | float) or not -1 <= least <= 1:
        raise InputError(f"least={least!r}: a cosine, from -1 to 1")


def order(cosines: Float[np.ndarray, " note"], top: int, least: float) -> Int[np.ndarray, " found"]:
    """Places of the largest cosines, largest first; of equal ones the first."""
    places = np.argsort(-cosines, kind="stable")
    return places[cosines[places] >= least][:top]


def ordered(table: pd.DataFrame, cosines: Float[np.ndarray, " note"], top: int, least: float) -> pd.DataFrame:
    """The rows of the largest cosines, with these."""
    places = order(cosines, top, least)
    return table.iloc[places].assign(cosine=cosines[places].astype(float)).reset_index(drop=True)


def cosines_to(text: str, rows: Float[np.ndarray, "note width"]) -> Float[np.ndarray, " note"]:
    """How near notes are to a text; no model is asked where there are none."""
    if not len(rows):
        return np.zeros(0, np.float32)
    found: np.ndarray = np.clip(rows @ meant([text])[0], -1, 1)
    return found


def meant(texts: Sequence[str]) -> Float[np.ndarray, "text width"]:
    """What texts mean. The model's libraries are imported here, so that listing notes does not wait for them.

    Raises:
        ModelNotFoundError: the sentence model cannot be had.
    """
    from sociogram.memory import meaning

    return meaning.meanings(texts)


def meant_if_had(texts: Sequence[str]) -> Float[np.ndarray, "text width"] | None:
    """The same, or None without the sentence model: a note is saved all the same, and understood when it is looked for."""
    try:
        return meant(texts)
    except ModelNotFoundError:
        return None


def shortest(ids: Iterable[str]) -> int:
    """So many characters tell these ids apart, at least eight."""
    return max([SHOWN, *(1 + _shared(one, other) for one, other in pairwise(sorted(ids)))])


def _shared(one: str, other: str) -> int:
    """How many characters two ids begin with alike."""
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b), len(one) - 1)
