"""What can be changed about who tells whom: edits of edges and heads, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sociogram.core.address import Address
from sociogram.core.errors import InputError
from sociogram.steering.base import ADDRESSES, Edit, Scene, check_number, plain_fields

Policy = Literal["renormalise", "leave", "to_first", "to_sink"]
POLICIES = ("renormalise", "leave", "to_first", "to_sink")


@dataclass(frozen=True, kw_only=True)
class Cut(Edit):
    """Take edges away before the softmax, so that what is left of each row sums to 1 by itself.

    A reader that loses all its edges hears nothing (a row of zeros), as in torch's own attention. In linear attention, which has
    no softmax, the other weights stay as they are.
    """

    name: ClassVar[str] = "cut"
    signs: ClassVar[bool] = True

    def cuts(self, scene: Scene) -> Tensor:
        """All that is wanted."""
        return scene.wanted


@dataclass(frozen=True, kw_only=True)
class SetWeight(Edit):
    """Give edges a weight of your own.

    `policy`: what becomes of the rest of the row. `"renormalise"`: it is scaled so that the row sums to what it summed to (where
    the rest cannot make up for it, the addressed weights are scaled together instead); `"leave"`: nothing; `"to_first"`: what is
    freed (or missing) is added to (or taken from) the first token's edge; `"to_sink"`: the softmax's sink, if the model has one.
    """

    name: ClassVar[str] = "set_weight"
    value: float
    policy: Policy = "renormalise"

    def check(self) -> None:
        """A weight is a number from 0 to 1."""
        check_number("set_weight", "value", self.value)
        if not 0 <= self.value <= 1:
            raise InputError(f"set_weight value={self.value}: an attention weight lies between 0 and 1")
        _policy("set_weight", self.policy)

    def takes_signs(self) -> bool:
        """Where the rest of the row is left alone."""
        return self.policy == "leave"

    def reweighs(self) -> bool:
        """Always."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """The value inside the region, the policy outside."""
        return settle(torch.where(region, self.value, weights), weights, sink, region, self.policy)


@dataclass(frozen=True, kw_only=True)
class ScaleEdges(Edit):
    """Make edges louder or quieter: their weights times `factor`; `policy` as in `set_weight`. A factor of 1 changes nothing."""

    name: ClassVar[str] = "scale_edges"
    factor: float
    policy: Policy = "renormalise"

    def check(self) -> None:
        """A factor is a number that is not negative."""
        check_number("scale_edges", "factor", self.factor)
        if self.factor < 0:
            raise InputError(f"scale_edges factor={self.factor}: a weight cannot become negative")
        _policy("scale_edges", self.policy)

    def takes_signs(self) -> bool:
        """Where the rest of the row is left alone."""
        return self.policy == "leave"

    def reweighs(self) -> bool:
        """Always, a factor of 1 included: the identity must be seen to land."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """Scaled inside the region, the policy outside."""
        if self.factor == 1:
            return weights, sink
        return settle(torch.where(region, weights * self.factor, weights), weights, sink, region, self.policy)


@dataclass(frozen=True, kw_only=True)
class Force(Edit):
    """Make readers rely on the addressed tokens: together they get `share` of the row, in proportion to what they had.

    The other tokens (and the sink) share what is left in their proportions. A reader that gave the addressed tokens nothing at
    all is left as it is.
    """

    name: ClassVar[str] = "force"
    share: float = 1.0

    def check(self) -> None:
        """A share lies between 0 and 1, and somebody must be addressed."""
        check_number("force", "share", self.share)
        if not 0 <= self.share <= 1:
            raise InputError(f"force share={self.share}: a share lies between 0 and 1")
        if self.key is None:
            raise InputError("force needs the tokens to rely on: force(key=...)")

    def reweighs(self) -> bool:
        """Always."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """The addressed tokens to `share`, all else to the rest."""
        inside = (weights * region).sum(-1, keepdim=True)
        silent = torch.zeros_like(inside) if sink is None else sink[..., None]
        outside = (weights * ~region).sum(-1, keepdim=True) + silent
        reached = region.any(-1, keepdim=True) & (inside > 0)
        share = torch.where(outside > 0, self.share, 1.0)  # who hears nobody else keeps all
        up = torch.where(reached, share * (inside + outside) / inside.clamp_min(_TINY), 1.0)
        down = torch.where(reached, (1 - share) * (inside + outside) / outside.clamp_min(_TINY), 1.0)
        return weights * torch.where(region, up, down), None if sink is None else sink * down[..., 0]


@dataclass(frozen=True, kw_only=True)
class ScaleHead(Edit):
    """Make what heads tell louder or quieter: every message times `factor`, rows left as they come out."""

    name: ClassVar[str] = "scale_head"
    signs: ClassVar[bool] = True
    whole: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))
    factor: float

    def check(self) -> None:
        """A factor is a number; a negative one turns what is told around."""
        check_number("scale_head", "factor", self.factor)

    def reweighs(self) -> bool:
        """Always."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """Scaled inside the region."""
        return (weights if self.factor == 1 else torch.where(region, weights * self.factor, weights)), sink


@dataclass(frozen=True, kw_only=True)
class Mute(Edit):
    """Silence heads: what they tell (to the addressed readers) becomes zero."""

    name: ClassVar[str] = "mute"
    signs: ClassVar[bool] = True
    whole: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))

    def reweighs(self) -> bool:
        """Always."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """Zero inside the region."""
        return weights.masked_fill(region, 0.0), sink


_TINY = 1e-30


def settle(
    changed: Float[Tensor, "batch head query key"],
    weights: Float[Tensor, "batch head query key"],
    sink: Tensor | None,
    region: Bool[Tensor, "head query key"],
    policy: Policy,
) -> tuple[Tensor, Tensor | None]:
    """What becomes of the rest of a row whose addressed entries were changed: see `SetWeight`. Rows not addressed stay."""
    touched = region.any(-1, keepdim=True)
    if policy == "leave":
        return changed, sink
    freed = ((weights - changed) * region).sum(-1, keepdim=True)
    if policy == "to_first":
        return torch.where(touched, _onto_first(changed, freed, region), weights), sink
    if policy == "to_sink":
        if sink is None:
            raise InputError('policy="to_sink": the softmax of this model has no sink; choose another policy')
        return changed, _not_negative(sink + freed[..., 0], "the sink")
    silent = torch.zeros_like(freed) if sink is None else sink[..., None]
    rest = (weights * ~region).sum(-1, keepdim=True) + silent
    inside = (changed * region).sum(-1, keepdim=True)
    whole = (weights * region).sum(-1, keepdim=True) + rest
    within = torch.where((inside > whole) | (rest <= 0), whole / inside.clamp_min(_TINY), 1.0)
    within = torch.where(inside > 0, within, 1.0)
    left = torch.where(rest > 0, (whole - inside * within).clamp_min(0) / rest.clamp_min(_TINY), 1.0)
    kept = changed * torch.where(region, within, left)
    return torch.where(touched, kept, weights), None if sink is None else torch.where(touched[..., 0], sink * left[..., 0], sink)


def _onto_first(changed: Tensor, freed: Tensor, region: Tensor) -> Tensor:
    """What is freed joins the first key's edge, which must exist (the editor sees to that) and must not become negative."""
    first = torch.zeros_like(changed)
    first[..., :1] = torch.where(region.any(-1, keepdim=True), freed, 0.0)
    return _not_negative(changed + first, "the first token's edge")


def _not_negative(weights: Tensor, what: str) -> Tensor:
    if bool((weights < -1e-6).any()):
        raise InputError(f"more would be taken from {what} than it has: choose a smaller weight or another policy")
    return weights.clamp_min(0)


def _policy(edit: str, policy: str) -> None:
    if policy not in POLICIES:
        raise InputError(f"{edit} policy={policy!r}: choose one of {', '.join(POLICIES)}")


__all__ = [
    "ADDRESSES",
    "Address",
    "Cut",
    "Edit",
    "Force",
    "Mute",
    "Policy",
    "ScaleEdges",
    "ScaleHead",
    "SetWeight",
    "plain_fields",
    "settle",
]
