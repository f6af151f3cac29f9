"""Keys that belong to no token of the sequence: how what another source tells is joined to what the sequence tells itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

MEAN = "mean"
"""What a key is labelled that tells a head's own mean, and is no voice."""


@dataclass(frozen=True, eq=False)
class Outside:
    """The keys of one source, appended to a call's own.

    Attributes:
        names: what its tokens are called, one per key.
        keep: factor per head on what was heard before, where the source has a softmax of its own; None where it joins the
            sequence's.
        gain: factor per head on what is heard from the source then.
        source: who appended them.
        turned: whether they are met by queries without positions, which stand in the second half of the call's channels.
        places: which of the source's tokens they are, where they are some of many; None where they are all of them.
        bias: added to the scores of each key, after everything else that makes them.
        label: what the source is called among several of one edit.
    """

    names: tuple[str, ...]
    keep: Float[Tensor, " head"] | None = field(default=None, repr=False)
    gain: Float[Tensor, " head"] | None = field(default=None, repr=False)
    source: object = field(default=None, repr=False)
    turned: bool = False
    places: tuple[int, ...] | None = field(default=None, repr=False)
    bias: Float[Tensor, " key"] | None = field(default=None, repr=False)
    label: str = ""

    @property
    def count(self) -> int:
        """How many keys it has."""
        return len(self.names)

    @property
    def joined(self) -> bool:
        """Whether its keys take part in the sequence's own softmax."""
        return self.keep is None


@runtime_checkable
class Softmax(Protocol):
    """Weights and sink weights of rows of scores."""

    def __call__(self, scores: Tensor, *, own: bool) -> tuple[Tensor, Tensor | None]:
        """`own`: whether the sequence's own keys are among them."""


def widened(mask: Tensor, outside: Sequence[Outside], fill: float | bool) -> Tensor:
    """A mask over the sequence's own keys, with `fill` for all keys from outside."""
    extra = sum(one.count for one in outside)
    return F.pad(mask, (0, extra), value=fill) if extra else mask


def told_less(keys: int, outside: Sequence[Outside], like: Tensor) -> Float[Tensor, " key"] | None:
    """What sources add to the scores of their keys, `keys` of the sequence's own before them; None where none adds anything."""
    if all(one.bias is None for one in outside):
        return None
    parts = [like.new_zeros(one.count) if one.bias is None else one.bias.to(like) for one in outside]
    return torch.cat([like.new_zeros(keys), *parts])


def apart(
    scores: Float[Tensor, "batch head query key"], outside: Sequence[Outside], softmax: Softmax
) -> tuple[Float[Tensor, "batch head query key"], Float[Tensor, "batch head query"] | None]:
    """Weights where some sources have a softmax of their own: each then scales what is there, and adds its own, in order.

    A reader that a source is closed to (all its scores are minus infinity) hears the rest unscaled.
    """
    sizes = [one.count for one in outside]
    own, *parts = scores.split([scores.shape[-1] - sum(sizes), *sizes], dim=-1)
    pairs = list(zip(outside, parts, strict=True))
    joined = [part for one, part in pairs if one.joined]
    weights, sink = softmax(torch.cat([own, *joined], -1), own=True)
    mixed = list(weights.split([own.shape[-1], *(part.shape[-1] for part in joined)], dim=-1))
    rest = iter(mixed[1:])
    found = [next(rest) if one.joined else None for one, _ in pairs]
    told = [mixed[0], *found]
    for place, (one, part) in enumerate(pairs, 1):
        if not one.joined:
            told, sink = _added(told, sink, place, one, softmax(part, own=False)[0], _closed(part))
    return torch.cat([part for part in told if part is not None], -1), sink


def _closed(scores: Tensor) -> Bool[Tensor, "batch head query 1"]:
    return torch.isneginf(scores).all(-1, keepdim=True)


def _added(
    told: list[Tensor | None], sink: Tensor | None, place: int, one: Outside, weights: Tensor, closed: Tensor
) -> tuple[list[Tensor | None], Tensor | None]:
    """One source with a softmax of its own, mixed in at its place."""
    assert one.keep is not None
    assert one.gain is not None
    keep = torch.where(closed, 1.0, one.keep.view(1, -1, 1, 1).to(weights))
    scaled = [None if part is None else part * keep for part in told]
    scaled[place] = weights * one.gain.view(1, -1, 1, 1).to(weights)
    return scaled, None if sink is None else sink * keep[..., 0]
