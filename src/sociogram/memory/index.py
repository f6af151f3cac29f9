"""Which of a memory's many keys answer a query best, by LanceDB's index.

The index knows distances, and attention knows products: each head's keys are stored a second time, less their mean (which changes
no order: it adds the same to all products of a query) and with one more channel that makes all of them equally long. The key
nearest to a query is then the one with the largest product (Bachrach et al. 2014, "Speeding up the Xbox recommender system"). The
query is brought to the length of the keys, which changes no order either, and lets the index look in the right parts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.memory.passages import Told
from sociogram.memory.store import KEPT, PASSAGES, Store, numbers, quoted, vectors
from sociogram.memory.told import check_there, key_column, parts, told_table
from sociogram.watch.keep import allowed_bytes

EXACT_UP_TO = 400_000
"""Tokens up to which all keys are compared, if they find room: an index is slower there (benchmarks/memory.py)."""
PROBED = 5
"""One of so many parts of the index is searched, and at least `LEAST`."""
LEAST = 32
SMALL = 4_096
"""Fewer rows are one part."""


def sought_column(head: int) -> str:
    """The column that a head's index is of."""
    return f"sought_{head}"


class Bent:
    """How one head's keys are made equally long: their mean, and the length."""

    def __init__(self, mean: Float[np.ndarray, " d_head"], length: float) -> None:
        """As measured on the keys that were there."""
        self.mean, self.length = mean, length

    @classmethod
    def of(cls, keys: Float[np.ndarray, "key d_head"]) -> Bent:
        """For these keys."""
        mean = keys.mean(0)
        return cls(mean, float(np.linalg.norm(keys - mean, axis=1).max()))

    def keys(self, keys: Float[np.ndarray, "key d_head"]) -> Float[np.ndarray, "key longer"]:
        """Keys as the index has them, one channel more."""
        centred = keys - self.mean
        rest = np.maximum(self.length**2 - (centred**2).sum(1, keepdims=True), 0)
        return np.concatenate([centred, np.sqrt(rest)], 1).astype(np.float32)

    def is_outgrown(self, keys: Float[np.ndarray, "key d_head"]) -> bool:
        """Whether some of the keys are longer than all that it was made for."""
        return bool((np.linalg.norm(keys - self.mean, axis=1) > self.length * (1 + 1e-6)).any())

    def queries(self, queries: Float[np.ndarray, "query d_head"]) -> Float[np.ndarray, "query longer"]:
        """Queries as the index is asked."""
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        scaled = queries * (self.length / np.where(lengths > 0, lengths, 1))
        return np.concatenate([scaled, np.zeros_like(lengths)], 1).astype(np.float32)


def build(store: Store, number: int, heads: Sequence[int]) -> None:
    """Write a call's table anew with what the index is of, and make the index of each of these heads."""
    table = store.rows(told_table(number))
    if table is None:
        raise InputError(f"{store.folder} is damaged: its table {told_table(number)} is gone")
    plain = [name for name in table.column_names if not name.startswith("sought_")]
    table, bent = table.select(plain), {}
    for head in heads:
        keys = numbers(table.column(key_column(head)))
        bent[head] = Bent.of(keys)
        table = table.append_column(sought_column(head), vectors(bent[head].keys(keys)))
    said = {str(head): {"mean": one.mean.tolist(), "length": one.length} for head, one in bent.items()}
    made = store.database.create_table(
        told_table(number), data=table.replace_schema_metadata({"sought": json.dumps(said)}), mode="overwrite"
    )
    for head in heads:
        made.create_index(sought_column(head), config=parted(len(table)))
    made.optimize(cleanup_older_than=KEPT)
    _note(store, number, outgrown=False)


def parted(rows: int) -> Any:
    """An index of so many rows: whole vectors in about as many parts as each has rows. The size is told, not the number: else the
    parts would be joined to few and large ones whenever the table's pieces are put together.
    """
    from lancedb.index import IvfFlat

    return IvfFlat(distance_type="l2", target_partition_size=rows // cells(rows))


def cells(rows: int) -> int:
    """In how many parts an index of so many rows lies."""
    return round(rows**0.5) if rows >= SMALL else 1


def probed(rows: int) -> int:
    """How many of them are searched."""
    return max(LEAST, cells(rows) // PROBED)


def bends(table: Any) -> dict[int, Bent]:
    """What a table's index is of, by head; nothing where it has none."""
    said = json.loads((table.schema.metadata or {}).get(b"sought", b"{}"))
    return {int(head): Bent(np.array(one["mean"], dtype=np.float32), one["length"]) for head, one in said.items()}


def completed(store: Store, number: int, rows: Any) -> Any:
    """New rows with the columns that the call's table has for its index."""
    if told_table(number) not in store.names():
        return rows
    for head, bent in bends(store.database.open_table(told_table(number))).items():
        keys = numbers(rows.column(key_column(head)))
        if bent.is_outgrown(keys):
            _note(store, number, outgrown=True)
        rows = rows.append_column(sought_column(head), vectors(bent.keys(keys)))
    return rows


def _note(store: Store, number: int, *, outgrown: bool) -> None:
    """Whether keys were added to a call that are longer than its index can tell: it is not asked then."""
    about = store.about
    known = set(about.pop("outgrown", []))
    if (str(number) in known) != outgrown:
        store.describe({**about, "outgrown": sorted(known ^ {str(number)})})


class Search:
    """Finds tokens of some passages by their keys."""

    def __init__(self, store: Store, ids: Sequence[str], lengths: Sequence[int]) -> None:
        """The passages in their order, and how many tokens each has."""
        self._store, self.ids, self.tokens = store, ids, int(sum(lengths))
        self._starts = dict(zip(ids, np.cumsum([0, *lengths[:-1]]).tolist(), strict=True)) if ids else {}
        self._room: dict[int, bool] = {}
        self._is_there = False

    def _opened(self, number: int) -> Any:
        if told_table(number) not in self._store.names():
            raise InputError(f"{self._store.folder} is damaged: its table {told_table(number)} is gone")
        return self._store.database.open_table(told_table(number))

    def bytes_of(self, number: int) -> int:
        """What the keys and values of all its tokens take, in bytes."""
        table = self._opened(number)
        width = sum(f.type.list_size * f.type.value_type.bit_width // 8 for f in table.schema if hasattr(f.type, "list_size"))
        return self.tokens * width

    def nearest(
        self,
        number: int,
        heads: int,
        query: Float[Tensor, "head query d_head"],
        count: int,
        asking: Bool[Tensor, "head query"],
    ) -> tuple[Int[Tensor, "head query count"], Int[Tensor, " found"], Told] | None:
        """For each query the columns of those found (any where nobody asks), which tokens the columns are, and their keys and
        values; None without an index, or where so few tokens are there that comparing all is quicker.
        """
        if self.tokens <= EXACT_UP_TO and self._fits(number):
            return None
        table, bent = self._table(number)
        if len(bent) < heads:
            return None
        count = min(count, self.tokens)
        found, rows = torch.full((*asking.shape, count), -1), []
        for head, (mine, which) in enumerate(zip(query.chunk(heads), asking.cpu().chunk(heads), strict=True)):
            if bool(which.any()):
                ids, tokens = self._asked(table, bent[head], head, mine[which.to(mine.device)], count)
                found.chunk(heads)[head][which] = torch.from_numpy(tokens).view(-1, count)
                rows.append(ids)
        if not rows:
            return None
        places = found[found >= 0].unique()
        return torch.searchsorted(places, found), places, self._fetched(table, heads, np.unique(np.concatenate(rows)), places)

    def _fits(self, number: int) -> bool:
        """Whether there is room to compare all keys of a call; looked at once."""
        if number not in self._room:
            self._room[number] = 3 * self.bytes_of(number) <= allowed_bytes(None)
        return self._room[number]

    def _table(self, number: int) -> tuple[Any, dict[int, Bent]]:
        """The table as it is now (older states of it do not last), and what its index is of."""
        if not self._is_there:
            check_there(self._store, self.ids)
            self._is_there = True
        table, about = self._opened(number), self._store.about
        if str(number) in about.get("outgrown", []):
            return table, {}
        indexed = {column for index in table.list_indices() for column in index.columns}
        return table, {h: one for h, one in bends(table).items() if sought_column(h) in indexed}

    def _asked(
        self, table: Any, bent: Bent, head: int, query: Float[Tensor, "query d_head"], count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row ids and tokens found for the queries of one key/value head, query by query."""
        asked = bent.queries(query.detach().cpu().float().numpy())
        search = table.search(list(asked), vector_column_name=sought_column(head)).distance_type("l2").limit(count)
        search = search.nprobes(probed(table.count_rows())).select(["passage", "place", "_distance"]).with_row_id(True)
        found = self._only_ours(search, table).to_pandas()
        by_query = found["query_index"] if len(asked) > 1 and "query_index" in found else np.zeros(len(found), dtype=int)
        found = found.assign(query_index=by_query).sort_values(["query_index", "_distance"], kind="stable")
        if (found["query_index"].value_counts().reindex(range(len(asked)), fill_value=0) != count).any():
            raise InputError(f"{self._store.folder}: the index found fewer than {count} tokens: memory.index() makes it anew")
        tokens = found["passage"].map(self._starts).to_numpy() + found["place"].to_numpy()
        return found["_rowid"].to_numpy(), tokens.astype(np.int64)

    def _only_ours(self, search: Any, table: Any) -> Any:
        """Without passages that the collection does not have."""
        if len(self.ids) == self._store.count(PASSAGES):
            return search
        return search.where(f"passage IN ({quoted(self.ids)})", prefilter=True)

    def _fetched(self, table: Any, heads: int, rows: np.ndarray, places: Tensor) -> Told:
        """Keys and values of rows, in the order of the tokens that they are."""
        wanted = ["passage", "place", *map(key_column, range(heads)), "value"]
        found = table.take_row_ids(rows.tolist()).select(wanted).to_arrow()
        starts = np.array([self._starts[one] for one in found.column("passage").to_pylist()])
        tokens = starts + found.column("place").to_numpy()
        assert (np.sort(tokens) == places.numpy()).all()
        return parts(found, heads, np.argsort(tokens))
