"""Where tokens stood, and which token came next: what a memory knows of texts besides what it can tell a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import InputError, MemoryLimitError
from sociogram.memory import index
from sociogram.memory.store import STATES, Store, exchanged, numbers, quoted, vectors
from sociogram.memory.told import check_there
from sociogram.watch.keep import allowed_bytes, readable

if TYPE_CHECKING:
    import pyarrow as pa

ENTRIES = 1 << 24
"""Numbers that are looked through at once."""


def state_rows(id: str, ids: Sequence[int], state: Float[Tensor, "token d_model"]) -> pa.Table:  # noqa: A002 - what it is
    """A row for every token that another one followed."""
    import pyarrow as pa

    places = np.arange(len(ids) - 1, dtype=np.int32)
    rows = vectors(state[:-1].detach().cpu().numpy())
    columns = {"passage": [id] * len(places), "place": pa.array(places), "next": pa.array(np.array(ids[1:], dtype=np.int64))}
    return pa.table({**columns, "state": rows})


def build(store: Store) -> None:
    """Make the index of the states."""
    table = store.database.open_table(STATES)
    table.create_index("state", config=index.parted(table.count_rows()))


def _bytes(table: Any, rows: int) -> int:
    """What so many states take while they are read."""
    kind = table.schema.field("state").type
    return int(2 * rows * kind.list_size * kind.value_type.bit_width // 8)


def _compared(
    state: Float[Tensor, "query d_model"], known: Float[Tensor, "state d_model"], count: int
) -> tuple[Float[Tensor, "query found"], Int[Tensor, "query found"]]:
    """Squared distances of the nearest of all, and which they are: found by products, which are quick, and measured by
    differences, which do not lose small ones.
    """
    apart = known.pow(2).sum(-1) - 2 * state @ known.T
    place = apart.topk(min(count, len(known)), largest=False).indices
    distance, order = (known[place] - state[:, None]).pow(2).sum(-1).sort(stable=True)
    return distance, place.gather(-1, order)


class Recall:
    """Finds the states of some passages that are nearest to others."""

    def __init__(self, store: Store, ids: Sequence[str], shuffle: int | None = None) -> None:
        """The passages, whose states are read when they are first asked for; `shuffle`: the tokens that followed are dealt out
        anew, by this seed.
        """
        self._store, self._ids, self._shuffle = store, ids, shuffle
        self._held: tuple[Tensor, Tensor] | None = None

    def nearest(
        self, state: Float[Tensor, "query d_model"], count: int
    ) -> tuple[Float[Tensor, "query found"], Int[Tensor, "query found"]]:
        """Squared distances of the nearest states, nearest first, and the tokens that followed them; all are compared up to
        400,000, beyond LanceDB's index is asked where there is one (`Memory.index`).

        Raises:
            InputError: none are kept, or another width.
            MemoryLimitError: there is no index, and they take more than half of the memory that is free.
        """
        if self._held is None and (found := self._by_index(state, count)) is not None:
            return found
        known, following = self._held = self._held or self._read()
        if known.shape[1] != state.shape[1]:
            raise InputError(f"states of {state.shape[1]} numbers are asked for, and {self._store.folder} keeps {known.shape[1]}")
        width = max(len(known), min(count, len(known)) * known.shape[1])
        blocks = state.cpu().to(known.dtype).split(max(1, ENTRIES // width))
        distance, place = (torch.cat(parts) for parts in zip(*(_compared(rows, known, count) for rows in blocks), strict=True))
        return distance, following[place]

    def _by_index(self, state: Tensor, count: int) -> tuple[Tensor, Tensor] | None:
        """What the index finds; None where there is none, or where comparing all is quicker."""
        if not self._store.count(STATES):
            raise InputError(f"{self._store.folder} keeps no states: add passages with memory.add(..., keep=('states',))")
        check_there(self._store, self._ids)
        table = self._store.database.open_table(STATES)
        if self._shuffle is not None or not table.list_indices():
            return None
        rows = table.count_rows(self._only_ours())
        small = rows <= index.EXACT_UP_TO and _bytes(table, rows) <= allowed_bytes(None)
        return None if small else self._asked(table, state, count)

    def _read(self) -> tuple[Tensor, Tensor]:
        table = self._store.database.open_table(STATES)
        rows = table.count_rows(self._only_ours())
        if (needed := _bytes(table, rows)) > (allowed := allowed_bytes(None)):
            raise MemoryLimitError(
                f"{rows:,} states take {readable(needed)}, and {readable(allowed)} are allowed: memory.index() makes an index, "
                "which is read from disk"
            )
        found = self._store.rows(STATES, ["state", "next"], self._only_ours())
        assert found is not None
        states, following = numbers(found.column("state")), found.column("next").to_numpy()
        if self._shuffle is not None:
            following = following[exchanged(len(following), self._shuffle)]
        return torch.from_numpy(states.copy()), torch.from_numpy(following.copy())

    def _only_ours(self) -> str:
        return f"passage IN ({quoted(self._ids)})"

    def _asked(self, table: Any, state: Tensor, count: int) -> tuple[Tensor, Tensor]:
        asked = state.detach().cpu().float().numpy()
        search = table.search(list(asked), vector_column_name="state").distance_type("l2").limit(count)
        search = search.nprobes(index.probed(table.count_rows())).where(self._only_ours(), prefilter=True)
        found = search.select(["next", "_distance"]).to_pandas()
        if "query_index" not in found:
            found["query_index"] = 0
        found = found.sort_values(["query_index", "_distance"], kind="stable")
        fewest = int(found["query_index"].value_counts().reindex(range(len(asked)), fill_value=0).min())
        if not fewest:
            raise InputError(f"{self._store.folder}: the index found nothing: memory.index() makes it anew")
        found = found.groupby("query_index").head(fewest)
        return tuple(torch.from_numpy(found[name].to_numpy().copy()).view(len(asked), fewest) for name in ("_distance", "next"))  # type: ignore[return-value]
