"""Heads silenced to what they tell on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.attention import AttentionCall
from sociogram.models.examine import probe_inputs
from sociogram.models.outside import MEAN, Outside
from sociogram.models.seam import watching
from sociogram.steering.base import Edit, Scene
from sociogram.steering.heads import by_head, refuse_grafted

if TYPE_CHECKING:
    from sociogram.models.model import Model


@dataclass(frozen=True, kw_only=True)
class MeanAblate(Edit):
    """Replace what heads tell by the mean of what they tell over reference texts, the same for every reader.

    `reference`: texts, or lists of token ids, that the plain model reads once, when the edit first acts; the mean is over all
    their tokens, the first one included. The mean is heard as a message from outside (`<mean>`), so that the account adds up.

    Misleads: a mean is a place that no token need ever have been at; and what later heads make of it is not what they would do
    without this head.
    """

    name: ClassVar[str] = "mean_ablate"
    signs: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))
    reference: Any

    def check(self) -> None:
        """At least one text."""
        given = (self.reference,) if isinstance(self.reference, str) else self.reference
        texts = tuple(tuple(one) if isinstance(one, list) else one for one in given) if isinstance(given, Sequence) else ()
        if not texts or not all(map(_is_text, texts)):
            raise InputError(f"mean_ablate reference={self.reference!r}: give the texts to take the mean over, at least one")
        object.__setattr__(self, "reference", texts)

    def ready(self, model: Model) -> dict[tuple[str, int], Tensor]:
        """Each call's mean, `[head, d_value]`."""
        probe_inputs(model.hf)  # refuses what reads no texts
        listener = _Means()
        for text in self.reference:
            given = model.encode(text if isinstance(text, str) else list(text))
            try:
                with torch.no_grad(), watching(model.hf, [listener]):
                    model.hf(**given)
            except (RuntimeError, TypeError, ValueError, AttributeError, KeyError) as error:
                raise InputError(
                    f"`{self}`: {type(model.hf).__name__} cannot read a text alone ({str(error).splitlines()[0]}), so there is "
                    "no mean over reference texts"
                ) from error
        return {name: total / listener.counts[name] for name, total in listener.totals.items()}

    def reweighs(self) -> bool:
        """Always."""
        return True

    def changes(self, scene: Scene) -> AttentionCall:
        """One key more, which tells each head its mean."""
        refuse_grafted(self, scene.call, self.heads(scene.call.query.shape[1]))
        call = by_head(scene.call)
        if call.name not in scene.material:
            raise InputError(
                f"`{self}`: layer {scene.layer} does not run when the model reads a text alone: there is no mean of it"
            )
        mean = scene.material[call.name].to(call.value)[None, :, None].expand(len(call.value), -1, -1, -1)
        key = torch.cat([call.key, torch.zeros_like(call.key[:, :, :1])], 2)
        outside = (*call.outside, Outside(("<mean>",), source=self, label=MEAN))
        closed = ~scene.readers[None, :, :, None]
        cut = torch.zeros(1, 1, 1, call.key.shape[2], dtype=torch.bool, device=closed.device) if call.cut is None else call.cut
        cut = torch.cat([cut.expand(len(cut), *closed.shape[1:3], -1), closed.expand(len(cut), -1, -1, -1)], -1)
        return replace(call, key=key, value=torch.cat([call.value, mean], 2), outside=outside, cut=cut)

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """The mean and nothing else, for the readers addressed that hear anything."""
        rows = region.any(-1)
        changed = weights.masked_fill(rows[..., None], 0.0)
        place = _appended(scene.call, self)
        changed[..., place] = torch.where(rows, 1.0, changed[..., place])
        return changed, None if sink is None else sink.masked_fill(rows, 0.0)


def _is_text(one: Any) -> bool:
    return bool(one) and (isinstance(one, str) or (isinstance(one, tuple) and all(type(number) is int for number in one)))


class _Means:
    """Sums what each head tells, over the tokens of all passes. An observer of the seam."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, int], Tensor] = {}
        self.counts: dict[tuple[str, int], int] = {}

    def wants_weights(self, call: AttentionCall) -> bool:
        return False

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        total = output.double().sum((0, 1))
        self.totals[call.name] = self.totals.get(call.name, torch.zeros_like(total)) + total
        self.counts[call.name] = self.counts.get(call.name, 0) + output.shape[0] * output.shape[1]


def _appended(call: AttentionCall, edit: Edit) -> int:
    """The first key that an edit appended."""
    start = call.keys
    for one in call.outside:
        if one.source is edit:
            return start
        start += one.count
    raise AssertionError("the edit appended nothing")
