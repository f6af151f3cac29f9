"""Embeddings of many graphs by one tool, timed in a process of its own.

    python -m benchmarks.networks_run WHAT FOLDER IDS.json ROUNDS

WHAT is "sociogram", which records the tokens and leaves the weights as FOLDER/weights.npy; or "graspologic", which reads them (in
an environment without Sociogram); "matrixfree", one head of all tokens; or "fused", attention by heads or in one product, for
which IDS are numbers of tokens. Prints one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DIMENSION = 4
JOINT = 30
"""Graphs of the dense OMNI: its matrix has (graphs x tokens) rows."""
HEAD = (10, 4)


def sociogram(folder: Path, ids: list[int]) -> dict[str, Callable[[], Any]]:
    import torch

    import sociogram as sg

    rec = sg.record(sg.load("smollm2-135m"), torch.tensor(ids))
    nets = sg.networks(rec)
    weights = np.concatenate([batch.weights for batch in nets.source.batches()])
    np.save(folder / "weights.npy", weights)
    some = [tuple(row) for row in nets.labels.head(JOINT).itertuples(index=False)]
    return {
        "ase": lambda: nets.embed("ase", dimension=DIMENSION),
        "mase": lambda: nets.embed("mase", dimension=DIMENSION, scaled=False),
        "omni 30": lambda: nets.embed("omni", dimension=DIMENSION, graphs=some),
        "omni": lambda: nets.embed("omni", dimension=DIMENSION),
    }


def graspologic(folder: Path, ids: list[int]) -> dict[str, Callable[[], Any]]:
    from graspologic.embed import AdjacencySpectralEmbed, MultipleASE, OmnibusEmbed

    weights = np.load(folder / "weights.npy")
    plain = {"n_components": DIMENSION, "diag_aug": False, "check_lcc": False}
    joint = {"n_components": DIMENSION, "diag_aug": False}
    return {
        "ase": lambda: [AdjacencySpectralEmbed(**plain).fit_transform(one) for one in weights],
        "mase": lambda: MultipleASE(**joint).fit_transform(list(weights)),
        "omni 30": lambda: OmnibusEmbed(check_lcc=False, **joint).fit_transform(list(weights[:JOINT])),
    }


def matrixfree(folder: Path, ids: list[int]) -> dict[str, Callable[[], Any]]:
    import torch

    import sociogram as sg

    model = sg.load("smollm2-135m")
    model.hf.config.max_position_embeddings = max(len(ids), model.hf.config.max_position_embeddings)  # beyond its training
    rec = sg.record(model, torch.tensor(ids), keep=("received", "top_key", "attention_out", "value_vector"))
    nets = sg.networks(rec)
    operator = nets.operator(*HEAD)
    rng = np.random.default_rng(0)
    block = rng.standard_normal((len(ids), 8))
    return {
        "A @ X, 8 columns": lambda: operator @ block,
        "A^T @ X, 8 columns": lambda: operator.H @ block,
        "8 singular values and vectors": lambda: nets.embed("ase", dimension=8, graphs=[HEAD]),
    }


SHAPES = {"SmolLM2": (9, 64, 576), "narrow": (4, 64, 64)}
"""Heads, their width, the stream's."""


def fused(lengths: list[int], rounds: int) -> dict[str, dict[str, Any]]:
    """Both ways to the same numbers (asserted), for as many readers as keys and for one reader, as while a model writes."""
    found = {}
    for shape, (heads, width, stream) in SHAPES.items():
        for readers, keys in sorted({(n, n) for n in lengths} | {(1, n) for n in lengths}):
            found[f"{shape} {readers} {keys}"] = {"row": _both(shape, heads, width, stream, readers, keys, rounds)}
    return found


def _both(shape: str, heads: int, width: int, stream: int, readers: int, keys: int, rounds: int) -> list[Any]:
    import torch

    torch.manual_seed(0)
    beside = torch.rand(readers, heads * keys)
    weights = beside.view(readers, heads, keys).transpose(0, 1)
    value, projection = torch.randn(heads, keys, width), torch.randn(heads, width, stream)

    def split() -> torch.Tensor:
        return (weights @ value).transpose(0, 1).reshape(readers, -1) @ projection.view(-1, stream)

    def whole() -> torch.Tensor:
        return beside @ (value @ projection).view(-1, stream)

    torch.testing.assert_close(split(), whole(), rtol=1e-3, atol=1e-2)
    times: list[list[float]] = [[], []]
    calls = max(1, 20_000_000 // (readers * keys * stream))
    for _ in range(rounds):
        for work, taken in zip((split, whole), times, strict=True):
            start = time.perf_counter()
            for _ in range(calls):
                work()
            taken.append((time.perf_counter() - start) / calls * 1e3)
    first, second = (statistics.median(taken) for taken in times)
    by_head = heads * width * (readers * keys + readers * stream)
    at_once = heads * stream * (keys * width + readers * keys)
    return [shape, readers, keys, first, second, second / first, at_once / by_head]


def main() -> None:
    what, folder, file, rounds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    ids = json.loads(file.read_text(encoding="utf-8"))
    if what == "fused":
        print(json.dumps({"works": fused(ids, rounds)}))
        return
    works = {"sociogram": sociogram, "graspologic": graspologic, "matrixfree": matrixfree}[what](folder, ids)
    found = {}
    for name, work in works.items():
        before = _peak(reset=True)
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
        found[name] = {"seconds": statistics.median(seconds), "peak": _peak() - before}
    print(json.dumps({"works": found}))


def _peak(*, reset: bool = False) -> int:
    """Bytes: the process now, from which on its peak is taken anew, or its peak since."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS" if reset else "VmHWM"))


if __name__ == "__main__":
    main()
