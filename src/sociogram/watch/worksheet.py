"""The arithmetic of one attention head for one reader, with the run's own numbers, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sociogram.core.errors import RecordingError
from sociogram.watch.access import check_index
from sociogram.watch.audit import stream

if TYPE_CHECKING:
    from sociogram.watch.account import Messages
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording

Number = float | np.ndarray


@dataclass(frozen=True, eq=False)
class Cell:
    """One number or vector: its name, how it was computed, and the names of the cells it was computed from."""

    name: str
    value: Number
    formula: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of the calculation: a title, what happens in it, and the names of its cells."""

    title: str
    text: str
    cells: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Worksheet:
    """A calculation from the query vector to the token's new place, in steps of cells.

    Attributes:
        layer, head, query: whose arithmetic it is (`query` a position).
        reader: the reader's text; `keys`: the texts of the tokens that could be read.
        cells: every cell by name, in order of computation.
        steps: the calculation in order.
        difference: norm of (computed - the model's own) place after the layer's attention (see the last step).
        relative_difference: the same over the norm of the model's own move.
    """

    layer: int
    head: int
    query: int
    reader: str
    keys: tuple[str, ...]
    cells: dict[str, Cell]
    steps: tuple[Step, ...]
    difference: float
    relative_difference: float

    def table(self) -> pd.DataFrame:
        """The cells as data: columns `step, cell, value` (a number, or a vector's norm), `vector`, `formula, sources`."""
        rows = [
            {
                "step": step.title,
                "cell": name,
                "value": _size(self.cells[name].value),
                "vector": None if isinstance(self.cells[name].value, float) else self.cells[name].value,
                "formula": self.cells[name].formula,
                "sources": list(self.cells[name].sources),
            }
            for step in self.steps
            for name in step.cells
        ]
        return pd.DataFrame(rows)

    def to_text(self, *, keys: int | None = 12) -> str:
        """The calculation as lines of text; of the tokens read, the `keys` with the largest weights (None: all)."""
        from sociogram.watch.sheets import as_text

        return as_text(self, keys)

    def to_html(self) -> str:
        """The calculation as one HTML page without scripts from elsewhere; pointing at a cell lights up where it came from."""
        from sociogram.watch.sheets import as_html

        return as_html(self)

    def __str__(self) -> str:
        """The calculation as text."""
        return self.to_text()


def _size(value: Number) -> float:
    return value if isinstance(value, float) else float(np.linalg.norm(value))


class _Sheet:
    """Collects cells and steps."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self.steps: list[Step] = []

    def add(self, name: str, value: Number, formula: str, sources: Sequence[str] = ()) -> str:
        self.cells[name] = Cell(name, value, formula, tuple(sources))
        return name

    def step(self, title: str, text: str, cells: Sequence[str]) -> None:
        self.steps.append(Step(title, text, tuple(cells)))


def worksheet(rec: Recording, layer: int, head: int, query: Address) -> Worksheet:
    """The arithmetic for one reader, from its query to its new place; the last step reconciles with the model's own output.

    Query, keys, dot products, scaling, bias and mask, exponentials, row sum, weights, values through W_O, messages, their sum
    over keys and over heads, bias, residual.
    Works on a recording made with `keep="qkv"`; for others the model is run again to get queries and keys.

    Raises:
        InputError: a layer, head or token that does not exist.
        RecordingError: the layer has no messages, or queries and keys were not kept and the model is not at hand.
    """
    index = rec.layer(layer)
    place = rec.find("query", query)
    rec = _with_vectors(rec)
    messages = rec.messages(index)
    number = check_index("head", head, messages.weights.shape[0])
    texts = [str(t) for t in rec.dataset["key_token"].values]
    sheet = _Sheet()
    keys = _scores(sheet, rec, index, number, place)
    _weights(sheet, rec, index, number, place, keys)
    _told(sheet, messages, number, place, keys)
    difference, relative = _sums(sheet, rec, messages, index, number, place, keys)
    reader = str(rec.dataset["query_token"].values[place])
    return Worksheet(
        index, number, place, reader, tuple(texts), sheet.cells, tuple(sheet.steps), difference, relative
    )  # fmt: skip


def _with_vectors(rec: Recording) -> Recording:
    needed = {"query_vector", "key_vector", "log_sum_exp"}
    if needed <= set(rec.dataset.data_vars):
        return rec
    if rec.model is None:
        raise RecordingError(
            'a worksheet needs queries and keys: record with keep="qkv", or open the recording with its model, which is then '
            "run again"
        )
    from sociogram.watch.record import record

    return record(rec.model, dict(rec.inputs), keep="qkv")


def _scores(sheet: _Sheet, rec: Recording, layer: int, head: int, place: int) -> list[int]:
    """Dot products, scaling, and what was added before the softmax. Returns the keys that may be read."""
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
    _before_softmax(sheet, data, place, keys, weights)
    return keys


def _before_softmax(sheet: _Sheet, data: object, place: int, keys: list[int], weights: np.ndarray) -> None:
    """Position bias, soft cap and additive masks, as the difference between the softmax's own scores and the scaled products."""
    total = float(data["log_sum_exp"].isel(query=place))  # type: ignore[index]
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


def _weights(sheet: _Sheet, rec: Recording, layer: int, head: int, place: int, keys: list[int]) -> None:
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


def _told(sheet: _Sheet, messages: Messages, head: int, place: int, keys: list[int]) -> None:
    value = messages.value[head].double().numpy()
    matrix = messages.matrix[head].double().numpy()
    gate = np.ones(matrix.shape[0]) if messages.gate is None else messages.gate[head, place].double().numpy()
    factor = 1.0 if messages.scale is None else float(messages.scale[place])
    named = " x gate" * (messages.gate is not None) + " x norm scale" * (messages.scale is not None)
    cells = [sheet.add(f"v[{i}]", value[i], "the model's value vector") for i in keys]
    sheet.step("Values", "what each token tells whoever reads it", cells)
    told = {i: factor * ((value[i] * gate) @ matrix) for i in keys}
    cells = [sheet.add(f"told[{i}]", told[i], f"v[{i}] @ W_O{named}", (f"v[{i}]",)) for i in keys]
    sheet.step("Values through W_O", f"the same in the space of the residual stream ({matrix.shape[1]} wide)", cells)
    weight = {i: float(sheet.cells[f"weight[{i}]"].value) for i in keys}
    cells = [
        sheet.add(f"message[{i}]", weight[i] * told[i], f"weight[{i}] x told[{i}]", (f"weight[{i}]", f"told[{i}]")) for i in keys
    ]
    sheet.step("Messages", "what is added to the reader's place, token by token", cells)


def _sums(
    sheet: _Sheet, rec: Recording, messages: Messages, layer: int, head: int, place: int, keys: list[int]
) -> tuple[float, float]:
    names = [f"message[{i}]" for i in keys]
    own = _total(sheet, names)
    sheet.step(
        "Sum over tokens",
        "what the reader heard in this head",
        [sheet.add(f"head[{head}]", own, "sum of the messages", names)],
    )
    others = [h for h in range(messages.weights.shape[0]) if h != head]
    for other in others:
        sheet.add(f"head[{other}]", _head_total(messages, other, place), f"the same sum for head {other}")
    heads = [f"head[{h}]" for h in range(messages.weights.shape[0])]
    heard = _total(sheet, heads)
    sheet.add("heard", heard, "sum over heads", heads)
    sheet.step("Sum over heads", "this head's sum with the others'", [*(f"head[{h}]" for h in others), "heard"])
    sheet.add("b_O", messages.bias[place].double().numpy(), "the attention branch's bias")
    sheet.add("branch", heard + sheet.cells["b_O"].value, "heard + b_O", ("heard", "b_O"))
    sheet.step("Bias", "of the output projection (and of a norm behind it)", ["b_O", "branch"])
    before = stream(rec, rec.main, layer)[0][place].double().numpy()
    sheet.add("before", before, "the reader's place before the layer")
    sheet.add("moved", before + sheet.cells["branch"].value, "before + branch", ("before", "branch"))
    sheet.step("Residual", "the reader's place once it has heard everyone", ["before", "moved"])
    model, text = _models_own(rec, messages, layer, place, before)
    sheet.add("model", model, text)
    difference = float(np.linalg.norm(sheet.cells["moved"].value - sheet.cells["model"].value))
    sheet.add("difference", difference, "norm of moved - model", ("moved", "model"))
    sheet.step("Reconciliation", "this sheet against the model's own output", ["model", "difference"])
    return difference, difference / float(np.linalg.norm(model - before))


def _models_own(rec: Recording, messages: Messages, layer: int, place: int, before: np.ndarray) -> tuple[np.ndarray, str]:
    """Where the model itself put the reader once it had heard everyone: its stream, where that shows it."""
    data = rec.dataset
    stop = int(data["layer_start"].isel(layer=layer)) + 1
    if str(data["stop_part"].values[stop]) == "attention" and str(data["placement"].values[layer]) != "post":
        return data["residual"].isel(stop=stop, query=place).values.astype(np.float64), "the model's own stream after attention"
    return before + messages.out[place].double().numpy(), "before + the attention branch's output, as the model computed it"


def _total(sheet: _Sheet, names: Sequence[str]) -> np.ndarray:
    total: np.ndarray = np.sum([np.asarray(sheet.cells[name].value) for name in names], axis=0)
    return total


def _head_total(messages: Messages, head: int, place: int) -> np.ndarray:
    told = messages.weights[head, place].double() @ messages.value[head].double()
    if messages.gate is not None:
        told = told * messages.gate[head, place].double()
    total = told @ messages.matrix[head].double()
    factor = 1.0 if messages.scale is None else float(messages.scale[place])
    return (factor * total).numpy()
