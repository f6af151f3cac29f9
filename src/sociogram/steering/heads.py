"""Edits of whole heads: silenced to their mean, made to listen as in another run or as another head does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.address import indices
from sociogram.core.errors import InputError
from sociogram.models.attention import AttentionCall
from sociogram.steering.base import Edit, Scene
from sociogram.steering.listening import listening
from sociogram.steering.source import given_recording, recording

if TYPE_CHECKING:
    from sociogram.models.model import Model
    from sociogram.watch.recording import Recording

_HEADS = frozenset(("layer", "head", "query"))


@dataclass(frozen=True, kw_only=True)
class Freeze(Edit):
    """Make heads listen as they did in another run, whatever is told now: their pattern is the recording's.

    `source`: a recording with as many tokens (or the path of a saved one); `source_layer` and `source_head` take another head's
    pattern, the same layer's and head's when left out. In prefill only, since the pattern is of the whole prompt.
    """

    name: ClassVar[str] = "freeze"
    signs: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = _HEADS
    source: Any
    source_layer: int | None = None
    source_head: int | None = None

    @property
    def decodes(self) -> bool:
        """Never."""
        return False

    def check(self) -> None:
        """A recording or a path."""
        given_recording("freeze", self.source)

    def ready(self, model: Model) -> Recording:
        """The recording."""
        return recording(f"{self}", self.source)

    def reweighs(self) -> bool:
        """Always."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """The recorded rows, for the readers addressed."""
        old = self._pattern(scene).to(weights)
        rows = region.any(-1)
        hidden = (old != 0) & ~region[..., : old.shape[-1]].any(0) & rows.any(0)[..., None]
        if bool(hidden.any()):
            raise InputError(f"`{self}`: in the recording, tokens hear what the mask hides from them here (layer {scene.layer})")
        return listening(old[None].expand(len(weights), -1, -1, -1), rows, weights, sink)

    def _pattern(self, scene: Scene) -> Float[Tensor, "head query key"]:
        array = pattern(self, scene.material, scene.layer if self.source_layer is None else self.source_layer)
        heads = scene.wanted.shape[0]
        if self.source_head is None and array.shape[0] != heads:
            raise InputError(f"`{self}`: the recording has {array.shape[0]} heads and this layer {heads}: give source_head=")
        found = array if self.source_head is None else array[indices(self.source_head, len(array), "head")].expand(heads, -1, -1)
        here = len(scene.queries), len(scene.keys)
        if found.shape[1:] != here:
            raise InputError(
                f"`{self}`: the recording has {found.shape[1]} readers and {found.shape[2]} senders, this run {here[0]} and "
                f"{here[1]}: record a prompt of as many tokens"
            )
        return found


def pattern(edit: Edit, rec: Recording, layer: int) -> Float[Tensor, "head query key"]:
    """The recorded attention weights of one layer.

    Raises:
        InputError: they were not kept, the layer has none, or the recording holds several prompts.
    """
    dataset = rec.stack(edit.stack or rec.main)
    if "weights" not in dataset or "sequence" in dataset.dims:
        raise InputError(f"`{edit}`: the recording must hold one prompt with its weights: record it with keep='default'")
    number = indices(layer, dataset.sizes["layer"], "layer")[0]
    array = torch.from_numpy(dataset["weights"].isel(layer=number).values)
    array = array[~array.isnan().flatten(1).all(1)]
    if not len(array):
        raise InputError(f"`{edit}`: layer {number} of the recording has no token-token matrix")
    return array


@dataclass(frozen=True, kw_only=True)
class Swap(Edit):
    """Let two heads of a layer change places: `head` and `other`.

    `what="pattern"`: each listens to those that the other listens to, and tells its own values of them; `"values"`: each listens
    as before and tells the other's values through its own output projection; `"both"`: what each head comes to goes out through
    the other's projection. (With their projections too nothing would change.)

    Misleads: a head's values are coordinates that only its own output projection can read.
    """

    name: ClassVar[str] = "swap"
    signs: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = _HEADS
    other: int
    what: Literal["pattern", "values", "both"] = "pattern"

    def check(self) -> None:
        """Two heads."""
        if self.what not in ("pattern", "values", "both"):
            raise InputError(f"swap what={self.what!r}: choose pattern, values or both")
        for name in ("head", "other"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int):
                raise InputError(f"swap {name}={getattr(self, name)!r}: it takes one head by number, as in head=3 other=7")
        if self.what != "pattern" and self.query is not None:
            raise InputError(f'swap what="{self.what}" is of all readers: values are told to everybody (leave query= out)')

    def heads(self, count: int) -> tuple[int, ...]:
        """Both."""
        first, second = (indices(head, count, "head")[0] for head in (self.head, self.other))
        if first == second:
            raise InputError(f"`{self}`: that is one head; give two of the {count}")
        return first, second

    def changes(self, scene: Scene) -> AttentionCall | None:
        """Values exchanged."""
        if self.what == "pattern":
            return None
        first, second = (head // scene.call.group for head in self.heads(scene.call.query.shape[1]))
        if first == second and self.what == "values":
            raise InputError(f"`{self}`: the two heads are of one group and tell the same values: nothing would change")
        refuse_grafted(self, scene.call, self.heads(scene.call.query.shape[1]))
        call = by_head(scene.call)
        return replace(call, value=call.value[:, self._order(call.value.shape[1])])

    def reweighs(self) -> bool:
        """Where patterns are exchanged."""
        return self.what != "values"

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """Rows exchanged."""
        order, rows = self._order(weights.shape[1]), region.any(-1)
        changed = torch.where(rows[..., None], weights[:, order], weights)
        return changed, None if sink is None else torch.where(rows, sink[:, order], sink)

    def _order(self, count: int) -> list[int]:
        first, second = self.heads(count)
        order = list(range(count))
        order[first], order[second] = second, first
        return order


def refuse_grafted(edit: Edit, call: AttentionCall, heads: Sequence[int]) -> None:
    """Refuse to tell a grafted head something in its host's coordinates: it speaks through a projection of its own.

    Raises:
        InputError: one of the heads is grafted.
    """
    if both := sorted(set(call.projections) & set(heads)):
        raise _mixture(edit, both[0])


def refuse_told(edit: Edit, call: AttentionCall, heads: Sequence[int]) -> None:
    """Refuse to graft a head that hears from outside, for the same reason.

    Raises:
        InputError: a source, or a mean, can be heard by one of the heads.
    """
    for head in heads:
        closed = None if call.cut is None else call.cut[:, head if call.cut.shape[1] > 1 else 0, :, call.keys :]
        if call.outside and (closed is None or not bool(closed.all())):
            raise _mixture(edit, head)


def _mixture(edit: Edit, head: int) -> InputError:
    return InputError(
        f"`{edit}`: head {head} cannot both be grafted and be told something in its old coordinates (a source, a mean, another "
        "head's values): choose other heads for one of the two edits"
    )


def by_head(call: AttentionCall) -> AttentionCall:
    """The call with keys and values of its own for every query head."""
    if call.group == 1:
        return call
    key, value = (part.repeat_interleave(call.group, dim=1) for part in (call.key, call.value))
    return replace(call, key=key, value=value)
