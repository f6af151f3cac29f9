"""One tool, one length, in a process of its own: seconds and memory against the plain forward pass of the same model.

    python recording_run.py TOOL MODEL_FOLDER IDS.json REPETITIONS

Runs in environments without Sociogram too, so it imports nothing of this package. Prints one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Call = Callable[[Tensor], Any]
_STATUS = Path("/proc/self/status")


def plain_model(folder: str) -> Any:
    """The transformers model as anybody would load it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def sociogram(folder: str) -> tuple[Call, Call, Call]:
    import sociogram as sg

    model = sg.load("smollm2-135m")
    return _forward(model.hf), lambda ids: sg.record(model, ids), lambda rec: torch.from_numpy(rec.outputs["final_logits"][0])


def transformers_eager(folder: str) -> tuple[Call, Call, Call]:
    hf = plain_model(folder)

    def outputs(ids: Tensor) -> Any:
        hf.set_attn_implementation("eager")
        try:
            return hf(input_ids=ids, use_cache=False, output_attentions=True, output_hidden_states=True)
        finally:
            hf.set_attn_implementation("sdpa")

    return _forward(hf), outputs, lambda output: output.logits[0, -1]


def transformer_lens(folder: str) -> tuple[Call, Call, Call]:
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(folder, dtype=torch.float32)
    return _forward(plain_model(folder)), bridge.run_with_cache, lambda both: both[0][0, -1]


TOOLS = {"sociogram": sociogram, "transformers": transformers_eager, "transformer-lens": transformer_lens}


def _forward(hf: Any) -> Call:
    return lambda ids: hf(input_ids=ids, use_cache=False)


def kilobytes(field: str) -> int | None:
    """A line of /proc/self/status, or None where the system has none."""
    if not _STATUS.is_file():
        return None
    return next(int(line.split()[1]) for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(field))


def peak(call: Call, ids: Tensor) -> tuple[Any, int | None]:
    """What a call returns, and the bytes by which the process grew at its largest. The result is alive at the end."""
    before = kilobytes("VmRSS")
    if before is None:
        return call(ids), None
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # from here on VmHWM is the highest of this call
    result = call(ids)
    return result, 1024 * ((kilobytes("VmHWM") or 0) - before)


def timed(call: Call, ids: Tensor) -> tuple[float, float]:
    """Seconds on the clock and seconds of computing."""
    start, busy = time.perf_counter(), time.process_time()
    result = call(ids)
    taken = time.perf_counter() - start, time.process_time() - busy
    del result  # what it costs to let go of a result is nobody's
    return taken


def measure(tool: str, folder: str, ids: Tensor, repetitions: int) -> dict[str, Any]:
    plain, watched, logits = TOOLS[tool](folder)
    plain(ids[:, :8])
    watched(ids[:, :8])  # lazy imports and what a tool learns about a model once
    output, plain_peak = peak(plain, ids)
    result, watched_peak = peak(watched, ids)
    difference = float((logits(result) - output.logits[0, -1]).abs().max())
    del output, result
    times: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
    for _ in range(repetitions):
        times[0].append(timed(plain, ids))
        times[1].append(timed(watched, ids))
    walls = [statistics.median(wall for wall, _ in column) for column in times]
    busy = [statistics.median(cpu for _, cpu in column) for column in times]
    return {
        "plain_seconds": walls[0],
        "seconds": walls[1],
        "ratio": walls[1] / walls[0],
        "cpu_ratio": busy[1] / busy[0],
        "plain_peak": plain_peak,
        "peak": watched_peak,
        "logit_difference": difference,
        "version": version(tool),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    name, where, file, times = sys.argv[1:]
    sequence = torch.tensor([json.loads(Path(file).read_text(encoding="utf-8"))])
    with torch.no_grad():
        print(json.dumps(measure(name, where, sequence, int(times))))
