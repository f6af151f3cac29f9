"""A page as large as they come, made of noise: the page must carry it, whatever the numbers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sociogram.studio import page as page_module
from sociogram.studio.frame import encode

MEANINGS = ("message", "attention", "contribution")


def large_frame(tokens: int, layers: int, heads: int, edges: int, components: int = 16) -> bytes:
    """A frame of random walks and random edges with every field filled."""
    random = np.random.default_rng(0)
    stops = 2 * layers + 1
    steps = random.normal(size=(stops, tokens, components)).astype(np.float32)
    places = np.cumsum(steps, 0) / 20
    arrays: dict[str, np.ndarray] = {
        "0/position/plain": (places / np.abs(places).max()).astype(np.float16),
        "0/distance/plain": np.linalg.norm(places, axis=-1) * 1.5,
        "0/norm": np.linalg.norm(places, axis=-1),
        "0/moved": np.linalg.norm(steps, axis=-1),
        "0/neighbour": random.integers(0, tokens, (stops, tokens, 1)).astype(np.uint16),
        "0/neighbour_distance": random.random((stops, tokens, 1), dtype=np.float32),
    }
    layer = np.sort(random.integers(0, layers, edges)).astype(np.uint16)
    query = random.integers(1, tokens, edges)
    arrays |= {
        "0/edge/layer": layer,
        "0/edge/head": random.integers(0, heads, edges).astype(np.uint16),
        "0/edge/query": query.astype(np.uint16),
        "0/edge/key": (query * random.random(edges)).astype(np.uint16),
    }
    for name in ("attention", "message", "contribution", "pull"):
        arrays[f"0/edge/{name}"] = random.random(edges, dtype=np.float32)
    for name in MEANINGS:
        order = np.lexsort((-arrays[f"0/edge/{name}"], layer)).astype(np.uint32)
        arrays[f"0/rank/{name}"] = order
        arrays[f"0/rank_start/{name}"] = np.searchsorted(layer, np.arange(layers + 1)).astype(np.uint32)
        arrays[f"0/total/{name}"] = np.full((layers, heads, 3), 1000, np.float32)
        arrays[f"0/total_reader/{name}"] = np.full((layers, tokens, 3), 10, np.float32)
    for name in ("moved", "from_others", "from_itself", "mlp", "rest"):
        arrays[f"0/move/{name}"] = random.random((layers, tokens), dtype=np.float32)
    arrays["0/count"] = np.full((layers, heads, 3), tokens * tokens // 2, np.uint32)
    return encode(_header(tokens, layers, heads, stops, components), arrays)


def _header(tokens: int, layers: int, heads: int, stops: int, components: int) -> dict[str, Any]:
    parts = [{"layer": -1, "part": "input"}]
    parts += [{"layer": i, "part": part} for i in range(layers) for part in ("attention", "mlp")]
    line: dict[str, Any] = dict.fromkeys(("all", "without_first", "null_low", "null_high"), [0.5] * stops)
    run = {
        "name": "noise",
        "tokens": [f"␣token{i}" for i in range(tokens)],
        "stops": parts,
        "layers": [{"status": "closed", "stop": 2 * i + 1, "before": 2 * i} for i in range(layers)],
        "heads": heads,
        "causal": True,
        "prompt": None,
        "streamed": None,
        "predictions": [],
        "audit": {"relative_error": 1e-5, "null_drift": None, "checked": None},
        "views": [
            {
                "name": "plain",
                "label": "residual stream",
                "components": [f"PC{i + 1}" for i in range(components)],
                "variance": [0.05] * components,
                "null_variance": [0.01] * components,
                "scale": 1.0,
                "fitted_without": [0],
                "note": None,
            }
        ],
        "measures": {"names": ["cohesion"], "cohesion": {"label": "cohesion", "unit": "cosine", **line}},
        "meanings": [{"name": n, "label": n, "signed": n == "contribution", "token": None} for n in MEANINGS],
        "words": None,
        "neighbours": 1,
    }
    return {
        "format": "sociogram-frame",
        "version": 1,
        "model": {"name": "noise", "d_model": 576, "logits": False},
        "source": {"model": "noise", "text": None, "sociogram": "0"},
        "runs": [run],
    }


def large_page(path: Path, *, tokens: int, layers: int, heads: int, edges: int, components: int = 16) -> Path:
    """A whole page around such a frame."""
    path.write_text(page_module.assemble(large_frame(tokens, layers, heads, edges, components), "noise"), encoding="utf-8")
    return path
