"""Screes, elbows and effective ranks: by hand, by the likelihood written out, on graphs of known rank, beside their null."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import sociogram as sg
from sociogram.core.linear import effective_rank
from sociogram.graphs.networks import networks
from sociogram.graphs.spectrum import _above, _one, dimension_of, elbows, few
from tests.graphs.given import given_networks, heads_of_chance, two_blocks
from tests.models.conftest import tiny_llama


def likeliest(values: np.ndarray) -> int:
    """Zhu & Ghodsi (2006), equations 1 to 3 written out: how many values the first group has."""
    count, found = len(values), []
    for q in range(1, count):
        one, other = values[:q], values[q:]
        spread = sum((part.var(ddof=1) * (len(part) - 1) for part in (one, other) if len(part) > 1), 0.0) / (count - 2)
        found.append(sum(norm.logpdf(part, part.mean(), np.sqrt(spread)).sum() for part in (one, other)))
    return int(np.argmax(found)) + 1


@given(st.integers(3, 30), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_elbows_are_the_likeliest_splits_one_after_the_other(count: int, seed: int) -> None:
    values = np.sort(np.random.default_rng(seed).gamma(0.7, size=count))[::-1]
    expected, start = [], 0
    while count - start > 2:
        start += likeliest(values[start:])
        expected.append(start)
    if count - start == 2:
        expected.append(start + 1)
    assert elbows(values) == expected


def test_elbows_by_hand() -> None:
    assert elbows(np.array([10.0, 9.5, 1.0, 0.9, 0.7])) == [2, 4]
    assert elbows(np.array([10.0, 9.5, 1.0, 0.9, 0.8]), 3) == [2]
    assert elbows(np.ones(7)) == [7]
    assert elbows(np.array([3.0, 2.9, 0, 0, 0, 0])) == [2]
    assert elbows(np.array([3.0, 2.9, 1e-16, 0, 0, 0])) == [2]
    assert elbows(np.zeros(0)) == []
    assert [few(n) for n in (1, 2, 3, 8, 9, 128, 129)] == [1, 2, 2, 3, 4, 7, 8]


def test_the_second_elbow_finds_the_blocks_and_the_first_the_mean() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values = np.linalg.svd(two_blocks(rng, 200, 0.6, 0.3), compute_uv=False)
        assert elbows(values, few(200))[:2] == [1, 2]
        assert dimension_of(values, 200) == 2
    third = rng.integers(0, 3, 300)
    chance = np.where(third[:, None] == third, 0.7, 0.35)
    assert dimension_of(np.linalg.svd((rng.random((300, 300)) < chance).astype(float), compute_uv=False), 300) == 3


def test_a_graph_of_blocks_is_above_its_null_and_a_null_graph_is_not() -> None:
    rng = np.random.default_rng(3)
    allowed = np.ones((60, 60), bool)
    blocks = two_blocks(rng, 60, 0.9, 0.05) * rng.gamma(2, size=(60, 60)) + 1e-3
    blocks /= blocks.sum(1, keepdims=True)
    found = _one(blocks, allowed, "uniform", 40, rng)
    assert found["singular_value"][1] > 2 * found["null_high"][1]
    assert _above(found["singular_value"], found["null_high"], 6) == 1  # the second; the first is the rows' sum in any graph
    counts = []
    for _ in range(20):
        chance = rng.gamma(1.0, size=(60, 60))
        found = _one(chance / chance.sum(1, keepdims=True), allowed, "rows", 40, rng)
        counts.append(_above(found["singular_value"], found["null_high"], 6))
    assert np.mean(counts) <= 6 * 0.15  # one in twenty is expected; those of one graph vary together


def test_the_table_says_what_the_weights_say() -> None:
    rec = sg.record(sg.load(tiny_llama()), list(range(12)))
    nets = networks(rec)
    found = nets.spectrum(samples=5)
    assert len(found.table) == 2 * len(nets)
    assert list(found.data["singular_value"].dims) == ["graph", "first_token", "value"]
    for place, label in enumerate(nets.labels.itertuples()):
        weights = nets.weights(label.layer, label.head)
        for side, part in (("with", weights), ("without", weights[1:, 1:])):
            values = np.linalg.svd(part, compute_uv=False)
            own = found.data["singular_value"].isel(graph=place).sel(first_token=side).values
            np.testing.assert_allclose(own[: len(values)], values, atol=1e-12)
            assert np.isnan(own[len(values) :]).all()
            row = found.table[
                (found.table["layer"] == label.layer) & (found.table["head"] == label.head) & (found.table["first_token"] == side)
            ].iloc[0]
            assert row["effective_rank"] == pytest.approx(float(effective_rank(part)), rel=1e-6)
            assert row["elbows"] == tuple(elbows(values, few(12)))
            assert row["elbow_1"] == row["elbows"][0]
            assert row["null_low"] <= row["null_effective_rank"] <= row["null_high"]
            assert row["error"] == 0
    again, other = nets.spectrum(samples=5), nets.spectrum(samples=5, seed=1)
    np.testing.assert_array_equal(found.data["null_mean"], again.data["null_mean"])
    assert not np.allclose(found.data["null_mean"], other.data["null_mean"], equal_nan=True)
    dropped = networks(rec, drop_first=True).spectrum(null=None)
    assert set(dropped.table["first_token"]) == {"without"}
    np.testing.assert_allclose(
        dropped.data["singular_value"].values[:, 0], found.data["singular_value"].values[:, 1, :11], atol=1e-12
    )
    assert dropped.null is None
    assert "no null" in repr(dropped)
    assert "5 samples" in repr(found)


@pytest.mark.parametrize("null", ["rdpg", "sbm", "rows", "erdos-renyi"])
def test_other_nulls(null: str) -> None:
    weights = heads_of_chance(np.random.default_rng(0), (1, 2, 10, 10))
    found = given_networks(weights).spectrum(null=null, samples=4)
    assert np.isfinite(found.table["null_effective_rank"]).all()
    assert found.keeps.startswith("mask")


def test_causal_attention_has_its_diagonal_for_eigenvalues_and_ends_at_the_first_token() -> None:
    nets = networks(sg.record(sg.load(tiny_llama()), list(range(10))))
    for layer, head in ((0, 0), (1, 3)):
        weights = nets.weights(layer, head)
        np.testing.assert_allclose(np.sort(np.linalg.eigvals(weights).real), np.sort(np.diag(weights)), atol=1e-6)
        there = np.full(10, 0.1)
        for _ in range(2000):
            there = weights.T @ there
        np.testing.assert_allclose(there, np.eye(10)[0], atol=1e-4)


def test_questions_that_cannot_be_are_refused() -> None:
    nets = given_networks(heads_of_chance(np.random.default_rng(0), (1, 1, 6, 6)))
    with pytest.raises(sg.InputError, match="null='no': choose one of uniform"):
        nets.spectrum(null="no")
    with pytest.raises(sg.InputError, match="samples=0: a whole number from 1 up"):
        nets.spectrum(samples=0)
    with pytest.raises(sg.InputError, match="among=7: 1 to the 6 singular values"):
        nets.spectrum(among=7)
