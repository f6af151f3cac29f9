"""Recording SmolLM2 against its plain forward pass, and what others take for comparable work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import environments, system
from benchmarks.children import measured, model_and_text
from benchmarks.report import Table

LENGTHS = (64, 512, 2048)
ROUNDS = {64: 15, 512: 9, 2048: 3}
COLUMNS = ("tokens", "tool", "seconds", "ratio to plain", "cpu ratio", "peak above plain (GB)", "logit difference")
WHAT = {
    "sociogram": "sg.record",
    "transformers": "transformers, eager, output_attentions + output_hidden_states",
    "transformer-lens": "TransformerLens run_with_cache",
}
_BYTES_PER_PAIR = {"sociogram": 1500, "transformers": 2500, "transformer-lens": 3800}
"""Bytes per pair of tokens that a tool has been seen to need at its peak, rounded up: what does not fit is not tried."""


def run(*, quick: bool) -> list[Table]:
    """One fresh process per tool and length."""
    table = Table("Recording SmolLM2-135M (fp32)", COLUMNS)
    folder, ids = model_and_text(max(LENGTHS))
    pythons = dict(_pythons(table, quick))
    for length in LENGTHS[:1] if quick else LENGTHS:
        for tool, python in pythons.items():
            if (short := _too_large(tool, length)) is not None:
                table.notes.append(short)
                continue
            try:
                found = measured(python, "recording_run", tool, folder, ids[:length], 1 if quick else ROUNDS[length])
            except RuntimeError as error:  # one tool's failure is a line, the others' numbers stay
                table.notes.append(f"{WHAT[tool]} at {length} tokens failed: {str(error).strip().splitlines()[-1]}")
                continue
            table.rows.append((length, WHAT[tool], *compared(found["works"]["tool"], found["works"]["plain"])))
            note = f"{WHAT[tool]}: {tool} {found['version']}, {found['threads']} threads"
            table.notes += [note] if note not in table.notes else []
    table.notes += ["Target: sg.record at 512 tokens, ratio <= 1.2.", *READING]
    return [table]


def _pythons(table: Table, quick: bool) -> Iterator[tuple[str, list[str]]]:
    yield "sociogram", system.here()
    yield "transformers", system.here()
    if quick:
        table.notes.append("TransformerLens is left out of smoke runs.")
        return
    python = environments.interpreter("transformer-lens")
    if isinstance(python, Path):
        yield "transformer-lens", [str(python)]
    else:
        table.notes.append(python)


def _too_large(tool: str, length: int) -> str | None:
    need, free = _BYTES_PER_PAIR[tool] * length**2 + 2_000_000_000, psutil.virtual_memory().available
    if need <= free:
        return None
    return f"{WHAT[tool]} at {length} tokens was skipped: about {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free."


READING = (
    "Ratios are of medians; plain (the same model in the same process, sdpa attention) and tool ran in turn.",
    "cpu ratio: the same for computing time; where it differs from the ratio, the machine was busy with other things.",
    "Peak: the process at its largest during the call, the result included, less the same for the plain pass.",
    "Logit difference: largest absolute difference at the last token to the plain pass of the same process.",
)


def compared(found: dict[str, Any], plain: dict[str, Any]) -> tuple[Any, ...]:
    """Seconds, ratio to plain, cpu ratio, peak above plain in GB, logit difference."""
    above = None if found["peak"] is None else (found["peak"] - plain["peak"]) / 1e9
    ratios = found["seconds"] / plain["seconds"], found["cpu"] / plain["cpu"]
    return found["seconds"], *ratios, above, found["logit_difference"]
