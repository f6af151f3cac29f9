"""Small societies grown from scratch, whose only difference is how their tokens may talk: configs, models, tasks, training.

A society (`SocietyConfig`, `Society`) is a `transformers` model, so that everything that watches or steers a model works on it as
it is. A task makes batches and knows their answers; `train` lets transformers' own `Trainer` do the work. What is measured on
societies, and drawn, does not belong here: studies are in `experiments`, instruments in `watch`, `steering` and `graphs`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sociogram.grow.config import SocietyConfig
    from sociogram.grow.evidence import Evidence, Regression
    from sociogram.grow.grown import Grown, open_grown, register
    from sociogram.grow.hearing import hears, reach
    from sociogram.grow.kinds import KINDS
    from sociogram.grow.mixture import Mixture
    from sociogram.grow.scoring import score
    from sociogram.grow.senses import Senses
    from sociogram.grow.sequences import Copy, Recall, Repeat
    from sociogram.grow.society import Society
    from sociogram.grow.tasks import Task
    from sociogram.grow.text import Language, Masked
    from sociogram.grow.training import train

_HOME = {
    "KINDS": "kinds",
    "SocietyConfig": "config",
    "Society": "society",
    **dict.fromkeys(("hears", "reach"), "hearing"),
    "Task": "tasks",
    **dict.fromkeys(("Copy", "Recall", "Repeat"), "sequences"),
    **dict.fromkeys(("Evidence", "Regression"), "evidence"),
    "Senses": "senses",
    "Mixture": "mixture",
    **dict.fromkeys(("Language", "Masked"), "text"),
    "score": "scoring",
    "train": "training",
    **dict.fromkeys(("Grown", "open_grown", "register"), "grown"),
}

__all__ = [
    "KINDS",
    "Copy",
    "Evidence",
    "Grown",
    "Language",
    "Masked",
    "Mixture",
    "Recall",
    "Regression",
    "Repeat",
    "Senses",
    "Society",
    "SocietyConfig",
    "Task",
    "hears",
    "open_grown",
    "reach",
    "register",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its file when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'sociogram.grow' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"sociogram.grow.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
