"""One run's numbers, layer by layer: what every entry of the account was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sociogram.core.errors import AccountError
from sociogram.models.anatomy import Alone, Group, Heard, Layer
from sociogram.models.outside import Outside


class LayerError(AccountError):
    """A layer whose numbers could not even be put together."""

    def __init__(self, layer: tuple[str, int, int], reason: str) -> None:
        """Name the layer by path, call number and part."""
        super().__init__(f"{layer[0]}: {reason}")
        self.layer, self.reason = layer, reason


@dataclass(frozen=True, eq=False)
class Told:
    """What one attention call showed at the seam, on its way to becoming messages.

    `value` has one entry per key/value head; `mixed` is the seam's output, the weighted sum of values (of a sample of readers).
    `outside` and `projections` say what an edit appended or put in a head's place: see `AttentionCall`. `streamed` is what was
    kept by somebody who read the call in blocks; of it only `outside` is asked here, the weights of keys from outside.
    """

    query: Float[Tensor, "batch head query d_head"]
    key: Float[Tensor, "batch kv_head key d_head"]
    value: Float[Tensor, "batch kv_head key d_value"]
    weights: Float[Tensor, "batch head query key"] | None
    sink: Float[Tensor, "batch head query"] | None
    mixed: Float[Tensor, "batch some_query head d_value"]
    scale: float
    log_sum_exp: Float[Tensor, "batch head query"] | None = None
    outside: tuple[Outside, ...] = ()
    projections: Mapping[int, Tensor] = field(default_factory=dict)
    streamed: Any = None


@dataclass(frozen=True, eq=False)
class HeardRun:
    """One attention branch of a run, as an exact sum of messages.

    `message[h, q, k] = scale[q] * (weights[h, q, k] * value[h, k] * gate[q, h]) @ matrix[h]`, and the branch is their sum over
    heads and keys plus `bias`. `gate` and `scale` are None where the family has none. `from_outside`: these messages came from
    keys that an edit appended, not from the sequence's tokens. `whole` is the branch's output where `out` is a part of it.
    """

    step: Heard
    told: Told
    matrix: Float[Tensor, "head d_value d_model"]
    bias: Float[Tensor, "*batch_query d_model"]
    gate: Float[Tensor, "batch query head d_value"] | None
    scale: Float[Tensor, "batch query"] | None
    out: Float[Tensor, "batch query d_model"]
    module: nn.Module = field(repr=False)
    from_outside: bool = False
    whole: Float[Tensor, "batch query d_model"] | None = None

    @property
    def branch(self) -> Float[Tensor, "batch query d_model"]:
        """The whole branch's output, of which this may be a part; rounding is measured against it."""
        return self.out if self.whole is None else self.whole

    def split(self) -> list[HeardRun]:
        """What was heard from the sequence's own tokens, and what from outside, each a branch of its own that adds up."""
        told, extra = self.told, sum(one.count for one in self.told.outside)
        if not extra or (told.weights is None and told.streamed is None):
            return [self]
        keys = told.key.shape[2] - extra
        weights = told.streamed.outside if told.weights is None else told.weights[..., keys:]
        value = told.value[:, :, keys:]
        groups = weights.shape[1] // value.shape[1]
        mixed = (weights @ value.repeat_interleave(groups, dim=1)).transpose(1, 2)
        beyond = replace(told, key=told.key[:, :, keys:], value=value, weights=weights, sink=None, mixed=mixed, streamed=None)
        outside = replace(self, told=beyond, bias=torch.zeros_like(self.bias), from_outside=True, whole=self.out)
        outside = replace(outside, out=outside.total())
        own = replace(
            told, key=told.key[:, :, :keys], value=told.value[:, :, :keys],
            weights=None if told.weights is None else told.weights[..., :keys], mixed=told.mixed - mixed, outside=(),
        )  # fmt: skip
        return [replace(self, told=own, out=self.out - outside.out, whole=self.out), outside]

    def at(self, tokens: Tensor) -> HeardRun:
        """The same for some of the tokens: all that `total` needs."""
        return replace(
            self,
            told=replace(self.told, mixed=self.told.mixed[:, tokens]),
            bias=self.bias if self.bias.ndim == 1 else self.bias[:, tokens],
            gate=None if self.gate is None else self.gate[:, tokens],
            scale=None if self.scale is None else self.scale[:, tokens],
            out=self.out[:, tokens],
            whole=None if self.whole is None else self.whole[:, tokens],
        )

    def total(self) -> Float[Tensor, "batch query d_model"]:
        """The sum of all messages, without the bias."""
        mixed = self.told.mixed if self.gate is None else self.told.mixed * self.gate
        total = mixed.flatten(2) @ self.matrix.flatten(0, 1)
        return total if self.scale is None else total * self.scale[..., None]


@dataclass(frozen=True, eq=False)
class GroupRun:
    """The entries between two stops, and where the stream stood after them.

    `edited` is what edits of the stream changed in this group, on top of what the modules computed; None where there was none.
    """

    group: Group
    heard: list[HeardRun]
    alone: list[tuple[Alone, Float[Tensor, "batch query d_model"]]]
    rescaling: Float[Tensor, "batch query d_model"] | None
    after: Float[Tensor, "batch query d_model"]
    edited: Float[Tensor, "batch query d_model"] | None = None

    def at(self, tokens: Tensor) -> GroupRun:
        """The same for some of the tokens."""
        alone = [(step, value[:, tokens]) for step, value in self.alone]
        rescaling = None if self.rescaling is None else self.rescaling[:, tokens]
        edited = None if self.edited is None else self.edited[:, tokens]
        return GroupRun(self.group, [run.at(tokens) for run in self.heard], alone, rescaling, self.after[:, tokens], edited)

    def account(self) -> Float[Tensor, "batch query d_model"]:
        """The move that the entries add up to."""
        parts = [run.total() + run.bias for run in self.heard] + [value for _, value in self.alone]
        parts += [value for value in (self.rescaling, self.edited) if value is not None]
        return torch.stack(torch.broadcast_tensors(*parts)).sum(0)


@dataclass(frozen=True, eq=False)
class LayerRun:
    """One layer of a run: where the stream stood, and what moved it."""

    layer: Layer
    before: Float[Tensor, "batch query d_model"]
    groups: list[GroupRun]

    def at(self, tokens: Tensor) -> LayerRun:
        """The same for some of the tokens."""
        return LayerRun(self.layer, self.before[:, tokens], [group.at(tokens) for group in self.groups])
