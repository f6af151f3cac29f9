"""`sg.networks`: a recording as a series of weighted directed graphs, and what can be asked of them."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, final

import pandas as pd
import xarray as xr

from sociogram.graphs.asked import picture
from sociogram.graphs.grouped import Grouped
from sociogram.graphs.source import Source
from sociogram.graphs.spectral import Spectral

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx
    from matplotlib.axes import Axes
    from scipy.sparse import csr_array

    from sociogram.graphs.causal import CausalTest
    from sociogram.graphs.layered import Layered
    from sociogram.graphs.linear import LinearView
    from sociogram.graphs.testing import NullTest, Statistic
    from sociogram.watch.recording import Recording


def networks(
    rec: Recording,
    weight: str = "attention",
    *,
    by: str = "head",
    drop_first: bool = False,
    threshold: float = 0.0,
    toward: str | int | None = None,
    stack: str | None = None,
) -> Networks:
    """A recording of one sequence as weighted directed graphs between its tokens: one per head, per layer, or one for all.

    Args:
        rec: what was recorded.
        weight: what an edge weighs: `"attention"` (what the softmax gives), `"message"` (norm of the message, in several heads
            together the norm of their sum), `"contribution"` or `"toward"` (see `rec.edges`; by size, as graphs here have no
            negative edges; their signs are in `rec.edges`).
        by: `"head"`; `"layer"`: a layer's heads together (attention averaged, messages added as vectors, the signed weights
            added before their size is taken); `"all"`: all layers too.
        drop_first: leave out the first token, which in trained decoders soaks up attention, as reader and as sender; what it had
            is in the summary as `dropped_share`. The remaining weights stay as they are.
        threshold: edges of this weight or less are left out; what is kept is in the summary as `kept_share`.
        toward: the token that weight `"toward"` is about.
        stack: which stack of layers; the main one when left out.

    Returns:
        The graphs; nothing is computed until they are asked.

    Raises:
        InputError: an unknown weight, level or stack, a bad threshold, a recording of several sequences.
        RecordingError: no layer has messages, or what is needed was not kept.

    Misleads: attention is not influence: a sink hears much and tells little (`weight="message"` shows that). A path through one
    head's graph is no path of information, which passes each layer once: see `Networks.rollout` and `flow`.
    """
    return Networks(Source(rec, weight, by, stack or rec.main, drop_first, threshold, toward))


@final
class Networks(Grouped, Spectral):
    """Weighted directed graphs between the tokens of one sequence; edge (query, key) leads from sender to reader, key -> query.

    Attributes:
        source: where the graphs come from.
    """

    def summary(self) -> pd.DataFrame:
        """The statistics of every graph, one row each; see `graphs.summary.summary`."""
        from sociogram.graphs.summary import summary

        return summary(self)

    def plot(self, statistic: str = "entropy", *, ax: Axes | None = None) -> Axes:
        """One statistic of every head as a picture; see `sg.plot.networks`."""
        return picture("networks", self, statistic, ax=ax)

    def token_table(self, layer: int | None = None, head: int | None = None, *, betweenness: bool = False) -> pd.DataFrame:
        """The statistics of every token of one graph; see `graphs.central.token_table`."""
        from sociogram.graphs.central import token_table

        return token_table(self, layer, head, betweenness=betweenness)

    def shortest_paths(self, layer: int | None = None, head: int | None = None) -> xr.DataArray:
        """Length of the shortest way from each key to each query of one graph, `[query, key]`; an edge is 1 / weight long.

        0 from a token to itself, infinite where there is no way.

        Misleads: what passes a head passes it once, so that ways of several edges are no ways of information: see `layered`.
        """
        from sociogram.graphs.central import shortest_ways

        return self.labelled(shortest_ways(self.weights(layer, head)))

    def bridges(self, layer: int | None = None, head: int | None = None) -> pd.DataFrame:
        """Edges that alone hold two parts of one graph together, whichever way edges point: `query, key, ..., weight`.

        Misleads: without a threshold a softmax leaves no bridges, as everything is joined to everything.
        """
        from sociogram.graphs.central import bridges_of

        weights = self.weights(layer, head)
        found = bridges_of(weights)
        first, tokens = int(self.source.drop_first), self.tokens
        rows = [(q + first, k + first, tokens[q], tokens[k], weights[q, k]) for q, k in found]
        return pd.DataFrame(rows, columns=["query", "key", "query_token", "key_token", "weight"])

    def test(
        self,
        statistic: str | Statistic,
        *,
        null: str | Sequence[Recording] = "positional",
        samples: int = 200,
        seed: int = 0,
        rank: int | None = None,
    ) -> NullTest:
        """Whether a statistic, by name or as a function, is more than chance gives it; see `graphs.against.against`."""
        from sociogram.graphs.against import against, chosen

        name, measure = chosen(statistic)
        return against(self, {name: measure}, null=null, samples=samples, seed=seed, rank=rank)[name]

    def test_all(
        self,
        *,
        null: str | Sequence[Recording] = "positional",
        samples: int = 200,
        seed: int = 0,
        rank: int | None = None,
    ) -> dict[str, NullTest]:
        """`test` of every statistic of the summary, on the same random graphs."""
        from sociogram.graphs.against import against
        from sociogram.graphs.measures import MEASURES

        return against(self, MEASURES, null=null, samples=samples, seed=seed, rank=rank)

    def causal_test(
        self, what: Sequence[Any], *, control: str = "matched", samples: int = 50, seed: int = 0, query: int = -1
    ) -> CausalTest:
        """What muting these heads, tokens or edges does to the output, beside muting others; see `graphs.causal.causal_test`."""
        from sociogram.graphs.causal import causal_test

        return causal_test(self, what, control=control, samples=samples, seed=seed, query=query)

    def linear_view(self, layer: int) -> LinearView:
        """One layer's attention, weights frozen, as one linear operator; see `graphs.linear.linear_view`."""
        from sociogram.graphs.linear import linear_view

        return linear_view(self, layer)

    def layered(self, kind: str = "weights", *, residual: float = 0.5) -> Layered:
        """All layers one after the other, for rollout, flow, cuts and routes from first to last; see `graphs.steps.layered`."""
        from sociogram.graphs.steps import layered

        return layered(self.source, kind, residual)

    def to_scipy(self, layer: int | None = None, head: int | None = None) -> csr_array:
        """One graph as a sparse matrix `[query, key]`."""
        from scipy.sparse import csr_array

        return csr_array(self.weights(layer, head))

    def to_networkx(self, layer: int | None = None, head: int | None = None) -> nx.DiGraph:
        """One graph for networkx; see `graphs.export.to_networkx`."""
        from sociogram.graphs.export import to_networkx

        return to_networkx(self, layer, head)

    def to_igraph(self, layer: int | None = None, head: int | None = None) -> Any:
        """One graph for igraph, where it is installed; see `graphs.export.to_igraph`."""
        from sociogram.graphs.export import to_igraph

        return to_igraph(self, layer, head)

    def to_graphml(
        self, path: str | PathLike[str], layer: int | None = None, head: int | None = None, *, overwrite: bool = False
    ) -> None:
        """Write one graph to a GraphML file, for Gephi, Cytoscape and others; see `graphs.export.to_graphml`."""
        from sociogram.graphs.export import to_graphml

        to_graphml(self, path, layer, head, overwrite=overwrite)
