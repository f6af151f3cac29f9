"""A few readers of a streamed recording, seen whole: their weights over all keys, computed anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from torch import Tensor

from sociogram.core.errors import InputError, MemoryLimitError, UnsupportedModelError
from sociogram.models.attention import AttentionCall
from sociogram.models.rows import keys_gone, rows_of, some_rows
from sociogram.watch.access import CROSS, check_index, own_stack
from sociogram.watch.again import Again, check_again
from sociogram.watch.keep import allowed_bytes, readable

if TYPE_CHECKING:
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording


def dense(
    rec: Recording,
    queries: Sequence[Address] | slice,
    *,
    layers: Sequence[int] | None = None,
    stack: str | None = None,
    memory_limit: int | None = None,
) -> xr.Dataset:
    """All attention weights of a few readers, and the norms of all messages they heard: the model is run once more.

    Args:
        queries: the readers, by position or text; or a slice of positions.
        layers: only these; all when left out.
        stack: whose readers; the main stack's when left out.
        memory_limit: bytes the result may take; half of the free memory when left out.

    Returns:
        `weights` (layer, head, query, key) and `message` (norms; missing where a gate gives each reader value norms of its own),
        with `query` the readers' positions. NaN where nothing was read: layers without messages, heads that a layer lacks.

    Raises:
        InputError: no such reader or layer, or several sequences.
        RecordingError: the model is not at hand, or the edits of a steered run are not.
        MemoryLimitError: too many readers for the memory.
        UnsupportedModelError: the stack splits the tokens of a layer among several attention calls.
    """
    name = stack or rec.main
    rec._one("dense()", name)
    check_again(rec, "dense()")
    data = rec.stack(name)
    readers = _readers(rec, queries, name)
    wanted = range(data.sizes["layer"]) if layers is None else [rec.layer(i, stack=name) for i in layers]
    heads, keys = data.sizes["head"], data.sizes["key"]
    _check_memory(
        8 * len(wanted) * heads * len(readers) * keys, memory_limit, f"{len(readers):,} readers in {len(wanted)} layers"
    )
    shape = (len(wanted), heads, len(readers), keys)
    window = _Window(rec, name, readers, list(wanted), np.full(shape, np.nan, dtype=np.float32))
    window.run()
    coords = {"layer": list(wanted), "head": data["head"].values, "query": readers, "key": np.arange(keys)}
    texts = {axis: data[f"{axis}_token"].values for axis in ("query", "key")}
    named = {"query_token": ("query", texts["query"][readers]), "key_token": ("key", texts["key"])}
    found = xr.Dataset({"weights": (("layer", "head", "query", "key"), window.weights)}, coords={**coords, **named})
    sizes = data["value_norm"].isel(layer=list(wanted)) if "value_norm" in data and "head_gate" not in data else None
    if sizes is None:
        return found
    scale = np.abs(data["message_scale"].isel(layer=list(wanted), query=readers).fillna(1)) if "message_scale" in data else 1.0
    return found.assign(message=(found["weights"] * sizes.assign_coords(key=np.arange(keys)) * scale).astype(np.float32))


def _check_memory(needed: int, limit: int | None, what: str) -> None:
    if needed > (allowed := allowed_bytes(limit)):
        raise MemoryLimitError(
            f"dense() of {what} would take {readable(needed)}, more than the {readable(allowed)} allowed. "
            "Ask for fewer readers, for fewer layers (layers=...), or raise memory_limit (bytes)."
        )


def _readers(rec: Recording, queries: Sequence[Address] | slice, stack: str) -> list[int]:
    count = rec.stack(stack).sizes["query"]
    if isinstance(queries, slice):
        readers = list(range(*queries.indices(count)))
    elif isinstance(queries, int | str):
        readers = [rec.find("query", queries, stack=stack)]
    else:
        readers = [check_index("query", q, count) if isinstance(q, int) else rec.find("query", q, stack=stack) for q in queries]
    if not readers:
        raise InputError(f"dense({queries!r}): no reader among {count:,} tokens")
    return sorted(set(readers))


class _Window(Again):
    """An observer of the seam that computes the weights of some readers beside the model's own run."""

    def __init__(self, rec: Recording, stack: str, readers: list[int], layers: list[int], weights: np.ndarray) -> None:
        super().__init__(rec)
        self.readers, self.weights = readers, weights
        own = rec.anatomy.stack(own_stack(stack))
        cross = stack.endswith(CROSS)
        if any(len(step.calls) > 1 for i in layers for step in own[i].heard if step.cross == cross):
            raise UnsupportedModelError(
                f"dense(): the layers of {stack!r} split their tokens among several attention calls, in which readers are "
                'not found by their positions: record with keep="default", which holds all weights'
            )
        self.places = {
            name: place for place, i in enumerate(layers) for step in own[i].heard if step.cross == cross for name in step.calls
        }
        self.cross = cross

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """The rows of the readers that are in this call."""
        place = self.places.get(call.name)
        if place is None:
            return
        for row, reader in enumerate(self.readers):
            here = reader - self.past
            if 0 <= here < call.query.shape[2]:
                self._row(place, row, here, call, weights)

    def _row(self, place: int, row: int, here: int, call: AttentionCall, weights: Tensor | None) -> None:
        shift = 0 if self.cross else keys_gone(call, self.past)
        if weights is None:
            few, first = some_rows(call, here, here + 1)
            found = rows_of(few)[0][0, :, 0, : call.keys - first]
        else:
            found, first = weights[0, :, here, : call.keys], 0
        start = first + shift
        self.weights[place, : len(found), row] = 0
        self.weights[place, : len(found), row, start : start + found.shape[1]] = found.float().cpu().numpy()
