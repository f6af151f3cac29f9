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
    two, stops = _paired(plain, steered)
    one = plain.dataset["residual"].values
    distance = np.linalg.norm(two - one, axis=-1)
    relative = distance / np.maximum(np.linalg.norm(one, axis=-1), np.finfo(one.dtype).tiny)
    tokens = distance.shape[1]
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


def _paired(plain: Recording, steered: Recording) -> tuple[np.ndarray, int]:
    """The steered stream at the plain run's stops: an edit of what enters a layer makes one stop more there."""
    names = [
        list(zip(r.dataset["stop_layer"].values.tolist(), r.dataset["stop_part"].values.tolist(), strict=True))
        for r in (plain, steered)
    ]
    last = {name: number for number, name in enumerate(names[1])}
    return steered.dataset["residual"].values[[last[name] for name in names[0]]], len(names[0])


def first_departure(table: pd.DataFrame) -> int | None:
    """The first layer after which some token's stream has departed; None where none has."""
    away = table[table["relative"] > DEPARTED]
    return None if away.empty else int(away["layer"].iloc[0])
