"""Some passages of a memory as a source to listen to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.core.errors import InputError, MemoryLimitError
from sociogram.memory.index import Search
from sociogram.memory.passages import Name, Told
from sociogram.memory.recall import Recall
from sociogram.memory.store import PASSAGES, Store, exchanged, quoted
from sociogram.memory.told import read_all, turning
from sociogram.models.model import Model
from sociogram.models.rotary import Rotation
from sociogram.steering.source import Found
from sociogram.watch.keep import allowed_bytes, readable
from sociogram.watch.provenance import foreign

_COLUMNS = ["id", "text", "origin", "made", "tokens", "positions"]


@final
class Collection:
    """Some passages of a memory as they were when it was made, as a source to listen to: `edits.attend(source=collection)`.

    `ages` `[token]` says how many of its passages were made after the token's own; what `forget` goes by.
    What is added to the memory later is not heard; what is removed cannot be, and is refused when it is asked for.
    """

    def __init__(self, store: Store, table: pd.DataFrame, rotation: Rotation | None = None, shuffle: int | None = None) -> None:
        """Made by `Memory.collection`; `rotation` is that of the model that listens."""
        self._store, self._table, self._rotation, self._shuffle = store, table, rotation, shuffle
        self.ids = tuple(table["id"])
        self.names = [str(token) for tokens in table["tokens"] for token in tokens]
        places = [int(place) for places in table["positions"] for place in places]
        self.positions: Int[Tensor, " token"] = torch.tensor(places, dtype=torch.long)
        about = store.about
        self._stripped = bool(about.get("stripped"))
        self._calls = {(path, int(n)): (i, int(heads)) for i, (path, n, heads, _) in enumerate(about.get("calls", []))}
        self._search = Search(store, self.ids, [len(tokens) for tokens in table["tokens"]])
        order = table["made"].argsort(kind="stable").argsort().to_numpy()
        ages = [len(order) - 1 - int(rank) for rank, tokens in zip(order, table["tokens"], strict=True) for _ in tokens]
        self.ages: Int[Tensor, " token"] = torch.tensor(ages, dtype=torch.long)
        self._recall = Recall(store, self.ids, shuffle)
        self._held: dict[Name, Told] = {}

    def heard_by(self, model: Model) -> Collection:
        """The same for a model that the memory is of.

        Raises:
            InputError: another model.
        """
        check(self._store, model)
        made = Collection(self._store, self._table, turning(model) if self._calls else None, self._shuffle)
        made._held = self._held
        return made

    def shuffled(self, seed: int = 0) -> Collection:
        """The control that a memory must beat: the same keys and states, but each tells what another token of it would tell (none
        its own, the same exchange in all layers and heads), and is followed by what followed another.
        """
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise InputError(f"shuffled(seed={seed!r}): a whole number from 0 up")
        return Collection(self._store, self._table, self._rotation, seed)

    def told(self, name: Name) -> Told | None:
        """Keys and values of all tokens for one attention call; None where the memory keeps none of it.

        Raises:
            InputError: some of the passages were removed, or no model listens yet (`heard_by`).
            MemoryLimitError: they take more than half of the memory that is free.
        """
        if not self._calls:
            raise InputError(f"{self!r} keeps states and no keys, so that no head can listen: add passages with keep=('keys',)")
        if name not in self._calls:
            return None
        if name not in self._held:
            number, heads = self._calls[name]
            self._check_room(number)
            every = len(self.ids) == self._store.count(PASSAGES)
            key, value = read_all(self._store, number, heads, self.ids, len(self.names), every=every)
            if self._shuffle is not None:
                value = value[:, torch.from_numpy(exchanged(len(self.names), self._shuffle))]
            self._held[name] = self._placed(name, key, self.positions), value
        return self._held[name]

    def nearest(
        self, name: Name, query: Float[Tensor, "head query d_head"], count: int, asking: Bool[Tensor, "head query"]
    ) -> Found | None:
        """The tokens whose keys answer each query best, both without positions, by the memory's index; None where an exact
        search over all keys is quicker, or where there is no index (`Memory.index`). Heads of which nobody asks are left out.

        Returns:
            Who was found, with keys and values; keys as at position 0, as such queries meet them.
        """
        if name not in self._calls or not self._stripped or self._shuffle is not None:
            return None
        number, heads = self._calls[name]
        found = self._search.nearest(number, heads, query, count, asking)
        if found is None:
            return None
        chosen, places, (key, value) = found
        return Found(chosen, places, self._placed(name, key, torch.zeros_like(places)), value)

    def recall(
        self, state: Float[Tensor, "query d_model"], count: int
    ) -> tuple[Float[Tensor, "query found"], Int[Tensor, "query found"]]:
        """Squared distances of the states nearest to these, and the tokens that followed them: see `edits.knn_lm`."""
        return self._recall.nearest(state, count)

    def _placed(self, name: Name, key: Tensor, positions: Tensor) -> Tensor:
        if not self._stripped:
            return key
        if self._rotation is None:
            raise InputError(f"{self!r}: say which model listens: collection.heard_by(model)")
        return self._rotation.place(name, key, positions).to(key.dtype)

    def _check_room(self, number: int) -> None:
        needed, allowed = 3 * self._search.bytes_of(number), allowed_bytes(None)
        if needed > allowed:
            raise MemoryLimitError(
                f"{self!r}: to hear all of it, {readable(needed)} of memory are needed for one attention call, and "
                f'{readable(allowed)} are allowed. Listen with top_k= and positions="none" after memory.index(), which reads '
                "what it finds, or to a smaller collection"
            )

    def __len__(self) -> int:
        """How many passages."""
        return len(self.ids)

    def __repr__(self) -> str:
        """How much of which memory."""
        return f"Collection of {len(self)} passages ({len(self.names)} tokens) of {str(self._store.folder)!r}"


def check(store: Store, model: Model) -> None:
    """Refuse a model that a memory is not of, or an empty one.

    Raises:
        InputError: with what tells the two apart.
    """
    about = store.about
    if not about or not store.count(PASSAGES):
        raise InputError(f"the memory {str(store.folder)!r} is empty: add a passage before anybody listens to it")
    if other := foreign(about, model):
        what, there, here = other
        raise InputError(
            f"{store.folder} is a memory of {about.get('model')} ({what} {there}), and {model.name} ({what} {here}) "
            "listens: its keys mean nothing there. Make one with this model"
        )


def listed(store: Store, ids: Sequence[str] | None) -> pd.DataFrame:
    """The passages in the order in which they were added, or those of these ids in theirs."""
    rows = store.rows(PASSAGES, _COLUMNS, None if ids is None else f"id IN ({quoted(ids)})")
    if rows is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in _COLUMNS})
    table: pd.DataFrame = rows.select(_COLUMNS).to_pandas().sort_values(["made", "id"], ignore_index=True)
    if ids is None:
        return table
    return table.set_index("id").loc[list(ids)].reset_index()[_COLUMNS]
