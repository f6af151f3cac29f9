"""The logit lens: what the model would say next if it stopped here, for every token at every stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.models.head import read_logits
from sociogram.watch.access import check_index, tensor

if TYPE_CHECKING:
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording

_ROWS = 256


def lens(rec: Recording, *, stops: Sequence[int] | None, queries: Sequence[Address] | None, top: int) -> xr.Dataset:
    """Each token's vector at each stop, read by the model's own final norm and unembedding (logit lens, nostalgebraist 2020).

    Args:
        stops: which stops (indices along `stop`; negative ones from the end); all when left out.
        queries: which tokens, by position or text; all when left out.
        top: how many words of each.

    Returns:
        Dims `stop, query, rank`: `word` (as people read it), `token_id`, `probability` (0 to 1); dims `stop, query`:
        `entropy` in nats, 0 (certain) to log of the vocabulary's size. Coordinates `stop`, `stop_layer`, `stop_part`,
        `query`, `query_token`. `attrs["capped"]` says that the model squashes its logits afterwards, which keeps the order of
        words but not their probabilities.

    Raises:
        InputError: a stop or token that does not exist; a model whose logits are no function of the stream token by token.
        RecordingError: the model is not at hand, or the stream was not kept.

    Misleads: early layers need not speak the last layer's language; a word there is what the unembedding makes of the vector,
    not what the model holds. Costs one unembedding per cell: 60 stops of 2,000 tokens are 120,000 of them.
    """
    rec._one("lens()", rec.main)
    if rec.model is None:
        raise RecordingError("lens() needs the model's unembedding: open the recording with sg.open_recording(path, model=...)")
    if rec.anatomy.head.problem:
        raise InputError(f"lens() cannot be had of {rec.model.name}: {rec.anatomy.head.problem}")
    residual = rec.need(rec.dataset, "residual")
    if top < 1:
        raise InputError(f"top={top}: at least one word")
    at = [check_index("stop", s, residual.sizes["stop"]) for s in (range(residual.sizes["stop"]) if stops is None else stops)]
    who = list(range(residual.sizes["query"])) if queries is None else [rec.find("query", q) for q in queries]
    return _read(rec, residual, at, who, top)


def _read(rec: Recording, residual: xr.DataArray, at: list[int], who: list[int], top: int) -> xr.Dataset:
    assert rec.model is not None
    rows = tensor(residual.isel(stop=at, query=who)).flatten(0, 1)
    parts = [_words(rec, chunk, top) for chunk in rows.split(_ROWS)]
    ids, probability, entropy = (torch.cat(column).unflatten(0, (len(at), len(who))) for column in zip(*parts, strict=True))
    known = {int(i): rec.model.spell([int(i)])[0] for i in ids.unique()}
    words = np.array([known[i] for i in ids.flatten().tolist()], dtype=object).reshape(ids.shape)
    dims = ("stop", "query", "rank")
    dataset = rec.dataset
    return xr.Dataset(
        {
            "word": (dims, words),
            "token_id": (dims, ids.numpy()),
            "probability": (dims, probability.numpy()),
            "entropy": (dims[:2], entropy.numpy()),
        },
        coords={
            "stop": at,
            "query": who,
            "stop_layer": ("stop", dataset["stop_layer"].values[at]),
            "stop_part": ("stop", dataset["stop_part"].values[at]),
            "query_token": ("query", dataset["query_token"].values[who]),
        },
        attrs={"capped": rec.anatomy.head.capped},
    )


def _words(rec: Recording, rows: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids and probabilities of the `top` words of each row, and the entropy."""
    assert rec.model is not None
    logits = read_logits(rec.model.hf, rec.anatomy.head, rows.to(rec.model.device)).float()
    spread = torch.log_softmax(logits, dim=-1)
    best, ids = spread.topk(min(top, spread.shape[-1]), dim=-1)
    return ids.cpu(), best.exp().cpu(), -(spread.exp() * spread).nan_to_num().sum(-1).cpu()
