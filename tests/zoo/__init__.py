"""A zoo of tiny random models: one of every family transformers knows, as far as they can be built offline."""

from .builder import Specimen, build
from .double import float64_everywhere
from .heads import entries
from .trial import CannotBuild, main_output

__all__ = ["CannotBuild", "Specimen", "build", "entries", "float64_everywhere", "main_output"]
