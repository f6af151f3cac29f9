"""Which model class to build for a config class."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import transformers
import transformers.models.auto.modeling_auto as auto
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from .overrides import overrides_for

_ORDER = (
    "IMAGE_TEXT_TO_TEXT",
    "MULTIMODAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "MASKED_LM",
    "CAUSAL_LM",
    "CTC",
    None,
    "OBJECT_DETECTION",
    "PRETRAINING",
    "IMAGE_CLASSIFICATION",
    "AUDIO_CLASSIFICATION",
    "MASK_GENERATION",
    "TEXT_TO_SPECTROGRAM",
    "TEXT_TO_WAVEFORM",
    "DEPTH_ESTIMATION",
    "BACKBONE",
)
"""Tasks in order of preference; None stands for the plain base model."""


def entries() -> tuple[str, ...]:
    """All names the zoo tries: the model types transformers knows, sorted."""
    return tuple(sorted(CONFIG_MAPPING.keys()))


def config_class(name: str) -> type[PreTrainedConfig]:
    """The config class of one entry."""
    return CONFIG_MAPPING[name]


@cache
def _mappings() -> tuple[dict[str, object], ...]:
    names = (f"MODEL_FOR_{task}_MAPPING_NAMES" if task else "MODEL_MAPPING_NAMES" for task in _ORDER)
    names = (("MODEL_FOR_PRETRAINING_MAPPING_NAMES" if "PRETRAINING" in name else name) for name in names)
    return tuple(getattr(auto, name) for name in names)


def model_classes(name: str) -> list[type[PreTrainedModel]]:
    """Classes that can be built from this entry's config, the preferred one first."""
    modules = _modeling_modules(name)
    forced = overrides_for(name).get("__class__")
    found = [forced] if forced else [*_mapped_names(name), *_own_names(name, modules)]
    classes = [_class(class_name, modules) for class_name in dict.fromkeys(found)]
    return [cls for cls in classes if cls is not None]


def _class(name: str, modules: list[ModuleType]) -> type[PreTrainedModel] | None:
    """A class by name: from the modeling files, else from the library's public face."""
    places = [*modules, transformers]
    return next((getattr(place, name) for place in places if hasattr(place, name)), None)


def _mapped_names(name: str) -> Iterator[str]:
    for mapping in _mappings():
        value = mapping.get(name)
        if isinstance(value, list | tuple):
            yield from value
        elif isinstance(value, str):
            yield value


def _modeling_modules(name: str) -> list[ModuleType]:
    """The modeling files that sit next to the configuration file (none where a family borrows another's)."""
    package, _, file = config_class(name).__module__.rpartition(".")
    files = (file.replace("configuration_", "modeling_"), "modeling_" + name.removesuffix("_model"))
    paths = [f"{package}.{candidate}" for candidate in dict.fromkeys(files) if "." not in candidate]
    return [importlib.import_module(path) for path in paths if importlib.util.find_spec(path)]


def _own_names(name: str, modules: list[ModuleType]) -> Iterator[str]:
    """Model classes of the files that declare exactly this config (parts that no auto class knows)."""
    wanted = config_class(name)
    for module in modules:
        for class_name, cls in inspect.getmembers(module, inspect.isclass):
            if not issubclass(cls, PreTrainedModel) or cls.__module__ != module.__name__:
                continue
            if getattr(cls, "config_class", None) is wanted and not class_name.endswith("PreTrainedModel"):
                yield class_name
