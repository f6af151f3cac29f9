"""The first half of a worksheet: from query and keys to the weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sociogram.core.errors import RecordingError
from sociogram.watch.cells import Sheet

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording


def score_cells(sheet: Sheet, rec: Recording, layer: int, head: int, place: int) -> list[int]:
    """Dot products and scaling. Returns the keys that were read."""
    data = rec.dataset.isel(layer=layer, head=head)
    q = data["query_vector"].isel(query=place).values.astype(np.float64)
    k = data["key_vector"].values.astype(np.float64)
    scale = float(data["score_scale"])
    weights = data["weights"].isel(query=place).values
    keys = [int(i) for i in np.flatnonzero(weights != 0)]
    sheet.step("Query", "what the reader asks, after position encoding", [sheet.add("q", q, "the model's query vector")])
    cells = [sheet.add(f"k[{i}]", k[i], "the model's key vector") for i in keys]
    hidden = len(weights) - len(keys)
    sheet.step("Keys", f"what the tokens advertise ({hidden} more have weight 0: masked, or too far below to register)", cells)
    cells = [sheet.add(f"dot[{i}]", float(q @ k[i]), f"q . k[{i}]", ("q", f"k[{i}]")) for i in keys]
    sheet.step("Dot products", "how well each key answers the query", cells)
    cells = [sheet.add(f"scaled[{i}]", float(q @ k[i]) * scale, f"dot[{i}] x {scale:.6g}", (f"dot[{i}]",)) for i in keys]
    sheet.step("Scaling", f"times {scale:.6g}", cells)
    return keys


def is_steered(rec: Recording) -> bool:
    """Whether edits acted in the run that was recorded."""
    return json.loads(rec.tree.attrs.get("edits", "[]")) != []


def check_rerun(rec: Recording, call: str) -> None:
    """Refuse to run the model once more where edits acted in the run that was recorded and are not at hand.

    Raises:
        RecordingError: the recording was opened from disk: the run would be another one.
    """
    if rec.editors is None and is_steered(rec):
        raise RecordingError(
            f"{call} runs the model again, and edits acted in this run, which a recording opened from disk does not hold: "
            "record it anew under the same edits, sg.edits.from_json(rec.tree.attrs['edits_json']), and ask that recording"
        )


def used_cells(sheet: Sheet, rec: Recording, layer: int, head: int, place: int, keys: list[int]) -> None:
    """Under edits the weights are those that were used; what edits made of the scores and of the softmax is not taken apart."""
    used = rec.dataset["weights"].isel(layer=layer, head=head, query=place).values
    cells = [
        sheet.add(f"weight[{i}]", float(used[i]), "the weight that was used, edits included", (f"scaled[{i}]",)) for i in keys
    ]
    sheet.step("Weights", "the softmax of the scores and what the edits made of it, as they were used", cells)


def masked_cells(sheet: Sheet, data: xr.Dataset, place: int, keys: list[int]) -> None:
    """Position bias, soft cap and additive masks, as the difference between the softmax's own scores and the scaled products."""
    weights = data["weights"].isel(query=place).values
    total = float(data["lse"].isel(query=place))
    scores = np.log(weights[keys].astype(np.float64)) + total
    extra = scores - np.array([sheet.cells[f"scaled[{i}]"].value for i in keys])
    size = np.abs(scores).max() + 1.0
    changed = bool((np.abs(extra) > 1e-4 * size).any())
    for i, amount in zip(keys, extra, strict=True):
        scaled = sheet.cells[f"scaled[{i}]"].value
        assert isinstance(scaled, float)
        if changed:
            text = "what the model did to the score before the softmax (position bias, soft cap)"
            sheet.add(f"bias[{i}]", float(amount), text)
            sheet.add(f"score[{i}]", scaled + float(amount), f"scaled[{i}] + bias[{i}]", (f"scaled[{i}]", f"bias[{i}]"))
        else:
            sheet.add(f"score[{i}]", scaled, f"scaled[{i}]; nothing added", (f"scaled[{i}]",))
    names = [f"{n}[{i}]" for i in keys for n in (("bias", "score") if changed else ("score",))]
    sheet.step("Bias and mask", "masked tokens are left out: their score is minus infinity", names)


def divided_cells(sheet: Sheet, keys: list[int]) -> None:
    """The weights of linear attention: scaled products over how many tokens may be heard."""
    count = float(len(keys))
    sheet.step("Tokens heard", "what the products are divided by", [sheet.add("count", count, "how many tokens may be heard")])
    cells = [
        sheet.add(f"weight[{i}]", _number(sheet, f"scaled[{i}]") / count, f"scaled[{i}] / count", (f"scaled[{i}]", "count"))
        for i in keys
    ]
    sheet.step("Weights", "linear attention: signed, and without a softmax, so that they sum to nothing in particular", cells)


def _number(sheet: Sheet, name: str) -> float:
    value = sheet.cells[name].value
    assert isinstance(value, float)
    return value


def softmax_cells(sheet: Sheet, rec: Recording, layer: int, head: int, place: int, keys: list[int]) -> None:
    """Exponentials, their sum, and the weights."""
    scores = np.array([sheet.cells[f"score[{i}]"].value for i in keys], dtype=np.float64)
    top = float(scores.max())
    names = [f"score[{i}]" for i in keys]
    sheet.step("Largest score", "subtracted so that no exponential overflows", [sheet.add("max", top, "largest score", names)])
    exps = np.exp(scores - top)
    cells = [
        sheet.add(f"exp[{i}]", float(e), f"exp(score[{i}] - max)", (f"score[{i}]", "max"))
        for i, e in zip(keys, exps, strict=True)
    ]
    parts = list(cells)
    if "sink_weight" in rec.dataset:
        sink = float(rec.dataset["sink_weight"].isel(layer=layer, head=head, query=place))
        told = float(rec.dataset["weights"].isel(layer=layer, head=head, query=place).sum())
        parts.append(sheet.add("exp[sink]", float(exps.sum() * sink / told), "the sink's exponential, as read from the run"))
    sheet.step("Exponentials", "always positive", parts)
    total = float(sum(float(sheet.cells[name].value) for name in parts))
    sheet.step("Row sum", "what the weights are divided by", [sheet.add("sum", total, "sum of the exponentials", parts)])
    cells = [
        sheet.add(f"weight[{i}]", float(e) / total, f"exp[{i}] / sum", (f"exp[{i}]", "sum"))
        for i, e in zip(keys, exps, strict=True)
    ]
    sheet.step("Weights", "how much of each token's message is heard; with the sink they sum to 1", cells)
