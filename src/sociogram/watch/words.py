"""Edges between words instead of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch

from sociogram.models.tokens import words

if TYPE_CHECKING:
    from sociogram.watch.edges import _Asked


def by_words(asked: _Asked, top: int | None) -> tuple[pd.DataFrame, float, int]:
    """Edges between words: the table (strongest first), the total of the ranking weight, the number of edges.

    Numbers are summed over the sender's tokens and averaged over the reader's, so that attention to all words still sums to 1.
    """
    tables = [_layer(asked, index) for index in asked.layers()]
    table = pd.concat(tables).sort_values(asked.weight, key=abs, ascending=False, kind="stable").reset_index(drop=True)
    return table, float(table[asked.weight].abs().sum()), len(table)


def _layer(asked: _Asked, index: int) -> pd.DataFrame:
    messages = asked.rec.messages(index, stack=asked.stack)
    places = torch.nonzero(asked.chosen(messages.weights))
    table = asked.numbers.rows(index, messages, places).reset_index(drop=True)
    dataset = asked.rec.stack(asked.stack)
    table["pull"] = table["pull"] * table["message"]
    names: dict[str, list[str]] = {}
    for axis in ("query", "key"):
        groups = _groups(asked, axis)
        names[axis] = ["".join(str(dataset[f"{axis}_token"].values[i]) for i in group) for group in groups]
        number = {token: i for i, group in enumerate(groups) for token in group}
        sizes = {i: len(group) for i, group in enumerate(groups)}
        table[axis] = table[axis].map(number)
        if axis == "query":
            readers = table["query"].map(sizes)
    sums = ["attention", "message", "contribution", "pull", *(["toward"] if "toward" in table else [])]
    table[sums] = table[sums].div(readers, axis=0)
    grouped = table.groupby(["layer", "head", "query", "key"], sort=False)[sums].sum(min_count=1).reset_index()
    grouped["pull"] = grouped["pull"] / grouped["message"]
    for axis in ("query", "key"):
        grouped.insert(list(grouped.columns).index("attention"), f"{axis}_token", grouped[axis].map(dict(enumerate(names[axis]))))
    return grouped


def _groups(asked: _Asked, axis: str) -> list[list[int]]:
    texts = [str(t) for t in asked.rec.stack(asked.stack)[f"{axis}_token"].values]
    return words(texts)
