"""Tables of what societies learned: accuracy over lengths, steps, operations and bytes, and what a state can hold."""

from __future__ import annotations

from math import log2
from typing import Any

import pandas as pd
import torch

import sociogram as sg
from sociogram.experiments.ceilings import Narrow, ceiling, copying
from sociogram.experiments.speakers import HEARS, SUMMED, flops, parameters, state
from sociogram.experiments.talking import Learned, Settings, at, grouped, mixture, sequences, tasks_of

NUMBER = 32
"""Bits of a number."""


def lengths(best: list[Learned]) -> pd.DataFrame:
    """Accuracy of each kind at each length of each task, its spread over seeds, its ceiling and its state."""
    rows: list[dict[str, Any]] = []
    for task, kind, own in grouped(best):
        config = own[0].config
        for one in tasks_of(task, tuple(own[0].accuracy)):
            found = [learned.accuracy[one.length] for learned in own]
            kept = state(config, one.length)
            row = {"task": task, "kind": kind, "length": one.length, "accuracy": sum(found) / len(found)}
            row |= {"low": min(found), "high": max(found), "ceiling": ceiling(config, one), "chance": one.chance}
            rows.append(row | {"state_bytes": float("nan") if kept is None else 4.0 * kept})
    return pd.DataFrame(rows)


def breaks(table: pd.DataFrame, best: list[Learned], chosen: Settings) -> pd.DataFrame:
    """One row for each task and kind: accuracies side by side, and the first length below what counts as good (0: none)."""
    rates = {(learned.task, learned.kind): learned.rate for learned in best}
    rows = []
    for (task, kind), own in table.groupby(["task", "kind"], sort=False):
        below = own["length"][own["accuracy"] < chosen.good]
        row = {"task": task, "kind": kind, "hears": HEARS[str(kind)], "rate": rates[str(task), str(kind)]}
        row |= {f"at_{length}": value for length, value in zip(own["length"], own["accuracy"], strict=True)}
        row |= {"spread": float((own["high"] - own["low"]).max()), "ceiling": float(own["ceiling"].iloc[-1])}
        rows.append(row | {"breaks": int(below.min()) if len(below) else 0})
    return pd.DataFrame(rows)


def costs(best: list[Learned]) -> pd.DataFrame:
    """Sizes of the societies of equal parameters; operations by the formula and as torch counts them."""
    rows, flock = [], {task: parameters(own[0].config) for task, kind, own in grouped(best) if kind == "flock"}
    for task, kind, own in grouped(best):
        config, longest = own[0].config, max(own[0].accuracy)
        count, kept = parameters(config), state(config, longest)
        row = {"task": task, "kind": kind, "inner": int(config.intermediate_size or 0), "parameters": count}
        row |= {"off": count / flock[task] - 1, "flops": flops(config, longest), "counted": counted(config, longest)}
        rows.append(row | {"state_bytes": float("nan") if kept is None else 4.0 * kept})
    return pd.DataFrame(rows)


def counted(config: sg.grow.SocietyConfig, tokens: int) -> float:
    """Operations in matrix products for each token, as torch's own counter sees them; oneDNN, which hides them, is off."""
    from torch.utils.flop_counter import FlopCounterMode

    society = sg.grow.Society(config).eval()
    society.set_attn_implementation("eager")
    with torch.no_grad(), FlopCounterMode(display=False) as counter, torch.backends.mkldnn.flags(enabled=False):
        society(torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    return counter.get_total_flops() / tokens


def effort(best: list[Learned], chosen: Settings) -> pd.DataFrame:
    """Steps and operations of training until the accuracy at the second length is good; how long it went on, how it ended."""
    rows = []
    for task, kind, own in grouped(best):
        length = at(chosen)
        reached = [first for learned in own if (first := first_step(learned, length, chosen.good)) is not None]
        step = sum(reached) / len(reached) if reached else float("nan")
        each = a_step(own[0], chosen)
        row = {"task": task, "kind": kind, "seeds_there": len(reached), "steps": step, "giga_operations": step * each / 1e9}
        row |= {"trained": sum(learned.steps for learned in own) / len(own), "fall": max(fall(learned) for learned in own)}
        rows.append(row | {"stopped": sum(learned.steps < chosen.steps for learned in own)})
    return pd.DataFrame(rows)


def a_step(learned: Learned, chosen: Settings) -> float:
    """Operations of one step of training in the mean: three times those of reading."""
    every_length = [task.length for task in mixture(tasks_of(learned.task, tuple(learned.accuracy))).tasks]
    reading = sum(flops(learned.config, length) * length for length in every_length) / len(every_length)
    return 3 * reading * sequences(chosen, learned.task)


def first_step(learned: Learned, length: int, good: float) -> int | None:
    """The first test at which the accuracy at this length was good."""
    history = learned.grown.history
    there = history["step"][history[f"{length}"] >= good]
    return int(there.iloc[0]) if len(there) else None


def fall(learned: Learned) -> float:
    """By what share the training loss fell between the last two tenths of the steps that were done."""
    losses = learned.grown.history["loss"].dropna().to_numpy()
    tenth = max(1, len(losses) // 10)
    return float(1 - losses[-tenth:].mean() / losses[-2 * tenth : -tenth].mean()) if len(losses) >= 2 * tenth else float("nan")


def compared(longer: list[Learned], best: list[Learned]) -> pd.DataFrame:
    """Accuracy with more steps beside that of the same society with the usual ones."""
    usual = {(learned.kind, learned.seed): learned for learned in best if learned.task == "recall"}
    rows = [
        (learned.kind, length, learned.steps, usual[learned.kind, learned.seed].accuracy[length], value, fall(learned))
        for learned in longer
        for length, value in learned.accuracy.items()
    ]
    return pd.DataFrame(rows, columns=["kind", "length", "steps", "accuracy", "with_more", "fall"])


def by_bytes(runs: list[Learned], chosen: Settings) -> pd.DataFrame:
    """Accuracy of recall of societies with states of one size."""
    rows = []
    for budget, kind, own in grouped(runs):
        config, length = own[0].config, max(own[0].accuracy)
        found = [learned.accuracy[length] for learned in own]
        row = {"budget": int(budget), "kind": kind, "width": config.hidden_size, "heads": config.num_attention_heads or 0}
        row |= {"state_bytes": 4 * (state(config, length) or 0), "parameters": parameters(config)}
        row |= {"accuracy": sum(found) / len(found), "low": min(found), "high": max(found)}
        rows.append(row | {"shorter": sum(learned.accuracy[at(chosen)] for learned in own) / len(own)})
    return pd.DataFrame(rows)


def bound(best: list[Learned]) -> pd.DataFrame:
    """Copying by every kind: bits of state after the text, bits of the text, the ceiling, the best seed."""
    rows = []
    for task, kind, own in grouped(best):
        for one in tasks_of(task, tuple(own[0].accuracy)) if task == "copy" else ():
            bits = NUMBER * (state(own[0].config, one.length // 2) or 0)
            text, best_seed = one.length // 2, max(learned.accuracy[one.length] for learned in own)
            limit = copying(bits, text, int(one.vocab_size or 0) - 1)
            rows.append((kind, text, bits, text * log2(int(one.vocab_size or 0) - 1), limit, best_seed))
    return pd.DataFrame(rows, columns=["kind", "tokens", "state_bits", "text_bits", "ceiling", "accuracy"])


def narrowed(best: list[Learned], chosen: Settings) -> pd.DataFrame:
    """Copying the shortest text by recurrent cells whose state passes a narrow place behind it.

    What comes through: so many numbers of each part of the state in so many bits, and the tokens that the convolution holds.
    """
    rows = []
    for task, kind, own in grouped(best):
        if task != "copy" or kind not in ("rnn", "lstm"):
            continue
        one = tasks_of(task, tuple(own[0].accuracy))[0]
        text, alphabet, parts = one.length // 2, int(one.vocab_size or 0) - 1, 1 if kind == "rnn" else 2
        for bits in (1, 2, 4, 8):
            for numbers in sorted({0, 2, 4, 8, 16, chosen.width}):
                through = parts * bits * numbers + (SUMMED - 1) * log2(alphabet)
                found = max(_through(learned, one, numbers, bits, chosen.tests) for learned in own)
                rows.append((kind, bits, numbers, through, copying(through, text, alphabet), found))
    return pd.DataFrame(rows, columns=["kind", "bits", "numbers", "bits_through", "ceiling", "accuracy"])


def _through(learned: Learned, task: sg.grow.Task, numbers: int, bits: int, count: int) -> float:
    """Accuracy with the state narrowed where the text ends; the society is left as it was."""
    mixer: Any = learned.grown.model.layers[0].mixer
    cell = mixer.cell
    mixer.cell = Narrow(cell, task.length // 2, numbers, bits)
    try:
        return sg.grow.score(learned.grown.model, task, count=count, seed=learned.seed + 1)["accuracy"]
    finally:
        mixer.cell = cell


def curves(best: list[Learned], chosen: Settings) -> pd.DataFrame:
    """Accuracy at the second length over steps and operations."""
    parts = []
    for learned in best:
        each = a_step(learned, chosen)
        own = learned.grown.history[["step", f"{at(chosen)}"]].rename(columns={f"{at(chosen)}": "accuracy"})
        own = own.assign(task=learned.task, kind=learned.kind, seed=learned.seed, giga_operations=own["step"] * each / 1e9)
        parts.append(own[["task", "kind", "seed", "step", "giga_operations", "accuracy"]])
    return pd.concat(parts, ignore_index=True)


def every(runs: list[Learned]) -> pd.DataFrame:
    """Each run: what it was, how long it went on, how its loss ended, its accuracies."""
    rows = []
    for learned in runs:
        row = {"task": learned.task, "kind": learned.kind, "rate": learned.rate, "seed": learned.seed, "steps": learned.steps}
        row |= {"loss": float(learned.grown.history["loss"].dropna().iloc[-1]), "fall": fall(learned)}
        rows.append(row | {f"at_{length}": value for length, value in learned.accuracy.items()})
    return pd.DataFrame(rows)
