"""Constructed attention is gradient descent; the closed form of the best step; what training and controls must show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import in_context_descent as experiment
from sociogram.experiments.linear_attention import Layer, constructed, scattered, tokens_of
from sociogram.experiments.regression import best_step, curved, descended, draw_tasks, fitted_steps, least_squares

torch.set_num_threads(1)


def by_loops(x: np.ndarray, y: np.ndarray, steps: list[float], start: np.ndarray) -> np.ndarray:
    """Gradient descent on 1/2 sum |W x - y|^2, example by example."""
    weights = start.copy()
    for step in steps:
        gradient = np.zeros_like(weights)
        for one, target in zip(x, y, strict=True):
            gradient += np.outer(weights @ one - target, one)
        weights = weights - step * gradient
    return weights


@settings(max_examples=30, deadline=None)
@given(
    count=st.sampled_from([1, 2, 5]),
    inputs=st.integers(1, 6),
    targets=st.integers(1, 3),
    examples=st.integers(1, 8),
    from_zero=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_layers_are_steps(count: int, inputs: int, targets: int, examples: int, from_zero: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(1, examples, inputs, generator=draw, dtype=torch.float64) * 2 - 1
    y = torch.randn(1, examples, targets, generator=draw, dtype=torch.float64)
    query = torch.rand(1, inputs, generator=draw, dtype=torch.float64) * 2 - 1
    start = torch.randn(targets, inputs, generator=draw, dtype=torch.float64) * (not from_zero)
    steps = [0.1 / (1 + number) for number in range(count)]
    expected = by_loops(x[0].numpy(), y[0].numpy(), steps, start.numpy()) @ query[0].numpy()
    with torch.no_grad():
        moved = constructed(steps, inputs, start).moved(tokens_of(x, y, query))
    assert (query[0] @ start.T - moved[0, -1, inputs:]).numpy() == pytest.approx(expected, abs=1e-12)
    assert (descended(x, y, steps, start)[0] @ query[0]).numpy() == pytest.approx(expected, abs=1e-12)
    residual = y[0] - x[0] @ torch.from_numpy(by_loops(x[0].numpy(), y[0].numpy(), steps, start.numpy()) - start.numpy()).T
    assert torch.allclose(moved[0, :-1, inputs:], residual, atol=1e-12), "examples hold what is left of their targets"
    assert torch.equal(moved[..., :inputs], tokens_of(x, y, query)[..., :inputs]), "inputs are not moved"


def test_the_prediction_from_zero_is_minus_the_channel_of_the_query() -> None:
    tasks = draw_tasks(5, 4, 3, torch.Generator().manual_seed(0), dtype=torch.float64)
    model = constructed([0.2], 3, torch.zeros(1, 3, dtype=torch.float64))
    with torch.no_grad():
        wanted = 0.2 * (tasks.query[:, None] @ (tasks.x.mT @ tasks.y))[:, 0]
        assert torch.allclose(model(tasks.x, tasks.y, tasks.query), wanted, atol=1e-14)


def test_curvature_is_gd_plus_plus_and_without_it_gradient_descent() -> None:
    tasks = draw_tasks(7, 6, 4, torch.Generator().manual_seed(1), dtype=torch.float64)
    zero, steps, bends = torch.zeros(1, 4, dtype=torch.float64), [0.1, 0.2, 0.15], [0.03, 0.05, 0.02]
    with torch.no_grad():
        found = constructed(steps, 4, zero, bends)(tasks.x, tasks.y, tasks.query)
    assert torch.allclose(found, curved(tasks.x, tasks.y, tasks.query, steps, bends), atol=1e-13)
    plain = curved(tasks.x, tasks.y, tasks.query, steps, [0.0] * 3)
    assert torch.allclose(plain, (descended(tasks.x, tasks.y, steps, zero) @ tasks.query[..., None])[..., 0], atol=1e-13)
    assert (found - plain).abs().max() > 1e-2


def test_exactness_and_what_a_wrong_mask_shows() -> None:
    table = experiment.exactness(seed=0)
    assert (table["difference"] < 1e-12).all()
    assert table["layers"].tolist() == [1, 1, 2, 2, 5, 5]
    unseen = (table["layers"] == 1) & (table["start"] == "zero")
    assert (table[unseen]["query_heard"] < 1e-12).all(), "one layer from zero cannot tell"
    assert (table[~unseen]["query_heard"] > 1e-2).all(), "all others can"


def test_the_best_step_is_the_one_of_the_facts() -> None:
    step, loss, zero = best_step(10, 10)
    assert step == pytest.approx(0.151515, abs=5e-7)
    assert loss == pytest.approx(0.824916, abs=5e-7)
    assert zero == pytest.approx(1.666667, abs=5e-7)
    assert best_step(10, 10, spread=0.5)[1] == pytest.approx(loss / 4), "a range of +-0.5 is a quarter of every loss"


@pytest.mark.parametrize(("inputs", "examples", "spread"), [(3, 5, 1.0), (10, 10, 1.0), (4, 2, 0.5)])
def test_the_best_step_is_measured(inputs: int, examples: int, spread: float) -> None:
    step, loss, zero = best_step(inputs, examples, spread)
    tasks = draw_tasks(100_000, examples, inputs, torch.Generator().manual_seed(2), spread=spread, dtype=torch.float64)
    found = tasks.loss(curved(tasks.x, tasks.y, tasks.query, [step], [0.0]))
    assert float(found.mean()) == pytest.approx(loss, abs=4 * float(found.std()) / 100_000**0.5)
    assert float(tasks.loss(0 * tasks.target).mean()) == pytest.approx(zero, rel=0.03)
    for factor in (0.8, 1.2):
        assert tasks.loss(curved(tasks.x, tasks.y, tasks.query, [factor * step], [0.0])).mean() > found.mean()


@pytest.mark.parametrize("spread", [1.0, 0.5])
def test_the_fitted_single_step_is_the_closed_form(spread: float) -> None:
    tasks = draw_tasks(50_000, 10, 10, torch.Generator().manual_seed(3), spread=spread)
    (step,), (bend,) = fitted_steps(tasks, 1, curvature=False)
    assert step == pytest.approx(best_step(10, 10, spread)[0], rel=0.02)
    assert bend == 0


def test_more_freedom_is_less_error() -> None:
    tasks = draw_tasks(5000, 10, 10, torch.Generator().manual_seed(4), dtype=torch.float64)
    losses = []
    for count, curvature in ((1, False), (2, False), (2, True)):
        found = curved(tasks.x, tasks.y, tasks.query, *fitted_steps(tasks, count, curvature=curvature))
        losses.append(float(tasks.loss(found).mean()))
    assert losses[0] > losses[1] + 0.05 > losses[2] + 0.1


def test_least_squares_is_where_descent_ends() -> None:
    tasks = draw_tasks(20, 12, 4, torch.Generator().manual_seed(5), dtype=torch.float64)
    assert torch.allclose(least_squares(tasks), tasks.target, atol=1e-10), "more examples than inputs tell all"
    few = draw_tasks(20, 3, 4, torch.Generator().manual_seed(5), dtype=torch.float64)
    end = (descended(few.x, few.y, [0.2] * 20_000, torch.zeros(1, 4, dtype=torch.float64)) @ few.query[..., None])[..., 0]
    assert (least_squares(few) - end).abs().median() < 1e-6


def test_softmax_heads_are_means_of_what_is_told() -> None:
    layer = Layer(3, heads=2, softmax=True)
    draw = torch.Generator().manual_seed(6)
    tokens = torch.randn(2, 5, 3, generator=draw)
    with torch.no_grad():
        assert torch.equal(layer(tokens, tokens[:, :4]), tokens), "nothing is told by weights of zero"
        layer.told[0] = torch.eye(3)
        assert torch.allclose(layer(tokens, tokens[:, :4]), tokens + tokens[:, :4].mean(1, keepdim=True), atol=1e-6)


def test_only_examples_are_heard() -> None:
    model = scattered(2, 2, 3, softmax=True, std=0.5, seed=0)
    tasks = draw_tasks(4, 5, 3, torch.Generator().manual_seed(7))
    tokens = tokens_of(tasks.x, tasks.y, tasks.query)
    changed = tokens.clone()
    changed[:, -1] += 1
    with torch.no_grad():
        assert torch.equal(model.moved(tokens)[:, :-1], model.moved(changed)[:, :-1])
        assert not torch.equal(model.moved(tokens)[:, -1] - tokens[:, -1], model.moved(changed)[:, -1] - changed[:, -1])


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


def test_the_quick_run_is_whole(quick: Study) -> None:
    assert [table.title for table in quick.tables] == [
        experiment.EXACT,
        experiment.STEP,
        experiment.TRAINED,
        experiment.SPREAD,
        experiment.RANGES,
        experiment.LEFT,
    ]
    assert quick[experiment.LEFT]["weights_changed"].tolist() == [0, 0, 0, 0]
    assert (quick[experiment.LEFT]["answers_changed"] < 1e-4).all()
    assert len(quick.draw().axes) == 3


def test_trained_linear_attention_comes_near_to_gradient_descent_and_one_softmax_head_does_not(quick: Study) -> None:
    table = quick[experiment.TRAINED]
    table = table[table["examples"] == 10].set_index("model")
    step = best_step(10, 10)
    near = table.loc["linear attention, 1 layer"]
    assert near["loss"] < step[1] * 1.1
    assert near["cosine_GD"] > 0.95
    assert table.loc["GD, 1 step", "difference_GD"] == 0
    assert table.loc["GD, 1 step", "cosine_GD"] == pytest.approx(1, abs=1e-6)
    assert table.loc["GD++, 2 steps", "loss"] < table.loc["GD, 2 steps", "loss"] < table.loc["GD, 1 step", "loss"]
    assert table.loc["control: targets of another task", "loss"] > table.loc["control: zero", "loss"]
    assert abs(table.loc["control: targets of another task", "cosine_GD"]) < 0.1
    assert table.loc["softmax attention, 1 head", "loss"] > near["loss"] + 0.1


def test_another_seed_is_another_run_and_the_same_is_the_same() -> None:
    tiny = {"steps": 3, "batch": 8, "tests": 50, "examples": (5,)}
    one, again, other = (experiment.run(quick=True, seed=seed, **tiny)[experiment.TRAINED]["loss"].tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_every_seed_is_a_run_of_its_own_on_the_same_tests() -> None:
    tiny = {"steps": 20, "batch": 8, "tests": 50, "examples": (5,)}
    study = experiment.run(quick=True, seed=1, seeds=2, **tiny)
    assert study.seeds == (1, 2)
    spread = study[experiment.SPREAD].set_index(["seed", "model"])
    assert len(spread) == 2 * len(experiment.SHAPES)
    first = study[experiment.TRAINED].set_index("model")["loss"]
    for name in experiment.SHAPES:
        assert spread.loc[(1, name), "loss"] == pytest.approx(first[name], rel=1e-6)
        assert spread.loc[(2, name), "loss"] != spread.loc[(1, name), "loss"]


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"steps": 0}, {"examples": (5, 0)}, {"tests": 0}])
def test_sizes_that_are_none_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(sg.InputError, match="in-context-descent: seeds, tests, steps and examples are numbers from 1 up"):
        experiment.run(quick=True, **wrong)
