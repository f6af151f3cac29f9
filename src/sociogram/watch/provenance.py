"""Where a recording comes from: what is stored with it, and whether a model is the one it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from sociogram._version import __version__
from sociogram.models.model import Model

FORMAT = 2
"""Version of a stored recording's layout."""


def foreign(stored: Mapping[Any, Any], model: Model) -> tuple[str, str, str] | None:
    """What tells a model from the one that something stored was made with: what, there, and here; None where nothing does."""
    here = described(model)
    for name, what in (("model_class", "class"), ("model_digest", "weights"), ("dtype", "dtype")):
        there = stored.get(name)
        if there and here[name] and there != here[name]:
            return what, str(there), str(here[name])
    return None


def described(model: Model) -> dict[str, Any]:
    """Model, where it came from, versions and settings, as plain values."""
    return {
        "sociogram": __version__,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "model": model.name,
        "model_class": type(model.hf).__name__,
        "model_source": model.source.kind,
        "model_location": model.source.location,
        "model_digest": model.source.digest or "",
        "dtype": str(model.dtype).removeprefix("torch."),
    }
