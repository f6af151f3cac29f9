"""Statistics of graphs: by hand on graphs of a few tokens, and against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sociogram.graphs import central, measures

CAUSAL = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.5, 0.25, 0.25]])
BOTH = np.array([[0.5, 0.5, 0.0], [0.2, 0.6, 0.2], [0.0, 1.0, 0.0]])


def random_graph(seed: int, tokens: int, *, causal: bool, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows that sum to 1 on a mask; some edges missing where `share` is below 1."""
    rng = np.random.default_rng(seed)
    allowed = np.tril(np.ones((tokens, tokens), bool)) if causal else np.ones((tokens, tokens), bool)
    weights = np.where(allowed & ((rng.random(allowed.shape) < share) | np.eye(tokens, dtype=bool)), rng.random(allowed.shape), 0)
    return weights / weights.sum(1, keepdims=True), allowed


def as_networkx(weights: np.ndarray) -> nx.DiGraph:
    """Edges as attention points: from the reader to whom it hears."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(weights)))
    for q, k in zip(*np.nonzero(weights), strict=True):
        graph.add_edge(int(q), int(k), weight=float(weights[q, k]), length=1 / float(weights[q, k]))
    return graph


def test_numbers_by_hand_of_a_causal_head() -> None:
    allowed = CAUSAL > 0
    found = {name: float(measure(CAUSAL, allowed)) for name, measure in measures.MEASURES.items()}
    half = -0.5 * np.log(0.5)
    quarter = -0.25 * np.log(0.25)
    expected = {
        "density": 1.0,
        "weighted_density": np.nan,
        "above_even": 2 / 5,  # of the two readers that have a choice: 0.75 of 1/2, 0.5 of 1/3
        "entropy": (0.0 + quarter - 0.75 * np.log(0.75) + half + 2 * quarter) / 3,
        "distance": (0.25 + 2 * 0.5 + 0.25) / 3,
        "self_share": (1.0 + 0.75 + 0.25) / 3,
        "sink_share": 0.75 / 2,
        "sender_share": 0.75 / 1.0,
        "reciprocity": np.nan,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_reciprocity_by_hand() -> None:
    found = measures.reciprocity(BOTH, np.ones((3, 3), bool))
    assert float(found) == pytest.approx(2 * (0.2 + 0.2) / (0.5 + 0.2 + 0.2 + 1.0))


def test_reciprocity_is_1_for_a_symmetric_graph_and_nothing_for_a_causal_one() -> None:
    symmetric = BOTH + BOTH.T
    assert float(measures.reciprocity(symmetric, np.ones((3, 3), bool))) == pytest.approx(1)
    assert np.isnan(measures.reciprocity(CAUSAL, CAUSAL > 0))


def test_weighted_density_says_something_of_messages_only() -> None:
    allowed = np.tril(np.ones((3, 3), bool))
    assert np.isnan(measures.weighted_density(CAUSAL, allowed))
    louder = CAUSAL * np.array([[1.0], [2.0], [4.0]])
    assert float(measures.weighted_density(louder, allowed)) == pytest.approx(7 / 6)


def test_an_even_head_has_the_entropy_of_its_rows_and_nothing_above_even() -> None:
    allowed = np.tril(np.ones((5, 5), bool))
    even = allowed / allowed.sum(1, keepdims=True)
    assert float(measures.entropy(even, allowed)) == pytest.approx(np.log(np.arange(1, 6)).mean())
    assert float(measures.above_even(even, allowed)) == 0
    rounded = even * (1 + 1e-7 * np.random.default_rng(0).standard_normal(even.shape))  # as float32 leaves it
    assert float(measures.above_even(rounded, allowed)) == 0


def test_the_rank_of_a_head_that_hears_one_token_is_1_and_of_one_that_hears_itself_all() -> None:
    sink = np.zeros((4, 4))
    sink[:, 0] = 1
    allowed = np.tril(np.ones((4, 4), bool))
    assert float(measures.effective_rank(sink, allowed)) == pytest.approx(1)
    assert float(measures.effective_rank(np.eye(4), allowed)) == pytest.approx(4)
    assert float(measures.sender_share(sink, allowed)) == 1
    assert np.isnan(measures.sender_share(np.eye(4), allowed))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.integers(2, 9), causal=st.booleans(), share=st.sampled_from([0.3, 0.7, 1.0]))
def test_clustering_is_networkx_s(seed: int, tokens: int, causal: bool, share: float) -> None:
    weights, allowed = random_graph(seed, tokens, causal=causal, share=share)
    graph = as_networkx(measures.without_self(weights))
    expected = nx.clustering(graph, weight="weight")
    found = measures.clustering_of_tokens(weights, allowed)
    np.testing.assert_allclose(found, [expected[i] for i in range(tokens)], atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.integers(2, 9), causal=st.booleans())
def test_a_stack_of_graphs_is_asked_as_each_of_them(seed: int, tokens: int, causal: bool) -> None:
    pairs = [random_graph(seed + i, tokens, causal=causal, share=0.6) for i in range(3)]
    weights, allowed = (np.stack(part) for part in zip(*pairs, strict=True))
    for measure in measures.MEASURES.values():
        one_by_one = [float(measure(w, a)) for w, a in pairs]
        np.testing.assert_allclose(measure(weights, allowed), one_by_one, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.integers(2, 9), causal=st.booleans(), share=st.sampled_from([0.4, 1.0]))
def test_tokens_statistics_are_networkx_s(seed: int, tokens: int, causal: bool, share: float) -> None:
    weights, _ = random_graph(seed, tokens, causal=causal, share=share)
    graph = as_networkx(weights)
    backwards = nx.betweenness_centrality(as_networkx(measures.without_self(weights)).reverse(), weight="length")
    np.testing.assert_allclose(central.between(weights), [backwards[i] for i in range(tokens)], atol=1e-12)
    lengths = dict(nx.all_pairs_dijkstra_path_length(graph, weight="length"))
    expected = [[0.0 if q == k else lengths[q].get(k, np.inf) for k in range(tokens)] for q in range(tokens)]
    np.testing.assert_allclose(central.shortest_ways(weights), expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), tokens=st.integers(1, 9), least=st.sampled_from([0.0, 0.3, 2.0]))
def test_pagerank_solves_its_equation(seed: int, tokens: int, least: float) -> None:
    """Also where a threshold left readers who hear nobody: from there the walk goes on anywhere."""
    weights, _ = random_graph(seed, tokens, causal=True)
    weights = np.where(weights > least, weights, 0.0)
    rows = weights.sum(1, keepdims=True)
    steps = np.where(rows > 0, np.divide(weights, rows, out=np.zeros_like(weights), where=rows > 0), 1 / tokens)
    expected = np.linalg.solve(np.eye(tokens) - 0.85 * steps.T, np.full(tokens, 0.15 / tokens))
    np.testing.assert_allclose(central.pagerank(weights), expected, atol=1e-9)


def test_a_graph_without_edges_has_no_hubs() -> None:
    assert all(np.isnan(part).all() for part in central.hubs_and_authorities(np.zeros((3, 3))))


def test_hubs_listen_and_authorities_are_heard() -> None:
    weights = np.zeros((4, 4))
    weights[1:, 0] = 1.0
    hub, authority = central.hubs_and_authorities(weights)
    np.testing.assert_allclose(hub, [0, 1 / 3, 1 / 3, 1 / 3], atol=1e-12)
    np.testing.assert_allclose(authority, [1, 0, 0, 0], atol=1e-12)


def test_walks_along_causal_attention_end_at_the_first_token() -> None:
    weights, _ = random_graph(3, 12, causal=True)
    almost_no_jumps = central.pagerank(weights, 0.9999)
    assert almost_no_jumps[0] > 0.98


def test_bridges_by_hand() -> None:
    weights = np.zeros((5, 5))
    weights[1, 0] = weights[2, 0] = weights[2, 1] = 0.5  # a triangle: no bridge in it
    weights[3, 2] = weights[4, 3] = 0.5
    assert central.bridges_of(weights) == [(3, 2), (4, 3)]
