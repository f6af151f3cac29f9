"""What every question to graphs shares: whole numbers checked, shares taken, and the way to a picture."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing
from jaxtyping import Float

from sociogram.core.errors import InputError, MemoryLimitError
from sociogram.watch.keep import allowed_bytes, readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def check_count(name: str, value: object) -> None:
    """Refuse what is no whole number from 1 up.

    Raises:
        InputError: with the name and the value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}={value!r}: a whole number from 1 up")


def check_room(call: str, graphs: int, tokens: int, advice: str, limit: int | None = None, *, copies: int = 1) -> None:
    """Refuse to hold so many graphs at once where there is no room.

    Args:
        call: the user's, for the message. advice: what to do instead.
        graphs, tokens, copies: how many numbers of double precision: `copies * graphs * tokens**2`.
        limit: bytes allowed; half of the free memory when left out.

    Raises:
        MemoryLimitError: says how much it would be, and the advice.
    """
    needed, allowed = 8 * copies * graphs * tokens**2, allowed_bytes(limit)
    if needed > allowed:
        times = f", {copies} times while they are compared" if copies > 1 else ""
        raise MemoryLimitError(
            f"{call} would hold {readable(needed)} of weights ({graphs} graphs of {tokens} tokens{times}), more than the "
            f"{readable(allowed)} allowed: {advice}"
        )


def ratio(part: np.typing.ArrayLike, whole: np.typing.ArrayLike, least: float = 0.0) -> Float[np.ndarray, "*any"]:
    """`part / whole`; NaN where `whole` is not above `least`."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    shape = np.broadcast_shapes(part.shape, whole.shape)
    return np.asarray(np.divide(part, whole, out=np.full(shape, np.nan), where=whole > least))


def shares_of(weights: Float[np.ndarray, "*any key"]) -> Float[np.ndarray, "*any key"]:
    """Rows as shares of their sums; rows of zeros stay."""
    rows = weights.sum(-1, keepdims=True)
    return np.divide(weights, rows, out=np.zeros_like(weights), where=rows > 0)


def picture(name: str, *what: Any, **options: Any) -> Axes:
    """What `sg.plot.<name>` draws. Results have `plot` methods, and this is the one place where `graphs` looks to its right: when
    somebody asks for a picture, and never when anything is imported.
    """
    drawn: Axes = getattr(import_module("sociogram.plot"), name)(*what, **options)
    return drawn
