"""Measurements in a process of their own, and what they are taken on."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from benchmarks import system

MODEL = "smollm2-135m"
_ROOT = Path(__file__).parents[1]


def model_and_text(length: int) -> tuple[Path, list[int]]:
    """The model's folder, and real English text (Python's own documentation) as `length` of its tokens."""
    import sociogram as sg
    from sociogram.models import store

    model = sg.load(MODEL)
    text = "\n".join(topics[name] for name in sorted(topics))[: 12 * length]
    assert model.tokenizer is not None
    ids = model.tokenizer(text)["input_ids"][:length]
    if len(ids) < length:
        raise RuntimeError(f"the text has only {len(ids)} tokens")
    return store.cache_folder() / MODEL, ids


def measured(python: list[str], module: str, what: str, folder: Path, ids: list[int], rounds: int) -> dict[str, Any]:
    """The last line of JSON that `python -m benchmarks.<module> WHAT FOLDER IDS.json ROUNDS` prints."""
    above = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "ids.json"
        file.write_text(json.dumps(ids), encoding="utf-8")
        command = [*python, "-m", f"benchmarks.{module}", what, folder, file, str(rounds)]
        return system.answer(command, {"PYTHONPATH": os.pathsep.join(above)})
