"""Can a feed-forward net learn attention? Each layer of a trained flock distilled, and put in the layer's place (2311.10642).

Two tasks: copying, where whom to hear is a matter of places, and associative recall, where it is a matter of content. What counts
is the accuracy of the society with the net in place; the error of the net stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import sociogram as sg
from sociogram.experiments.best_rate import Plan, Run, grow_all
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.distilling import Constant, Examples, Imitator, Outputs, Weights, distil, examples_of, instead
from sociogram.experiments.pictures import COLOURS, label, panels
from sociogram.experiments.study import Study, Table
from sociogram.experiments.watching import steps as watched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "learned-attention"
TASKS = ("copy", "recall")
PLACE = {name: f"Accuracy on {name} with a net in the place of attention" for name in TASKS}
LENGTHS, SCRATCH = "Other lengths", "Trained end to end from scratch"

CANNOT_SHOW = (
    "Sequences of a dozen tokens: a net over all places has weights for every pair of them, and grows with the square of the "
    "length where attention does not grow at all. That a net of some size does it here says nothing of texts.",
    "What the nets miss, larger ones with more examples and steps might learn: their accuracies are lower bounds. The mean "
    "output and the net before training say what is gained without learning to attend.",
    "Nets are given what attention is given, behind the norm, and are distilled from the intact society; with several layers "
    "(`layers=2`) the later ones read what they were not trained on.",
    "A causal convolution of width 3 stands before every layer, in societies of both kinds: without it no flock of this size "
    "learned recall in 1,500 steps (docs/log.md). It tells a value which key it follows; to find the key is left to attention.",
)


@dataclass(frozen=True)
class Settings:
    """Places; sizes, steps, rates, seeds of the societies; the nets' hidden units for each place, their examples, steps, rate."""

    places: int = 12
    width: int = 32
    layers: int = 1
    copy_steps: int = 300
    recall_steps: int = 800
    batch: int = 64
    rates: tuple[float, ...] = (4e-3, 1e-2)
    seeds: int = 3
    units: tuple[int, ...] = (8, 32)
    examples: int = 16384
    distil_steps: int = 1000
    distil_rate: float = 2e-3
    tests: int = 1024


FULL = Settings()
QUICK = Settings(
    width=16,
    copy_steps=20,
    recall_steps=20,
    batch=32,
    rates=(1e-2,),
    seeds=1,
    units=(4,),
    examples=256,
    distil_steps=20,
    tests=64,
)

NETS: dict[str, type[Outputs | Weights]] = {"outputs": Outputs, "weights": Weights}

_PLACE_NOTE = (
    "mean over seeds, with the lowest and highest; layer: which are replaced; parameters: that the nets use; error: squared, of "
    "the layer's outputs over their variance at each place (1: the mean output); weights_off: half the sum of differences in a "
    "row; fell: of the net's loss, from the last tenth but one of its training to the last"
)
_LENGTHS_NOTE = "the largest nets, in all layers; padded with zeros, behind the sequence or before it; empty: longer than the net"
_SCRATCH_NOTE = (
    "fell: of the test loss over the last tenth of training, as a share; mixing: parameters between tokens, in all layers"
)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Teachers, their layers distilled, nets in place, other lengths, and feed-forward societies from scratch.

    Raises:
        InputError: an unknown setting, or a value that does not fit.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    if chosen.places < 12 or chosen.places % 4:
        raise sg.InputError(f"{NAME}: places={chosen.places}: a number from 12 on that 4 divides, for halves and shorter lengths")
    seeds = [seed * 100 + number for number in range(chosen.seeds)]
    return conduct(NAME, lambda own, _: _work(own, seeds), chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=seeds)


def task_of(name: str, places: int) -> Any:
    """The task at a length: half of it to be copied, or a pair for each four tokens to be recalled."""
    if name == "copy":
        return sg.grow.Copy(vocab_size=17, tokens=places // 2)
    return sg.grow.Recall(vocab_size=32, length=places, pairs=places // 4, noise=False)


def _work(chosen: Settings, seeds: list[int]) -> list[Table]:
    found: dict[str, list[Any]] = {title: [] for title in (*PLACE.values(), LENGTHS, SCRATCH)}
    for name in TASKS:
        runs = grow_all(_plans(chosen, name), task_of(name, chosen.places), rates=chosen.rates, seeds=seeds, batch=chosen.batch)
        found[SCRATCH] += [_scratch(name, one, chosen) for one in runs]
        teachers = [one for one in runs if one.plan.name == "flock"]
        for one in watched(teachers, f"nets of {name}", len(teachers)):
            rows, lengths = _distilled(name, one, chosen)
            found[PLACE[name]] += rows
            found[LENGTHS] += lengths
    return [
        *(
            Table(title, _over_seeds(found[title], ["instead", "layer"]), ("instead", "layer"), _PLACE_NOTE)
            for title in PLACE.values()
        ),
        Table(LENGTHS, _over_seeds(found[LENGTHS], ["task", "length", "instead"]), ("task", "length", "instead"), _LENGTHS_NOTE),
        Table(SCRATCH, pd.DataFrame(found[SCRATCH]), ("task", "society", "seed"), _SCRATCH_NOTE),
    ]


def _plans(chosen: Settings, name: str) -> list[Plan]:
    steps = chosen.copy_steps if name == "copy" else chosen.recall_steps
    config = {
        "vocab_size": task_of(name, chosen.places).vocab_size,
        "hidden_size": chosen.width,
        "num_hidden_layers": chosen.layers,
        "max_position_embeddings": chosen.places,
        "convolution": 3,
    }
    mixer = {**config, "kind": "feedforward"}
    deep = {**mixer, "num_hidden_layers": 2 * chosen.layers}
    return [Plan("flock", config, steps), Plan("feedforward", mixer, steps), Plan("feedforward, twice the layers", deep, steps)]


def _accuracy(society: Any, name: str, length: int, chosen: Settings) -> float:
    society.config.max_position_embeddings = max(length, chosen.places)  # rotations know no last place
    return sg.grow.score(society, task_of(name, length), count=chosen.tests, seed=10**6)["accuracy"]


def _scratch(name: str, one: Run, chosen: Settings) -> dict[str, Any]:
    society = one.grown.model
    mixing = sum(p.numel() for layer in society.layers for p in layer.mixer.parameters())
    row = {"task": name, "society": one.plan.name, "seed": one.seed, "rate": one.rate, "parameters": society.num_parameters()}
    return row | {"mixing": mixing, "accuracy": _accuracy(society, name, chosen.places, chosen), "fell": one.fell}


def _distilled(name: str, one: Run, chosen: Settings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of one teacher: with nets and controls in place, and at other lengths."""
    society, task = one.grown.model, task_of(name, chosen.places)
    learning, testing = (
        examples_of(society, task.batch(count, torch.Generator().manual_seed(10**8 + one.seed + held))["input_ids"])
        for held, count in enumerate((chosen.examples, chosen.tests))
    )
    parts = _parts(society, learning, chosen, one.seed)
    rows = [_row(name, one, chosen, "attention itself", "none", {}, [])]
    for kind, modules in parts.items():
        for layer in [*(range(chosen.layers) if chosen.layers > 1 else ()), "all"]:
            some = dict(enumerate(modules)) if layer == "all" else {int(layer): modules[int(layer)]}
            rows.append(_row(name, one, chosen, kind, str(layer), some, testing))
    largest = max(chosen.units)
    nets = {kind: parts[f"net of {kind}, {largest} units"] for kind in NETS}
    return rows, _lengths(name, society, chosen, nets)


def _parts(society: Any, learning: list[Examples], chosen: Settings, seed: int) -> dict[str, list[nn.Module]]:
    """What stands in for each layer: nets of each size, one of them before training too, the mean output and zeros."""
    parts: dict[str, list[nn.Module]] = {}
    for kind, form in NETS.items():
        for units in chosen.units:
            made = [_net(form, society, number, chosen, units, seed) for number in range(chosen.layers)]
            if units == max(chosen.units):
                parts[f"net of {kind}, {units} units, untrained"] = [
                    _net(form, society, n, chosen, units, seed) for n in range(chosen.layers)
                ]
            shape: dict[str, Any] = {"steps": chosen.distil_steps, "batch": 128, "rate": chosen.distil_rate, "seed": seed}
            parts[f"net of {kind}, {units} units"] = [distil(net, own, **shape) for net, own in zip(made, learning, strict=True)]
    parts["mean output"] = [Constant(own.outputs.mean(0)) for own in learning]
    parts["zeros"] = [Constant(torch.zeros_like(own.outputs[0])) for own in learning]
    return parts


def _net(form: type[Outputs | Weights], society: Any, number: int, chosen: Settings, units: int, seed: int) -> Imitator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + number)
        return form(society.layers[number].mixer, chosen.places, chosen.width, units)


def _row(
    name: str, one: Run, chosen: Settings, kind: str, layer: str, parts: dict[int, nn.Module], testing: list[Examples]
) -> dict[str, Any]:
    society, nan = one.grown.model, float("nan")
    with instead(society, parts):
        accuracy = _accuracy(society, name, chosen.places, chosen)
    used = sum(part.net.used for part in parts.values() if isinstance(part, Imitator))
    errors = [_error(part, testing[number]) for number, part in parts.items()]
    off = [_off(part, testing[number]) for number, part in parts.items() if isinstance(part, Weights)]
    fell = [part.fell for part in parts.values() if isinstance(part, Imitator)]
    numbers = {"parameters": used, "accuracy": accuracy, "error": float(np.mean(errors)) if errors else nan}
    numbers |= {"weights_off": float(np.mean(off)) if off else nan, "fell": float(np.mean(fell)) if fell else nan}
    return {"instead": kind, "layer": layer} | numbers


def _error(part: nn.Module, own: Examples) -> float:
    """Squared error of the outputs over their variance at each place."""
    with torch.no_grad():
        missed = (part(own.inputs) - own.outputs).square().mean()
    return float(missed / (own.outputs - own.outputs.mean(0)).square().mean())


def _off(part: Weights, own: Examples) -> float:
    """Total variation between the rows of weights, mean over all."""
    with torch.no_grad():
        return float((part.scores(own.inputs).softmax(-1) - own.weights).abs().sum(-1).mean() / 2)


def _lengths(name: str, society: Any, chosen: Settings, nets: dict[str, list[nn.Module]]) -> list[dict[str, Any]]:
    rows = []
    for length in (chosen.places - 4, chosen.places - 2, chosen.places, chosen.places + 2):
        rows.append(
            {"task": name, "length": length, "instead": "attention itself", "accuracy": _accuracy(society, name, length, chosen)}
        )
        for kind, modules in nets.items():
            for align, told in (("first", "behind"), ("last", "before")):
                accuracy = _aligned(society, name, length, chosen, modules, align)
                rows.append({"task": name, "length": length, "instead": f"net of {kind}, padded {told}", "accuracy": accuracy})
    return rows


def _aligned(society: Any, name: str, length: int, chosen: Settings, modules: list[nn.Module], align: str) -> float:
    """Accuracy with the nets in all layers at another length; no number where the net is too short for it."""
    try:
        for module in modules:
            module.align = align  # type: ignore[assignment]
        with instead(society, dict(enumerate(modules))):
            return _accuracy(society, name, length, chosen)
    except sg.InputError:
        return float("nan")
    finally:
        for module in modules:
            module.align = "first"  # type: ignore[assignment]


def _over_seeds(rows: list[dict[str, Any]], keys: list[str]) -> pd.DataFrame:
    """Means over seeds; the accuracy's lowest and highest besides."""
    table = pd.DataFrame(rows)
    grouped = table.groupby(keys, sort=False)
    means = grouped[[name for name in table.columns if name not in keys]].mean()
    if "parameters" in means:
        means["parameters"] = means["parameters"].astype(int)
    spread = grouped["accuracy"].agg(lowest="min", highest="max")
    return pd.concat([means, spread], axis=1).reset_index()


def draw(study: Study) -> Figure:
    """Accuracy with each stand-in, and at other lengths."""
    figure, axes = panels(4, size=(4.6, 4.8), title=study.question)
    for ax, name in zip(axes, TASKS, strict=False):
        _draw_places(ax, study[PLACE[name]])
        label(ax, f"{name}: what stands in (line: attention itself)", "accuracy", "", legend=False)
    for ax, name in zip(axes[2:], TASKS, strict=True):
        own = study[LENGTHS][study[LENGTHS]["task"] == name]
        for number, (kind, line) in enumerate(own.groupby("instead", sort=False)):
            look = "--" if str(kind).endswith("before") else "-"
            ax.plot(line["length"], line["accuracy"], look, marker="o", markersize=3, color=COLOURS[number % 8], label=str(kind))
        ax.set_ylim(-0.02, 1.05)
        label(ax, f"{name}: other lengths", f"tokens (made for {study.settings['places']})", "accuracy", legend=False)
    lines, told = axes[2].get_legend_handles_labels()
    figure.legend(lines, told, loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_places(ax: Any, own: pd.DataFrame) -> None:
    kinds = list(dict.fromkeys(own["instead"]))
    layers = [layer for layer in dict.fromkeys(own["layer"]) if layer != "none"]
    for number, layer in enumerate(layers):
        line = own[own["layer"] == layer]
        at = np.array([kinds.index(kind) for kind in line["instead"]]) + 0.2 * (number - (len(layers) - 1) / 2)
        reach = np.stack([line["accuracy"] - line["lowest"], line["highest"] - line["accuracy"]])
        ax.errorbar(line["accuracy"], at, xerr=reach, fmt="o", markersize=4, color=COLOURS[number])
    intact = own[own["layer"] == "none"]["accuracy"].iloc[0]
    ax.axvline(intact, color=COLOURS[7], linewidth=0.8)
    ax.set_yticks(range(1, len(kinds)), kinds[1:], fontsize=7)
    ax.set_xlim(-0.02, 1.05)
