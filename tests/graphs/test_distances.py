"""Distances between graphs: by hand, by scipy, and the axioms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

import sociogram as sg
from sociogram.graphs.distances import (
    METRICS,
    between,
    by_reader,
    hellinger,
    jensen_shannon,
    readers_with_choice,
    total_variation,
)
from tests.graphs.making import mask, of_one, softmaxed, with_weights


def graphs(count: int, tokens: int, seed: int) -> np.ndarray:
    return softmaxed(np.random.default_rng(seed).standard_normal((count, tokens, tokens)), mask(tokens, "causal"))


def test_by_hand_and_by_scipy() -> None:
    one, other = np.array([1.0, 0, 0]), np.array([0.0, 0.5, 0.5])
    for metric in (jensen_shannon, hellinger, total_variation):
        assert float(metric(one, other)) == pytest.approx(1)  # nothing in common
        assert float(metric(one, one)) == 0
    half = np.array([0.5, 0.5, 0])
    assert float(total_variation(one, half)) == pytest.approx(0.5)
    assert float(hellinger(one, half)) == pytest.approx(np.sqrt(1 - np.sqrt(0.5)))
    rng = np.random.default_rng(0)
    for _ in range(10):
        p, q = rng.dirichlet(np.ones(6), 2)
        assert float(jensen_shannon(p, q)) == pytest.approx(jensenshannon(p, q, base=2))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(0, 1000), st.sampled_from(METRICS))
def test_axioms(tokens: int, seed: int, metric: str) -> None:
    found = graphs(4, tokens, seed)
    choice = readers_with_choice(np.broadcast_to(mask(tokens, "causal"), found.shape))
    matrix = between(found, found, metric, choice)
    np.testing.assert_allclose(np.diag(matrix), 0, atol=1e-7)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert (matrix[:, None, :] <= matrix[:, :, None] + matrix[None] + 1e-9).all()  # d(i, k) <= d(i, j) + d(j, k)


def test_the_first_reader_of_a_causal_graph_does_not_count() -> None:
    one = np.array([[1.0, 0], [1, 1e-7]])
    other = np.array([[1.0, 0], [1e-30, 1]])
    found = of_one(np.stack([one, other])).distances("total-variation")
    assert found.readers == 1
    assert found.matrix.values[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_reader_without_anything_to_hear() -> None:
    nothing, something = np.zeros((1, 3)), np.array([[0.2, 0.8, 0]])
    assert by_reader(nothing, something, "hellinger")[0] == 1
    assert by_reader(nothing, nothing, "hellinger")[0] == 0


def test_whole_graphs() -> None:
    found = graphs(3, 6, 0)
    choice = np.ones(6, bool)
    assert between(found, found, "frobenius", choice)[0, 1] == pytest.approx(np.linalg.norm(found[0] - found[1]))
    order = np.random.default_rng(0).permutation(6)
    turned = found[:1][:, order][:, :, order]
    assert between(found[:1], turned, "spectral", choice)[0, 0] == pytest.approx(0, abs=1e-9)
    assert between(found[:1], turned, "frobenius", choice)[0, 0] > 0.1


def test_the_table_and_other_recordings() -> None:
    weights = graphs(8, 6, 1).reshape(2, 4, 6, 6)
    weights[1, 3] = weights[0, 1]
    nets = sg.networks(with_weights(weights))
    found = nets.distances()
    assert list(found.matrix["graph"].values)[:5] == ["0.0", "0.1", "0.2", "0.3", "1.0"]
    assert float(found.matrix.sel(graph="0.1", other="1.3")) == pytest.approx(0, abs=1e-4)
    nearest = found.nearest()
    assert len(nearest) == 8
    assert nearest.loc[1, ["other_layer", "other_head"]].tolist() == [1, 3]
    assert "8 x 8, jensen-shannon, mean over 5 readers" in repr(found)
    layers = sg.networks(with_weights(weights), by="layer")
    crossed = nets.distances("hellinger", layers)
    assert crossed.matrix.shape == (8, 2)
    assert crossed.nearest(2).shape == (16, 5)
    again = nets.distances("hellinger", nets)
    np.testing.assert_allclose(np.diag(again.matrix.values), 0, atol=1e-7)


def test_bad_wishes_are_refused() -> None:
    nets = of_one(graphs(1, 6, 0))
    with pytest.raises(
        sg.InputError, match=r"metric='cosine': choose one of jensen-shannon, hellinger, total-variation, frobenius, spectral"
    ):
        nets.distances("cosine")
    with pytest.raises(sg.InputError, match=r"6 tokens here and 5 there"):
        nets.distances("frobenius", of_one(graphs(1, 5, 0)))


def test_what_does_not_fit_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = sg.networks(with_weights(graphs(8, 6, 1).reshape(2, 4, 6, 6)))
    whole = sg.networks(with_weights(graphs(8, 6, 1).reshape(2, 4, 6, 6)), by="layer")
    monkeypatch.setattr("sociogram.graphs.asked.allowed_bytes", lambda limit: 1000)
    with pytest.raises(
        sg.MemoryLimitError,
        match=r"distances\(\) would hold 7 kB of weights \(8 graphs of 6 tokens, 3 times while they are compared\).*by=\"layer\"",
    ):
        nets.distances()
    with pytest.raises(sg.MemoryLimitError, match=r"change\(\) would hold"):
        whole.change()
    with pytest.raises(sg.MemoryLimitError, match=r"common\(\) would hold 2 kB of weights \(8 graphs of 6 tokens\)"):
        nets.common([nets])
