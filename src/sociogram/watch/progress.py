"""A progress bar for runs of many passes, on a terminal alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONG = 4
"""Runs of fewer passes show no bar."""


@contextmanager
def bar(what: str, tokens: int, passes: int, unit: str = "tokens") -> Iterator[Callable[[int], None]]:
    """Inside, `advance(count)` moves a bar on standard error, which goes when all is done; nothing where nobody looks."""
    if passes < LONG or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=tokens)
        yield lambda count: progress.advance(task, count)
