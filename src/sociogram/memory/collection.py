"""Some passages of a memory as a source to listen to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.memory.passages import Name, Told
from sociogram.memory.store import PASSAGES, Store, numbers
from sociogram.models.model import Model

_COLUMNS = ["id", "text", "origin", "made", "tokens", "positions"]


@final
class Collection:
    """Some passages of a memory as they were when it was made, as a source to listen to: `edits.attend(source=collection)`.

    `ages` `[token]` says how many of its passages were made after the token's own; what `forget` goes by.
    What is added to the memory later is not heard; what is removed cannot be, and is refused when it is asked for.
    """

    def __init__(self, store: Store, table: pd.DataFrame, check: Callable[[Model], None] | None = None) -> None:
        """Made by `Memory.collection`."""
        self._store, self._check = store, check
        self.ids = tuple(table["id"])
        self.names = [str(token) for tokens in table["tokens"] for token in tokens]
        places = [int(place) for places in table["positions"] for place in places]
        self.positions: Int[Tensor, " token"] = torch.tensor(places, dtype=torch.long)
        order = table["made"].argsort(kind="stable").argsort().to_numpy()
        ages = [len(order) - 1 - int(rank) for rank, tokens in zip(order, table["tokens"], strict=True) for _ in tokens]
        self.ages: Int[Tensor, " token"] = torch.tensor(ages, dtype=torch.long)
        self._calls = {(path, int(n)): (i, int(heads)) for i, (path, n, heads) in enumerate(store.about.get("calls", []))}
        self._held: dict[Name, Told] = {}

    def heard_by(self, model: Model) -> Collection:
        """Itself, for a model that the memory is of.

        Raises:
            InputError: another model.
        """
        if self._check is not None:
            self._check(model)
        return self

    def told(self, name: Name) -> Told | None:
        """Keys and values of all tokens for one attention call; None where the memory keeps none of it."""
        if name not in self._calls:
            return None
        if name not in self._held:
            self._held[name] = _read_rows(self._store, *self._calls[name], self.ids, len(self.names))
        return self._held[name]

    def __len__(self) -> int:
        """How many passages."""
        return len(self.ids)

    def __repr__(self) -> str:
        """How much of which memory."""
        return f"Collection of {len(self)} passages ({len(self.names)} tokens) of {str(self._store.folder)!r}"


def told_table(number: int) -> str:
    """What the table of the attention call of this number is called."""
    return f"told_{number}"


def _read_rows(store: Store, number: int, heads: int, order: Sequence[str], tokens: int) -> Told:
    """The rows of one call, passages in this order and tokens in theirs.

    Raises:
        InputError: some of the passages are gone.
    """
    table = store.rows(told_table(number))
    rank = {one: place for place, one in enumerate(order)}
    passage = np.array([] if table is None else [rank.get(one, -1) for one in table.column("passage").to_pylist()], dtype=int)
    if table is None or int((passage >= 0).sum()) != tokens:
        raise InputError(f"{store.folder}: a passage that is to be heard was removed meanwhile: make the collection again")
    places = np.lexsort((table.column("place").to_numpy(), passage))
    places = places[passage[places] >= 0]
    key, value = (
        torch.from_numpy(numbers(table.column(part))[places]).unflatten(1, (heads, -1)).transpose(0, 1)
        for part in ("key", "value")
    )
    return key, value


def listed(store: Store, ids: Sequence[str] | None) -> pd.DataFrame:
    """The passages in the order in which they were added, or those of these ids in theirs."""
    rows = store.rows(PASSAGES, _COLUMNS)
    if rows is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in _COLUMNS})
    table: pd.DataFrame = rows.select(_COLUMNS).to_pandas().sort_values(["made", "id"], ignore_index=True)
    if ids is None:
        return table
    return table.set_index("id").loc[list(ids)].reset_index()[_COLUMNS]
