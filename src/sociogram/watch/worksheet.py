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
from sociogram.watch.cells import Cell, Number, Sheet, Step
from sociogram.watch.scores import divided_cells, is_steered, masked_cells, score_cells, softmax_cells, used_cells

if TYPE_CHECKING:
    from sociogram.watch.account import Messages
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording


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
    sheet = Sheet()
    keys = score_cells(sheet, rec, index, number, place)
    if is_steered(rec):
        used_cells(sheet, rec, index, number, place, keys)
    elif bool(rec.dataset["lse"].isel(layer=index, head=number, query=place).isnull()):  # no softmax: linear attention
        divided_cells(sheet, keys)
    else:
        masked_cells(sheet, rec.dataset.isel(layer=index, head=number), place, keys)
        softmax_cells(sheet, rec, index, number, place, keys)
    _told(sheet, messages, number, place, keys)
    difference, relative = _sums(sheet, rec, messages, index, number, place, keys)
    reader = str(rec.dataset["query_token"].values[place])
    return Worksheet(
        index, number, place, reader, tuple(texts), sheet.cells, tuple(sheet.steps), difference, relative
    )  # fmt: skip


def _with_vectors(rec: Recording) -> Recording:
    needed = {"query_vector", "key_vector", "lse"}
    if needed <= set(rec.dataset.data_vars):
        return rec
    if rec.model is None:
        raise RecordingError(
            'a worksheet needs queries and keys: record with keep="qkv", or open the recording with its model, which is then '
            "run again"
        )
    if rec.editors is None and is_steered(rec):
        raise RecordingError(
            'edits acted in this run, and it is opened from disk: a worksheet of it needs its own queries and keys (keep="qkv")'
        )
    from sociogram.watch.record import record_under
    from sociogram.watch.request import Request

    again = record_under(rec.model, dict(rec.inputs), Request(keep="qkv"), editors=rec.editors)
    again.tree.attrs |= {name: rec.tree.attrs[name] for name in ("edits",) if name in rec.tree.attrs}
    return again


def _told(sheet: Sheet, messages: Messages, head: int, place: int, keys: list[int]) -> None:
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
    sheet: Sheet, rec: Recording, messages: Messages, layer: int, head: int, place: int, keys: list[int]
) -> tuple[float, float]:
    names = [f"message[{i}]" for i in keys]
    own = _total(sheet, names) if names else np.zeros(messages.out.shape[-1])  # a head that hears nobody
    sheet.step(
        "Sum over tokens",
        "what the reader heard in this head",
        [sheet.add(f"head[{head}]", own, "sum of the messages", names)],
    )
    others = [h for h in range(messages.weights.shape[0]) if h != head]
    for other in others:
        sheet.add(f"head[{other}]", _head_total(messages, other, place), f"the same sum for head {other}")
    heads = [f"head[{h}]" for h in range(messages.weights.shape[0])]
    if (outside := rec.from_outside(layer)) is not None:
        sheet.add("outside", outside[place].double().numpy(), "what an edit let all heads hear besides, summed")
        heads.append("outside")
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
    size = float(np.linalg.norm(model - before)) or float(np.linalg.norm(before))  # edits can leave a token where it stands
    return difference, difference / size


def _models_own(rec: Recording, messages: Messages, layer: int, place: int, before: np.ndarray) -> tuple[np.ndarray, str]:
    """Where the model itself put the reader once it had heard everyone: its stream, where that shows it."""
    data = rec.dataset
    stop = int(data["layer_start"].isel(layer=layer)) + 1
    shown = str(data["stop_part"].values[stop]) == "attention" and str(data["placement"].values[layer]) != "post"
    if shown and not is_steered(rec):
        return data["residual"].isel(stop=stop, query=place).values.astype(np.float64), "the model's own stream after attention"
    whole = messages.out if messages.whole is None else messages.whole
    return before + whole[place].double().numpy(), "before + the attention branch's output, as the model computed it"


def _total(sheet: Sheet, names: Sequence[str]) -> np.ndarray:
    total: np.ndarray = np.sum([np.asarray(sheet.cells[name].value) for name in names], axis=0)
    return total


def _head_total(messages: Messages, head: int, place: int) -> np.ndarray:
    told = messages.weights[head, place].double() @ messages.value[head].double()
    if messages.gate is not None:
        told = told * messages.gate[head, place].double()
    total = told @ messages.matrix[head].double()
    factor = 1.0 if messages.scale is None else float(messages.scale[place])
    return (factor * total).numpy()
