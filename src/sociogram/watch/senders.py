"""Who was heard: how much each token told all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from sociogram.watch.access import listens
from sociogram.watch.few import is_streamed

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording


def senders(rec: Recording) -> pd.DataFrame:
    """How much each token of the main stack told the others, over all layers and heads, most heard first.

    Returns:
        Columns `key, token, message` (summed norms of its messages to other tokens), `share` (of all messages between
        different tokens), `attention` (summed weights that others gave it) and `readers` (how many others could read it; NaN
        of a streamed recording, which does not count them).

    Misleads: in trained decoders the first token soaks up attention; its messages are often short, and its share of
    `attention` says little about what was told. Early tokens have more readers.
    """
    if is_streamed(rec.dataset):
        return _of_sums(rec)
    total: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    readable = None
    for layer, status in enumerate(rec.dataset["status"].values):
        if str(status) != "closed" or not listens(rec.dataset, layer):
            continue
        messages = rec.messages(layer)
        others = ~torch.eye(*messages.weights.shape[1:], dtype=torch.bool)
        told = (messages.norms() * others).sum((0, 1), dtype=torch.float64)
        given = (messages.weights * others).sum((0, 1), dtype=torch.float64)
        total = told if total is None else total + told
        attention = given if attention is None else attention + given
        seen = ((messages.weights != 0).any(0) & others).sum(0)
        readable = seen if readable is None else torch.maximum(readable, seen)
    if total is None or attention is None or readable is None:
        return pd.DataFrame(columns=["key", "token", "message", "share", "attention", "readers"])
    return _table(rec, total, attention, readable.numpy())


def _of_sums(rec: Recording) -> pd.DataFrame:
    """The same of a streamed recording, from its column sums: what lies in the bands beyond a token's own place."""
    sums = [torch.from_numpy(rec.need(rec.dataset, name).values[:, :, 1:]).double() for name in ("influence", "received")]
    told, given = (value.nansum((0, 1, 2)) for value in sums)
    return _table(rec, told, given, float("nan"))


def _table(rec: Recording, total: torch.Tensor, attention: torch.Tensor, readers: Any) -> pd.DataFrame:
    whole, texts = float(total.sum()), rec.dataset["key_token"].values
    table = pd.DataFrame(
        {
            "key": range(len(texts)),
            "token": texts,
            "message": total.numpy(),
            "share": (total / whole).numpy() if whole else 0.0,
            "attention": attention.numpy(),
            "readers": readers,
        }
    )
    return table.sort_values("message", ascending=False, kind="stable").reset_index(drop=True)
