"""The spread over runs is that of the runs."""

from __future__ import annotations

import pandas as pd
import pytest

import sociogram as sg
from sociogram.experiments import Study, generality, open_experiment

TINY = {"steps": 3, "batch": 8, "tests": 50, "examples": (5,)}


def by_hand(seed: int, inputs: int) -> Study:
    return open_experiment("in-context-descent").run(quick=True, seed=seed, inputs=inputs, **TINY)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_spread_is_that_of_the_runs_made_by_hand(jobs: int) -> None:
    over = {"seed": (0, 4), "inputs": (3, 6)}
    found = generality.run(quick=True, experiment="in-context-descent", over=over, settings=TINY, jobs=jobs)
    title, number = "Trained attention against gradient descent", "loss"
    rows = [by_hand(seed, inputs)[title].set_index("model")[number] for seed in (0, 4) for inputs in (3, 6)]
    spread, every = found[generality.SPREAD], found[generality.RUNS]
    for model, values in pd.concat(rows, axis=1).iterrows():
        where = (spread["row"] == f"examples=5, model={model}") & (spread["number"] == number)
        (row,) = spread[where].to_dict("records")
        assert row["runs"] == 4
        for name, expected in (("mean", values.mean()), ("sd", values.std()), ("min", values.min()), ("max", values.max())):
            assert row[name] == pytest.approx(expected, rel=1e-6), (model, name)
        own = every[(every["row"] == f"examples=5, model={model}") & (every["number"] == number)]
        assert own["value"].tolist() == pytest.approx(values.tolist(), rel=1e-6)
        assert own["run"].tolist() == ["seed=0, inputs=3", "seed=0, inputs=6", "seed=4, inputs=3", "seed=4, inputs=6"]
    assert found.seeds == (0, 4)
    assert found.stem == "generality-in-context-descent.quick"
    assert found.code != by_hand(0, 3).code


def test_truth_values_are_shares_and_missing_numbers_do_not_count(study: Study) -> None:
    numbers = generality.numbers_of(study)
    assert set(numbers["number"]) == {"difference", "holds"}
    assert numbers["row"].iloc[0] == "layers=1, start=zero"
    spread = generality.spread_of(pd.concat([numbers, numbers.assign(value=numbers["value"] * 0)]))
    holds = spread[spread["number"] == "holds"]
    assert holds["mean"].tolist() == [0.5, 0.0, 0.5]
    assert spread[spread["number"] == "difference"]["runs"].tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"experiment": "generality"}, "would vary itself"),
        ({"experiment": "alchemy"}, "no experiment 'alchemy'"),
        ({"over": {"colour": (1, 2)}}, "in-context-descent has no setting 'colour' to vary: it has seed, inputs"),
        ({"over": {"seed": (1,)}}, "is 1 run, and a spread takes two or more"),
        ({"over": {}}, "is 1 run, and a spread takes two or more"),
        ({"over": {"seed": (1, 1)}}, "give different values"),
        ({"over": {"seed": 3}}, "give different values"),
        ({"over": {"steps": ("many", "few")}, "jobs": 1}, "steps='many' does not fit"),
    ],
)
def test_what_is_no_variation_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(sg.InputError, match=words):
        generality.run(quick=True, **settings)


def test_another_experiment_does_not_take_over_the_settings_of_the_default() -> None:
    plan = generality._plan(generality.FULL, 0)
    assert len(plan) == 6
    assert all(settings["seeds"] == 1 for _, settings in plan)
    with pytest.raises(sg.InputError, match="collective-motion: depth='many' does not fit"):
        generality.run(quick=False, experiment="collective-motion", over={"depth": ("many", "few")}, jobs=1)
