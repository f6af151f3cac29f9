"""The null of a flock: a random walk is within its own band, a real model is not."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import sociogram as sg
from sociogram.watch import walks
from tests.watch.test_flock import paths, recording


def walk(stops: int, tokens: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.standard_normal((stops, tokens, width)) * rng.uniform(0.5, 2, (stops, tokens, 1)), 0)


NULLED = ("cohesion", "alignment", "dispersion", "nearest", "effective_rank", "clusters")


def within(measures: xr.Dataset, name: str) -> float:
    """Share of the stops at which a measure is inside its null's band."""
    value, band = measures[name].sel(tokens="without_first"), measures[f"{name}_null"]
    there = ~value.isnull().values & (np.arange(value.sizes["stop"]) > 0)
    inside = (value >= band.sel(bound="low") - 1e-6) & (value <= band.sel(bound="high") + 1e-6)
    return float(inside.values[there].mean())


def test_a_random_walk_is_within_its_own_band_and_its_own_variance() -> None:
    shares: dict[str, list[float]] = {name: [] for name in NULLED}
    for seed in range(6):
        flock = recording(walk(21, 12, 40, seed)).flock(null=40, seed=seed)
        for name in NULLED:
            shares[name].append(within(flock.measures, name))
        assert flock.null_variance is not None
        np.testing.assert_allclose(flock.variance[:5].sum(), flock.null_variance[:5].sum(), atol=0.07)
    for name, share in shares.items():
        assert np.mean(share) > 0.7, (name, share)


@pytest.mark.real
def test_a_real_model_is_no_random_walk(paris: sg.Recording) -> None:
    flock = paris.flock()
    for name in ("cohesion", "alignment", "dispersion", "effective_rank"):
        assert within(flock.measures, name) < 0.3, name
    assert flock.null_variance is not None
    assert flock.variance[:3].sum() > flock.null_variance[:3].sum() + 0.05
    cohesion = flock.measures["cohesion"]
    assert float(abs(cohesion.sel(tokens="all") - cohesion.sel(tokens="without_first")).max()) > 0.05
    assert flock.moved.shape == (61, 10)
    assert float(flock.moved[6, 0]) > 10 * float(flock.moved[6].median())  # the first token, thrown far by the MLP of layer 2
    assert repr(flock).startswith("Flock(plain: 10 tokens, 61 stops; first 3 of 16 components keep ")
    assert "(matched random walk: " in repr(flock)


def test_the_null_is_the_seeds_and_none_when_not_asked_for() -> None:
    rec = recording(paths())
    one, same, other = rec.flock(seed=1), rec.flock(seed=1), rec.flock(seed=2)
    assert one.null_variance is not None
    np.testing.assert_array_equal(one.null_variance, same.null_variance)
    xr.testing.assert_identical(one.measures, same.measures)
    assert not np.array_equal(one.null_variance, other.null_variance)
    assert not one.measures["cohesion_null"].equals(other.measures["cohesion_null"])
    without = rec.flock(null=0)
    assert without.null_variance is None
    assert list(without.measures.data_vars) == list(NULLED)
    assert "random walk" not in repr(without)
    assert "null_low" not in without.measures_table()
    low, high = (one.measures["dispersion_null"].sel(bound=b) for b in ("low", "high"))
    assert (low <= high).all()
    start = one.measures["dispersion"].sel(tokens="without_first")[0]
    assert float(low[0]) == pytest.approx(float(start)) == pytest.approx(float(high[0]))  # walks start where tokens do


def test_of_many_tokens_a_sample_walks_and_what_depends_on_their_number_has_no_null(monkeypatch: pytest.MonkeyPatch) -> None:
    rec = recording(walk(5, 12, 6, 0))
    whole = rec.flock().measures
    monkeypatch.setattr(walks, "WALKERS", 5)
    some = rec.flock().measures
    for name in ("nearest", "effective_rank", "clusters"):
        assert some[f"{name}_null"].isnull().all()
        assert not whole[f"{name}_null"].isnull().any()
    for name in ("cohesion", "dispersion"):
        assert not some[f"{name}_null"].isnull().any()
        wider = [(m[f"{name}_null"].sel(bound="high") - m[f"{name}_null"].sel(bound="low")).mean() for m in (some, whole)]
        assert wider[0] > wider[1]
        assert float(some[f"{name}_null"].sel(bound="high")[0]) > float(some[f"{name}_null"].sel(bound="low")[0])
    xr.testing.assert_allclose(some["alignment_null"].mean(), whole["alignment_null"].mean(), rtol=0.1)


def test_of_a_crowd_a_sample_walks_for_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((5, 300, 6)).cumsum(0)
    whole = recording(x).flock(null=5).null_variance
    monkeypatch.setattr(walks, "CROWD", 150)
    for view in ("plain", "centred"):
        some = recording(x).flock(view, null=5).null_variance
        assert some is not None
        assert whole is not None
        np.testing.assert_allclose(some, whole, atol=0.03)
        assert not np.array_equal(some, whole)


def test_resultants_are_distributed_as_means_of_random_directions() -> None:
    counts = np.array([0, 1, 2, 9])
    found = walks.resultants(counts, 5, 4000, np.random.default_rng(0))
    assert np.isnan(found[:, :2]).all()
    ways = np.random.default_rng(1).standard_normal((4000, 9, 5))
    ways /= np.linalg.norm(ways, axis=-1, keepdims=True)
    for column, count in ((2, 2), (3, 9)):
        direct = np.linalg.norm(ways[:, :count].mean(1), axis=-1)
        np.testing.assert_allclose(
            np.quantile(found[:, column], [0.05, 0.5, 0.95]), np.quantile(direct, [0.05, 0.5, 0.95]), atol=0.03
        )
    assert walks.resultants(np.array([3]), 1, 50, np.random.default_rng(0)).round(6).tolist()  # on a line: 1 or 1/3
