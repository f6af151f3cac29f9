"""Switching a model's attention to ours while somebody watches, and back."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from torch import nn

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.masks import lazy_mask

IMPLEMENTATION = "sociogram"
"""What transformers knows our attention as."""

_registered = threading.Lock()


def _register(attention: Callable[..., Any]) -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    with _registered:
        AttentionInterface.register(IMPLEMENTATION, attention)
        AttentionMaskInterface.register(IMPLEMENTATION, lazy_mask)


class Switch:
    """The implementation names of one model, switched to ours while at least one session is open."""

    def __init__(self) -> None:
        """Nobody watches yet."""
        self.lock, self.users, self.before = threading.RLock(), 0, list[tuple[Any, Any]]()

    def on(self, hf: Any, attention: Callable[..., Any]) -> None:
        """One more session; `attention` is our attention function."""
        with self.lock:
            if self.users == 0:
                _register(attention)
                self.before = [(config, config._attn_implementation_internal) for config in _configs(hf)]
                try:
                    _set_implementation(hf)
                except BaseException:
                    self._restore()
                    raise
            self.users += 1

    def off(self) -> None:
        """One session less; with the last the model is as it was."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._restore()

    def _restore(self) -> None:
        for config, implementation in self.before:
            config._attn_implementation_internal = implementation
        self.before = []


_switches: weakref.WeakKeyDictionary[nn.Module, Switch] = weakref.WeakKeyDictionary()
_switches_lock = threading.Lock()


def switch_of(hf: nn.Module) -> Switch:
    """The one switch of a model."""
    with _switches_lock:
        return _switches.setdefault(hf, Switch())


def _configs(hf: Any) -> list[Any]:
    """Every config object that a module of the model holds or a config nests, once each."""
    found: dict[int, Any] = {}

    def visit(config: Any) -> None:
        if config is None or id(config) in found or not hasattr(config, "_attn_implementation_internal"):
            return
        found[id(config)] = config
        for name in getattr(config, "sub_configs", {}):
            visit(getattr(config, name, None))

    for module in hf.modules():
        visit(getattr(module, "config", None))
    return list(found.values())


def _set_implementation(hf: Any) -> None:
    """transformers' own switch, without its log lines about parts that stay as they are: the anatomy names those."""
    logger = logging.getLogger("transformers.modeling_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        hf.set_attn_implementation(IMPLEMENTATION)
    except (KeyError, ValueError) as error:
        raise UnsupportedModelError(
            f"{type(hf).__name__} does not accept an attention function from outside ({error}), so that its attention cannot "
            "be read. `sociogram models --coverage` lists the families that can."
        ) from error
    finally:
        logger.setLevel(level)
