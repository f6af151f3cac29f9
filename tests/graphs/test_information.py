"""Adjusted mutual information against hand and against all permutations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sociogram.graphs.information import adjusted, all_information, contingency, entropy, expected_information, mutual_information


def test_information_by_hand() -> None:
    one, other = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    counts = contingency(one, other)
    np.testing.assert_array_equal(counts, [[2, 0], [1, 1]])
    assert entropy(counts.sum(1)) == pytest.approx(np.log(2))
    by_hand = 0.5 * np.log(0.5 / (0.5 * 0.75)) + 0.25 * np.log(0.25 / (0.5 * 0.75)) + 0.25 * np.log(0.25 / (0.5 * 0.25))
    assert mutual_information(counts) == pytest.approx(by_hand)
    # every permutation of (2, 2) against (3, 1) gives the same table up to names: nothing beyond chance
    assert expected_information(np.array([2, 2]), np.array([3, 1])) == pytest.approx(by_hand)
    assert adjusted(one, other) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0, 0, 0, 1, 1, 2], [0, 1, 0, 1, 1, 0]),
        ([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 2]),
        ([0, 1, 2, 3, 3, 3], [0, 0, 0, 1, 1, 1]),
    ],
)
def test_chance_is_the_mean_over_all_permutations(one: list[int], other: list[int]) -> None:
    fixed = np.array(one)
    every = [mutual_information(contingency(fixed, np.array(order))) for order in permutations(other)]
    counts = contingency(fixed, np.array(other))
    chance = expected_information(counts.sum(1), counts.sum(0))
    assert chance == pytest.approx(np.mean(every), abs=1e-12)
    most = (entropy(counts.sum(1)) + entropy(counts.sum(0))) / 2
    assert adjusted(fixed, np.array(other)) == pytest.approx((mutual_information(counts) - chance) / (most - chance))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=4, max_size=30))
def test_identities(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs).T
    value = adjusted(one, other)
    assert value == pytest.approx(adjusted(other, one), nan_ok=True)
    assert value == pytest.approx(adjusted(7 - one, other), nan_ok=True)  # names mean nothing
    assert value != value or value <= 1 + 1e-9
    same = adjusted(one, one)
    assert same != same or same == pytest.approx(1)
    counts = contingency(one, other)
    assert all_information(one[None], other[None])[0, 0] == pytest.approx(mutual_information(counts), abs=1e-12)


def test_nothing_to_agree_about_is_not_a_number() -> None:
    flat, apart = np.zeros(6, int), np.arange(6)
    assert np.isnan(adjusted(flat, flat))
    assert np.isnan(adjusted(apart, apart))
    assert adjusted(flat, np.array([0, 0, 0, 1, 1, 1])) == 0


def test_chance_labels_agree_as_by_chance_and_plain_information_does_not() -> None:
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 6, 40), rng.integers(0, 6, 40)) for _ in range(300)]
    values = [adjusted(a, b) for a, b in pairs]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert np.mean([mutual_information(contingency(a, b)) for a, b in pairs]) > 0.2
