"""What the naming rules cannot tell, family by family.

A plain key is an argument of that family's config, wherever it occurs (also inside another config); a dotted key
reaches into a sub-config. Keys with underscores around them steer the zoo:

    __layers__    how many layers to keep
    __defaults__  arguments without which the config class can't be constructed
    __class__     the model class to build
    __inputs__    the names of the arguments to pass
    __make__      makers for single arguments (functions of a `Pantry`)
"""

from __future__ import annotations

from typing import Any

from .overrides_sound import SOUND
from .overrides_text import TEXT
from .overrides_vision import VISION

OVERRIDES: dict[str, dict[str, Any]] = {**TEXT, **VISION, **SOUND}


def overrides_for(model_type: str) -> dict[str, Any]:
    """The corrections for one model type (often none)."""
    return OVERRIDES.get(model_type, {})
