"""What passages tell at one attention call, as a table: keys without positions, a column for each head, and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError, UnsupportedModelError
from sociogram.memory.passages import Name, Told
from sociogram.memory.store import PASSAGES, Store, numbers, quoted, vectors
from sociogram.models.model import Model
from sociogram.models.rotary import Rotation, find_rotation

if TYPE_CHECKING:
    import pyarrow as pa


def told_table(number: int) -> str:
    """What the table of the attention call of this number is called."""
    return f"told_{number}"


def key_column(head: int) -> str:
    """The column of one key/value head's keys."""
    return f"key_{head}"


def turning(model: Model) -> Rotation | None:
    """How a model's keys are turned by their positions; None where they cannot be turned back (learned positions)."""
    try:
        rotation = find_rotation(model)
    except UnsupportedModelError:
        return None
    return None if rotation.kind == "absolute" else rotation


def rows_of(id: str, told: Told, name: Name, positions: Tensor, rotation: Rotation | None) -> pa.Table:  # noqa: A002 - what it is
    """The rows of one passage at one call, keys without their positions where they can be turned back."""
    import pyarrow as pa

    key, value = told
    key = key if rotation is None else rotation.strip(name, key, positions)
    columns: dict[str, Any] = {"passage": [id] * key.shape[1], "place": pa.array(np.arange(key.shape[1], dtype=np.int32))}
    columns |= {key_column(head): vectors(_wide(one)) for head, one in enumerate(key)}
    return pa.table({**columns, "value": vectors(_wide(value.transpose(0, 1).flatten(1)))})


def _wide(array: Tensor) -> Float[np.ndarray, "row width"]:
    """As numbers of at least 32 bits, which hold the narrower ones exactly."""
    array = array.detach().cpu()
    found: np.ndarray = (array if array.dtype.itemsize >= 4 else array.float()).numpy()
    return found


def read_all(store: Store, number: int, heads: int, order: Sequence[str], tokens: int, *, every: bool) -> Told:
    """Keys (without positions) and values of some passages in this order, tokens in theirs; `every`: they are all there are.

    Raises:
        InputError: some of the passages are gone.
    """
    table = store.rows(told_table(number), where=None if every else f"passage IN ({quoted(order)})")
    rank = {one: place for place, one in enumerate(order)}
    passage = np.array([] if table is None else [rank.get(one, -1) for one in table.column("passage").to_pylist()], dtype=int)
    if table is None:
        raise InputError(f"{store.folder} is damaged: its table {told_table(number)} is gone")
    check_there(store, order)
    if int((passage >= 0).sum()) != tokens:
        raise InputError(f"{store.folder} is damaged: {told_table(number)} does not hold what its passages say")
    places = np.lexsort((table.column("place").to_numpy(), passage))
    return parts(table, heads, places[passage[places] >= 0])


def check_there(store: Store, order: Sequence[str]) -> None:
    """Refuse passages of which some were removed.

    Raises:
        InputError: some of the passages are gone.
    """
    known = store.rows(PASSAGES, ["id"])
    if known is None or not set(order) <= set(known.column("id").to_pylist()):
        raise InputError(f"{store.folder}: a passage that is to be heard was removed meanwhile: make the collection again")


def parts(table: pa.Table, heads: int, order: np.ndarray) -> Told:
    """The keys and values in some rows of a table, in this order."""
    keys = [torch.from_numpy(numbers(table.column(key_column(head)))[order]) for head in range(heads)]
    value = torch.from_numpy(numbers(table.column("value"))[order])
    return torch.stack(keys), value.unflatten(1, (heads, -1)).transpose(0, 1)
