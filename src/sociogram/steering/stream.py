"""Edits of the residual stream in a run: acts by layer, changes at the doors of modules, and a count of what that did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sociogram.core.address import Places, indices, places
from sociogram.core.errors import EditDidNotLand, InputError
from sociogram.models.anatomy import Anatomy, Layer, Read
from sociogram.models.attention import AttentionCall
from sociogram.models.branch import apply_ops, undo_ops
from sociogram.models.doors import Doors
from sociogram.models.masks import LazyMask
from sociogram.models.seam import Session
from sociogram.models.tokens import find_token
from sociogram.models.trace import Site
from sociogram.steering.base import Edit
from sociogram.steering.compiled import _held, _ranges, _stack
from sociogram.steering.patched import Patches, Run
from sociogram.steering.places import Door, doors
from sociogram.steering.residual import CutSkip, Patch, Still, StreamEdit
from sociogram.steering.tally import Tally


@dataclass(frozen=True, eq=False)
class StreamAct:
    """One edit in one layer: at which doors, for which tokens, with what from another run."""

    edit: StreamEdit
    number: int
    where: Layer
    doors: tuple[Door, ...]
    query: Places
    texts: list[str]
    source: Patches | None = None

    @property
    def layer(self) -> int:
        """The layer's number."""
        return self.where.index

    @property
    def cuts(self) -> bool:
        """Whether it takes away what a branch is added to, which comes after all that changes the branch."""
        return isinstance(self.edit, CutSkip)


def streamed(edits: Sequence[Edit], anatomy: Anatomy, texts: Mapping[str, list[str]], *, to_come: int = 0) -> list[StreamAct]:
    """Resolve every edit of the stream; arguments and errors as `compiled`'s, which resolves the others."""
    acts: list[StreamAct] = []
    for number, edit in enumerate(edits):
        if isinstance(edit, StreamEdit):
            stack = _stack(edit, anatomy)
            acts += _acts(edit, number, anatomy, stack, texts[stack], to_come if stack == anatomy.main else 0)
    return acts


def _acts(edit: StreamEdit, number: int, anatomy: Anatomy, stack: str, texts: list[str], later: int) -> list[StreamAct]:
    edit.refuse_width(anatomy.widths[stack])
    query = places(edit.query, texts, find_token, later, "query")
    run = Run.of(edit) if isinstance(edit, Patch) else None
    pairs = None if run is None else run.pairs_of(texts, later)
    if pairs is not None:
        query = Places(False, frozenset(pairs[0]), (), ())
    acts = []
    for layer, found in _layers(edit, anatomy, stack):
        source = None if run is None or pairs is None else run.at(layer.index, pairs, anatomy.widths[stack])
        acts.append(StreamAct(edit, number, layer, found, query, texts, source))
    return acts


def _layers(edit: StreamEdit, anatomy: Anatomy, stack: str) -> list[tuple[Layer, tuple[Door, ...]]]:
    """The layers that an edit addresses, and where it acts in each."""
    whole = anatomy.stack(stack)
    plain = edit.like if isinstance(edit, Still) else edit
    found = {layer.index: doors(layer, edit.where, cut=isinstance(plain, CutSkip)) for layer in whole}
    chosen = indices(edit.layer, len(whole), "layer")
    reasons = [(i, reason) for i in chosen if isinstance(reason := found[i], str)]
    fit = [i for i, answer in found.items() if not isinstance(answer, str)]
    if reasons and (edit.layer is not None or not fit):
        raise EditDidNotLand(
            f"`{edit}`: layer {reasons[0][0]} {reasons[0][1]}; layers where this edit can act: {_ranges(sorted(fit))}"
        )
    return [(whole[i], answer) for i in chosen if not isinstance(answer := found[i], str)]


class StreamEditor:
    """Carries out the edits of the stream, in every pass of the model."""

    def __init__(self, model: nn.Module, acts: Sequence[StreamAct], tally: Tally) -> None:
        """`tally` is added to as layers run."""
        self.model, self.tally = model, tally
        layers = {(act.where.stack, act.layer): act.where for act in acts}
        self.layers = [_LayerEdits(self, w, [a for a in acts if a.where is w]) for w in layers.values()]
        self._calls = {call for w in layers.values() for step in w.heard if not step.cross for call in step.calls}
        self._masks: dict[tuple[int, range, int], Tensor] = {}
        self.start = 0

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """The call itself, once its own count of positions agrees with ours."""
        own = _first_position(call) if call.name in self._calls else None
        if own is not None and own != self.start:
            raise InputError(
                f"{call.path} reads tokens from position {own} on, and the cache given to the model says {self.start}: which "
                "tokens an edit of the stream means is not clear in this run"
            )
        return call

    def wants_weights(self, call: AttentionCall) -> bool:
        """Weights are left alone."""
        return False

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Never asked."""
        return weights, sink

    def attach(self, session: Session) -> None:
        """Stand at the doors."""
        session.on_input("", self._begin)
        for layer in self.layers:
            layer.attach(session.doors)

    def _begin(self, _: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A pass begins: its first token comes after those in the cache."""
        self._masks.clear()
        self.start = cached(kwargs)

    def holds(self, act: StreamAct, tokens: int) -> Bool[Tensor, " query"]:
        """Which of a pass's tokens an edit addresses."""
        at = range(self.start, self.start + tokens)
        name = id(act.query), at, len(act.texts)
        if name not in self._masks:
            self._masks[name] = _held(act.query, at, act.texts)
        return self._masks[name]


def cached(kwargs: Mapping[str, Any]) -> int:
    """How many tokens came before those of a pass, by the cache that the model is given.

    Raises:
        InputError: a cache that does not tell.
    """
    cache = kwargs.get("past_key_values", kwargs.get("cache_params"))
    try:
        return 0 if cache is None else int(cache.get_seq_length())
    except (AttributeError, ValueError, TypeError) as error:
        raise InputError(
            f"a cache of type {type(cache).__name__} does not say how many tokens it holds ({error}), so it is not clear "
            "which tokens an edit of the stream means: run without a cache (use_cache=False)"
        ) from error


def _first_position(call: AttentionCall) -> int | None:
    """The position of a call's first token, where the call tells: by its mask, or as it has no other keys than its own."""
    if isinstance(call.mask, LazyMask):
        return call.mask.rule.query_offset
    return 0 if call.query.shape[2] == call.keys else None


@dataclass(eq=False)
class _Met:
    """What an edit did in a layer so far in this pass."""

    addressed: Tensor
    changed: Tensor
    moved: Tensor


@dataclass(eq=False)
class _LayerEdits:
    """The edits of one layer: looks at what they need to know, changes what they change."""

    editor: StreamEditor
    layer: Layer
    acts: list[StreamAct]
    _seen: dict[Site, Tensor] = field(default_factory=dict)
    _met: dict[int, _Met] = field(default_factory=dict)
    _shape: tuple[int, int, int] = (0, 0, 0)

    def attach(self, at: Doors) -> None:
        """Changes come in the order of the edits, looks after them."""
        assert self.layer.before is not None
        at.change(self.layer.before, self._arrive)
        wanted: dict[Site, list[tuple[StreamAct, Door]]] = {}
        for act in sorted(self.acts, key=lambda act: act.cuts):
            for door in act.doors:
                wanted.setdefault(door.read.site, []).append((act, door))
        for site, here in wanted.items():
            at.change(site, partial(self._change, here))
        looked = {door.skip.site for act in self.acts for door in act.doors if door.skip is not None}
        for site in {self.layer.before, *looked}:
            at.change(site, partial(self._look, site))

    def _arrive(self, value: Tensor) -> Tensor:
        """How many tokens come; what an earlier pass left is forgotten."""
        self._shape = (value.shape[0] if value.ndim > 2 else 1, -1, value.shape[-1])
        self._shape = (self._shape[0], value.reshape(self._shape).shape[1], value.shape[-1])
        self._seen.clear()
        self._met.clear()
        return value

    def _look(self, site: Site, value: Tensor) -> Tensor:
        self._seen[site] = value
        return value

    def _change(self, acts: list[tuple[StreamAct, Door]], value: Tensor) -> Tensor:
        """The value at a door under all edits that act there, taken to the stream and back."""
        model, read = self.editor.model, acts[0][1].read
        here = apply_ops(model, value, read).reshape(self._shape)
        after, cut = here, torch.zeros(self._shape[1], dtype=torch.bool)
        for act, door in acts:
            addressed = self.editor.holds(act, self._shape[1])
            mask = addressed & ~cut if act.cuts else addressed
            cut = cut | mask if act.cuts else cut
            after = self._acted(act, door, after, addressed, mask)
        different = (after != here).reshape(value.shape)
        if not bool(different.any()):
            return value
        back = undo_ops(model, after.reshape(value.shape), read) if read.ops or read.sign != 1 else after.reshape(value.shape)
        if not bool(back[different].isfinite().all()):
            raise InputError(
                f"`{acts[0][0].edit}`: layer {self.layer.index} multiplies this branch by zero: no change reaches the stream"
            )
        return torch.where(different, back, value)

    def _acted(self, act: StreamAct, door: Door, here: Tensor, addressed: Tensor, mask: Tensor) -> Tensor:
        """What one edit makes of the values at a door; counted."""
        after = here
        if bool(mask.any()):
            after = torch.where(mask.to(here.device)[None, :, None], act.edit.changed(here, self._told(act, door, here)), here)
            if not bool(after.isfinite().all()) and bool(here.isfinite().all()):
                raise InputError(
                    f"`{act.edit}` makes numbers that are not finite in layer {act.layer}: choose a smaller scale or vector"
                )
        self._count(act, door, addressed, here, after)
        return after

    def _told(self, act: StreamAct, door: Door, here: Tensor) -> Float[Tensor, "*batch query d_model"] | None:
        if act.edit.asks == "source":
            assert act.source is not None
            start = self.editor.start
            return act.source.along(range(start, start + here.shape[1]), here)
        if act.edit.asks == "before":
            assert self.layer.before is not None
            return self._tokens(Read(self.layer.before), act)
        return None if door.skip is None else self._tokens(door.skip, act)

    def _tokens(self, read: Read, act: StreamAct) -> Tensor:
        if read.site not in self._seen:
            raise InputError(
                f"`{act.edit}`: layer {act.layer} does not show the stream before this sum, so it cannot be cut there"
            )
        return apply_ops(self.editor.model, self._seen[read.site], read).reshape(self._shape)

    def _count(self, act: StreamAct, door: Door, addressed: Tensor, here: Tensor, after: Tensor) -> None:
        """Tokens, once for all doors of a layer; added to the tally at the last."""
        self.editor.tally.paths.add("hooks")
        change = after - here
        changed, moved = (after != here).any(-1), change.detach().double().norm(dim=-1).sum()[None]
        whole = addressed.expand(len(here), -1)
        met = self._met.setdefault(id(act), _Met(whole, torch.zeros_like(changed), torch.zeros_like(moved)))
        met.changed, met.moved = met.changed | changed, met.moved + moved
        if door is act.doors[-1]:
            self.editor.tally.add(act, met.addressed.sum()[None], met.changed.sum()[None], met.moved)
