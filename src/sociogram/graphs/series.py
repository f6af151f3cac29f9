"""A series of graphs of one recording: which there are, and each as an array."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from sociogram.core.errors import InputError
from sociogram.graphs.source import Batch, Source
from sociogram.watch.access import check_index


class Series:
    """Graphs by number, by layer and head.

    Attributes:
        source: where the graphs come from.
    """

    def __init__(self, source: Source) -> None:
        """Made by `sg.networks`."""
        self.source = source

    @property
    def labels(self) -> pd.DataFrame:
        """One row per graph: its layer and head; -1 for all."""
        return self.source.labels.copy()

    @property
    def tokens(self) -> list[str]:
        """The tokens that the graphs are about."""
        return list(self.source.tokens)

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self.source.labels)

    def graph(self, layer: int | None = None, head: int | None = None) -> Batch:
        """One graph: `weights` and `allowed`, `[1, query, key]`."""
        return self.source.graph(self.number(layer, head))

    def weights(self, layer: int | None = None, head: int | None = None) -> np.ndarray:
        """The weights of one graph, `[query, key]`, float64.

        Raises:
            InputError: no such graph, or a layer or head that is needed and missing.
            RecordingError: the recording was streamed, so that they were never kept.
        """
        weights: np.ndarray = self.graph(layer, head).weights[0]
        return weights

    def number(self, layer: int | None = None, head: int | None = None) -> int:
        """The number of a graph among all.

        Raises:
            InputError: no such graph; says what to name.
        """
        by = self.source.by
        given = {"layer": layer, "head": head}
        needed = {"head": ("layer", "head"), "layer": ("layer",), "all": ()}[by]
        for name, value in given.items():
            if (name in needed) != (value is not None):
                raise InputError(f'by="{by}": a graph is named by {" and ".join(needed) or "nothing, there is one"}, got {given}')
        labels = self.source.labels
        if layer is not None:
            rec, stack = self.source.rec, self.source.stack
            layer = rec.layer(layer, stack=stack)
            if layer not in set(labels["layer"]):
                raise InputError(f"layer {layer} of {stack!r} has no messages to make a graph of")
        if head is not None:
            head = check_index("head", head, int((labels["layer"] == layer).sum()))
        wanted = np.array([-1 if layer is None else layer, -1 if head is None else head])
        return int(np.flatnonzero((labels.to_numpy() == wanted).all(1))[0])

    def labelled(self, values: np.ndarray) -> xr.DataArray:
        """A token-token array `[query, key]` with the tokens' numbers and texts as coordinates."""
        place = np.arange(len(self.tokens)) + int(self.source.drop_first)
        names = {"query_token": ("query", self.tokens), "key_token": ("key", self.tokens)}
        return xr.DataArray(values, dims=("query", "key"), coords={"query": place, "key": place, **names})

    def __repr__(self) -> str:
        """How many graphs, of what, and what is left out."""
        source = self.source
        first = ", without the first token" if source.drop_first else ""
        least = f", edges above {source.threshold:g}" if source.threshold else ""
        return (
            f"Networks({len(self)} graphs, by {source.by}, of {source.weight} between {len(source.tokens)} tokens "
            f"of {source.stack!r}{first}{least})"
        )
