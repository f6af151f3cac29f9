"""Who was heard: how much each token told all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording


def senders(rec: Recording) -> pd.DataFrame:
    """How much each token of the main stack told the others, over all layers and heads, most heard first.

    Returns:
        Columns `key, token, message` (summed norms of its messages to other tokens), `share` (of all messages between
        different tokens), `attention` (summed weights that others gave it) and `readers` (how many others could read it).

    Misleads: in trained decoders the first token soaks up attention; its messages are often short, and its share of
    `attention` says little about what was told. Early tokens have more readers.
    """
    total: torch.Tensor | None = None
    attention: torch.Tensor | None = None
    readable = None
    for layer, status in enumerate(rec.dataset["status"].values):
        if str(status) != "closed" or bool(rec.dataset["attention_out"].isel(layer=layer, query=0).isnull().all()):
            continue
        messages = rec.messages(layer)
        others = ~torch.eye(*messages.weights.shape[1:], dtype=torch.bool)
        told = (messages.norms() * others).sum((0, 1), dtype=torch.float64)
        given = (messages.weights * others).sum((0, 1), dtype=torch.float64)
        total = told if total is None else total + told
        attention = given if attention is None else attention + given
        seen = ((messages.weights != 0).any(0) & others).sum(0)
        readable = seen if readable is None else torch.maximum(readable, seen)
    texts = rec.dataset["key_token"].values
    if total is None or attention is None or readable is None:
        return pd.DataFrame(columns=["key", "token", "message", "share", "attention", "readers"])
    whole = float(total.sum())
    table = pd.DataFrame(
        {
            "key": range(len(texts)),
            "token": texts,
            "message": total.numpy(),
            "share": (total / whole).numpy() if whole else 0.0,
            "attention": attention.numpy(),
            "readers": readable.numpy(),
        }
    )
    return table.sort_values("message", ascending=False, kind="stable").reset_index(drop=True)
