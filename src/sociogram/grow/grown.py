"""What training gives back, how it is kept, and how a society is opened again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sociogram.core.errors import InputError
from sociogram.grow.config import SocietyConfig
from sociogram.models.quiet import quiet

if TYPE_CHECKING:
    from sociogram.grow.society import Society

SETTINGS, HISTORY = "settings.json", "history.csv"


@dataclass(frozen=True, eq=False)
class Grown:
    """A trained society.

    Attributes:
        model: the society, in evaluation mode; `sg.load(grown.model)` makes it ready to be watched and steered.
        history: one row for each step at which something was noted: `step`, `loss` (mean over the steps since the one
            noted before), `learning_rate`, `grad_norm`; `test_loss`, `accuracy` and what `measure` gave.
        settings: how it was made: config, task, and every argument of `train`.
    """

    model: Society
    history: pd.DataFrame
    settings: dict[str, Any]

    def save(self, folder: str | PathLike[str]) -> None:
        """Write model, history and settings into a folder, which `open_grown` reads."""
        path = Path(folder)
        with quiet():
            self.model.save_pretrained(path)
        self.history.to_csv(path / HISTORY, index=False)
        write_settings(path, self.settings)


def write_settings(folder: Path, settings: dict[str, Any]) -> None:
    """The settings as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The settings in a folder, or None."""
    file = folder / SETTINGS
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a society whose training has come to its end."""
    return (folder / HISTORY).is_file()


def open_grown(folder: str | PathLike[str]) -> Grown:
    """What `Grown.save` or `train(to=...)` has written.

    Raises:
        InputError: the folder holds no finished society.
    """
    from sociogram.grow.society import Society

    path = Path(folder)
    settings = read_settings(path)
    if settings is None or not is_finished(path):
        unfinished = f"; its training was interrupted, go on with train(..., to={str(folder)!r}, resume=True)" if settings else ""
        raise InputError(f"open_grown({str(folder)!r}): there is no finished society{unfinished}")
    with quiet():
        society = Society.from_pretrained(path).eval()
    return Grown(society, pd.read_csv(path / HISTORY), settings)


def register() -> None:
    """Let transformers' Auto classes, and thereby `sg.load(folder)`, open societies by their `model_type`; once is enough."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    from sociogram.grow.society import Society

    AutoConfig.register(SocietyConfig.model_type, SocietyConfig, exist_ok=True)
    AutoModel.register(SocietyConfig, Society, exist_ok=True)
    AutoModelForCausalLM.register(SocietyConfig, Society, exist_ok=True)
