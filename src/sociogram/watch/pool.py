"""Threads that each compute with one thread of torch's, so that a layer's blocks need not wait for each other's every step."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def workers() -> int:
    """How many threads torch may use here."""
    return torch.get_num_threads()


def share_out(tasks: list[T], work: Callable[[Iterator[T], int], None]) -> None:
    """Let each worker take tasks from the end of one list until none is left: `work(tasks, worker)`.

    With one thread, or one task, the work is done by the caller.
    """
    count = min(workers(), len(tasks))
    queue = _Queue(tasks)
    if count <= 1:
        work(queue, 0)
        return
    inference = torch.is_inference_mode_enabled()
    for done in [_pool(count).submit(_without_gradients, work, queue, worker, inference) for worker in range(count)]:
        done.result()


class _Queue(Iterator[T]):
    def __init__(self, tasks: list[T]) -> None:
        self._tasks = tasks

    def __next__(self) -> T:
        try:
            return self._tasks.pop()  # atomic
        except IndexError:
            raise StopIteration from None


def _without_gradients(work: Callable[[Iterator[T], int], None], queue: Iterator[T], worker: int, inference: bool) -> None:
    """What a worker does; in inference mode where its caller is (the mode is a thread's own), whose tensors it writes to."""
    with torch.inference_mode(inference), torch.no_grad():
        work(queue, worker)


def _pool(count: int) -> ThreadPoolExecutor:
    with _lock:
        if count not in _pools:
            pool = ThreadPoolExecutor(count, "sociogram", initializer=torch.set_num_threads, initargs=(1,))
            barrier = threading.Barrier(count)
            list(pool.map(lambda _: barrier.wait(), range(count)))  # all threads are there
            torch.set_num_threads(torch.get_num_threads())  # what threads made later by others begin with
            _pools[count] = pool
        return _pools[count]


def _forget() -> None:
    """A forked process has none of its parent's threads."""
    global _lock
    _pools.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
