"""Commands timed in turn, so that whatever else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from benchmarks import system


def medians(commands: Mapping[str, Sequence[str]], repetitions: int) -> dict[str, float]:
    """Median wall seconds of each command over fresh processes, after one round that only warms the disk's cache.

    A single repetition, as in smoke runs, does without that round.
    """
    for command in commands.values() if repetitions > 1 else ():
        system.run(command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repetitions):
        for name, command in commands.items():
            start = time.perf_counter()
            system.run(command)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(column) for name, column in times.items()}
