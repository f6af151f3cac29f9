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


def state_rows(id: str, ids: Sequence[int], state: Float[Tensor, "token d_model"]) -> pa.Table:  # noqa: A002 - what it is
    """A row for every token that another one followed."""
    import pyarrow as pa

    places = np.arange(len(ids) - 1, dtype=np.int32)
    rows = vectors(state[:-1].detach().cpu().numpy())
    columns = {"passage": [id] * len(places), "place": pa.array(places), "next": pa.array(np.array(ids[1:], dtype=np.int64))}
    return pa.table({**columns, "state": rows})


def build(store: Store) -> None:
    """Make the index of the states."""
    from lancedb.index import IvfFlat

    table = store.database.open_table(STATES)
    table.create_index("state", config=IvfFlat(distance_type="l2", num_partitions=index.cells(table.count_rows())))


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
        if not (rows := self._store.count(STATES)):
            raise InputError(f"{self._store.folder} keeps no states: add passages with memory.add(..., keep=('states',))")
        if self._shuffle is None and rows > index.EXACT_UP_TO and (table := self._indexed()) is not None:
            return self._asked(table, state, count)
        if self._held is None:
            check_there(self._store, self._ids)
            self._held = self._read(rows)
        known, following = self._held
        if known.shape[1] != state.shape[1]:
            raise InputError(f"states of {state.shape[1]} numbers are asked for, and {self._store.folder} keeps {known.shape[1]}")
        apart = torch.cdist(state.cpu().to(known.dtype), known, compute_mode="donot_use_mm_for_euclid_dist")
        distance, place = apart.topk(min(count, len(known)), largest=False)
        return distance**2, following[place]

    def _read(self, rows: int) -> tuple[Tensor, Tensor]:
        table = self._store.database.open_table(STATES)
        width = table.schema.field("state").type
        needed, allowed = 2 * rows * width.list_size * width.value_type.bit_width // 8, allowed_bytes(None)
        if needed > allowed:
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

    def _indexed(self) -> Any:
        table = self._store.database.open_table(STATES)
        return table if table.list_indices() else None

    def _asked(self, table: Any, state: Tensor, count: int) -> tuple[Tensor, Tensor]:
        check_there(self._store, self._ids)
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
