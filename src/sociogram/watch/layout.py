"""How a recording's arrays are laid out: their dimensions, which of them are sums, and how several passes make one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIMS: dict[str, tuple[str, ...]] = {
    "weights": ("head", "query", "key"),
    "sink_weight": ("head", "query"),
    "value_norm": ("head", "key"),
    "value_vector": ("head", "key", "d_value"),
    "query_vector": ("head", "query", "d_head"),
    "key_vector": ("head", "key", "d_head"),
    "output_projection": ("head", "d_value", "d_model"),
    "lse": ("head", "query"),
    "head_gate": ("head", "query", "d_value"),
    "message_scale": ("query",),
    **dict.fromkeys(
        ("entropy", "distance", "self_share", "first_share", "attention_sum", "message_sum", "kept_share"), ("head", "query")
    ),
    **dict.fromkeys(("top_key", "top_attention", "top_message"), ("head", "query", "rank")),
    **dict.fromkeys(("received", "influence"), ("head", "band", "key")),
    "edge_count": ("head", "kind"),
    **dict.fromkeys(("attention_out", "mlp_out", "bias", "rescaling", "opaque", "edited"), ("query", "d_model")),
}
"""Dimensions of each variable after `layer` (and a leading `sequence` where there are several)."""
SHARED = frozenset({"output_projection"})
"""Variables that are the model's, not one sequence's."""
OF_NEW_KEYS = frozenset({"value_norm", "value_vector", "key_vector"})
"""Variables of keys that are entered when the key is new, and not again when it is read from the cache."""
WHOLE_NUMBERS = frozenset({"top_key", "edge_count"})
SUMS = frozenset({"received", "influence", "edge_count"})
"""Variables that every pass adds to."""


@dataclass(frozen=True)
class Pieces:
    """How a run is composed of passes: how many tokens all of them have, and how many were there before this one."""

    tokens: int
    past: int = 0


def dims_of(name: str, *, streaming: bool = False) -> tuple[str, ...]:
    """Dimensions of a variable after `layer` (or `stop`); streamed recordings keep the values of heads that share them once."""
    if name == "value_vector" and streaming:
        return ("kv_head", "key", "d_value")
    return ("query", "d_model") if name == "residual" else DIMS[name]


def as_wide(projection: tuple[tuple[str, ...], np.ndarray], width: int) -> tuple[tuple[str, ...], np.ndarray]:
    """A projection with as many rows as the widest layer's values have channels; those too many are NaN."""
    dims, array = projection
    rows = np.full((*array.shape[:2], max(width, array.shape[2]), array.shape[3]), np.nan, array.dtype)
    rows[:, :, : array.shape[2]] = array
    return dims, rows


def arranged(dims: tuple[str, ...], array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Rows come as `[row, sequence, ...]`: put the sequence first, or take the only one."""
    return (("sequence", *dims), array.swapaxes(0, 1)) if array.shape[1] > 1 else (dims, array[:, 0])
