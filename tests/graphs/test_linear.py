"""Attention as one linear operator: equal to the model, and its spectra to those of the matrix written out."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.linear import LinearView
from tests.watch.conftest import tiny


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "gpt_neox"])
def test_the_fused_product_is_the_model_s_output(name: str) -> None:
    view = sg.networks(tiny(name)).linear_view(1)
    assert view.error < 1e-5
    blocks, stacked = view.fused()
    heads, queries, keys = view.attention.shape
    assert blocks.shape == (queries, heads * keys)
    assert stacked.shape[0] == heads * keys


def written_out(view: LinearView) -> np.ndarray:
    """The operator as a matrix, on streams laid out token by token."""
    return sum(np.kron(weights, matrix.T) for weights, matrix in zip(view.attention, view.maps, strict=True))


@pytest.fixture(scope="module")
def view() -> LinearView:
    return sg.networks(tiny("llama")).linear_view(1)


def test_spectra_are_those_of_the_matrix(view: LinearView) -> None:
    matrix = written_out(view)
    values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(view.spectrum(5), values[:5], rtol=1e-8)
    assert view.norm == pytest.approx(np.linalg.norm(matrix))
    streams = np.random.default_rng(0).standard_normal((view.attention.shape[2], view.maps.shape[1]))
    np.testing.assert_allclose(view.apply(streams).ravel(), matrix @ streams.ravel(), atol=1e-12)


def test_the_picture_has_a_bar_for_each_component(view: LinearView) -> None:
    ax = view.plot()
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(view.head_spectrum.tolist())
    level = float(np.asarray(ax.lines[0].get_ydata())[0])
    assert level**2 * len(view.head_spectrum) == pytest.approx(np.square(view.head_spectrum).sum())
    assert f"amount to {view.effective_heads:.2f}" in ax.get_title()


def test_ranks_multiply(view: LinearView) -> None:
    for row in view.heads.itertuples():
        one = np.kron(view.attention[row.head], view.maps[row.head].T)
        assert row.operator_rank == np.linalg.matrix_rank(one, tol=1e-6 * np.linalg.norm(one, 2))
        assert row.output_rank <= min(row.attention_rank, row.map_rank, view.attention.shape[1])
        assert 1 <= row.attention_effective <= row.attention_rank + 1e-6


def test_heads_that_say_the_same_amount_to_one(view: LinearView) -> None:
    rearranged = np.einsum("hqk,hde->qkde", view.attention, view.maps).reshape(view.attention[0].size, -1)
    values = np.linalg.svd(rearranged, compute_uv=False)[: len(view.attention)]
    np.testing.assert_allclose(view.head_spectrum, values, atol=1e-7 * values[0])
    copies = np.stack([view.attention[0]] * 3)
    scaled = np.stack([view.maps[0], 2 * view.maps[0], -0.5 * view.maps[0]])
    same = LinearView(0, copies, scaled, view.told[:3], view.out)
    assert same.effective_heads == pytest.approx(1, abs=1e-3)
    assert 1 < view.effective_heads <= len(view.attention)


def test_a_real_layer(alice: sg.Recording) -> None:
    found = sg.networks(alice).linear_view(10)
    assert found.error < 1e-5
    assert 1 < found.effective_heads <= 9
    assert (found.heads["map_rank"] == 64).all()
    assert "9 heads amount to" in repr(found)


def test_what_has_no_operator_is_refused() -> None:
    with pytest.raises(sg.RecordingError, match="scales or gates what each reader hears"):
        sg.networks(tiny("gemma2")).linear_view(0)
    nets = sg.networks(tiny("llama"))
    with pytest.raises(sg.InputError, match="count=0: a whole number from 1 to"):
        nets.linear_view(0).spectrum(0)
    with pytest.raises(sg.InputError, match="no layer 99"):
        nets.linear_view(99)
