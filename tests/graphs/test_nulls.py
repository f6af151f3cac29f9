"""Null models keep what they say they keep, and their own p-values are uniform."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sociogram.core.errors import InputError
from sociogram.graphs import measures, nulls, testing
from tests.graphs.test_measures import random_graph

PLAIN = ("uniform", "positional", "degrees", "rows", "weights", "erdos-renyi")


def made(name: str, weights: np.ndarray, allowed: np.ndarray, count: int = 3, seed: int = 0) -> np.ndarray:
    blocks = np.arange(len(weights)) % 2
    return nulls.sampler(name, weights, allowed, blocks=blocks, rank=2)(count, np.random.default_rng(seed))


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(sorted(nulls.NULLS)), seed=st.integers(0, 10_000), tokens=st.integers(1, 9), causal=st.booleans(),
    share=st.sampled_from([0.4, 1.0]),
)  # fmt: skip
def test_samples_respect_the_mask_and_have_no_negative_weight(
    name: str, seed: int, tokens: int, causal: bool, share: float
) -> None:
    weights, allowed = random_graph(seed, tokens, causal=causal, share=share)
    samples = made(name, weights, allowed)
    assert samples.shape == (3, tokens, tokens)
    assert np.isfinite(samples).all()
    assert (samples >= 0).all()
    assert not samples[:, ~allowed].any()


@pytest.mark.parametrize("name", ["uniform", "positional", "degrees", "sbm", "rdpg", "rows"])
def test_rows_keep_their_sums(name: str) -> None:
    weights, allowed = random_graph(1, 12, causal=True)
    weights *= np.linspace(0.5, 2, 12)[:, None]
    np.testing.assert_allclose(made(name, weights, allowed).sum(-1), np.broadcast_to(weights.sum(-1), (3, 12)))


KINDS = {"uniform": nulls.alike, "positional": nulls.offsets, "degrees": nulls.senders}


@settings(max_examples=25, deadline=None)
@given(name=st.sampled_from([*KINDS, "sbm"]), seed=st.integers(0, 10_000), tokens=st.integers(2, 12), causal=st.booleans())
def test_kinds_keep_their_sums(name: str, seed: int, tokens: int, causal: bool) -> None:
    weights, allowed = random_graph(seed, tokens, causal=causal)
    kind = nulls.block_pairs(np.arange(tokens) % 2) if name == "sbm" else KINDS[name](tokens)
    for sample in made(name, weights, allowed):
        sums = np.bincount(kind[allowed], sample[allowed])
        np.testing.assert_allclose(sums, np.bincount(kind[allowed], weights[allowed]), atol=0.02)


def test_shuffled_rows_have_the_same_weights_in_every_row_and_weights_in_all() -> None:
    weights, allowed = random_graph(2, 10, causal=True, share=0.7)
    rows = made("rows", weights, allowed)
    np.testing.assert_array_equal(np.sort(rows, -1), np.broadcast_to(np.sort(weights, -1), rows.shape))
    assert (rows != weights).any()
    everything = made("weights", weights, allowed)
    np.testing.assert_array_equal(np.sort(everything.reshape(3, -1), -1), np.broadcast_to(np.sort(weights.ravel()), (3, 100)))


def test_shuffled_rows_put_each_weight_everywhere_alike() -> None:
    weights, allowed = random_graph(3, 5, causal=True)
    samples = made("rows", weights, allowed, count=4000)
    np.testing.assert_allclose(samples.mean(0)[4], weights[4].mean(), atol=0.02)


def test_expectations_by_hand() -> None:
    weights, allowed = random_graph(4, 6, causal=True)
    np.testing.assert_allclose(nulls.even(weights, allowed), allowed / allowed.sum(1, keepdims=True))
    by_degrees = nulls.degrees(weights, allowed)
    np.testing.assert_allclose(by_degrees.sum(0), weights.sum(0), atol=1e-4)
    np.testing.assert_allclose(by_degrees.sum(1), weights.sum(1), atol=1e-6)
    minors = by_degrees[4, 0] * by_degrees[5, 1] - by_degrees[4, 1] * by_degrees[5, 0]
    assert minors == pytest.approx(0, abs=1e-9)  # a product of a row's and a column's number


def test_a_head_that_only_knows_distance_is_its_own_positional_expectation() -> None:
    place = np.arange(30)
    allowed = place[:, None] >= place
    scores = np.where(allowed, -0.1 * (place[:, None] - place), -np.inf)
    scores[1:, 0] = 1.5  # and the first token
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(nulls.positional(weights, allowed), weights, atol=1e-7)
    weights[20, 7] += 0.5
    assert np.abs(nulls.positional(weights, allowed) - weights)[20, 7] > 0.3


def test_a_low_rank_graph_is_its_own_expectation_of_that_rank() -> None:
    rng = np.random.default_rng(5)
    allowed = np.ones((12, 12), bool)
    weights = rng.random((12, 2)) @ rng.random((2, 12))
    np.testing.assert_allclose(nulls.of_rank(2)(weights, allowed), weights, rtol=1e-9)
    assert np.abs(nulls.of_rank(1)(weights, allowed) - weights).max() > 1e-3


def test_blocks_keep_the_weight_between_them() -> None:
    weights, allowed = random_graph(6, 12, causal=False)
    blocks = np.repeat([0, 1], 6)
    weights[:6, :6] *= 5
    weights /= weights.sum(1, keepdims=True)
    expected = nulls.of_blocks(blocks)(weights, allowed)
    inner = np.ix_(blocks == 0, blocks == 0)
    assert expected[inner].sum() == pytest.approx(weights[inner].sum(), rel=1e-6)
    assert np.ptp(expected[inner]) == pytest.approx(0, abs=1e-12)


def test_an_unknown_null_is_refused() -> None:
    weights, allowed = random_graph(0, 4, causal=True)
    with pytest.raises(InputError, match='null="shuffle": choose one of uniform, positional'.replace('"', ".")):
        nulls.sampler("shuffle", weights, allowed)


def p_values(null: str, repeats: int, samples: int, measure: testing.Statistic = measures.clustering) -> np.ndarray:
    """The p-values of graphs that the null itself made."""
    weights, allowed = random_graph(7, 10, causal=True)
    rng = np.random.default_rng(8)
    make = nulls.sampler(null, weights, allowed, blocks=np.arange(10) % 2, rank=2)
    graphs = make(repeats, rng)
    labels = pd.DataFrame({"layer": [0], "head": [0]})
    found = []
    for graph in graphs:
        again = nulls.sampler(null, graph, allowed, blocks=np.arange(10) % 2, rank=2)
        numbers = testing.sampled(again, [measure], allowed, samples, rng)
        found.append(float(testing.judged(labels, measure(graph, allowed)[None], numbers)[0]["p"].iloc[0]))
    return np.array(found)


@pytest.mark.parametrize("null", ["rows", "weights", "uniform", "positional", "degrees"])
def test_the_null_s_own_p_values_are_uniform(null: str) -> None:
    found = p_values(null, repeats=300, samples=39)
    assert 0.02 <= (found <= 0.05).mean() <= 0.09
    assert 0.42 <= (found <= 0.5).mean() <= 0.6


def test_what_the_null_does_not_have_is_found() -> None:
    weights, allowed = random_graph(9, 12, causal=True)
    weights[4:, 3] += 3  # all listen to one token
    weights /= weights.sum(1, keepdims=True)
    numbers = testing.sampled(
        nulls.sampler("rows", weights, allowed), [measures.sender_share], allowed, 99, np.random.default_rng(0)
    )
    labels = pd.DataFrame({"layer": [0], "head": [0]})
    table, _ = testing.judged(labels, measures.sender_share(weights, allowed)[None], numbers)
    assert table["p"].iloc[0] == 0.01
    assert table["z"].iloc[0] > 5


def test_corrected_p_values_hold_over_all_graphs() -> None:
    rng = np.random.default_rng(10)
    labels = pd.DataFrame({"layer": 0, "head": range(40)})
    below = 0
    for _ in range(200):
        table, maxima = testing.judged(labels, rng.normal(size=40), rng.normal(size=(40, 99)))
        assert maxima.shape == (99,)
        below += bool((table["p_corrected"] <= 0.05).any())
        assert (table["p_corrected"] >= table["p"]).all()
    assert 0.01 <= below / 200 <= 0.1


def test_judging_by_hand() -> None:
    labels = pd.DataFrame({"layer": [0, 1, 2], "head": 0})
    values = np.array([10.0, 1.0, 2.0])
    null = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    table, _ = testing.judged(labels, values, null)
    assert table["z"].iloc[0] == pytest.approx(8.0)
    half = 1.96 * np.sqrt(1 / 3 + 64 / 4)
    assert table["z_high"].iloc[0] - 8 == pytest.approx(half)
    assert table["p"].tolist() == [0.25, pytest.approx(np.nan, nan_ok=True), 0.25]
    assert table["z"].iloc[2] == np.inf


def test_a_statistic_without_a_value_has_no_p() -> None:
    labels = pd.DataFrame({"layer": [0, 1], "head": 0})
    table, maxima = testing.judged(labels, np.array([np.nan, 3.0]), np.array([[np.nan] * 3, [0.0, 0.5, 0.7]]))
    assert np.isnan(table["p"].iloc[0])
    assert table["p"].iloc[1] == 0.25
    assert np.isfinite(maxima).all()
