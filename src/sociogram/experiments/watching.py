"""Progress of long work: the work says what it does, whoever wants to know watches; nobody has to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")

Watcher = Callable[[str, int, int], None]
"""Called with what is being done, how many parts of it are done, and of how many."""

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Inside, `steps` tells the watcher."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def steps(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, one after the other; the watcher is told before the first, after each hundredth part, and at the end."""
    watcher, every = _watcher.get(), max(1, total // 100)
    if watcher is None:
        yield from items
        return
    watcher(what, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        if done % every == 0 or done == total:
            watcher(what, done, total)
