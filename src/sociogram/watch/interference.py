"""Where several voices agree, and where they annul each other: cosines of their messages, and how much is lost in the sum."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.models.outside import MEAN
from sociogram.watch.access import OUTSIDE, listens

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

BY = ("layer", "token")


def interference(rec: Recording, *, by: str = "layer", pairs: bool = False) -> pd.DataFrame:
    """How the voices that a steered run listened to (`edits.blend`, or several `attend` and `add_head`) meet in the stream.

    A voice's message to a reader in a layer is the sum over its tokens and all heads, its gain included: m = sum of
    weight * value @ W_O. Voices are called as in the coordinate `key_source`: `voice 0` is the first of a blend.

    Args:
        rec: a recording under such edits.
        by: `"layer"`, or `"token"` for each reader in each layer.
        pairs: of every two voices by themselves; otherwise of all of them together.

    Returns:
        Columns `layer`, with `by="token"` `query, token`, with `pairs` `voice, other`; then `apart` (the sum of the messages'
        norms), `together` (of their sum), `cancellation` = 1 - together / apart (0 where all messages point the same way,
        1 where they annul each other), and `cosine` between the messages (1 constructive, -1 destructive; of more than two voices
        the sum of their inner products over the sum of the products of their norms). By layer, norms and products are summed over
        readers before they are divided, so that loud messages count more. NaN where nothing was said.

    Raises:
        InputError: fewer than two voices, or an unknown `by`.
        RecordingError: weights or values were not kept, or the output projections need the model.

    Misleads: voices that cancel in the stream may each have been heard by different heads of the next layers had they been alone;
    and of what the model makes of a sum, a cosine says nothing.
    """
    if by not in BY:
        raise InputError(f"interference by={by!r}: choose one of {', '.join(BY)}")
    name = rec.main + OUTSIDE
    sources = sources_of(rec)
    layers = [layer for layer in range(rec.stack(name).sizes["layer"]) if listens(rec.stack(name), layer)]
    parts = list(combinations(sources, 2)) if pairs else [tuple(sources)]
    rows: list[dict[str, Any]] = []
    for layer in layers:
        told = voices(rec, layer)
        for chosen in parts:
            own = {"voice": chosen[0], "other": chosen[1]} if pairs else {}
            rows += _rows(rec, layer, torch.stack([told[one] for one in chosen]), own, by)
    return pd.DataFrame(rows)


def voices(rec: Recording, layer: int) -> dict[str, Float[Tensor, "query d_model"]]:
    """The message of each voice to each reader of the main stack in a layer."""
    messages = rec.messages(layer, stack=rec.main + OUTSIDE)
    found = {}
    for name, columns in sources_of(rec).items():
        at = torch.from_numpy(columns)
        part = replace(messages, weights=messages.weights[..., at], value=messages.value[:, at], sizes=None)
        found[name] = part.mixed()
    return found


def sources_of(rec: Recording) -> dict[str, np.ndarray]:
    """The columns of each voice, by its name.

    Raises:
        InputError: fewer than two.
        RecordingError: a recording that does not tell sources apart.
    """
    name = rec.main + OUTSIDE
    if name not in rec.stacks:
        raise InputError("interference is between voices from outside, and this run heard none: record under edits.blend([...])")
    dataset = rec.stack(name)
    if "key_source" not in dataset.coords:
        raise RecordingError("this recording does not say which sender is of which source: record again")
    owner = dataset["key_source"].values
    found = {str(one): np.flatnonzero(owner == one) for one in dict.fromkeys(owner) if one != MEAN}
    if len(found) < 2:
        heard = "one" if found else "none"
        raise InputError(
            f"interference is between at least two voices, and this run heard {heard}: record under edits.blend([...])"
        )
    return found


def _rows(
    rec: Recording, layer: int, told: Float[Tensor, "voice query d_model"], own: dict[str, str], by: str
) -> list[dict[str, Any]]:
    numbers = _numbers(told)
    if by == "layer":
        return [{"layer": layer} | own | _ratios(*(number.sum().item() for number in numbers))]
    return [
        {"layer": layer, "query": query, "token": token} | own | _ratios(*(number[query].item() for number in numbers))
        for query, token in enumerate(rec.tokens)
    ]


def _numbers(told: Float[Tensor, "voice query d_model"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """By reader: sum of the norms, norm of the sum, and over all pairs the inner products and products of norms; in double."""
    told = told.double().transpose(0, 1)
    norms = told.norm(dim=-1)
    inner = (told @ told.transpose(1, 2)).triu(1).sum((1, 2))
    products = (norms[:, :, None] * norms[:, None]).triu(1).sum((1, 2))
    return norms.sum(-1), told.sum(1).norm(dim=-1), inner, products


def _ratios(apart: float, together: float, inner: float, products: float) -> dict[str, float]:
    return {
        "apart": apart,
        "together": together,
        "cancellation": 1 - together / apart if apart else np.nan,
        "cosine": inner / products if products else np.nan,
    }
