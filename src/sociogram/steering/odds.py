"""Edges made likelier before the softmax, so that one sender can weigh as several equal ones would."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from sociogram.core.errors import InputError
from sociogram.models.attention import AttentionCall
from sociogram.steering.base import Edit, Scene, check_number


@dataclass(frozen=True, kw_only=True)
class ScaleOdds(Edit):
    """Multiply the odds of edges: their scores plus log(`factor`), before the softmax, which then normalises the row by itself.

    A key whose odds are multiplied by m weighs exactly as m tokens with that key and value do: exp(s + log m) = m exp(s), in
    the softmax's sum as above it. The odds of an addressed edge against one that is not are multiplied by the factor; a factor
    of 1 changes nothing.

    Misleads: a weight is no odds: an edge that has 0.9 of a row has hardly more of it at twice the odds.
    """

    name: ClassVar[str] = "scale_odds"
    factor: float

    def check(self) -> None:
        """A factor above 0."""
        check_number("scale_odds", "factor", self.factor)
        if self.factor <= 0:
            raise InputError(f"scale_odds factor={self.factor}: a number above 0 is needed; to take edges away, use cut")

    def changes(self, scene: Scene) -> AttentionCall:
        """The call with a bias on the addressed entries.

        Raises:
            InputError: scores that pass a soft cap, which would squash the bias too.
        """
        call = scene.call
        if call.softcap is not None:
            raise InputError(
                f"`{self}`: the scores of layer {scene.layer} pass a soft cap ({call.softcap:g}) after the bias that "
                "this edit adds: the odds would not be multiplied. Weights can be scaled instead (scale_edges)"
            )
        if self.factor == 1:
            return call
        bias = scene.wanted[None].to(call.query.dtype) * math.log(self.factor)
        own = None if call.bias is None else call.bias[..., : call.keys]
        return replace(call, bias=bias if own is None else own + bias)
