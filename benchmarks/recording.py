"""Recording SmolLM2 against its plain forward pass, and what others take for comparable work."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import psutil

from benchmarks import lens_environment, system
from benchmarks.report import Table

MODEL = "smollm2-135m"
LENGTHS = (64, 512, 2048)
REPETITIONS = {64: 15, 512: 9, 2048: 3}
COLUMNS = ("tokens", "tool", "seconds", "ratio to plain", "cpu ratio", "peak above plain (GB)", "logit difference")
WHAT = {
    "sociogram": "sg.record",
    "transformers": "transformers, eager, output_attentions + output_hidden_states",
    "transformer-lens": "TransformerLens run_with_cache",
}
_BYTES_PER_PAIR = {"sociogram": 1500, "transformers": 2500, "transformer-lens": 3800}
"""Bytes per pair of tokens that a tool has been seen to need at its peak, rounded up: what does not fit is not tried."""
_RUN = Path(__file__).with_name("recording_run.py")


def run(*, quick: bool) -> list[Table]:
    """One fresh process per tool and length."""
    table = Table("Recording SmolLM2-135M (fp32)", COLUMNS)
    folder, ids = _model_and_text(max(LENGTHS))
    pythons = dict(_pythons(table, quick))
    for length in LENGTHS[:1] if quick else LENGTHS:
        for tool, python in pythons.items():
            if (short := _too_large(tool, length)) is not None:
                table.notes.append(short)
                continue
            try:
                found = _measure(python, tool, folder, ids[:length], 1 if quick else REPETITIONS[length])
            except RuntimeError as error:  # one tool's failure is a line, the others' numbers stay
                table.notes.append(f"{WHAT[tool]} at {length} tokens failed: {str(error).strip().splitlines()[-1]}")
                continue
            table.rows.append(_row(length, tool, found))
            note = f"{WHAT[tool]}: {tool} {found['version']}, {found['threads']} threads"
            table.notes += [note] if note not in table.notes else []
    table.notes += [
        "Target: sg.record at 512 tokens, ratio <= 1.2.",
        "Ratios are of medians; plain (the same model in the same process, sdpa attention) and tool ran in turn.",
        "cpu ratio: the same for computing time; where it differs from the ratio, the machine was busy with other things.",
        "Peak: the process at its largest during the call, the result included, less the same for the plain pass.",
        "Logit difference: largest absolute difference at the last token to the plain pass of the same process.",
    ]
    return [table]


def _pythons(table: Table, quick: bool) -> Iterator[tuple[str, list[str]]]:
    yield "sociogram", system.here()
    yield "transformers", system.here()
    if quick:
        table.notes.append("TransformerLens is left out of smoke runs.")
        return
    python = lens_environment.interpreter()
    if isinstance(python, Path):
        yield "transformer-lens", [str(python)]
    else:
        table.notes.append(python)


def _model_and_text(length: int) -> tuple[Path, list[int]]:
    """The model's folder, and real English text as its tokens."""
    import sociogram as sg
    from sociogram.models import store

    model = sg.load(MODEL)
    text = "\n".join(topics[name] for name in sorted(topics))[: 12 * length]
    assert model.tokenizer is not None
    ids = model.tokenizer(text)["input_ids"][:length]
    if len(ids) < length:
        raise RuntimeError(f"the text has only {len(ids)} tokens")
    return store.cache_folder() / MODEL, ids


def _too_large(tool: str, length: int) -> str | None:
    need, free = _BYTES_PER_PAIR[tool] * length**2 + 2_000_000_000, psutil.virtual_memory().available
    if need <= free:
        return None
    return f"{WHAT[tool]} at {length} tokens was skipped: about {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free."


def _measure(python: list[str], tool: str, folder: Path, ids: list[int], repetitions: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "ids.json"
        file.write_text(json.dumps(ids), encoding="utf-8")
        return system.answer([*python, _RUN, tool, folder, file, str(repetitions)])


def _row(length: int, tool: str, found: dict[str, Any]) -> tuple[Any, ...]:
    above = None if found["peak"] is None else (found["peak"] - found["plain_peak"]) / 1e9
    times = found["seconds"], found["ratio"], found["cpu_ratio"]
    return length, WHAT[tool], *times, above, found["logit_difference"]
