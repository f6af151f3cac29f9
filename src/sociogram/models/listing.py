"""What models there are: the named ones, what of them is cached, and which families of transformers can be watched."""

from __future__ import annotations

import json
from importlib.resources import files

import pandas as pd

from sociogram.models import store
from sociogram.models.catalog import DEFAULT_MODEL


def known_models() -> pd.DataFrame:
    """The models that load by name: columns `name, summary, cached, megabytes, folder, default`."""
    rows = [
        {
            "name": model.name,
            "summary": model.summary,
            "cached": model.cached,
            "megabytes": round(model.size / 1e6, 1),
            "folder": str(model.folder),
            "default": model.name == DEFAULT_MODEL,
        }
        for model in store.listing()
    ]
    return pd.DataFrame(rows)


def remove_model(name: str) -> int:
    """Delete a named model from the cache; returns the bytes freed.

    Raises:
        InputError: no such name, or not cached.
    """
    return store.remove(name)


def coverage() -> pd.DataFrame:
    """Every config entry of transformers that the zoo tried, and how it can be watched, as measured when this version was made.

    Columns `entry, class, status, layers, closed_layers, opaque_share, relative_error, drift, reason`; `attrs` holds versions
    and totals.
    """
    stored = json.loads(files("sociogram.models").joinpath("coverage.json").read_text())
    table = pd.DataFrame(stored["entries"])
    table.attrs |= stored["about"]
    return table
