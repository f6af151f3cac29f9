"""What goes into a frame: read off a recording by its public questions alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import sociogram as sg
from sociogram.studio import frame
from sociogram.studio.words import words_of

VIEWS = {
    "plain": "residual stream",
    "centred": "layer mean removed",
    "sphere": "unit sphere",
    "normed": "after the final norm",
}
LABELS = {
    "message": "message: the norm of what was told",
    "attention": "attention: how much it was looked at",
    "contribution": "contribution: share of what the reader heard",
}
NEIGHBOURS = 5
POINTS = 250_000
"""Neighbours are shipped for at most so many (stop, token, neighbour) triples: of very long prompts for none."""
COORDINATES = 4_000_000
"""Positions are at most so many numbers: of very long prompts fewer components are shipped."""
COMPONENTS = (3, 16)
"""But as many as a picture shows; and no more than this."""
ROUNDED = 200_000
"""Arrays of more numbers than this keep four digits, which is more than can be seen and packs to two thirds."""
MOVES = ("moved", "from_others", "from_itself", "from_source", "from_outside", "mlp", "edited", "rest")
DRIFT_TOKENS = 512
"""Longer prompts are not run again for the null drift: two more forward passes for one number."""


def contents(
    recordings: Sequence[tuple[str, sg.Recording]], views: Sequence[str], toward: str | int | None, budget: int
) -> bytes:
    """The frame of one recording, or of two of which the second is drawn in the first one's bases."""
    arrays: dict[str, np.ndarray] = {}
    runs, bases = [], dict[str, sg.Flock]()
    for number, (name, rec) in enumerate(recordings):
        run = _Run(name, rec, f"{number}/", arrays)
        runs.append(run.info(views, bases, toward, budget))
    rec = recordings[0][1]
    attributes = rec.tree.attrs
    model = str(attributes["model"])
    header = {
        "format": "sociogram-frame",
        "version": frame.VERSION,
        "model": {
            "name": model,
            "d_model": int(rec.dataset["residual"].sizes["d_model"]),
            "logits": "final_logits" in rec.outputs,
        },
        "source": {
            "model": str(attributes["model_location"] or model),
            "text": attributes.get("text"),
            "sociogram": str(attributes["sociogram"]),
        },
        "runs": runs,
    }
    return frame.encode(header, arrays)


class _Run:
    """Fills one run's part of the arrays."""

    def __init__(self, name: str, rec: sg.Recording, prefix: str, arrays: dict[str, np.ndarray]) -> None:
        self.name, self.rec, self.prefix, self.arrays = name, rec, prefix, arrays
        residual = rec.dataset["residual"].sizes
        self.points = int(residual["stop"] * residual["query"])

    def put(self, name: str, value: Any, dtype: type) -> None:
        array: np.ndarray = np.asarray(value).astype(dtype)
        self.arrays[self.prefix + name] = _four_digits(array) if dtype is np.float32 and array.size > ROUNDED else array

    def info(self, views: Sequence[str], bases: dict[str, sg.Flock], toward: str | int | None, budget: int) -> frame.RunInfo:
        components = int(np.clip(COORDINATES // self.points, *COMPONENTS))
        flocks = {view: self.rec.flock(view, components=components, basis=bases.get(view)) for view in views}
        first = flocks[views[0]]
        shipped = [self._view(view, flock) for view, flock in flocks.items()]
        for view, flock in flocks.items():
            bases.setdefault(view, flock)
        self.put("norm", [np.linalg.norm(stop, axis=-1) for stop in self.rec.dataset["residual"].values], np.float32)
        self.put("moved", first.moved.values, np.float32)
        selection = self.rec.select(toward=toward, budget=budget) if _has_messages(self.rec) else _nothing(self.rec)
        self._edges(selection)
        self._moves()
        return {
            "name": self.name,
            "tokens": self.rec.tokens,
            "prompt": self._prompt(),
            "streamed": self._streamed(),
            "stops": self._stops(),
            "layers": self._layers(),
            "heads": int(self.rec.dataset.sizes.get("head", 0)),
            "causal": self._causal(selection),
            "predictions": self._predictions(),
            "audit": self._audit(),
            "views": shipped,
            "measures": _measures(first),
            "meanings": [self._meaning(name, toward) for name in selection.ranks],
            "words": words_of(self.rec, self.put),
            "neighbours": self._neighbours(first),
        }

    def _view(self, name: str, flock: sg.Flock) -> frame.ViewInfo:
        positions = flock.positions.values
        scale = float(np.nanmax(np.abs(positions))) or 1.0
        self.put(f"position/{name}", positions / scale, np.float16)
        self.put(f"distance/{name}", flock.distance.values, np.float32)
        null = flock.null_variance
        return {
            "name": name,
            "label": VIEWS.get(name, name),
            "components": [str(label) for label in flock.positions["component"].values],
            "variance": _shares(flock.variance),
            "null_variance": None if null is None else _shares(null),
            "scale": scale,
            "fitted_without": [int(i) for i in flock.fitted_without],
            "note": flock.note or None,
        }

    def _prompt(self) -> int | None:
        prompt = self.rec.tree.attrs.get("prompt_tokens")
        return None if prompt is None else int(prompt)

    def _stops(self) -> list[frame.Stop]:
        dataset = self.rec.dataset
        pairs = zip(dataset["stop_layer"].values.tolist(), dataset["stop_part"].values.tolist(), strict=True)
        return [{"layer": -1 if part == "input" else layer, "part": part} for layer, part in pairs]

    def _layers(self) -> list[frame.LayerInfo]:
        dataset = self.rec.dataset
        after = {stop["layer"]: i for i, stop in reversed(list(enumerate(self._stops()))) if "attention" in stop["part"]}
        status, starts = dataset["status"].values.tolist(), dataset["layer_start"].values.tolist()
        return [{"status": s, "stop": after.get(i, -1), "before": starts[i]} for i, s in enumerate(status)]

    def _causal(self, selection: sg.Selection) -> bool:
        return bool((selection.edges["key"] <= selection.edges["query"]).all())

    def _predictions(self) -> list[frame.Prediction]:
        if "final_logits" not in self.rec.outputs:
            return []
        rows = self.rec.predictions(5)
        return [{"token": t, "probability": float(p)} for t, p in zip(rows["token"], rows["probability"], strict=True)]

    def _streamed(self) -> frame.Streamed | None:
        if not is_streamed(self.rec):
            return None
        choice = self.rec.dataset["top_key"]
        by = [name for name in choice["ranked_by"].values.tolist() if name]
        return {"top": int(choice.sizes["rank"]), "by": by[0] if by else "message"}

    def _audit(self) -> frame.AuditInfo:
        drift = self._drift()
        if is_streamed(self.rec):
            checked = self.rec.tree.attrs
            return {
                "relative_error": float(checked["checked_error"]),
                "null_drift": drift,
                "checked": int(checked["checked_tokens"]),
            }
        return {"relative_error": float(self.rec.audit().max_relative_error), "null_drift": drift, "checked": None}

    def _drift(self) -> float | None:
        """None where it is not measured: without the model, in a long text, or of edits that stayed in another process."""
        if self.rec.model is None or len(self.rec.tokens) > DRIFT_TOKENS:
            return None
        if self.rec.editors is None and self.rec.tree.attrs.get("edits", "[]") != "[]":
            return None
        return self.rec.null_drift()

    def _meaning(self, name: Any, toward: str | int | None) -> frame.Meaning:
        token = None if name != "toward" else toward if isinstance(toward, str) else f"#{toward}"
        label = f"toward {token!r}: what was added to its logit" if token is not None else LABELS[name]
        return {"name": name, "label": label, "signed": name in ("contribution", "toward"), "token": token}

    def _neighbours(self, flock: sg.Flock) -> int:
        stops, tokens = flock.distance.shape
        count = min(NEIGHBOURS, POINTS // self.points)
        none = np.zeros((stops, tokens, 0))
        index, far = (flock.neighbours.values, flock.neighbour_distance.values) if count else (none, none)
        self.put("neighbour", index[..., :count], np.uint16)
        self.put("neighbour_distance", far[..., :count], np.float32)
        return min(count, index.shape[2])

    def _edges(self, selection: sg.Selection) -> None:
        edges = selection.edges
        for name in ("layer", "head", "query", "key"):
            self.put(f"edge/{name}", edges[name], np.uint16)
        for name in ("attention", "message", "contribution", "pull", "toward"):
            if name in edges:
                self.put(f"edge/{name}", edges[name], np.float32)
        layers = edges["layer"].to_numpy()
        count = self.rec.dataset.sizes["layer"]
        for name, rank in selection.ranks.items():
            self.put(f"rank/{name}", rank, np.uint32)
            self.put(f"rank_start/{name}", np.searchsorted(layers[rank], np.arange(count + 1)), np.uint32)
            self.put(f"total/{name}", selection.totals[f"total_{name}"].values, np.float32)
            self.put(f"total_reader/{name}", selection.totals[f"reader_{name}"].values, np.float32)
        self.put("count", selection.totals["count"].values, np.uint32)

    def _moves(self) -> None:
        moves = self.rec.moves()
        shape = (self.rec.dataset.sizes["layer"], len(self.rec.tokens))
        for name in (name for name in MOVES if name in moves):
            table = np.full(shape, np.nan)
            table[moves["layer"], moves["query"]] = moves[name]
            self.put(f"move/{name}", table, np.float32)


def _has_messages(rec: sg.Recording) -> bool:
    """Whether a layer of the main stack has messages between its own tokens: not in societies that never attend."""
    return "attention_out" in rec.dataset or is_streamed(rec)


def _nothing(rec: sg.Recording) -> sg.Selection:
    """The selection of a recording without messages: no edges, and totals of nothing."""
    names, sizes = ("message", "attention", "contribution"), rec.dataset.sizes
    heads, readers = (np.zeros((sizes["layer"], sizes.get("head", 0), 3)), np.zeros((sizes["layer"], len(rec.tokens), 3)))
    totals = {f"total_{name}": (("layer", "head", "kind"), heads) for name in names}
    totals |= {f"reader_{name}": (("layer", "query", "kind"), readers) for name in names}
    edges = pd.DataFrame({name: np.zeros(0) for name in ("layer", "head", "query", "key", *names, "pull")})
    ranks = {name: np.zeros(0, dtype=np.int64) for name in names}
    return sg.Selection(edges, ranks, xr.Dataset(totals | {"count": (("layer", "head", "kind"), heads)}))


def _measures(flock: sg.Flock) -> dict[str, Any]:
    measures = flock.measures
    names = [str(name) for name in measures.data_vars if not str(name).endswith("_null")]
    return {"names": names, **{name: _measure(measures, name) for name in names}}


def _measure(measures: xr.Dataset, name: str) -> dict[str, Any]:
    values, null = measures[name], measures.get(f"{name}_null")
    nothing: list[float | None] = [None] * values.sizes["stop"]
    return {
        "label": str(values.attrs["long_name"]),
        "unit": str(values.attrs["units"]),
        "all": _numbers(values.sel(tokens="all")),
        "without_first": _numbers(values.sel(tokens="without_first")),
        "null_low": nothing if null is None else _numbers(null.sel(bound="low")),
        "null_high": nothing if null is None else _numbers(null.sel(bound="high")),
    }


def is_streamed(rec: sg.Recording) -> bool:
    """Whether the weights were read in blocks and not kept: then only each reader's strongest keys are known one by one."""
    return "top_key" in rec.dataset and "weights" not in rec.dataset


def _four_digits(values: np.ndarray) -> np.ndarray:
    """The nearest numbers of 12 binary digits."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded: np.ndarray = ((bits + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)
    return np.where(np.isfinite(values), rounded, values).astype(np.float32)


def _shares(values: np.ndarray) -> list[float]:
    """Shares of the variance; 0 where nothing varies (one token, or all in one place), which is what is kept then."""
    return [float(v) if np.isfinite(v) else 0.0 for v in values]


def _numbers(values: xr.DataArray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values.values]
