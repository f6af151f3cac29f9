"""Which tokens of one graph matter: strengths, PageRank, hubs and authorities, clustering, betweenness; ways and bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from sociogram.graphs.measures import clustering_of_tokens

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks

DAMPING = 0.85
SMALL = 512
"""Up to so many tokens all shortest ways are found at once (Floyd & Warshall), beyond it from each token (Dijkstra)."""


def token_table(
    networks: Networks, layer: int | None = None, head: int | None = None, *, betweenness: bool = False
) -> pd.DataFrame:
    """The statistics of every token of one graph.

    Args:
        networks: the graphs.
        layer: which one, as `networks.labels` names it.
        head: and which head of it.
        betweenness: also the share of strongest ways between two others that lead through the token (a way's length is the sum
            of 1 / weight): takes seconds where all else takes milliseconds.

    Returns:
        `token, text`; `in_strength` (what it hears) and `out_strength` (what it tells; both without `self_weight`);
        `pagerank` (of a walk that goes from each reader to whom it hears, damping 0.85; sums to 1); `hub` (listens to
        authorities) and `authority` (is heard by hubs), Kleinberg 1999; `clustering` (Fagiolo 2007); and `betweenness`.

    Raises:
        InputError: no such graph.
        RecordingError: what is needed was not kept.

    Misleads: in causal attention every walk ends at the first token, so that its PageRank is large by construction; compare with
    `networks.test` or leave it out (`drop_first=True`).
    """
    batch = networks.graph(layer, head)
    weights = batch.weights[0]
    own = np.diagonal(weights)
    hub, authority = hubs_and_authorities(weights)
    table = pd.DataFrame(
        {
            "token": np.arange(len(weights)) + int(networks.source.drop_first),
            "text": networks.tokens,
            "in_strength": weights.sum(1) - own,
            "out_strength": weights.sum(0) - own,
            "self_weight": own,
            "pagerank": pagerank(weights),
            "hub": hub,
            "authority": authority,
            "clustering": clustering_of_tokens(batch.weights, batch.allowed)[0],
        }
    )
    return table.assign(betweenness=between(weights)) if betweenness else table


def pagerank(weights: Float[np.ndarray, "query key"], damping: float = DAMPING) -> Float[np.ndarray, " token"]:
    """The share of time that a walk from reader to sender spends at each token (Page et al. 1999); sums to 1.

    From a token that hears nobody (after a threshold) the walk goes on anywhere.
    """
    import networkx as nx

    graph = nx.from_numpy_array(weights, create_using=nx.DiGraph)
    ranks = nx.pagerank(graph, alpha=damping, tol=1e-12, max_iter=10_000)
    return np.array([ranks[i] for i in range(len(weights))])


def hubs_and_authorities(
    weights: Float[np.ndarray, "query key"],
) -> tuple[Float[np.ndarray, " token"], Float[np.ndarray, " token"]]:
    """Leading left and right singular vectors, each scaled to sum 1: who listens to authorities, who is heard by hubs.

    NaN in a graph without edges.
    """
    left, values, right = np.linalg.svd(weights)
    hub, authority = np.abs(left[:, 0]), np.abs(right[0])
    if values[0] == 0:
        return np.full(len(hub), np.nan), np.full(len(hub), np.nan)
    return hub / hub.sum(), authority / authority.sum()


def between(weights: Float[np.ndarray, "query key"]) -> Float[np.ndarray, " token"]:
    """Share of the shortest ways from one token to another that pass through each (Freeman 1977), 0 to 1; lengths 1 / weight."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(weights)))
    graph.add_weighted_edges_from(((k, q, 1 / weights[q, k]) for q, k in _others(weights)), weight="length")
    found = nx.betweenness_centrality(graph, weight="length")
    return np.array([found[i] for i in range(len(weights))])


def shortest_ways(weights: Float[np.ndarray, "query key"]) -> Float[np.ndarray, "query key"]:
    """Length of the shortest way from each key to each query over edges of length 1 / weight; infinite where there is none."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import shortest_path

    lengths = np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0)
    np.fill_diagonal(lengths, 0)
    from_reader = shortest_path(csr_matrix(lengths), method="FW" if len(weights) <= SMALL else "D")
    return np.asarray(from_reader)


def bridges_of(weights: Float[np.ndarray, "query key"]) -> list[tuple[int, int]]:
    """Pairs (query, key) whose edge alone holds two parts of the graph together, whichever way edges point."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(len(weights)))
    graph.add_edges_from(_others(weights))
    return sorted((q, k) if weights[q, k] > 0 else (k, q) for q, k in nx.bridges(graph))


def _others(weights: np.ndarray) -> list[tuple[int, int]]:
    """All edges between different tokens as (query, key)."""
    return [(int(q), int(k)) for q, k in zip(*np.nonzero(weights), strict=True) if q != k]
