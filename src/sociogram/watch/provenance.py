"""Where a recording comes from: what is stored with it, and whether a model is the one it was made with."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from sociogram._version import __version__
from sociogram.models.model import Model

FORMAT = 1
"""Version of a stored recording's layout."""


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
