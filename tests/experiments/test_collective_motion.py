"""Particles on the sphere against their equation, collapse of rank against theory, and measures against those of a recording."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import collective_motion as experiment
from sociogram.experiments.sphere import attended, common_cosine, flow, layers, unlike, velocity
from tests.models.conftest import tiny_llama


def test_the_common_cosine_follows_its_equation() -> None:
    table = experiment.common()
    assert (table["difference"] < 1e-8).all()
    assert (table["spread"] < 1e-8).all(), "all pairs stay equal"
    assert (table[table["time"] == 0]["cosine"] == 0).all()
    assert (table.groupby(["tokens", "beta"])["cosine"].last() > 0.9).all(), "one cluster in the end"


def test_the_equation_is_that_of_two_tokens_by_hand() -> None:
    times, step = np.linspace(0, 1, 2), 1e-5
    angle = np.pi / 2  # two tokens: each is pulled by the other's part across it
    for _ in range(100_000):
        weight = np.exp(np.cos(angle)) / (np.exp(1) + np.exp(np.cos(angle)))
        angle -= step * 2 * weight * np.sin(angle)
    assert common_cosine(2, 1.0, times)[-1] == pytest.approx(np.cos(angle), abs=1e-4)


def test_the_pull_is_along_the_sphere_and_that_of_torchs_attention() -> None:
    rng = np.random.default_rng(0)
    places = rng.standard_normal((6, 4))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    found = velocity(places, 3.0)
    assert np.abs((found * places).sum(1)).max() < 1e-14
    x = torch.from_numpy(places)[None, None]
    pull = torch.nn.functional.scaled_dot_product_attention(x, x, x, scale=3.0)[0, 0].numpy()
    assert found == pytest.approx(pull - (pull * places).sum(1, keepdims=True) * places, abs=1e-14)
    moved = flow(places, 3.0, np.linspace(0, 5, 4))
    assert np.linalg.norm(moved, axis=2) == pytest.approx(np.ones((4, 6)), abs=1e-9)
    assert np.array_equal(moved[0], places)


def test_tokens_that_are_one_stay_and_opposite_ones_do_not_move() -> None:
    same, opposite = np.tile([[0.6, 0.8]], (3, 1)), np.array([[1.0, 0.0], [-1.0, 0.0]])
    assert np.abs(velocity(same, 2.0)).max() < 1e-15
    assert np.abs(velocity(opposite, 2.0)).max() < 1e-15


def test_rank_collapses_doubly_exponentially_without_skips_and_not_with_them() -> None:
    logs = {}
    for skip in (False, True):
        found = []
        for draw in range(10):
            rng = np.random.default_rng(draw)
            found.append(np.log(unlike(layers(rng.standard_normal((32, 64)), 4, rng, skip=skip, mlp=False))))
        logs[skip] = np.mean(found, 0)
    steps = np.diff(logs[False])
    assert steps[1] / steps[0] > 2
    assert logs[False][4] < np.log(1e-12), "float64 is exhausted by layer 4"
    assert logs[True][4] > np.log(0.3)


def test_one_layer_of_attention_is_a_mean_of_values() -> None:
    rng = np.random.default_rng(1)
    same = np.tile(rng.standard_normal((1, 8)), (5, 1))
    out = attended(same, rng)
    assert unlike(out) < 1e-15
    assert unlike(np.stack([np.eye(4), np.ones((4, 4))])) == pytest.approx([np.sqrt(3) / 2, 0])


def test_the_measures_of_points_are_those_of_a_recording() -> None:
    rec = sg.record(sg.load(tiny_llama()), list(range(3, 20)))
    table = sg.measure_flock(rec.dataset["residual"].values)
    wanted = rec.flock(null=0).measures
    for name in ("cohesion", "alignment", "dispersion", "nearest", "effective_rank", "clusters"):
        assert table[name].to_numpy() == pytest.approx(wanted[name].sel(tokens="all").values, rel=1e-6, nan_ok=True), name
    assert (sg.measure_flock(rec.dataset["residual"].values, joined=-1.0)["clusters"] == 1).all()


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (np.zeros((3, 4)), r"places of shape \[3, 4\]: give \[stop, token, d_model\]"),
        (np.zeros((3, 0, 4)), r"none of them 0"),
        (np.full((1, 2, 2), np.nan), r"4 numbers of places are not finite"),
    ],
)
def test_points_that_are_none_are_refused(places: np.ndarray, words: str) -> None:
    with pytest.raises((sg.InputError, TypeError), match=words if places.ndim == 3 else None):
        sg.measure_flock(places)


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


@pytest.mark.real
def test_the_quick_run_is_whole(quick: Study) -> None:
    clusters = quick[experiment.CLUSTERS].set_index(["d_model", "beta", "time"])["clusters"].sort_index()
    assert clusters[2, 9.0].iloc[-1] > 1.4, "in the plane with beta 9 several clusters stay for long"
    assert clusters[2, 1.0].iloc[-1] == clusters[64, 1.0].iloc[-1] == 1
    collapse = quick[experiment.COLLAPSE].set_index(["layers", "stop"]).sort_index()
    assert collapse.loc[("attention", 3), "factor"] > 2
    assert collapse.loc[("attention", 8), "effective_rank"] == pytest.approx(1, abs=1e-6)
    assert collapse.loc[("attention, skips", 8), "effective_rank"] > 3
    assert len(quick.draw().axes) == 4


@pytest.mark.real
def test_the_model_is_measured_as_its_recording_is(quick: Study, smollm: sg.Model) -> None:
    table = quick[experiment.MODEL]
    from sociogram.experiments.subjects import pieces

    (ids,) = pieces(smollm, 1, 24)
    own = sg.record(smollm, ids).flock(null=5, seed=0).measures_table()
    own = own[own["measure"] == "effective_rank"].set_index("stop")["without_first"]
    found = table[(table["weights"] == "trained") & (table["measure"] == "effective_rank")].set_index("stop")["without_first"]
    assert found.to_numpy() == pytest.approx(own.to_numpy(), rel=1e-4)
    fresh = table[(table["weights"] == "fresh") & (table["measure"] == "effective_rank")].set_index("stop")["without_first"]
    assert (found - fresh).abs().max() > 1
