"""The arrays of a recording: filled once, to their place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sociogram.watch.account import gram_factor
from sociogram.watch.build import value_norms
from sociogram.watch.rows import Rows


@pytest.mark.parametrize("keys", [3, 40])
@pytest.mark.parametrize("rank", [8, 3])
def test_value_norms_are_those_of_the_projected_values(keys: int, rank: int) -> None:
    """Directly for few keys, through the Gram matrix for many; a projection of low rank is no exception."""
    torch.manual_seed(0)
    matrix = torch.randn(4, 8, rank) @ torch.randn(rank, 30)
    value = torch.randn(2, 2, keys, 8)
    expected = torch.einsum("bhkd,hdm->bhkm", value.repeat_interleave(2, 1), matrix).norm(dim=-1)
    torch.testing.assert_close(value_norms(value, matrix), expected, rtol=1e-4, atol=1e-4)
    factor = gram_factor(matrix)
    torch.testing.assert_close(factor @ factor.mT, (matrix.double() @ matrix.double().mT), rtol=1e-6, atol=1e-6)


def test_rows_that_never_came_are_nan_and_smaller_ones_are_filled_up() -> None:
    rows = Rows(3)
    rows.put(0, torch.ones(2, 2))
    rows.put(2, torch.ones(2, 3))
    array = rows.finish()
    assert array is not None
    assert array.shape == (3, 2, 3)
    assert np.isnan(array[0, :, 2]).all()
    assert np.isnan(array[1]).all()
    assert (array[2] == 1).all()
    assert Rows(2).finish() is None


def test_a_row_written_in_place_is_not_copied() -> None:
    rows = Rows(2)
    place = rows.place(1, (2, 2), torch.float32)
    assert place is not None
    assert float(place.sum()) == 0
    place.fill_(5.0)
    rows.put(1, place)
    array = rows.finish()
    assert array is not None
    assert array[1].sum() == 20
    assert array.__array_interface__["data"][0] == place.data_ptr() - 4 * 4
    assert rows.place(1, (2, 2), torch.float32) is None
    assert rows.place(0, (9, 9), torch.float32) is None


def test_rows_in_pieces_may_be_wider_than_those_before() -> None:
    """Their pieces are added to zeros, not to what fills up narrower rows; also where the array was looked at in between."""
    for fill in (float("nan"), -1.0):
        for looked in (False, True):
            rows = Rows(3, lengths={2: 4}, fill=fill)
            rows.put(0, torch.ones(1, 2, 2), {2: 0}, add=True)
            if looked:
                assert rows.finish() is not None
            rows.put(1, torch.ones(1, 5, 2), {2: 1}, add=True)
            rows.put(1, torch.ones(1, 5, 2), {2: 2}, add=True)
            rows.put(0, torch.ones(1, 2, 2), {2: 2}, add=True)
            array = rows.finish()
            assert array is not None
            np.testing.assert_array_equal(array[0, 0, :2], 1.0)
            np.testing.assert_array_equal(array[0, 0, 2:], fill)
            np.testing.assert_array_equal(array[1, 0], np.tile([0.0, 1.0, 2.0, 1.0], (5, 1)))
            np.testing.assert_array_equal(array[2], fill)
