"""Sociogram: watch, measure and steer the conversation between the tokens of real transformer models.

`import sociogram as sg`: everything users need is here. Names are imported when first used, so that importing is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sociogram._version import __version__

if TYPE_CHECKING:
    from sociogram import edits, grow, notes, plot
    from sociogram.core.errors import (
        AccountError,
        EditDidNotLand,
        InputError,
        MemoryLimitError,
        MissingExtraError,
        ModelNotFoundError,
        RecordingError,
        SociogramError,
        UnsafeModelError,
        UnsupportedModelError,
    )
    from sociogram.core.moment import Moment
    from sociogram.core.schedule import Schedule
    from sociogram.graphs.agreement import Agreement
    from sociogram.graphs.blocks import Blocks
    from sociogram.graphs.causal import CausalTest
    from sociogram.graphs.change import Change
    from sociogram.graphs.common import Common
    from sociogram.graphs.communities import Communities
    from sociogram.graphs.diff import Difference
    from sociogram.graphs.distances import Distances
    from sociogram.graphs.embedding import Embedding
    from sociogram.graphs.latent_test import PositionTest
    from sociogram.graphs.layered import Layered
    from sociogram.graphs.linear import LinearView
    from sociogram.graphs.matching import Matching
    from sociogram.graphs.networks import Networks, networks
    from sociogram.graphs.quotient import CommunitySeries
    from sociogram.graphs.spectrum import Spectrum
    from sociogram.graphs.testing import NullTest
    from sociogram.memory.collection import Collection
    from sociogram.memory.dense import Dense
    from sociogram.memory.densify import densify
    from sociogram.memory.letters import Bundle, Letters
    from sociogram.memory.memory import Memory
    from sociogram.models.anatomy import Anatomy
    from sociogram.models.listing import coverage, known_models, remove_model
    from sociogram.models.loading import load
    from sociogram.models.model import Model
    from sociogram.steering.compare import Comparison, compare
    from sociogram.steering.inertia import Inertia, inertia
    from sociogram.steering.past import Past
    from sociogram.steering.receipt import Receipt
    from sociogram.steering.revise import Revision, revise
    from sociogram.steering.steer import Steered, steer
    from sociogram.studio.page import to_html
    from sociogram.watch.audit import Audit
    from sociogram.watch.flock import Flock
    from sociogram.watch.particles import measure_flock
    from sociogram.watch.record import record
    from sociogram.watch.recording import Recording
    from sociogram.watch.selection import Selection
    from sociogram.watch.stored import open_recording
    from sociogram.watch.worksheet import Worksheet

_HOME = {
    "load": "models.loading",
    **dict.fromkeys(("coverage", "known_models", "remove_model"), "models.listing"),
    "Model": "models.model",
    "Anatomy": "models.anatomy",
    "record": "watch.record",
    "open_recording": "watch.stored",
    "Recording": "watch.recording",
    "Audit": "watch.audit",
    "Flock": "watch.flock",
    "measure_flock": "watch.particles",
    "Selection": "watch.selection",
    "Worksheet": "watch.worksheet",
    **dict.fromkeys(("Steered", "steer"), "steering.steer"),
    "Receipt": "steering.receipt",
    "Collection": "memory.collection",
    "Memory": "memory.memory",
    "Dense": "memory.dense",
    "densify": "memory.densify",
    **dict.fromkeys(("Bundle", "Letters"), "memory.letters"),
    **dict.fromkeys(("Comparison", "compare"), "steering.compare"),
    "Agreement": "graphs.agreement",
    "Blocks": "graphs.blocks",
    "Change": "graphs.change",
    "Common": "graphs.common",
    "Communities": "graphs.communities",
    "Difference": "graphs.diff",
    "Distances": "graphs.distances",
    "CommunitySeries": "graphs.quotient",
    **dict.fromkeys(("Networks", "networks"), "graphs.networks"),
    "NullTest": "graphs.testing",
    "Spectrum": "graphs.spectrum",
    "Embedding": "graphs.embedding",
    "PositionTest": "graphs.latent_test",
    "Matching": "graphs.matching",
    "Layered": "graphs.layered",
    "LinearView": "graphs.linear",
    "CausalTest": "graphs.causal",
    "to_html": "studio.page",
    "Schedule": "core.schedule",
    "Moment": "core.moment",
    "Past": "steering.past",
    **dict.fromkeys(("Inertia", "inertia"), "steering.inertia"),
    **dict.fromkeys(("Revision", "revise"), "steering.revise"),
    **dict.fromkeys(
        (
            "AccountError", "EditDidNotLand", "InputError", "MemoryLimitError", "MissingExtraError", "ModelNotFoundError",
            "RecordingError", "SociogramError", "UnsafeModelError", "UnsupportedModelError",
        ),
        "core.errors",
    ),
}  # fmt: skip

_MODULES = ("edits", "grow", "notes", "plot")
"""Named parts of the face that are modules."""

__all__ = [
    "AccountError",
    "Agreement",
    "Anatomy",
    "Audit",
    "Blocks",
    "Bundle",
    "CausalTest",
    "Change",
    "Collection",
    "Common",
    "Communities",
    "CommunitySeries",
    "Comparison",
    "Dense",
    "Difference",
    "Distances",
    "EditDidNotLand",
    "Embedding",
    "Flock",
    "Inertia",
    "InputError",
    "Layered",
    "Letters",
    "LinearView",
    "Matching",
    "Memory",
    "MemoryLimitError",
    "MissingExtraError",
    "Model",
    "ModelNotFoundError",
    "Moment",
    "Networks",
    "NullTest",
    "Past",
    "PositionTest",
    "Receipt",
    "Recording",
    "RecordingError",
    "Revision",
    "Schedule",
    "Selection",
    "SociogramError",
    "Spectrum",
    "Steered",
    "UnsafeModelError",
    "UnsupportedModelError",
    "Worksheet",
    "__version__",
    "compare",
    "coverage",
    "densify",
    "edits",
    "grow",
    "inertia",
    "known_models",
    "load",
    "measure_flock",
    "networks",
    "notes",
    "open_recording",
    "plot",
    "record",
    "remove_model",
    "revise",
    "steer",
    "to_html",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its room when it is first asked for."""
    if name in _MODULES:
        return import_module(f"sociogram.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'sociogram' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"sociogram.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
