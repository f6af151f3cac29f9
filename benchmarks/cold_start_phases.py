"""Run `sociogram look` with a clock on its public calls; the last line printed is JSON: phase -> seconds."""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

START = time.perf_counter()
IMPORTS = ("typer", "rich.table", "sociogram.cli.app", "torch", "numpy", "pandas", "xarray", "transformers")
QUESTIONS = ("edges", "find", "predictions", "moves", "senders", "audit", "null_drift")

phases: dict[str, float] = {}
_inside: list[float] = []


def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its own time (without that of clocked functions that it calls) added to `name`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _inside.append(0.0)
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            taken = time.perf_counter() - start
            phases[name] = phases.get(name, 0.0) + taken - _inside.pop()
            if _inside:
                _inside[-1] += taken

    return call


def main() -> None:
    for name in IMPORTS:
        clocked(f"import {name}", importlib.import_module)(name)
    import sociogram as sg
    from sociogram.cli.app import app

    names = ("load", "record", "Recording")
    _, _, recording = (clocked("import the rooms of sociogram", getattr)(sg, name) for name in names)
    opening = importlib.import_module("sociogram.models.opening")
    loading = importlib.import_module("sociogram.models.loading")
    model = importlib.import_module("sociogram.models.model").Model
    loading.open_folder = clocked("load: weights", opening.open_folder)
    loading.open_tokenizer = clocked("load: tokenizer", opening.open_tokenizer)
    model.find_anatomy = clocked("record: anatomy", model.find_anatomy)
    model.encode = clocked("record: encode", model.encode)
    running = importlib.import_module("sociogram.watch.running").Running
    running.run = clocked("record: the run", running.run)
    vars(sg)["load"] = clocked("load: the rest", sg.load)
    vars(sg)["record"] = clocked("record: the rest", sg.record)
    for question in QUESTIONS:
        setattr(recording, question, clocked(question, getattr(recording, question)))
    command = functools.partial(app, sys.argv[1:], standalone_mode=False)
    clocked("print, and the command line itself", command)()
    phases["together (after Python's own start)"] = time.perf_counter() - START
    print(json.dumps(phases))


if __name__ == "__main__":
    main()
