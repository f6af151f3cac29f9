"""Gains against closed forms, drift against variances by hand, the warm-up, and fresh models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import initialisation as experiment
from sociogram.experiments.gains import cases, gelu, measured, relu, second_moment, silu
from sociogram.experiments.subjects import TEXTS, fresh, pieces
from sociogram.experiments.warming import Stack, balance, warm_up
from tests.models.conftest import tiny_llama


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.layer}, {case.weights}")
def test_gains_are_their_closed_forms(case) -> None:  # type: ignore[no-untyped-def]
    gain, error, mean, mean_error = measured(case, 300, np.random.default_rng(0))
    assert gain == pytest.approx(case.gain, abs=4.5 * error + 1e-12)
    assert error < 0.2 * case.gain
    if "norm" not in case.layer or "layer" in case.layer:
        assert abs(mean) < 4.5 * mean_error + 1e-12


def test_the_facts_are_among_them() -> None:
    gain = {(case.layer, case.weights): case.gain for case in cases()}
    assert gain["ReLU, linear", "He"] == 1
    assert gain["ReLU, linear", "Glorot"] == 0.5
    assert gain["attention over 16", "scores 0"] == 1 / 16
    assert gain["12 residual blocks", "He, branches / sqrt(blocks)"] < np.e < gain["12 residual blocks", "He"]


@pytest.mark.parametrize("function", [relu, silu, gelu, np.tanh], ids=["relu", "silu", "gelu", "tanh"])
def test_second_moments_are_integrals(function) -> None:  # type: ignore[no-untyped-def]
    wanted = sum(
        quad(lambda z: float(function(np.array(z))) ** 2 * norm.pdf(z), *ends, epsabs=1e-13)[0] for ends in ((-12, 0), (0, 12))
    )
    assert second_moment(function) == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("function", [(gelu, torch.nn.functional.gelu), (silu, torch.nn.functional.silu)], ids=["gelu", "silu"])
def test_activations_are_torchs(function) -> None:  # type: ignore[no-untyped-def]
    x = np.linspace(-5, 5, 41)
    assert function[0](x) == pytest.approx(function[1](torch.from_numpy(x)).numpy(), abs=1e-12)


def test_parts_drift_where_variance_or_mean_moves() -> None:
    stops = {"weights": ["a"] * 4, "stop": range(4), "layer": [0, 0, 0, 1], "part": ["input", "attention", "mlp", "attention"]}
    numbers = {
        "mean": 0.0,
        "variance": [1.0, 3.0, 1.0, 1.5],
        "gain": [np.nan, 3.0, 1 / 3, 1.5],
        "drifts": [False, True, True, False],
    }
    found = experiment.drift(pd.DataFrame(stops | numbers)).set_index("part")
    assert found.loc["attention", ["parts", "drift", "largest_gain", "at_layer", "layers_that_drift"]].tolist() == [
        2,
        1,
        3.0,
        0,
        "0",
    ]
    assert found.loc["mlp", "largest_gain"] == pytest.approx(1 / 3), "a part that shrinks drifts too"
    assert found.loc["all, from end to end", ["parts", "drift", "largest_gain"]].tolist() == [3, 2, 1.5]


def test_layers_of_a_model_are_measured_without_the_first_token() -> None:
    model, ids = sg.load(tiny_llama()), [5, 9, 12, 200, 4, 77]
    table = experiment._layers({"own": model}, [ids], limit=2.0)
    stream = sg.record(model, ids).dataset["residual"].values.astype(np.float64)[:, 1:].reshape(len(table), -1)
    assert table["mean"].to_numpy() == pytest.approx(stream.mean(1), abs=1e-9)
    assert table["variance"].to_numpy() == pytest.approx(stream.var(1), rel=1e-6)
    assert table["gain"].to_numpy()[1:] == pytest.approx(stream.var(1)[1:] / stream.var(1)[:-1], rel=1e-6)
    assert table["part"].tolist() == ["input", "attention", "mlp", "attention", "mlp"]


def test_the_warm_up_brings_mean_0_and_variance_1_to_inputs_it_has_not_seen() -> None:
    x, unseen = torch.randn(2, 128, 32, generator=torch.Generator().manual_seed(0))
    model = Stack(8, 32, 1, "torch's default", 0)
    with torch.no_grad():
        before = [float(out.var()) for out in model.layered(unseen)]
    assert min(before) < 0.01
    assert warm_up(model, x, 300) < 0.05
    with torch.no_grad():
        after = model.layered(unseen)
    assert all(0.5 < float(out.var()) < 2 and abs(float(out.mean())) < 0.3 for out in after)


def test_balance_is_nothing_at_mean_0_and_variance_1() -> None:
    x = torch.randn(1000, 10, dtype=torch.float64)
    x = (x - x.mean()) / x.std(correction=0)
    assert float(balance([x, x])) < 1e-20
    assert float(balance([x + 1])) == pytest.approx(1)
    assert float(balance([x, np.e**0.5 * x])) == pytest.approx(0.5)


def test_a_fresh_model_is_drawn_from_its_seed_and_leaves_the_random_state_alone() -> None:
    model = sg.load(tiny_llama())
    state = torch.get_rng_state()
    one, again, other = (fresh(model, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    same = [torch.equal(a, b) for a, b in zip(one.hf.parameters(), again.hf.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.hf.lm_head.weight, other.hf.lm_head.weight)
    assert not torch.equal(one.hf.lm_head.weight, model.hf.lm_head.weight)
    assert type(one.hf) is type(model.hf)


@pytest.mark.real
def test_texts_are_long_enough_and_cut_to_one_length(smollm: sg.Model, minilm: sg.Model) -> None:
    for model in (smollm, minilm):
        assert [len(ids) for ids in pieces(model, 3, 64)] == [64] * 3
    with pytest.raises(sg.InputError, match="texts=4: there are 3"):
        pieces(smollm, 4, 64)
    with pytest.raises(sg.InputError, match=r"tokens=500: 2 to \d+, which the shortest of the texts has for smollm2-135m"):
        pieces(smollm, 3, 500)
    assert len(set(TEXTS)) == 3


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


@pytest.mark.real
def test_the_quick_run_is_whole(quick: Study) -> None:
    assert (quick[experiment.GAINS]["off"].abs() < 4.5).all()
    warm = quick[experiment.WARM].set_index(["start", "warmed"])
    assert warm.loc[("torch's default", False), "highest_variance"] > 20 * warm.loc[("torch's default", False), "lowest_variance"]
    rank = quick[experiment.RANK].set_index(["weights", "skips", "stop"])["effective_rank"].sort_index()
    assert rank["fresh", "kept"].iloc[-1] > 5 > rank["fresh", "cut"].iloc[-1]
    assert rank["fresh", "kept"].iloc[0] == pytest.approx(rank["fresh", "cut"].iloc[0])
    assert len(quick.draw().axes) == 3


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(sg.InputError, match="limit=1: a factor above 1"):
        experiment.run(quick=True, limit=1)
