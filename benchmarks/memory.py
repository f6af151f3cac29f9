"""Finding the tokens of a memory that answer best: comparing all keys against LanceDB's index."""

from __future__ import annotations

import itertools
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import Table

MODEL = "smollm2-135m"
SIZES = ((2, (100_000, 333_334)), (14, (10_000,)))
"""Layers whose keys are kept, and how many tokens; three key heads each: 1,000,000 keys."""
FOUND = 16
READERS = (1, 20)
CHUNK = 512
REPETITIONS = 5


def run(*, quick: bool) -> list[Table]:
    """Seconds and recall of both searches, as a memory grows."""
    columns = ("layer", "tokens", "keys", "readers", "compared, ms", "index, ms", "recall", "index made in, s", "on disk, MB")
    table = Table(f"Finding {FOUND} tokens for each of 9 heads, one layer of {MODEL}", columns)
    for layer, sizes in ((1, (4_000,)),) if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            table.rows += _grown(Path(folder) / "memory", layer, sizes, 1 if quick else REPETITIONS)
    table.notes = [
        "Keys and queries without positions; text: Python's standard library in pieces of 512 tokens, read by the model's first "
        "layers; queries: places of a text that is not in the memory, all readers times 9 heads asked at once.",
        "compared: all products and the largest of them, torch, keys in memory; index: LanceDB, read from disk (warm), keys and "
        f"values of those found fetched too. Medians of {REPETITIONS}.",
        "recall: share of those found by the index whose product is among the largest.",
    ]
    return [table]


def _grown(path: Path, layer: int, sizes: tuple[int, ...], rounds: int) -> Iterator[tuple[Any, ...]]:
    import sociogram as sg
    from sociogram.memory import index

    index.EXACT_UP_TO = 0
    model = _lower(sg.load(MODEL), layer)
    memory, texts, tokens = sg.Memory(path), _texts(model), 0
    asked = _queries(model, next(texts))
    for size in sizes:
        while tokens < size:
            tokens += len(piece := next(texts))
            memory.add(piece, model=model, layers=layer)
        start = time.perf_counter()
        memory.index()
        made = time.perf_counter() - start
        for readers in READERS:
            compared, found, recall = _both(memory.heard_by(model), asked[:, :readers], rounds)
            stats = memory.stats
            yield layer, tokens, stats["keys"], readers, compared, found, recall, made, stats["bytes"] / 1e6


def _lower(model: Any, layer: int) -> Any:
    """The model's first layers alone: keys of a layer are what those below it make."""
    import sociogram as sg

    model.hf.model.layers = model.hf.model.layers[: layer + 1]
    model.hf.config.num_hidden_layers = layer + 1
    return sg.load(model.hf.eval(), tokenizer=model.tokenizer)


def _texts(model: Any) -> Iterator[list[int]]:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")) + sorted(
        Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*/*.py")
    )
    for file in files:
        ids = model.tokenizer(file.read_text(encoding="utf-8", errors="replace"), verbose=False).input_ids
        for start in range(0, len(ids) - 64, CHUNK):
            yield ids[start : start + CHUNK]


def _queries(model: Any, ids: list[int]) -> Any:
    """Queries of the last layer there is, without their positions: `[head, reader, d_head]`."""
    import torch

    import sociogram as sg
    from sociogram.models.rotary import find_rotation

    rec = sg.record(model, ids, keep="qkv")
    query = torch.from_numpy(rec.dataset["query_vector"].isel(layer=-1).values)
    name = list(model.anatomy.heads)[-1]
    places = torch.arange(len(ids))
    return find_rotation(model).strip(name, query, places)[:, torch.linspace(32, len(ids) - 1, max(READERS)).long()]


def _both(source: Any, asked: Any, rounds: int) -> tuple[float, float, float]:
    """Milliseconds of both searches, and the share of the index's finds that are among the best."""
    import torch

    from sociogram.steering.chosen import strongest

    (name,) = source._calls
    told = source.told(name)
    key = source._rotation.strip(name, told[0], source.positions)
    everybody = torch.ones(asked.shape[:2], dtype=torch.bool)
    compared, best = _timed(lambda: strongest(asked[None], key[None], FOUND), rounds)
    indexed, found = _timed(lambda: source.nearest(name, asked, FOUND, everybody), rounds)
    products = asked @ key.repeat_interleave(3, 0).transpose(-1, -2)
    least = products.gather(-1, best[0]).amin(-1, keepdim=True)
    mine = products.gather(-1, found.places[found.chosen])
    return compared, indexed, float((mine >= least - 1e-3).float().mean())


def _timed(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    seconds = []
    for _ in itertools.repeat(None, rounds + 1):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[1:]), result
