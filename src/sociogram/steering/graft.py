"""A head of another layer, run or model in the place of one of this layer's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from sociogram.core.address import indices
from sociogram.core.errors import InputError
from sociogram.models.anatomy import Heard
from sociogram.models.attention import AttentionCall, weights_of
from sociogram.models.frozen import projection_matrix
from sociogram.models.model import Model
from sociogram.models.seam import unwatched, watching
from sociogram.steering.base import Edit, Scene
from sociogram.steering.heads import by_head, pattern, refuse_told
from sociogram.steering.listening import listening
from sociogram.steering.source import recording
from sociogram.watch.provenance import described
from sociogram.watch.recording import Recording


@dataclass(frozen=True, eq=False)
class Donor:
    """Where a grafted head comes from: one attention branch of a model, and the run in which it is taken, if it is a run."""

    model: Model
    step: Heard
    layer: int
    rec: Recording | None = None


@dataclass(frozen=True, eq=False)
class _Told:
    """What donor heads do: values `[batch, head, key, d_value]`, and weights `[batch, head, query, key]` or their call."""

    value: Tensor
    weights: Tensor | None = None
    call: AttentionCall | None = None


@dataclass(frozen=True, kw_only=True)
class Graft(Edit):
    """Put a head of another layer, run or model in the place of `head`: its listening, its values and its output projection.

    `source`: nothing for this model, another `Model`, or a recording (or the path of one). `source_layer` and `source_head` say
    which head; the same numbers when left out. From a model, the donor's attention module is asked, with its own weights, what it
    makes of what this layer's is given (its own cache grows beside the model's while it writes); from a recording, the head tells
    what it told there, to as many tokens. The streams must be of one width; a donor with narrower values is filled up with zeros,
    one with wider values refused.

    Misleads: a head reads and writes a stream that its own layers were trained to; elsewhere the same numbers may mean something
    else.
    """

    name: ClassVar[str] = "graft"
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head"))
    overhears: ClassVar[bool] = True
    source: Any = None
    source_layer: int | None = None
    source_head: int | None = None

    @property
    def decodes(self) -> bool:
        """From a model; a recording ends where its prompt did."""
        return self.source is None or isinstance(self.source, Model)

    @property
    def alone(self) -> bool:
        """The donor keeps a past of its own."""
        return self.decodes

    def check(self) -> None:
        """A model, a recording, a path; and some other head."""
        if not (self.source is None or isinstance(self.source, Model | Recording | str | PathLike)):
            raise InputError(f"graft source={self.source!r}: give a model, a recording, or the path of a saved one")
        if self.source is None and self.source_layer is None and self.source_head is None:
            raise InputError("graft needs to know what to graft: source=, source_layer= or source_head=")

    def ready(self, model: Model) -> Mapping[int, Donor]:
        """The donor of each layer addressed."""
        donor, rec = self._donor(model)
        anatomy, host = donor.anatomy, model.anatomy
        name = self.stack or host.main
        if name not in host.stacks:
            return {}  # refused with the names that there are, where acts are made
        theirs = name if donor is model or name in anatomy.stacks else anatomy.main
        stack = anatomy.stack(theirs)
        chosen = indices(self.layer, len(host.stack(name)), "layer")
        if host.widths[name] != anatomy.widths[theirs]:
            raise InputError(
                f"`{self}`: the stream of {donor.name} is {anatomy.widths[theirs]} wide and this one {host.widths[name]}: a head "
                "cannot read or write another width"
            )
        found = {}
        for layer in chosen:
            number = indices(layer if self.source_layer is None else self.source_layer, len(stack), "layer")[0]
            steps = [step for step in stack[number].heard if not step.cross]
            if len(steps) != 1 or len(steps[0].calls) != 1:
                raise InputError(f"`{self}`: layer {number} of {donor.name} has no single self-attention to take a head from")
            found[layer] = Donor(donor, self._single(steps[0]), number, rec)
        return found

    def _donor(self, model: Model) -> tuple[Model, Recording | None]:
        if self.source is None or isinstance(self.source, Model):
            return self.source or model, None
        rec = recording(str(self), self.source)
        if rec.model is not None:
            return rec.model, rec
        here = described(model)
        if any(rec.tree.attrs.get(name) != here.get(name) for name in ("model", "digest")):
            raise InputError(
                f"`{self}`: the recording is of {rec.tree.attrs.get('model')}, whose output projections are needed: open it with "
                "sg.open_recording(path, model=...)"
            )
        return model, rec

    def _single(self, step: Heard) -> Heard:
        if step.gated or step.norm is not None:
            raise InputError(
                f"`{self}`: in this family a gate or a norm stands between the heads and their projection ({step.projection}), "
                "so that one head cannot be told from the others there"
            )
        return step

    def changes(self, scene: Scene) -> AttentionCall:
        """The call with the donor's values, and what it speaks through."""
        donor: Donor = scene.material[scene.layer]
        refuse_told(self, scene.call, self.heads(scene.call.query.shape[1]))
        assert scene.step is not None
        self._single(scene.step)
        told = _recorded(self, donor, scene) if donor.rec is not None else _asked(self, donor, scene)
        call = by_head(scene.call)
        value, projections, weights = call.value.clone(), dict(call.projections), {}
        for head in self.heads(value.shape[1]):
            other = head if self.source_head is None else self.source_head
            number = indices(other, told.value.shape[1], "head")[0]
            value[:, head, : call.keys] = _fitted(self, told.value[:, number], value.shape[3])
            projections[head] = F.pad(head_matrix(donor, number, value), (0, 0, 0, value.shape[3] - told.value.shape[3]))
            weights[head] = _listened(self, told, number, head, scene.call)
        scene.notes[call.name] = weights
        return replace(call, value=value, projections=projections)

    def reweighs(self) -> bool:
        """Always."""
        return True

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """The donor's listening."""
        told = scene.notes[scene.call.name]
        rows = torch.zeros_like(region[..., 0])
        pattern = torch.zeros_like(weights[..., : scene.call.keys])
        for head, own in told.items():
            rows[:, head], pattern[:, head] = True, own.to(weights)
        return listening(pattern, rows, weights, sink)


def head_matrix(donor: Donor, head: int, like: Tensor) -> Tensor:
    """The slice of a branch's output projection that one head speaks through, `[d_value, d_model]`."""
    heads, _, _, width = donor.model.anatomy.heads[donor.step.calls[0]]
    module = donor.model.hf.get_submodule(donor.step.projection)
    with unwatched():
        matrix, _ = projection_matrix(module, heads * width, torch.zeros((), dtype=donor.model.dtype, device=donor.model.device))
    return matrix.unflatten(0, (heads, width))[head].to(like)


def _fitted(edit: Graft, value: Tensor, width: int) -> Tensor:
    if value.shape[-1] > width:
        raise InputError(f"`{edit}`: the donor's values are {value.shape[-1]} wide and this head's {width}: they do not fit in")
    return F.pad(value, (0, width - value.shape[-1]))


def _recorded(edit: Graft, donor: Donor, scene: Scene) -> _Told:
    """The head as it was in a recording."""
    assert donor.rec is not None
    weights = pattern(edit, donor.rec, donor.layer)
    here = len(scene.queries), len(scene.keys)
    if tuple(weights.shape[1:]) != here:
        raise InputError(
            f"`{edit}`: the recording has {weights.shape[1]} readers and {weights.shape[2]} senders, this run {here[0]} and "
            f"{here[1]}: record a prompt of as many tokens"
        )
    value = donor.rec.messages(donor.layer, stack=edit.stack).value
    return _Told(value[None], weights=weights[None])


def _asked(edit: Graft, donor: Donor, scene: Scene) -> _Told:
    """What the donor's attention module makes of what this layer's was given."""
    args, kwargs = scene.arguments
    hf, seen = donor.model.hf, _Last()
    cache = scene.notes.setdefault("caches", {})
    if scene.call.name not in cache and len(scene.queries) != len(scene.keys):
        raise InputError(f"`{edit}` cannot read on from a past that the grafted head has not seen: give the whole prompt")
    given = {name: _own_cache(cache, scene.call.name, donor, value) for name, value in kwargs.items()}
    try:
        with torch.no_grad(), watching(hf, [seen]):
            hf.get_submodule(donor.step.calls[0][0])(
                *[_own_cache(cache, scene.call.name, donor, value) for value in args], **given
            )
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"`{edit}`: {donor.step.calls[0][0]} of {donor.model.name} cannot be given what {scene.call.path} is given "
            f"({str(error).splitlines()[0]})"
        ) from error
    call = seen.call
    if call is None or call.keys != scene.call.keys or call.query.shape[2] != scene.call.query.shape[2]:
        raise InputError(f"`{edit}`: the donor did not see the tokens that this layer sees: start from the whole prompt")
    return _Told(by_head(call).value, call=call)


def _listened(edit: Graft, told: _Told, donor: int, host: int, call: AttentionCall) -> Tensor:
    """The weights of a donor's head, under what is cut for the head whose place it takes."""
    cut = None if call.cut is None else call.cut[:, host if call.cut.shape[1] > 1 else 0, :, : call.keys]
    if told.call is not None:
        seen = told.call if cut is None else replace(told.call, cut=cut[:, None])
        return weights_of(seen)[0][:, donor]
    assert told.weights is not None
    if cut is not None and bool((told.weights[:, donor] * cut.to(told.weights.device)).any()):
        raise InputError(f"`{edit}`: in the recording, the head hears tokens that another edit cuts here (head {host})")
    return told.weights[:, donor]


def _own_cache(known: dict[tuple[str, int], Any], name: tuple[str, int], donor: Donor, value: Any) -> Any:
    """A cache of the donor's own in place of the model's, one per layer that is grafted into."""
    from transformers import Cache, DynamicCache

    if not isinstance(value, Cache):
        return value
    if name not in known:
        known[name] = DynamicCache(config=donor.model.hf.config)
    return known[name]


@dataclass(eq=False)
class _Last:
    """The last attention call. An observer of the seam."""

    call: AttentionCall | None = field(default=None)

    def wants_weights(self, call: AttentionCall) -> bool:
        return False

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        self.call = call
