"""Ways through the layers: how much of a token at the end comes from each at the beginning, by which ways, and what cuts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from sociogram.core.errors import InputError
from sociogram.graphs.asked import picture
from sociogram.models.tokens import find_token
from sociogram.watch.access import check_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from scipy.sparse import csr_matrix

    from sociogram.watch.arrays import Address

GRAIN = 1_000_000
"""Capacities are whole numbers of this part of 1, as scipy's maximum flow wants them."""


@dataclass(frozen=True, eq=False)
class Layered:
    """One matrix per layer, from each token before it to each token after it; rows (readers) sum to 1.

    Attributes:
        steps: the matrices, in order; the residual stream is in them.
        layers: the layers' numbers. tokens: what the tokens are. first: the number of the first of them in the text.
        allowed: the pairs that some head's mask leaves, layer by layer.
        kind: what the shares are: `"weights"` or `"alti"`.
    """

    steps: Float[np.ndarray, "layer query key"]
    layers: tuple[int, ...]
    tokens: tuple[str, ...]
    first: int
    allowed: Bool[np.ndarray, "layer query key"]
    kind: str

    def rollout(self, *, upto: int | None = None) -> xr.DataArray:
        """The product of the steps, later layers on the left (Abnar & Zuidema 2020): `[query, key]`, rows sum to 1.

        Args:
            upto: the last layer that counts; all when left out.

        Raises:
            InputError: no such layer among those that have messages.

        Misleads: in a causal model the first token gains with every layer by construction: compare with `even().rollout()`.
        """
        total = np.eye(self.steps.shape[1])
        for step in self.steps[: self._place(upto) + 1]:
            total = step @ total
        place = np.arange(len(self.tokens)) + self.first
        names = {"query_token": ("query", list(self.tokens)), "key_token": ("key", list(self.tokens))}
        return xr.DataArray(total, dims=("query", "key"), coords={"query": place, "key": place, **names})

    def even(self, residual: float = 0.5) -> Layered:
        """The same layers if every reader heard equally all that its mask leaves: what there is to compare with."""
        from sociogram.graphs.steps import mixed

        steps = np.stack([mixed(allowed.astype(np.float64), residual) for allowed in self.allowed])
        return Layered(steps, self.layers, self.tokens, self.first, self.allowed, "weights")

    def flow(self, source: Address, target: Address) -> float:
        """The most that can pass from a token before the first layer to a token after the last (Abnar & Zuidema 2020): 0 to 1.

        Every share is the capacity of its edge; capacities are rounded to a millionth.

        Raises:
            InputError: no such token.
        """
        graph, start, end = self._graph(source, target)
        from scipy.sparse.csgraph import maximum_flow

        return float(maximum_flow(graph, start, end).flow_value) / GRAIN

    def cut(self, source: Address, target: Address) -> pd.DataFrame:
        """The edges without which nothing passes between two tokens, and which together carry least: a minimum cut.

        Returns:
            `layer, query, key, query_token, key_token, share`; the shares sum to `flow(source, target)`. An edge from a token to
            itself is its residual stream together with what it tells itself.

        Raises:
            InputError: no such token.
        """
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        graph, start, end = self._graph(source, target)
        left = graph - maximum_flow(graph, start, end).flow
        left.data = np.maximum(left.data, 0)
        left.eliminate_zeros()
        inside = np.zeros(graph.shape[0], bool)
        inside[breadth_first_order(left, start, return_predecessors=False)] = True
        edges = graph.tocoo()
        cut = inside[edges.row] & ~inside[edges.col] & (edges.data > 0)
        return self._edges(edges.row[cut], edges.col[cut], edges.data[cut] / GRAIN)

    def strongest_path(self, source: Address, target: Address) -> pd.DataFrame:
        """The one way through all layers whose shares have the largest product.

        Returns:
            One row per layer: `layer, query, key, query_token, key_token, share`; `attrs["share"]` is the product, and
            `attrs["of"]` the rollout from `source` to `target` that it is part of. Empty where no way exists.

        Raises:
            InputError: no such token.
        """
        start, end = self._find(source), self._find(target)
        count = len(self.tokens)
        best, came = np.full(count, -np.inf), []
        best[start] = 0.0
        with np.errstate(divide="ignore"):
            logs = np.log(self.steps)
        for step in logs:
            reached = step + best
            came.append(reached.argmax(1))
            best = reached.max(1)
        nodes = [end]
        for before in reversed(came):
            nodes.append(int(before[nodes[-1]]))
        nodes = nodes[::-1]
        if not np.isfinite(best[end]):
            nodes = []
        table = pd.DataFrame(
            [self._edge(i, nodes[i + 1], nodes[i], float(self.steps[i, nodes[i + 1], nodes[i]])) for i in range(len(nodes) - 1)],
            columns=["layer", "query", "key", "query_token", "key_token", "share"],
        )
        table.attrs |= {"share": float(np.exp(best[end])), "of": float(self.rollout().values[end, start])}
        return table

    def receptive_field(self, threshold: int | float = 0.01) -> xr.DataArray:
        """How many tokens each reader holds more than `threshold` of after each layer: `[layer, query]`.

        Raises:
            InputError: a threshold outside 0 to 1.
        """
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold < 1:
            raise InputError(f"threshold={threshold!r}: a share from 0 up to 1")
        total, counts = np.eye(self.steps.shape[1]), []
        for step in self.steps:
            total = step @ total
            counts.append((total > threshold).sum(1))
        coords = {
            "layer": list(self.layers),
            "query": np.arange(len(self.tokens)) + self.first,
            "query_token": ("query", list(self.tokens)),
        }
        return xr.DataArray(np.stack(counts), dims=("layer", "query"), coords=coords)

    def routes(self, query: Address = -1, threshold: int | float = 0.01) -> pd.DataFrame:
        """The edges by which a token at the end came to be what it is (information flow routes, Ferrando & Voita 2024).

        Beginning at `query` after the last layer: every edge with a share above `threshold` into a token on a route is on one.

        Returns:
            `layer, query, key, query_token, key_token, share`, last layer first; made for `kind="alti"`.

        Raises:
            InputError: no such token, or a threshold outside 0 to 1.
        """
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold < 1:
            raise InputError(f"threshold={threshold!r}: a share from 0 up to 1")
        reached = np.zeros(len(self.tokens), bool)
        reached[self._find(query)] = True
        rows = []
        for i in range(len(self.layers) - 1, -1, -1):
            step = self.steps[i]
            taken = (step > threshold) & reached[:, None]
            rows += [self._edge(i, q, k, float(step[q, k])) for q, k in np.argwhere(taken).tolist()]
            reached = taken.any(0)
        return pd.DataFrame(rows, columns=["layer", "query", "key", "query_token", "key_token", "share"])

    def plot(self, query: Address = -1, threshold: float = 0.01, *, ax: Axes | None = None) -> Axes:
        """The ways that lead to one token as a picture; see `sg.plot.routes`."""
        return picture("routes", self, query, threshold, ax=ax)

    def _place(self, layer: int | None) -> int:
        if layer is None:
            return len(self.layers) - 1
        if layer not in self.layers:
            last = self.layers[-1] + 1
            layer = self.layers[check_index("layer", layer, last)] if last == len(self.layers) else layer
        if layer not in self.layers:
            raise InputError(f"upto={layer}: layers with messages are {', '.join(map(str, self.layers))}")
        return self.layers.index(layer)

    def _find(self, token: Address) -> int:
        if isinstance(token, int) and token >= 0:
            if not self.first <= token < self.first + len(self.tokens):
                raise InputError(f"no token {token}: these networks have {self.first} to {self.first + len(self.tokens) - 1}")
            return token - self.first
        return find_token(list(self.tokens), token)

    def _graph(self, source: Address, target: Address) -> tuple[csr_matrix, int, int]:
        """All steps as one graph, nodes (stop, token) in order; edges from sender to reader, capacities whole numbers."""
        from scipy.sparse import coo_matrix

        start, end = self._find(source), self._find(target)
        count = len(self.tokens)
        layer, readers, senders = np.nonzero(self.steps)
        capacity = np.rint(self.steps[layer, readers, senders] * GRAIN).astype(np.int32)
        size = (len(self.layers) + 1) * count
        graph = coo_matrix((capacity, (layer * count + senders, (layer + 1) * count + readers)), shape=(size, size)).tocsr()
        return graph, start, len(self.layers) * count + end

    def _edges(self, tails: np.ndarray, heads: np.ndarray, shares: np.ndarray) -> pd.DataFrame:
        count = len(self.tokens)
        rows = [
            self._edge(int(tail) // count, int(end) % count, int(tail) % count, float(share))
            for tail, end, share in zip(tails, heads, shares, strict=True)
        ]
        return pd.DataFrame(rows, columns=["layer", "query", "key", "query_token", "key_token", "share"])

    def _edge(self, step: int, query: int, key: int, share: float) -> tuple[int, int, int, str, str, float]:
        return self.layers[step], query + self.first, key + self.first, self.tokens[query], self.tokens[key], share
