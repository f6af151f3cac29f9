"""Where two runs of one prompt part: how far each token's stream is from the other run's, stop by stop."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sociogram.watch.recording import Recording

DEPARTED = 1e-4
"""The stream has departed where it differs by more than this share of its norm: above the rounding of another path."""


def departure(plain: Recording, steered: Recording) -> pd.DataFrame:
    """One row per stop and token of the main stack.

    Columns `stop, layer, part, query, token, distance` (norm of the difference) and `relative` (over the plain norm).
    """
    one = plain.dataset["residual"].values
    two = steered.dataset["residual"].values[_same_stops(plain, steered)]
    distance = np.linalg.norm(two - one, axis=-1)
    relative = distance / np.maximum(np.linalg.norm(one, axis=-1), np.finfo(one.dtype).tiny)
    stops, tokens = distance.shape
    dataset = plain.dataset
    return pd.DataFrame(
        {
            "stop": np.repeat(np.arange(stops), tokens),
            "layer": np.repeat(dataset["stop_layer"].values, tokens),
            "part": np.repeat(dataset["stop_part"].values, tokens),
            "query": np.tile(np.arange(tokens), stops),
            "token": np.tile(dataset["query_token"].values, stops),
            "distance": distance.flatten(),
            "relative": relative.flatten(),
        }
    )


def _same_stops(plain: Recording, steered: Recording) -> np.ndarray:
    """The stops of a steered stream that the plain one has too: an edit of what enters a layer makes one stop more there."""
    names = [list(zip(r.dataset["stop_layer"].values, r.dataset["stop_part"].values, strict=True)) for r in (plain, steered)]
    return np.array([i for i, (layer, part) in enumerate(names[1]) if part != "input" or (layer, part) in names[0]])


def first_departure(table: pd.DataFrame) -> int | None:
    """The first layer after which some token's stream has departed; None where none has."""
    away = table[table["relative"] > DEPARTED]
    return None if away.empty else int(away["layer"].iloc[0])
