"""One measurement of every entry of the zoo, one after the other; what crashes or hangs is wrong."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from rich.progress import track

from tests import zoo
from tests.zoo.coverage import limited

SECONDS = 120


class Found(Protocol):
    """What became of an entry: what went wrong, by name."""

    entry: str
    wrong: dict[str, str]


R = TypeVar("R", bound=Found)


def each(names: tuple[str, ...], measure: Callable[[str], R | None], failed: Callable[..., R], doing: str) -> list[R]:
    """`measure` of every entry, without those of which it makes None; `failed(entry, wrong={...})` where it raises."""
    rows = []
    for name in track(names, description=f"{doing} the zoo", console=None):
        row: R | None
        try:
            with limited(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row = measure(name)
        except Exception as error:
            row = failed(name, wrong={"all": f"{type(error).__name__}: {error}"})
        if row is not None:
            rows.append(row)
    return rows


def from_the_command_line(sweep: Callable[[tuple[str, ...]], list[Any]]) -> list[Any]:
    """Run `OUT.json [ENTRY ...]` of a module's command line: what was found, written as JSON and returned."""
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    measured = sweep(tuple(sys.argv[2:]) or zoo.entries())
    Path(sys.argv[1]).write_text(json.dumps([asdict(row) for row in measured], indent=0))
    return measured
