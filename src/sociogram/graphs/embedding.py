"""What `networks.embed` gives: the tokens of graphs as points, and the questions that can be put to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from sociogram.core.errors import InputError
from sociogram.graphs.asked import picture
from sociogram.graphs.matrices import place_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from sociogram.watch.arrays import Address


@dataclass(frozen=True, eq=False)
class Embedding:
    """Tokens as points.

    Attributes:
        data: `reader` and `sender`, where each token is as who reads and as who is read, `[graph, token, component]` (of
            `"mase"` `[token, component]`, one for all graphs); `singular_value`; `residual`, how far a component is from a
            singular vector, as a share of the largest value (0 where all were computed); of `"mase"` also `score`
            `[graph, component, other]`, each graph in the common space, and `reader_value`, `sender_value`; of `"lse"`
            `reader_scale, sender_scale, mean_strength`, what the Laplacian divides by. Coordinates name layer, head, token, text.
        method: how it was made.
    """

    data: xr.Dataset
    method: str

    @property
    def dimension(self) -> int:
        """How many components there are."""
        return int(self.data.sizes["component"])

    def graph(self, layer: int | None = None, head: int | None = None) -> xr.Dataset:
        """The part of one graph.

        Raises:
            InputError: no such graph, or none named where there are several.
        """
        layers, heads = self.data["layer"].values, self.data["head"].values
        fits = np.ones(len(layers), bool)
        for values, wanted in ((layers, layer), (heads, head)):
            fits &= values == wanted if wanted is not None else True
        found = np.flatnonzero(fits)
        if len(found) != 1:
            names = ", ".join(f"({one}, {other})" for one, other in list(zip(layers, heads, strict=True))[:8])
            raise InputError(
                f"layer={layer}, head={head} names {len(found)} of the {len(layers)} graphs that were embedded: "
                f"{names}{' ...' if len(layers) > 8 else ''}"
            )
        return self.data.isel(graph=int(found[0]))

    def distances(self) -> xr.DataArray:
        """How far each graph is from each other in the common space, `[graph, other_graph]`.

        Of `"omni"` the norm of the difference of all positions, as readers and as senders, of `"mase"` that of the scores.

        Raises:
            InputError: the graphs were embedded each for itself, in spaces that are turned against each other.

        Misleads: a heavy graph is far from a light one; rows of attention sum alike, which makes heads comparable.
        """
        if self.method not in ("omni", "mase"):
            raise InputError(
                f'method="{self.method}" embeds each graph for itself, up to a rotation: to compare graphs use '
                'networks.embed(method="omni") or "mase", or networks.compare_positions'
            )
        parts = [self.data["score"]] if self.method == "mase" else [self.data["reader"], self.data["sender"]]
        flat = np.concatenate([part.values.reshape(self.data.sizes["graph"], -1) for part in parts], 1)
        apart = np.stack([np.linalg.norm(flat - row, axis=1) for row in flat])
        names = {name: (axis, self.data[name.removeprefix("other_")].values) for axis, name in (
            ("graph", "layer"), ("graph", "head"), ("other_graph", "other_layer"), ("other_graph", "other_head"))}  # fmt: skip
        return xr.DataArray(apart, dims=("graph", "other_graph"), coords=names)

    def place(
        self, row: ArrayLike | None = None, column: ArrayLike | None = None, *, layer: int | None = None, head: int | None = None
    ) -> xr.Dataset:
        """Where a token would be that was not in the graph; see `graphs.place.place`."""
        from sociogram.graphs.place import place

        return place(self, row, column, layer, head)

    def nominate(
        self, tokens: Sequence[Address], *, layer: int | None = None, head: int | None = None, side: str = "both"
    ) -> pd.DataFrame:
        """The other tokens, those first that are nearest to the given ones; see `graphs.place.nominate`."""
        from sociogram.graphs.place import nominate

        return nominate(self, tokens, layer, head, side)

    def find(self, token: Address) -> int:
        """The row of a token, given by its number in the text (as the coordinate `token` says) or its text.

        Raises:
            InputError: no such token.
        """
        return place_of(token, list(self.data["text"].values), int(self.data["token"].values[0]))

    def plot(
        self, layer: int | None = None, head: int | None = None, *, side: str = "sender", components: tuple[int, int] = (1, 2),
        ax: Axes | None = None,
    ) -> Axes:  # fmt: skip
        """The tokens of one graph as points; see `sg.plot.embedding`."""
        return picture("embedding", self, layer, head, side=side, components=components, ax=ax)

    def __repr__(self) -> str:
        """Method, dimension, how many graphs and tokens."""
        sizes = self.data.sizes
        return f"Embedding({self.method}, dimension {self.dimension}: {sizes['graph']} graphs of {sizes['token']} tokens)"
