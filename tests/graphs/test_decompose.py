"""Leading singular triplets by products alone, against all of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

import sociogram as sg
from sociogram.graphs.decompose import CLOSE, by_products, leading_triplets, normal


def of_values(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """A matrix with these singular values."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((len(values), len(values))))[0] for _ in range(2))
    return (left * values) @ right.T


def test_products_alone_give_the_same_triplets() -> None:
    matrix = of_values(np.concatenate([[20.0, 11, 7, 5, 4.4, 4], np.linspace(2, 0, 294)]))
    found, whole = leading_triplets(aslinearoperator(matrix), 6), leading_triplets(matrix, 6)
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-10)
    np.testing.assert_allclose(found.left, whole.left, atol=1e-6)
    np.testing.assert_allclose(found.right, whole.right, atol=1e-6)
    assert (found.residual <= CLOSE * found.values[0]).all()
    assert (whole.residual == 0).all()
    np.testing.assert_allclose(found.left.T @ matrix @ found.right, np.diag(found.values), atol=1e-6)


def test_both_ways_to_multiply_agree() -> None:
    matrix = of_values(np.linspace(3, 1, 20))
    columns = np.random.default_rng(1).standard_normal((20, 4))
    for one, other in zip(normal(matrix, columns), normal(aslinearoperator(matrix), columns), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    np.testing.assert_allclose(normal(matrix, columns)[1], matrix.T @ matrix @ columns, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_a_matrix_of_rank_r_has_r_singular_values(rank: int) -> None:
    values = np.zeros(200)
    values[:rank] = np.arange(rank, 0, -1)
    for found in (leading_triplets(of_values(values), 5), leading_triplets(aslinearoperator(of_values(values)), 5)):
        np.testing.assert_allclose(found.values, values[:5], atol=1e-12)


def test_where_all_values_are_alike_each_triplet_is_as_good() -> None:
    found = leading_triplets(aslinearoperator(np.eye(500)), 4)
    np.testing.assert_allclose(found.values, 1, atol=1e-12)
    assert (found.residual < 1e-10).all()


def test_a_flat_scree_is_never_overstated_and_says_how_far_off_it_is() -> None:
    values = np.linspace(1, 0.99, 1500)
    left, found, right, residual = by_products(of_values(values), 5)
    assert (found <= values[:5] + 1e-12).all()
    assert (residual > CLOSE).any()
    nearest = np.abs(found[:, None] - values).min(1)
    assert (nearest <= residual).all()
    np.testing.assert_allclose(left.T @ left, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(right.T @ right, np.eye(5), atol=1e-9)


def test_signs_are_fixed() -> None:
    matrix = of_values(np.linspace(5, 1, 30))
    for found in (leading_triplets(matrix, 4), leading_triplets(-matrix, 4)):
        assert (np.take_along_axis(found.right, np.abs(found.right).argmax(0)[None], 0) > 0).all()
    np.testing.assert_allclose(leading_triplets(matrix, 4).left, -leading_triplets(-matrix, 4).left, atol=1e-9)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(sg.InputError, match="5 singular values of a matrix 4 x 4: 1 to 4"):
        leading_triplets(np.eye(4), 5)
    with pytest.raises(sg.InputError, match="0 singular values"):
        leading_triplets(np.eye(4), 0)
    with pytest.raises(sg.InputError, match="not all finite"):
        leading_triplets(np.full((4, 4), np.nan), 1)
