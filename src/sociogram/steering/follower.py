"""Somebody who walks beside a run and changes nothing: so that edits learn what tokens the model writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sociogram.models.attention import AttentionCall
from sociogram.models.seam import Session


class Follower:
    """Calls `follow(args, kwargs)` before each pass of the whole model."""

    def __init__(self, follow: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> None:
        """Not yet with anybody."""
        self._follow = follow

    def attach(self, session: Session) -> None:
        """Walk with a session."""
        session.on_input("", self._follow)

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """The call as it is."""
        return call

    def wants_weights(self, call: AttentionCall) -> bool:
        """Never."""
        return False

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Never asked."""
        return weights, sink
