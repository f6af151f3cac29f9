"""Seconds and memory of calls in one process, taken in turn.

Runs in environments without Sociogram too, so it imports nothing of this package, and of others only torch (and transformers
where a model is loaded).
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

WARM_UP = 8
"""Tokens of the pass before the first round: lazy imports, and what a tool learns about a model once."""
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Work:
    """One thing to measure.

    Attributes:
        call: takes token ids `[1, T]`.
        logits: the last token's logits `[vocabulary]` in what the call returned, None where it gives none.
        size: the bytes that what the call returned keeps, None where nobody asks.
    """

    call: Callable[[Tensor], Any]
    logits: Callable[[Any], Tensor | None]
    size: Callable[[Any], int | None] = lambda result: None


@dataclass
class Seen:
    """What was seen of one work: seconds on the clock, seconds of computing and bytes of every round, results of the last."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peaks: list[int | None] = field(default_factory=list)
    logits: Tensor | None = None
    size: int | None = None

    def figures(self, plain: Seen) -> dict[str, Any]:
        """Median seconds, the first round's peak, the result's bytes, the largest logit difference to `plain`."""
        apart = None if self.logits is None or plain.logits is None else float((self.logits - plain.logits).abs().max())
        seconds, cpu = statistics.median(self.seconds), statistics.median(self.cpu)
        return {"seconds": seconds, "cpu": cpu, "peak": self.peaks[0], "bytes": self.size, "logit_difference": apart}


def in_turn(works: Mapping[str, Work], ids: Tensor, rounds: int) -> dict[str, dict[str, Any]]:
    """Figures of each work on the same tokens; the work named "plain" is what the others' logits are compared with."""
    seen = {name: Seen() for name in works}
    for work in works.values():
        work.call(ids[:, :WARM_UP])
    for _ in range(rounds):
        for name, work in works.items():
            _once(work, ids, seen[name])
    return {name: found.figures(seen["plain"]) for name, found in seen.items()}


def _once(work: Work, ids: Tensor, seen: Seen) -> None:
    before = _start_peak()
    start, busy = time.perf_counter(), time.process_time()
    result = work.call(ids)
    seen.seconds.append(time.perf_counter() - start)
    seen.cpu.append(time.process_time() - busy)
    seen.peaks.append(None if before is None else 1024 * (_kilobytes("VmHWM") - before))
    seen.logits, seen.size = work.logits(result), work.size(result)  # what it costs to let go of a result is nobody's


def _start_peak() -> int | None:
    """Kilobytes of the process now, from which on its peak is taken anew; None where the system does not tell.

    Freed memory goes back to the system first: else a call that finds what others left behind would seem to need none.
    """
    if not _STATUS.is_file():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # from here on VmHWM is the highest of this call
    return _kilobytes("VmRSS")


def _kilobytes(field: str) -> int:
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def plain_model(folder: str) -> Any:
    """The transformers model as anybody would load it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def plain_pass(hf: Any) -> Work:
    """One forward pass, no cache."""
    return Work(lambda ids: hf(input_ids=ids, use_cache=False), last_logits)


def last_logits(output: Any) -> Tensor:
    """The last token's logits of a transformers output, a copy, so that the output itself can go."""
    return output.logits[0, -1].clone()


def with_eager(hf: Any, call: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """`call` with `hf` on eager attention meanwhile, the only one that gives weights."""

    def called(ids: Tensor) -> Any:
        hf.set_attn_implementation("eager")
        try:
            return call(ids)
        finally:
            hf.set_attn_implementation("sdpa")

    return called
