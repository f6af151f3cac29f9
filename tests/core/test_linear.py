"""Linear geometry against numpy's own decompositions, and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sociogram.core import linear
from sociogram.core.linear import Scatter


def points(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Points whose spread falls from one direction to the next, away from the origin."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) * 0.8 ** np.arange(width) @ turn(width, seed) + 5


def turn(width: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed + 1).standard_normal((width, width)))[0]


def scatter_of(x: np.ndarray, batch: int = 7) -> Scatter:
    scatter = Scatter(x.shape[1])
    for start in range(0, len(x), batch):
        scatter.add(x[start : start + batch])
    return scatter


NONE = np.zeros((0, 12))


def test_principal_directions_are_those_of_the_singular_value_decomposition() -> None:
    x = points(50, 12)
    scatter = scatter_of(x)
    _, singular, rows = np.linalg.svd(x - x.mean(0))
    found = scatter.principal(12)
    np.testing.assert_allclose(np.abs((found * rows).sum(1)), 1, atol=1e-10)
    np.testing.assert_allclose(scatter.shares(12), singular**2 / (singular**2).sum(), atol=1e-12)
    np.testing.assert_allclose(scatter.mean, x.mean(0))
    assert scatter.count == 50
    own = linear.basis_of(x, 4)
    np.testing.assert_allclose(own.directions, found[:4], atol=1e-8)
    np.testing.assert_allclose(own.mean, scatter.mean)
    few = linear.basis_of(x[:6], 4)  # fewer points than dimensions: the other way to the same
    np.testing.assert_allclose(few.directions, scatter_of(x[:6]).principal(4), atol=1e-8)


def test_batches_do_not_matter_and_a_far_centre_costs_no_digits() -> None:
    x = points(40, 6)
    for batch in (1, 13, 40):
        np.testing.assert_allclose(scatter_of(x, batch).matrix, scatter_of(x).matrix, rtol=1e-10)
    far = scatter_of(x + 1e6)
    np.testing.assert_allclose(far.shares(6), scatter_of(x).shares(6), atol=1e-8)
    scatter = scatter_of(x)
    scatter.add(x[:0])
    assert scatter.count == 40
    assert scatter.most() == 6
    assert scatter_of(x[:3]).most() == 2
    assert scatter_of(x[:1]).most() == 1


def test_signs_are_fixed_by_the_largest_loading() -> None:
    x = points(30, 5)
    found = scatter_of(x).principal(5)
    np.testing.assert_allclose(scatter_of(-x).principal(5), found, atol=1e-10)
    assert (np.take_along_axis(found, np.abs(found).argmax(1, keepdims=True), 1) > 0).all()


def test_all_directions_together_keep_every_distance() -> None:
    x = points(20, 8)
    scatter = scatter_of(x)
    placed = linear.Basis(scatter.mean, scatter.principal(8)).project(x)
    apart = np.linalg.norm(x[:, None] - x[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(placed[:, None] - placed[None], axis=-1), apart, atol=1e-10)


def test_given_axes_come_first_and_the_remainder_is_that_of_what_they_leave() -> None:
    x = points(50, 12)
    axes, _ = linear.orthonormal(np.random.default_rng(3).standard_normal((2, 12)))
    scatter = scatter_of(x)
    found = scatter.principal(7, axes)
    np.testing.assert_array_equal(found[:2], axes)
    np.testing.assert_allclose(found @ found.T, np.eye(7), atol=1e-10)
    spread = x - x.mean(0)
    _, singular, rows = np.linalg.svd(spread - spread @ axes.T @ axes)
    np.testing.assert_allclose(np.abs((found[2:] * rows[:5]).sum(1)), 1, atol=1e-8)
    total = (spread**2).sum()
    expected = np.concatenate([((spread @ axes.T) ** 2).sum(0), singular[:5] ** 2]) / total
    np.testing.assert_allclose(scatter.shares(7, axes), expected, atol=1e-12)
    np.testing.assert_allclose(linear.shares_of_few(x, 7, axes), expected, atol=1e-12)


def test_an_axis_is_never_found_again_even_where_nothing_else_varies() -> None:
    for axis in np.eye(12)[:, None]:
        scatter = scatter_of(np.arange(5.0)[:, None] @ axis)
        found = scatter.principal(4, axis)
        np.testing.assert_allclose(found @ found.T, np.eye(4), atol=1e-10)
        np.testing.assert_allclose(scatter.shares(4, axis), [1, 0, 0, 0], atol=1e-12)


def test_shares_of_few_are_those_of_the_scatter_and_nothing_varying_has_none() -> None:
    x = points(5, 12)
    np.testing.assert_allclose(linear.shares_of_few(x, 8, NONE), scatter_of(x).shares(8), atol=1e-12)
    assert scatter_of(x).shares(12).sum() == pytest.approx(1)
    assert np.isnan(scatter_of(np.ones((4, 3))).shares(2)).all()


def test_the_leading_ones_alone_are_the_same_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    x = points(90, 64)
    scatter = scatter_of(x)
    dense, shares = scatter.principal(4), scatter.shares(4)
    monkeypatch.setattr(linear, "DENSE", 16)
    np.testing.assert_allclose(scatter.principal(4), dense, atol=1e-8)
    np.testing.assert_array_equal(scatter.principal(4), scatter.principal(4))
    np.testing.assert_allclose(scatter.shares(4), shares, atol=1e-10)
    assert not np.array_equal(scatter.principal(4), dense)  # another way was taken


def test_gram_schmidt_keeps_the_first_and_says_what_is_left_of_each() -> None:
    given_vectors = np.array([[3.0, 0, 0], [1, 1, 0], [2, 5, 0]])
    rows, left = linear.orthonormal(given_vectors)
    np.testing.assert_allclose(rows[:2], [[1, 0, 0], [0, 1, 0]], atol=1e-15)
    np.testing.assert_allclose(left[:2], [1, np.sqrt(0.5)])
    assert left[2] < 1e-12
    assert linear.orthonormal(np.zeros((1, 3)))[1][0] == 0
    near = np.array([turn(30)[0], turn(30)[0] + 1e-9 * turn(30, 5)[0]])
    rows, left = linear.orthonormal(near)
    assert abs(rows[0] @ rows[1]) < 1e-12
    assert 0 < left[1] < 1e-7


def test_a_rotation_is_found_again() -> None:
    x, rotation = points(9, 4), turn(4)
    np.testing.assert_allclose(linear.rotation_onto(x, x @ rotation), rotation, atol=1e-10)


def test_effective_rank_by_hand() -> None:
    assert linear.effective_rank(np.eye(7)[:5] * 3) == pytest.approx(5)
    assert linear.effective_rank(np.ones((6, 9))) == pytest.approx(1, abs=1e-12)
    two = np.diag([3.0, 1.0])  # shares 3/4 and 1/4: of the singular values, not of their squares
    assert linear.effective_rank(two) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert np.isnan(linear.effective_rank(np.zeros((3, 4))))
    assert np.isnan(linear.effective_rank(np.zeros((0, 4))))
    several = np.stack([points(4, 6, seed) for seed in range(3)])
    np.testing.assert_allclose(linear.effective_rank(several), [linear.effective_rank(one) for one in several])


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_effective_rank_is_that_of_the_singular_values_whatever_the_shape(count: int, width: int, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((count, width))
    shares = np.linalg.svd(x, compute_uv=False)
    shares = shares / shares.sum()
    rank = linear.effective_rank(x)
    assert rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), abs=1e-6)
    assert 1 - 1e-9 <= rank <= min(count, width) + 1e-9
    assert linear.effective_rank(7 * x @ turn(width, seed)) == pytest.approx(float(rank), abs=1e-6)


def test_inner_products_of_views_are_those_of_copies() -> None:
    x = points(5, 8).reshape(5, 2, 4).swapaxes(0, 1)
    np.testing.assert_allclose(linear.gram(x), x @ x.swapaxes(1, 2), atol=1e-12)
