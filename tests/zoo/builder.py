"""From a name to a tiny random model that runs."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils import deterministic
from transformers import PreTrainedConfig, PreTrainedModel

from .double import float64_everywhere
from .heads import config_class, model_classes
from .shrink import tiny_config
from .trial import CannotBuild, find_inputs, main_output, run
from .weights import randomise

LARGEST = 8_000_000
"""More parameters than this mean that a size escaped the shrinking rules."""


@dataclass
class Specimen:
    """A model of the zoo with inputs under which it runs."""

    name: str
    model: PreTrainedModel
    inputs: dict[str, Any]
    config: PreTrainedConfig

    def forward(self) -> Any:
        """One forward pass without gradients."""
        return run(self.model, self.inputs)

    def output(self) -> Tensor:
        """The tensor of one forward pass that is worth comparing."""
        return main_output(self.forward())


def build(name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Specimen:
    """A tiny random model of one entry; raises `CannotBuild` with the reason when there is none."""
    with _quiet_seeds(seed):
        config = _config(name)
        reasons = []
        for cls in _classes(name):
            try:
                return _specimen(name, cls, config, dtype, seed)
            except CannotBuild as reason:
                reasons.append(reason)
            except Exception as error:
                reasons.append(CannotBuild(f"{cls.__name__}: {type(error).__name__}: {_one_line(error)}"))
    raise reasons[0]


def _config(name: str) -> PreTrainedConfig:
    try:
        return tiny_config(config_class(name))
    except Exception as error:
        raise CannotBuild(f"config: {type(error).__name__}: {_one_line(error)}") from error


def _classes(name: str) -> list[type[PreTrainedModel]]:
    try:
        classes = model_classes(name)
    except Exception as error:
        raise CannotBuild(f"import: {_one_line(error)}") from error
    if not classes:
        raise CannotBuild("no model class declares this config")
    return classes[:4]


def _specimen(name: str, cls: type[PreTrainedModel], config: PreTrainedConfig, dtype: torch.dtype, seed: int) -> Specimen:
    model = _construct(cls, config, seed)
    randomise(model, seed)
    # some models keep what they compute in a first pass (rotary tables): other dtypes start from an untouched copy
    untouched = None if dtype == torch.float32 else copy.deepcopy(model)
    inputs = find_inputs(model)
    _check(model, inputs)
    if untouched is not None:
        model = _cast_model(untouched, dtype)
        inputs = {key: _cast(value, dtype) for key, value in inputs.items()}
    return Specimen(name=name, model=model, inputs=inputs, config=model.config)


def _construct(cls: type[PreTrainedModel], config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    torch.manual_seed(seed)
    try:
        with _memory_filled():
            model = cls(config)
    except Exception as error:
        raise CannotBuild(f"{cls.__name__}: {type(error).__name__}: {_one_line(error)}") from error
    size = sum(parameter.numel() for parameter in model.parameters())
    if size > LARGEST:
        raise CannotBuild(f"{cls.__name__} has {size:,} parameters: a size was not shrunk")
    return model.eval()


@contextmanager
def _memory_filled() -> Iterator[None]:
    """Parameters that a class never initialises come out as NaN (and are redrawn), not as what lay in memory."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]


def _check(model: PreTrainedModel, inputs: dict[str, Any]) -> None:
    """Refuse outputs that are not finite, are random, or don't depend on the inputs."""
    first = main_output(run(model, inputs))
    if not bool(torch.isfinite(first).all()):
        raise CannotBuild("the output is not finite")
    if not _same(first, main_output(run(model, inputs))):
        raise CannotBuild("the output differs from call to call")
    if _same(first, main_output(run(model, find_inputs(model, seed=1)))):
        raise CannotBuild("the output does not depend on the inputs")


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-5, atol=1e-7)


def _cast_model(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Change floating parameters and buffers; complex ones stay complex (`Module.to` drops the imaginary part)."""
    model = model._apply(lambda tensor: _cast(tensor, dtype))
    if dtype == torch.float64:
        for part in model.modules():
            if isinstance(getattr(part, "config", None), PreTrainedConfig):
                part.config._experts_implementation = "eager"  # grouped products exist for narrow types only
    return model


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_cast(item, dtype) for item in value)
    if not isinstance(value, Tensor):
        return value
    if value.is_complex() and dtype == torch.float64:
        return value.to(torch.complex128)
    return value.to(dtype) if value.is_floating_point() else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextmanager
def _quiet_seeds(seed: int) -> Iterator[None]:
    """Seed all sources of randomness and give back their states afterwards."""
    before = random.getstate(), numpy.random.get_state()
    random.seed(seed)
    numpy.random.seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            numpy.random.set_state(before[1])


__all__ = ["CannotBuild", "Specimen", "build", "float64_everywhere"]
