"""`sg.networks`: a recording as a series of weighted directed graphs, and what can be asked of them."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd

from sociogram.core.errors import InputError
from sociogram.graphs.source import Batch, Source
from sociogram.watch.access import check_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    import networkx as nx
    from scipy.sparse import csr_array
    from xarray import DataArray

    from sociogram.graphs.agreement import Agreement
    from sociogram.graphs.blocks import Blocks
    from sociogram.graphs.change import Change
    from sociogram.graphs.common import Common
    from sociogram.graphs.communities import Communities
    from sociogram.graphs.diff import Difference
    from sociogram.graphs.distances import Distances
    from sociogram.graphs.layered import Layered
    from sociogram.graphs.quotient import CommunitySeries
    from sociogram.graphs.testing import NullTest
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
class Networks:
    """Weighted directed graphs between the tokens of one sequence; edge (query, key) leads from sender to reader, key -> query.

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
        found = np.flatnonzero(
            (labels["layer"] == (-1 if layer is None else layer)) & (labels["head"] == (-1 if head is None else head))
        )
        return int(found[0])

    def summary(self) -> pd.DataFrame:
        """The statistics of every graph, one row each; see `graphs.summary.summary`."""
        from sociogram.graphs.summary import summary

        return summary(self)

    def token_table(self, layer: int | None = None, head: int | None = None, *, betweenness: bool = False) -> pd.DataFrame:
        """The statistics of every token of one graph; see `graphs.central.token_table`."""
        from sociogram.graphs.central import token_table

        return token_table(self, layer, head, betweenness=betweenness)

    def test(
        self,
        statistic: str,
        *,
        null: str | Sequence[Recording] = "positional",
        samples: int = 200,
        seed: int = 0,
        rank: int | None = None,
    ) -> NullTest:
        """Whether a statistic is more than chance would give it; see `graphs.against.against`."""
        from sociogram.graphs.against import against

        return against(self, statistic, null=null, samples=samples, seed=seed, rank=rank)

    def layered(self, kind: str = "weights", *, residual: float = 0.5) -> Layered:
        """All layers one after the other, for rollout, flow, cuts and routes from the first to the last.

        Args:
            kind: `"weights"`: each layer is `residual` parts the token itself and the rest what it hears, all heads together, rows
                scaled to 1 (with attention and one half: Abnar & Zuidema 2020); `"alti"`: how near each token's part comes to what
                the reader is after attention, in L1 norm, its own past included (Ferrando et al. 2022).
            residual: the share that stays, for `"weights"`; nothing else knows how much it is, which `"alti"` does.

        Raises:
            InputError: an unknown kind, or a share outside 0 to 1.
            RecordingError: what is needed was not kept.
        """
        from sociogram.graphs.layered import Layered
        from sociogram.graphs.steps import steps_of

        source = self.source
        steps = steps_of(source, kind, residual)
        allowed = np.stack([source.together([layer])[1] for layer in source.layers])
        first = int(source.drop_first)
        return Layered(steps, tuple(source.layers), tuple(source.tokens), first, allowed[:, first:, first:], kind)

    def communities(
        self,
        layer: int | None = None,
        head: int | None = None,
        *,
        resolution: float = 1.0,
        levels: int | None = None,
        expected: str = "degrees",
        null: str | None = "positional",
        samples: int = 50,
        seed: int = 0,
    ) -> Communities:
        """Nested communities of one graph, with a null; see `graphs.communities.communities`."""
        from sociogram.graphs.communities import communities

        return communities(
            self, layer, head, resolution=resolution, levels=levels, expected=expected, null=null, samples=samples, seed=seed
        )

    def partitions(self, *, resolution: float = 1.0, expected: str = "degrees", seed: int = 0) -> DataArray:
        """The communities of every graph, `[graph, token]`; see `graphs.communities.partitions`."""
        from sociogram.graphs.communities import partitions

        return partitions(self, resolution=resolution, expected=expected, seed=seed)

    def community_series(
        self, head: int | None = None, *, resolution: float = 1.0, expected: str = "degrees", seed: int = 0
    ) -> CommunitySeries:
        """Communities of every layer and who goes where in the next; see `graphs.quotient.community_series`."""
        from sociogram.graphs.quotient import community_series

        return community_series(self, head, resolution=resolution, expected=expected, seed=seed)

    def blocks(
        self,
        layer: int | None = None,
        head: int | None = None,
        *,
        blocks: int | Sequence[int] | None = None,
        base: str = "even",
        likelihood: str = "normal",
        restarts: int = 5,
        seed: int = 0,
    ) -> Blocks:
        """Stochastic block models of one graph and how good they are; see `graphs.blocks.blocks`."""
        from sociogram.graphs.blocks import blocks as fit

        return fit(self, layer, head, blocks=blocks, base=base, likelihood=likelihood, restarts=restarts, seed=seed)

    def agreement(
        self, *, resolution: float = 1.0, expected: str = "degrees", null: str = "permute", samples: int = 200, seed: int = 0
    ) -> Agreement:
        """Whether communities are the same in all graphs; see `graphs.agreement.agreement`."""
        from sociogram.graphs.agreement import agreement

        return agreement(self, resolution=resolution, expected=expected, null=null, samples=samples, seed=seed)

    def class_agreement(
        self,
        classes: Sequence[str] | None = None,
        *,
        resolution: float = 1.0,
        expected: str = "degrees",
        null: str = "permute",
        samples: int = 200,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Whether communities go by the kind of word; see `graphs.agreement.class_agreement`."""
        from sociogram.graphs.agreement import class_agreement

        return class_agreement(self, classes, resolution=resolution, expected=expected, null=null, samples=samples, seed=seed)

    def distances(self, metric: str = "jensen-shannon", other: Networks | None = None) -> Distances:
        """How far graphs are from each other, or from another recording's; see `graphs.distances.distances`."""
        from sociogram.graphs.distances import distances

        return distances(self, metric, other)

    def diff(self, other: Networks, *, top: int = 20) -> Difference:
        """Which edges and statistics differ between two recordings of the same tokens; see `graphs.diff.diff`."""
        from sociogram.graphs.diff import diff

        return diff(self, other, top=top)

    def common(self, others: Sequence[Networks]) -> Common:
        """What this prompt has in common with others, head by head; see `graphs.common.common`."""
        from sociogram.graphs.common import common

        return common(self, others)

    def change(
        self, others: Sequence[Networks] | None = None, *, over: str | None = None, samples: int = 200, seed: int = 0
    ) -> Change:
        """How graphs change over layers, generation steps or recordings; see `graphs.change.change`."""
        from sociogram.graphs.change import change

        return change(self, others, over=over, samples=samples, seed=seed)

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

    def __repr__(self) -> str:
        """How many graphs, of what, and what is left out."""
        source = self.source
        first = ", without the first token" if source.drop_first else ""
        least = f", edges above {source.threshold:g}" if source.threshold else ""
        return (
            f"Networks({len(self)} graphs, by {source.by}, of {source.weight} between {len(source.tokens)} tokens "
            f"of {source.stack!r}{first}{least})"
        )
