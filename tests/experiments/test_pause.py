"""Pauses: operations by formula and as counted, equal compute, pauses that were never trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import pause as experiment
from sociogram.experiments.best_rate import Run

torch.set_num_threads(1)


def made(config: dict[str, object], seed: int = 0) -> sg.grow.Society:
    torch.manual_seed(seed)
    return sg.grow.Society(sg.grow.SocietyConfig(**config)).eval()


@pytest.mark.parametrize("name", ["flock", "pauses 1", "pauses 4", "pauses 2, read too early", "4 layers", "wider MLPs"])
def test_operations_by_formula_are_those_that_torch_counts(name: str) -> None:
    config = {plan.name: plan.config for plan in experiment.plans_of(experiment.FULL)}[name]
    society, vectors = made(config), torch.randn(3, 7, 4)
    society.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        society(vectors=vectors)
    assert counter.get_total_flops() / 21 == experiment.flops(society.config, 7)


def test_rivals_spend_what_pauses_spend() -> None:
    plans = {plan.name: sg.grow.SocietyConfig(**plan.config) for plan in experiment.plans_of(experiment.FULL)}
    need = {name: experiment.flops(config, 7) for name, config in plans.items()}
    assert need["wider MLPs"] == pytest.approx(need["pauses 2"], rel=0.005)
    assert need["pauses 2, read too early"] == need["pauses 2"]
    assert need["6 layers"] == pytest.approx(need["pauses 2"], rel=0.12)
    assert need["6 layers"] < need["pauses 2"], "layers have no more than the pauses they stand against"
    assert need["4 layers"] < need["pauses 1"]


def test_given_pauses_are_new_and_all_else_is_kept() -> None:
    plan = experiment.plans_of(experiment.QUICK)[0]
    flock = made(plan.config, seed=3)
    run = Run(plan, 3, 0.1, (), type("Grown", (), {"model": flock}))
    paused, vectors = experiment.given_pauses(run, 2), torch.randn(2, 7, 4)
    assert paused.embed_pauses.weight.shape == (2, 16)
    assert all(torch.equal(value, paused.state_dict()[name]) for name, value in flock.state_dict().items())
    with torch.no_grad():
        plain = flock(vectors=vectors, use_cache=False).logits
        assert not torch.allclose(paused(vectors=vectors).logits, plain)
        assert torch.equal(experiment.given_pauses(run, 2)(vectors=vectors).logits, paused(vectors=vectors).logits)


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


def test_the_quick_run_is_whole(quick: Study) -> None:
    gains, runs, given = (quick[title] for title in (experiment.GAIN, experiment.RUNS, experiment.UNTRAINED))
    names = ["flock", "pauses 1", "pauses 2", "pauses 2, read too early", "4 layers", "6 layers", "wider MLPs"]
    assert gains["society"].tolist() == names == runs["society"].tolist()
    assert np.allclose(gains["loss"], runs["loss"])
    assert gains["more"].iloc[0] == 1
    assert given["pauses"].tolist() == [1, 2]
    assert (given["without"] == gains["loss"].iloc[0]).all()
    assert given["trained"].tolist() == gains["loss"].iloc[1:3].tolist()
    assert (given[["spaced", "untrained"]].to_numpy() != given[["without"]].to_numpy()).all()
    assert len(quick.draw().axes) == 2


def test_one_number_of_pauses_has_its_rivals_too() -> None:
    names = [plan.name for plan in experiment.plans_of(replace(experiment.QUICK, pauses=(3,)))]
    assert names == ["flock", "pauses 3", "pauses 3, read too early", "8 layers", "wider MLPs"]


@pytest.mark.parametrize("pauses", [(0, 1), (2, 2)])
def test_pauses_that_are_none_or_twice_are_refused(pauses: tuple[int, ...]) -> None:
    with pytest.raises(sg.InputError, match="different numbers from 1 on; the flock without any is always there"):
        experiment.run(quick=True, pauses=pauses)
