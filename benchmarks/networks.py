"""Attention as networks: embeddings beside graspologic, one long head without its matrix, heads as one fused product."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks import environments, system
from benchmarks.children import measured, model_and_text
from benchmarks.report import Table

TOKENS, LONG = 128, 16_384
ROUNDS = 3
LENGTHS = (1, 16, 64, 128, 256, 512, 1024)
NAMES = {
    "ase": "270 graphs, each by itself (ASE)",
    "mase": "270 graphs in one space (MASE)",
    "omni 30": "30 graphs in one space (OMNI)",
    "omni": "270 graphs in one space (OMNI)",
}


def run(*, quick: bool) -> list[Table]:
    """Three tables."""
    return [_embeddings(quick), _long(quick), _fused(quick)]


def _embeddings(quick: bool) -> Table:
    tokens = 16 if quick else TOKENS
    table = Table(f"Embeddings of the graphs of {tokens} tokens", ("what", "Sociogram (s)", "graspologic (s)", "ratio"))
    _, ids = model_and_text(tokens)
    with tempfile.TemporaryDirectory() as work:
        ours = measured(system.here(), "networks_run", "sociogram", Path(work), ids, 1 if quick else ROUNDS)["works"]
        python = "left out of smoke runs" if quick else environments.interpreter("graspologic")
        theirs: dict[str, Any] = {}
        if isinstance(python, Path):
            theirs = measured([str(python)], "networks_run", "graspologic", Path(work), ids, ROUNDS)["works"]
        else:
            table.notes.append(f"graspologic: {python}")
    for name, work_found in ours.items():
        mine, other = work_found["seconds"], theirs.get(name, {}).get("seconds")
        table.rows.append((NAMES[name], mine, other, None if other is None else mine / other))
    table.notes += [
        "Four components, directed, without diagonal augmentation; graspologic 3.4.4 in an environment of its own (numpy 1.26).",
        "graspologic's OMNI builds a matrix of (graphs x tokens) rows, 9.6 GB for 270 graphs, and was asked for 30.",
        "Ours reads the weights from the recording each time. Medians of 3.",
    ]
    return table


def _long(quick: bool) -> Table:
    tokens = 256 if quick else LONG
    table = Table(f"One head of {tokens:,} tokens without its matrix", ("what", "seconds", "peak above before (GB)"))
    folder, ids = model_and_text(tokens)
    works = measured(system.here(), "networks_run", "matrixfree", folder, ids, 1)["works"]
    table.rows = [(name, found["seconds"], found["peak"] / 1e9) for name, found in works.items()]
    table.notes = [f"The matrix would take {tokens**2 * 4 / 1e9:.1f} GB in float32. One round."]
    return table


def _fused(quick: bool) -> Table:
    """Attention head by head, concatenated and projected, beside one product of all heads' weights with all heads' messages."""
    columns = ("shape", "readers", "keys", "head by head (ms)", "fused (ms)", "ratio", "multiplications, ratio")
    table = Table("Weights times values head by head, or as one fused product", columns)
    work = measured(system.here(), "networks_run", "fused", *_lengths_file(quick), 3 if quick else 15)["works"]
    table.rows = [tuple(found["row"]) for found in work.values()]
    table.notes = [
        "Head by head: weights times values, heads beside each other, times the output projection. Fused: the weights of all "
        "heads beside each other, times the messages (value times projection) of all heads below each other, "
        "`linear_view.fused`; making the messages is counted, as values change with every text; the weights lie side by side.",
        "float32, 2 threads; medians. SmolLM2: 9 heads of 64 in a stream of 576. Narrow: 4 heads of 64 in a stream of 64.",
    ]
    return table


def _lengths_file(quick: bool) -> tuple[Path, list[int]]:
    return model_and_text(16)[0], list((1, 16) if quick else LENGTHS)


if __name__ == "__main__":
    from benchmarks.report import show

    show(run(quick=True))
