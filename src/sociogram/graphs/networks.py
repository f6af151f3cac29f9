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

    from sociogram.graphs.embedding import Embedding
    from sociogram.graphs.latent_test import PositionTest
    from sociogram.graphs.layered import Layered
    from sociogram.graphs.matching import Matching
    from sociogram.graphs.matrixfree import AttentionOperator
    from sociogram.graphs.spectrum import Spectrum
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

    def spectrum(
        self,
        *,
        null: str | None = "positional",
        samples: int = 20,
        seed: int = 0,
        among: int | None = None,
        leading: int = 32,
    ) -> Spectrum:
        """Singular values, elbows and effective rank of every graph, beside a null's; see `graphs.spectrum.spectrum`."""
        from sociogram.graphs.spectrum import spectrum

        return spectrum(self, null=null, samples=samples, seed=seed, among=among, leading=leading)

    def embed(
        self,
        method: str = "ase",
        *,
        dimension: int | None = None,
        graphs: Sequence[int | tuple[int, int]] | None = None,
        scaled: bool = True,
        memory_limit: int | None = None,
    ) -> Embedding:
        """The tokens as points, each graph for itself or several in one space; see `graphs.embed.embed`."""
        from sociogram.graphs.embed import embed

        return embed(self, method, dimension=dimension, graphs=graphs, scaled=scaled, memory_limit=memory_limit)

    def operator(self, layer: int, head: int) -> AttentionOperator:
        """One head's graph as a `scipy.sparse.linalg.LinearOperator`: products without weights, by running the model once more.

        Raises:
            InputError: no such graph.
            RecordingError: the graphs are not heads, or not their attention or messages; or the model is not at hand.
        """
        from sociogram.graphs.matrixfree import check, operators

        check(self.source)
        label = self.source.labels.iloc[self.number(layer, head)]
        return next(operators(self.source, [(int(label["layer"]), int(label["head"]))]))[2]

    def compare_positions(
        self,
        a: tuple[int, int] | int,
        b: tuple[int, int] | int,
        *,
        samples: int = 200,
        dimension: int | None = None,
        seed: int = 0,
    ) -> PositionTest:
        """Whether two graphs have the same latent positions; see `graphs.latent_test.compare_positions`."""
        from sociogram.graphs.latent_test import compare_positions

        return compare_positions(self, a, b, samples=samples, dimension=dimension, seed=seed)

    def match(
        self,
        a: tuple[int, int] | int,
        b: tuple[int, int] | int,
        *,
        seeds: Sequence[int | str] = (),
        restarts: int = 10,
        permutations: int = 1000,
        null: str | None = "positional",
        samples: int = 20,
        seed: int = 0,
    ) -> Matching:
        """Match the tokens of two graphs by weights alone; see `graphs.matching.match`."""
        from sociogram.graphs.matching import match

        return match(self, a, b, seeds=seeds, restarts=restarts, permutations=permutations, null=null, samples=samples, seed=seed)

    def match_layers(
        self, *, step: int = 1, restarts: int = 5, null: str | None = "positional", samples: int = 5, seed: int = 0
    ) -> pd.DataFrame:
        """Match every layer to a later one, as a table; see `graphs.matching.match_layers`."""
        from sociogram.graphs.matching import match_layers

        return match_layers(self, step=step, restarts=restarts, null=null, samples=samples, seed=seed)

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
