"""Attention as gradient descent on the examples of a prompt (von Oswald et al. 2212.07677): constructed, trained, and its limits.

Vectors, not tokens of a language: a prompt holds examples (x, y) of one linear relation and a query. One layer of linear
attention *can* do one step of gradient descent; whether training finds it, and what softmax, depth and other inputs do to it, is
measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.in_context_training import SHAPES, Predict, Trained, Training, descent, references, trained
from sociogram.experiments.linear_attention import Attention, constructed, tokens_of
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.regression import Tasks, best_step, descended, draw_tasks, least_squares
from sociogram.experiments.study import Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "in-context-descent"
EXACT, STEP, TRAINED, SPREAD, RANGES, LEFT = (
    "Constructed weights against gradient descent",
    "The best single step",
    "Trained attention against gradient descent",
    "Trained attention from other seeds",
    "Inputs from other ranges than in training",
    "What a prompt leaves in the weights",
)

CANNOT_SHOW = (
    "No parameter changes while a prompt is read: the weights before and after are the same bits. What descends is an implicit "
    "linear map that exists only as the sums in the activations of this prompt, and is gone with them.",
    "That constructed weights do gradient descent exactly says what linear attention can do; that trained ones agree with it on "
    "these tasks says what these were led to. Neither says what a language model does in its prompts.",
    "Equal predictions do not make equal algorithms: other methods (a ridge, preconditioned steps) predict alike where the data "
    "cannot tell them apart. Other ranges of inputs and sensitivities narrow it; they do not close it.",
    "Gradient descent here is on a linear model, with noiseless targets and examples in no order; softmax attention is only near "
    "to it, and is not a step of it for any step size.",
    "Each kind was trained for one number of steps at one learning rate that falls to zero; softmax heads and two layers might "
    "end lower with more, so that their losses are upper bounds: two softmax heads stand where one head does until they part, "
    "and at some seeds they have not parted by the end.",
)


@dataclass(frozen=True)
class Settings:
    """Sizes of the tasks, numbers of examples; steps, batch, rate and first spread of the training; how many tests and seeds."""

    inputs: int = 10
    examples: tuple[int, ...] = (5, 10, 20)
    steps: int = 3000
    batch: int = 256
    rate: float = 1e-2
    std: float = 0.05
    tests: int = 10_000
    seeds: int = 3


FULL = Settings()
QUICK = Settings(examples=(5, 10), steps=300, tests=2000, seeds=1)

DEEP = ("GD, 2 steps", "GD++, 2 steps", "linear attention, 2 layers")
"""What is compared with two steps."""

Answer = tuple[Tensor, Tensor | None]
"""Predictions, and their gradients by the query where there are some."""


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Constructions, the best step, training and its comparison with gradient descent.

    Tables: differences of the constructed weights from explicit gradient descent in float64 (with the query heard too, as a
    control, it must fail); the best single step and its loss, in closed form and measured; loss, prediction difference and cosine
    of the sensitivities to the query of trained attention; losses on inputs of other ranges; weights before and after prompts.

    Raises:
        InputError: an unknown setting, or a value that does not fit.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    if min(chosen.seeds, chosen.tests, chosen.steps, *chosen.examples) < 1:
        raise sg.InputError(f"{NAME}: seeds, tests, steps and examples are numbers from 1 up, not {chosen}")
    seeds = range(seed, seed + chosen.seeds) if isinstance(seed, int) else ()
    return conduct(NAME, _work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def _work(chosen: Settings, seed: int) -> list[Table]:
    """All tables; those besides the spread over seeds are of the first seed."""
    found = {(s, n): _each(chosen, n, s) for s in range(seed, seed + chosen.seeds) for n in chosen.examples}
    tests = {n: _drawn(chosen, n, seed, 1) for n in chosen.examples}
    descents = {n: references(chosen.inputs, n, _drawn(chosen, n, seed, 2)) for n in chosen.examples}
    models = {n: {name: one.model for name, one in found[seed, n].items()} for n in chosen.examples}
    middle = 10 if 10 in chosen.examples else chosen.examples[0]
    return [
        Table(EXACT, exactness(seed), ("layers", "start"), "float64; largest difference over 64 tasks of 2 targets"),
        Table(STEP, _best(chosen, seed), ("examples",), "half squared errors; error: standard error of the measured"),
        Table(
            TRAINED,
            pd.concat([_compared(n, models[n], descents[n], tests[n]) for n in chosen.examples], ignore_index=True),
            ("examples", "model"),
            "difference: mean size of the difference of predictions; cosine: of the predictions' gradients by the query; GD and "
            "GD++ with as many steps as there are layers, at their best step sizes",
        ),
        Table(
            SPREAD,
            _spread(found, tests),
            ("examples", "model", "seed"),
            "other first weights and training tasks, the same tests; fall: of the training loss from the last tenth but one of "
            "the steps to the last, as a share of it (near 0 once it has settled)",
        ),
        Table(
            RANGES,
            _ranges(chosen, middle, {**descents[middle], **models[middle]}, seed),
            ("range", "model"),
            f"{middle} examples; loss over that of predicting zero",
        ),
        Table(LEFT, _left(models[middle], tests[middle]), ("model",)),
    ]


def _each(chosen: Settings, examples: int, seed: int) -> dict[str, Trained]:
    how = Training(chosen.inputs, chosen.steps, chosen.batch, chosen.rate, chosen.std)
    return {name: trained(name, how, examples, seed) for name in SHAPES}


def _spread(found: dict[tuple[int, int], dict[str, Trained]], tests: dict[int, Tasks]) -> pd.DataFrame:
    """The loss of every seed's models on the same tests."""
    rows = []
    for (seed, examples), models in found.items():
        tasks = tests[examples]
        for name, one in models.items():
            with torch.no_grad():
                loss = tasks.loss(one.model(tasks.x, tasks.y, tasks.query)).mean()
            rows.append((examples, name, seed, float(loss), one.fall))
    return pd.DataFrame(rows, columns=["examples", "model", "seed", "loss", "fall"])


def exactness(seed: int, counts: tuple[int, ...] = (1, 2, 5), inputs: int = 10, examples: int = 10) -> pd.DataFrame:
    """Largest difference of K constructed layers from K explicit steps, started at zero and elsewhere.

    Column `query_heard` is the same with a mask that lets the query be heard too: at one layer and a start of zero it cannot be
    seen (the query's value is zero), everywhere else it must.
    """
    draw = torch.Generator().manual_seed(seed)
    x, query = (2 * torch.rand(64, n, inputs, generator=draw, dtype=torch.float64) - 1 for n in (examples, 1))
    y = x @ torch.randn(64, inputs, 2, generator=draw, dtype=torch.float64)
    rows = []
    for count in counts:
        sizes = [0.05 + 0.02 * number for number in range(count)]
        for start, name in ((torch.zeros(2, inputs), "zero"), (torch.randn(2, inputs, generator=draw), "random")):
            start = start.double()
            wanted = (descended(x, y, sizes, start) @ query.mT)[..., 0]
            model, tokens = constructed(sizes, inputs, start), tokens_of(x, y, query[:, 0])
            with torch.no_grad():
                both = (examples, examples + 1)
                found, wrong = ((query @ start.T)[:, 0] - model.moved(tokens, heard=n)[:, -1, inputs:] for n in both)
            rows.append((count, name, float((found - wanted).abs().max()), float((wrong - wanted).abs().max())))
    return pd.DataFrame(rows, columns=["layers", "start", "difference", "query_heard"])


def _drawn(chosen: Settings, examples: int, seed: int, part: int, spread: float = 1.0) -> Tasks:
    """Tasks for testing (part 1) or for fitting step sizes (part 2); training draws its own."""
    draw = torch.Generator().manual_seed(seed * 1_000_003 + examples * 101 + part)
    return draw_tasks(chosen.tests, examples, chosen.inputs, draw, spread=spread)


def _best(chosen: Settings, seed: int) -> pd.DataFrame:
    rows = []
    for examples in chosen.examples:
        step, loss, zero = best_step(chosen.inputs, examples)
        tasks = _drawn(chosen, examples, seed, 1)
        losses = {factor: tasks.loss(descent(factor * step)(tasks.x, tasks.y, tasks.query)) for factor in (1.0, 0.8, 1.2)}
        error = float(losses[1.0].std() / chosen.tests**0.5)
        measured = [float(losses[factor].mean()) for factor in (1.0, 0.8, 1.2)]
        rows.append((examples, step, loss, measured[0], error, *measured[1:], zero, float(tasks.loss(0 * tasks.target).mean())))
    names = ["step", "loss", "measured", "error", "at_0.8_step", "at_1.2_step", "zero", "zero_measured"]
    return pd.DataFrame(rows, columns=["examples", *names])


def _compared(examples: int, models: Mapping[str, Predict], descents: Mapping[str, Predict], tasks: Tasks) -> pd.DataFrame:
    """Every model's loss, and its difference from gradient descent of as many steps as it has layers."""
    answers: dict[str, Answer] = {
        name: _answer(predict, tasks) for name, predict in {**descents, **models, **_controls(tasks)}.items()
    }
    answers["least squares"] = (least_squares(tasks), None)
    rows = []
    for name, answer in answers.items():
        loss = tasks.loss(answer[0])
        deep = name in DEEP
        pairs = [_apart(answer, answers["GD, 2 steps" if deep else "GD, 1 step"])]
        pairs.append(_apart(answer, answers["GD++, 2 steps"]) if deep else (float("nan"), float("nan")))
        rows.append((examples, name, float(loss.mean()), float(loss.std() / len(loss) ** 0.5), *pairs[0], *pairs[1]))
    names = ["loss", "error", "difference_GD", "cosine_GD", "difference_GD++", "cosine_GD++"]
    return pd.DataFrame(rows, columns=["examples", "model", *names])


def _controls(tasks: Tasks) -> dict[str, Predict]:
    """Predictions that know nothing of the examples' relation: zero, and a step on the targets of another task."""
    step = best_step(tasks.x.shape[2], tasks.x.shape[1])[0]
    return {
        "control: zero": lambda x, y, query: 0 * query[:, :1],
        "control: targets of another task": lambda x, y, query: descent(step)(x, y.roll(1, 0), query),
    }


def _answer(predict: Predict, tasks: Tasks) -> Answer:
    """Predictions, and their gradients by the query."""
    query = tasks.query.clone().requires_grad_()
    predicted = predict(tasks.x, tasks.y, query)
    (sensitivity,) = torch.autograd.grad(predicted.sum(), query)
    return predicted.detach(), sensitivity


def _apart(one: Answer, other: Answer) -> tuple[float, float]:
    """Mean size of the difference of predictions, and mean cosine of the sensitivities (NaN where there are none)."""
    difference = float((one[0] - other[0]).norm(dim=1).mean())
    if one[1] is None or other[1] is None or not one[1].any():
        return difference, float("nan")
    return difference, float(torch.cosine_similarity(one[1], other[1]).mean())


def _ranges(chosen: Settings, examples: int, models: Mapping[str, Predict], seed: int) -> pd.DataFrame:
    rows = []
    for spread in (0.5, 1.0, 1.25, 1.5):
        tasks = _drawn(chosen, examples, seed, 3, spread)
        zero = tasks.loss(0 * tasks.target).mean()
        for name, predict in models.items():
            with torch.no_grad():
                rows.append((spread, name, float(tasks.loss(predict(tasks.x, tasks.y, tasks.query)).mean() / zero)))
    return pd.DataFrame(rows, columns=["range", "model", "relative_loss"])


def _left(models: Mapping[str, Attention], tasks: Tasks) -> pd.DataFrame:
    """What reading prompts changes: no weight, and no later answer (the same prompts read again, in reverse order)."""
    rows = []
    for name, model in models.items():
        before = [parameter.detach().clone() for parameter in model.parameters()]
        with torch.no_grad():
            first = model(tasks.x, tasks.y, tasks.query)
            again = model(tasks.x.flip(0), tasks.y.flip(0), tasks.query.flip(0)).flip(0)
        changed = sum(int((a != b).sum()) for a, b in zip(before, model.parameters(), strict=True))
        rows.append((name, sum(p.numel() for p in before), changed, float((first - again).abs().max())))
    return pd.DataFrame(rows, columns=["model", "weights", "weights_changed", "answers_changed"])


def draw(study: Study) -> Figure:
    """Loss against the number of examples (other seeds as dots); how near trained attention is to descent; other ranges."""
    table, ranges = study[TRAINED], study[RANGES]
    figure, (losses, cosines, other) = panels(3, size=(5.2, 4.8), title=study.question)
    for name, own in _lines(table):
        losses.plot(own["examples"], own["loss"], **_look(name), label=name)
        if name in SHAPES:
            best = own["cosine_GD"].where(own["cosine_GD++"].isna(), own["cosine_GD++"])
            cosines.plot(own["examples"], best, **_look(name))
    for name, own in _lines(study[SPREAD]):
        losses.plot(own["examples"], own["loss"], ".", color=_look(name)["color"], alpha=0.6, markersize=5)
    for name, own in _lines(ranges):
        other.plot(own["range"], own["relative_loss"], **_look(name))
    label(losses, "loss on new tasks (dots: other seeds)", "examples in the prompt", "half squared error", legend=False)
    label(cosines, "sensitivity to the query", "examples in the prompt", "cosine with GD (2 layers: GD++)", legend=False)
    label(other, "inputs from other ranges", "range (training: 1)", "loss / loss of predicting zero", legend=False)
    other.set_yscale("log")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def _look(name: str) -> dict[str, Any]:
    """What is trained in thin lines over the descents that it may be, which are broad and pale."""
    shades = dict(zip(SHAPES, (COLOURS[3], COLOURS[4], COLOURS[5], COLOURS[6]), strict=True))
    shades |= {"GD, 1 step": COLOURS[3], "GD, 2 steps": COLOURS[1], "GD++, 2 steps": COLOURS[4]}
    if name.startswith("GD"):
        return {"color": shades[name], "linewidth": 5, "alpha": 0.35, "linestyle": "-"}
    dashes = {"linestyle": "-" if name in SHAPES else "--"}
    return {"color": shades.get(name, COLOURS[7 if name.startswith("control") else 0]), "linewidth": 1.5, **dashes}


def _lines(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each model's rows, without the control that would squeeze all others together."""
    for name in table["model"].unique():
        if "another" not in name:
            yield name, table[table["model"] == name].sort_values(table.columns[0])
