"""Watching long contexts: time and memory beside what others take, how memory grows, and what each thing kept costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import environments, system
from benchmarks.children import MODEL, measured, model_and_text
from benchmarks.recording import COLUMNS, READING, compared
from benchmarks.report import Table

LENGTHS = {
    "sociogram": (512, 2048, 8192),
    "transformers": (2048, 8192),
    "transformer-lens": (2048, 8192),
    "nnsight": (2048, 8192),
    "attnread": (512,),
}
"""Tokens that each tool is tried on: attnread runs the model too often for more."""
ROUNDS = {("sociogram", 512): 5, ("sociogram", 2048): 3, ("sociogram", 8192): 2, "other": 2}
GROWTH = (1024, 2048, 4096, 8192)
KEPT, KEPT_ROUNDS = 2048, 3
LONG = 32_768
WHAT = {
    "sociogram": 'sg.record(keep="stream", top=8)',
    "sociogram-default": 'sg.record(keep="default")',
    "transformers": "transformers, eager, output_attentions (no values)",
    "transformer-lens": "TransformerLens run_with_cache, patterns and values",
    "nnsight": "nnsight, eager, weights and values of a trace",
    "attnread": "attnread extract_attention, one layer of 30 (no values)",
}
FOREIGN = ("transformer-lens", "nnsight", "attnread")
QUADRATIC = ("sociogram-default", "transformers", "transformer-lens", "nnsight")
BYTES_PER_PAIR = 1800
"""Bytes per pair of tokens for tools that keep all weights and have not been measured yet (seen: 1,480 at 1,024 tokens)."""
SPARE = 2_000_000_000
"""Bytes for the models themselves and whatever else a process needs."""

Found = dict[tuple[str, int], dict[str, Any]]
"""What a child told, by tool and number of tokens."""


def run(*, quick: bool, long: bool = False) -> list[Table]:
    """Three tables, taken at up to 8,192 tokens; with `long` one table at 32,768, which takes the better part of an hour."""
    if long:
        return [_long(quick)]
    folder, ids = model_and_text(128 if quick else max(GROWTH))
    found: Found = {}
    return [_side_by_side(folder, ids, found, quick), _growth(folder, ids, found, quick), _kept(folder, ids, quick)]


def _side_by_side(folder: Path, ids: list[int], found: Found, quick: bool) -> Table:
    table = Table("Watching long contexts, SmolLM2-135M (fp32)", COLUMNS)
    pythons = dict(_pythons(table, quick))
    for tool, length in sorted(_cases(quick), key=lambda case: case[1]):
        if tool not in pythons or not _fits(table, found, tool, length):
            continue
        rounds = 1 if quick else ROUNDS.get((tool, length), ROUNDS["other"])
        answer = _tried(table, tool, length, pythons[tool], folder, ids, rounds)
        if answer is None:
            continue
        found[tool, length] = answer
        table.rows.append((length, WHAT[tool], *compared(answer["works"]["tool"], answer["works"]["plain"])))
        note = f"{WHAT[tool]}: {tool} {answer['version']}, torch {answer['torch']}, {answer['threads']} threads"
        table.notes += [note] if note not in table.notes else []
    table.notes += [
        "At 8,192 tokens sg.record reads in chunks and makes the last logits only; so does the plain pass beside it.",
        "Targets: 2,048 tokens ratio <= 1.15 and peak <= 0.5 GB above plain; 8,192 tokens ratio <= 1.3.",
        "attnread finds the weights of a layer in 1 + tokens / 64 passes of the whole model, thirty times as many for all "
        "layers, so it is tried on one layer and 512 tokens. It makes only the last logits, which it does not give (the "
        "plain pass makes all). It asks for torch 2.14, and was installed without its dependencies to run on the same torch as "
        "the others.",
        *READING,
    ]
    return table


def _cases(quick: bool) -> Iterator[tuple[str, int]]:
    if quick:
        yield from (("sociogram", 64), ("transformers", 64))
        return
    for tool, lengths in LENGTHS.items():
        yield from ((tool, length) for length in lengths)


def _pythons(table: Table, quick: bool) -> Iterator[tuple[str, list[str]]]:
    yield "sociogram", system.here()
    yield "transformers", system.here()
    if quick:
        table.notes.append("Tools in environments of their own are left out of smoke runs.")
        return
    for tool in FOREIGN:
        python = environments.interpreter(tool)
        if isinstance(python, Path):
            yield tool, [str(python)]
        else:
            table.notes.append(python)


def _fits(table: Table, found: Found, tool: str, length: int) -> bool:
    """Whether a tool that keeps all weights fits into what is free now, by its own measured bytes where it has been measured."""
    if tool not in QUADRATIC:
        return True
    per_pair, seen = per_pair_of(found, tool)
    need, free = per_pair * length**2 + SPARE, psutil.virtual_memory().available
    if need > free:
        source = f"by its {per_pair:,.0f} bytes per pair of tokens at {seen:,}" if seen else f"at {per_pair:,} bytes per pair"
        sizes = f"about {need / 1e9:.1f} GB, {source}; {free / 1e9:.1f} GB were free"
        table.notes.append(f"{WHAT[tool]} at {length:,} tokens was not tried: {sizes}.")
    return need <= free


def per_pair_of(found: Found, tool: str) -> tuple[float, int]:
    """Bytes per pair of tokens at a tool's peak, and the largest length where that was seen; 0 where none was."""
    seen = max((length for name, length in found if name == tool and found[name, length]["works"]["tool"]["peak"]), default=0)
    return (found[tool, seen]["works"]["tool"]["peak"] / seen**2, seen) if seen else (BYTES_PER_PAIR, 0)


def _tried(
    table: Table, what: str, length: int, python: list[str], folder: Path, ids: list[int], rounds: int
) -> dict[str, Any] | None:
    """What the child told, or a line in the notes: one tool's failure leaves the others' numbers."""
    try:
        return measured(python, "streaming_run", what, folder, ids[:length], rounds)
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1]
        table.notes.append(f"{WHAT.get(what, what)} at {length:,} tokens failed: {said}")
        return None


def _growth(folder: Path, ids: list[int], found: Found, quick: bool) -> Table:
    """Peaks above the loaded model: of runs already taken where there are some, else of a process each."""
    lengths = (64, 128) if quick else GROWTH
    columns = ("run", *(f"{length:,} tokens (GB)" for length in lengths), "exponent")
    table = Table("Memory while watching long contexts", columns)
    for tool in ("sociogram", "sociogram-default"):
        for length in lengths:
            if (tool, length) in found or not _fits(table, found, tool, length):
                continue
            answer = _tried(table, tool, length, system.here(), folder, ids, 1)
            if answer is not None:
                found[tool, length] = answer
    for name, tool, work in (
        ("plain pass", "sociogram", "plain"),
        (WHAT["sociogram"], "sociogram", "tool"),
        (WHAT["sociogram-default"], "sociogram-default", "tool"),
    ):
        peaks = {length: found[tool, length]["works"][work]["peak"] for length in lengths if (tool, length) in found}
        cells = (peak / 1e9 if (peak := peaks.get(length)) else None for length in lengths)
        table.rows.append((name, *cells, exponent(peaks)))
    table.notes += [
        "Peak: the process at its largest during the call, its result included, less the process with the model loaded.",
        "Each length in a process of its own, the plain pass before the recording; freed memory is given back in between.",
        "Exponent: slope of log(peak) over log(tokens), least squares; 1 is linear, 2 is tokens x tokens. Target: 1.",
        "Both passes make the logits of all tokens, 4 bytes x the vocabulary (49,152) each.",
    ]
    return table


def exponent(peaks: dict[int, int | None]) -> float | None:
    """Slope of log(peak) over log(tokens) by least squares; None with fewer than two peaks above zero."""
    points = [(math.log(length), math.log(peak)) for length, peak in peaks.items() if peak is not None and peak > 0]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def _kept(folder: Path, ids: list[int], quick: bool) -> Table:
    """What each thing kept costs in time and memory."""
    length = 64 if quick else KEPT
    columns = ("keep", "seconds above plain", "ratio to plain", "cpu ratio", "peak above plain (GB)", "bytes per token kept")
    table = Table(f"What each thing kept costs, {length:,} tokens", columns)
    answer = _tried(table, "keeps", length, system.here(), folder, ids, 1 if quick else KEPT_ROUNDS)
    works = {} if answer is None else answer["works"]
    for name, work in works.items():
        if name == "plain":
            table.notes.append(f"The plain pass takes {work['seconds']:.2f} s, {answer['threads']} threads.")
            continue
        _, ratio, cpu_ratio, above, _ = compared(work, works["plain"])
        table.rows.append((name, work["seconds"] - works["plain"]["seconds"], ratio, cpu_ratio, above, work["bytes"] // length))
    table.notes += [
        "All in one process, in turn with the plain pass; medians.",
        'row summaries: keep=("entropy", "self_share", "first_share", "distance", "lse"); where readers have a name that '
        'they share, top=8; "stream" and "default" are the two words, the others tuples of that one name.',
        "Bytes per token kept: all variables that the recording holds, over the number of tokens.",
    ]
    return table


def _long(quick: bool) -> Table:
    length = 256 if quick else LONG
    table = Table(f"Watching {length:,} tokens, a random Llama of SmolLM2-135M's shape (fp32)", COLUMNS)
    folder, ids = model_and_text(length)
    answer = _tried(table, "long", length, system.here(), folder, ids, 1)
    if answer is not None:
        works = answer["works"]
        table.rows.append((length, WHAT["sociogram"], *compared(works["tool"], works["plain"])))
        table.notes.append(f"sociogram {answer['version']}, torch {answer['torch']}, {answer['threads']} threads")
        table.notes.append(f"The plain pass takes {works['plain']['seconds']:,.1f} s.")
        if works["plain"]["peak"] is not None:
            peaks = [f"{works[name]['peak'] / 1e9:.2f} GB" for name in ("plain", "tool")]
            table.notes.append(f"Peak above the loaded model: {peaks[0]} (plain), {peaks[1]} (recording).")
    table.notes += [
        "Target: ratio <= 1.5.",
        f"{MODEL} has 8,192 positions; this model has its configuration but for 32,768 of them, and random weights (seed 0).",
        "One round. Both passes are asked for the last logits only (logits_to_keep=1).",
        *READING,
    ]
    return table
