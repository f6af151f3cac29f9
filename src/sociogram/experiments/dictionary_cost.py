"""What a token costs with a dictionary in its various forms: parameters, operations as torch counts them, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sociogram.experiments.dictionary_adapters import Adapter, Lesson, states
from sociogram.experiments.dictionary_arms import PLAIN, PROMPT, WIDER, ZEROS, Material
from sociogram.experiments.dictionary_bases import Base
from sociogram.experiments.dictionary_prompt import prompt_of

COST_NOTE = (
    "of a text of {tokens} tokens, alone in its batch, for each of them, its unembedding included; flops: as torch counts them; "
    "read: tokens read for each of the text; entries, entry_flops: tokens of all entries and what it took to read them once"
)


def cost(given: Material, adapters: dict[str, Adapter], rounds: int) -> pd.DataFrame:
    """A row for the plain base, each adapter, and definitions in the prompt of a text with the median number of tokens."""
    base, ways = given.base, _ways(given, adapters)
    with _openly(base):
        counted = {name: _operations(way) for name, (_, way) in ways.items()}
        entry = _operations(lambda: base.lower(given.train.labels[:1])) / given.train.labels.shape[1]
    times = _times({name: way for name, (_, way) in ways.items()}, rounds)
    tokens, rows = given.test.labels.shape[1], []
    for name, (read, _) in ways.items():
        adapter = adapters.get(name)
        of_entries = given.lexicon.tokens if adapter is not None and name not in (ZEROS, WIDER) else 0
        numbers = (0 if adapter is None else adapter.count, read / tokens, counted[name] / tokens, times[name] / tokens)
        rows.append((base.name, name, *numbers, of_entries, float(of_entries) * entry))
    columns = ["model", "arm", "parameters", "read", "flops", "ms", "entries", "entry_flops"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(5, "flops_times", table["flops"] / table["flops"].iloc[0])
    table.insert(7, "ms_times", table["ms"] / table["ms"].iloc[0])
    return table


def _ways(given: Material, adapters: dict[str, Adapter]) -> dict[str, tuple[int, Callable[[], Any]]]:
    """What is done for one text, and how many tokens it reads."""
    base, rows = given.base, given.rows["test"]
    prompts = [prompt_of(base, given.lexicon, rows.inputs[n], rows.read[n]) for n in range(min(64, len(rows)))]
    ids, mask = sorted(prompts, key=lambda prompt: prompt[0].shape[1])[len(prompts) // 2]
    tokens = int(rows.inputs.shape[1])

    def through(adapter: Adapter | None) -> Tensor:
        own = given.test.some(slice(0, 1))
        lesson = Lesson(base.lower(rows.inputs[:1]), own.labels, own.slots, own.table)
        return states(base, adapter, lesson) @ base.head.T

    ways: dict[str, tuple[int, Callable[[], Any]]] = {PLAIN: (tokens, lambda: through(None))}
    ways |= {name: (tokens, lambda adapter=adapter: through(adapter)) for name, adapter in adapters.items()}  # type: ignore[misc]
    return ways | {PROMPT: (ids.shape[1], lambda: base.whole(ids, mask)[:, -tokens:] @ base.head.T)}


@contextmanager
def _openly(base: Base) -> Iterator[None]:
    """Attention in plain products, the only one whose operations torch counts on a CPU."""
    own = base.hf.config._attn_implementation
    base.hf.set_attn_implementation("eager")
    try:
        yield
    finally:
        base.hf.set_attn_implementation(own)


def _operations(way: Callable[[], Any]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        way()
    return float(counter.get_total_flops())


def _times(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds, medians, one way after the other."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for lap in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            with torch.no_grad():
                way()
            if lap:  # the first warms up
                taken[name].append(1000 * (time.perf_counter() - start))
    return {name: float(np.median(some)) for name, some in taken.items()}
