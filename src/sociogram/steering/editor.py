"""Edits at the seam: what is cut before the softmax, what is reweighed after it, and a count of what that did."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.core.schedule import Schedule
from sociogram.models.attention import AttentionCall, additive, allowed, is_hidden, weights_of
from sociogram.models.masks import LazyMask
from sociogram.models.outside import widened
from sociogram.models.seam import Session
from sociogram.steering.base import Edit, Scene
from sociogram.steering.clock import Clock, asks_moments
from sociogram.steering.compiled import Act, Plan
from sociogram.steering.odds import ScaleOdds
from sociogram.steering.splint import Splint
from sociogram.steering.tally import Tally

T = TypeVar("T")
MEASURED = 1_024
"""In longer passes the weight that cuts move is not measured: that would take the weights, which cuts do not need."""


@dataclass(frozen=True, eq=False)
class _Made:
    """What one edit cuts in a call, those before it included, and the counts of it by head."""

    cut: Tensor
    addressed: Tensor
    taken: Tensor
    moved: Tensor
    missing: tuple[int, int]


class PlanEditor:
    """Carries a plan out, call by call."""

    def __init__(self, plan: Plan, tally: Tally, stand: Tensor | None = None, clock: Clock | None = None) -> None:
        """`tally` is added to as calls come; `stand` as in `Scene`."""
        self.plan, self.tally, self.stand, self.clock = plan, tally, stand, clock
        tally.clock = clock
        self._given: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._notes: dict[int, dict[Any, Any]] = {}
        self._projections: dict[tuple[str, int], Mapping[int, Tensor]] = {}
        self._pass: tuple[range, range] | None = None
        self._known: dict[tuple[object, ...], tuple[Any, object, object]] = {}

    def attach(self, session: Session) -> None:
        """Overhear what attention modules are given, and stand behind the projections that grafted heads do not speak through."""
        if self.clock is not None and asks_moments(self.plan.edits):
            session.on_output("", self.clock.note)
        overheard = {name: act for name, acts in self.plan.acts.items() for act in acts if act.edit.overhears}
        for name, act in overheard.items():
            session.on_input(name[0], partial(self._overhear, name[0]))
            assert act.step is not None
            Splint(session.model, act.step, self._projections, name).attach(session.doors)

    def _overhear(self, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._given[path] = args, kwargs

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """The call with what is cut, then with what else is changed before the softmax."""
        acts = self.plan.acts.get(call.name)
        if not acts:
            return call
        if call.linear:
            _check_signs(acts)
        for act in acts:
            if type(act.edit).cuts is not Edit.cuts:
                call = self._cut(act, call)
        for act in acts:
            if type(act.edit).changes is not Edit.changes:
                call = self._change(act, call)
        self._projections[call.name] = call.projections
        if not self.wants_weights(call):
            self.tally.paths.add("explicit" if any(not one.joined for one in call.outside) else "sdpa")
        return call

    def _scene(self, act: Act, call: AttentionCall) -> Scene:
        queries, keys = positions(call)
        wanted = self.plan.region(act, call.query.shape[1], queries, keys, call.query.device)
        arguments, notes = self._given.get(call.path, ((), {})), self._notes.setdefault(act.number, {})
        opened = None if self.clock is None else partial(self._opened, act, queries, wanted)
        return Scene(call, act.layer, queries, keys, wanted, act.material, act.step, arguments, self.stand, notes, opened)

    def _opened(self, act: Act, queries: range, wanted: Tensor, schedule: Schedule) -> Tensor:
        """Whether a schedule is open to each reader, which is noted of those addressed."""
        assert self.clock is not None
        found = self.clock.is_open(act.number, schedule, act.stack, queries)
        self.tally.hear(act.number, queries, found, wanted.any(-1).any(0))
        return found

    def _cut(self, act: Act, call: AttentionCall) -> AttentionCall:
        made = self._shared(act, call, "cut", self._made)
        if made is None:
            return call
        self.tally.miss(act, made.missing)
        self.tally.add(act, made.addressed, made.taken, made.moved)
        return replace(call, cut=made.cut)

    def _shared(self, act: Act, call: AttentionCall, what: str, make: Callable[[Act, AttentionCall], T]) -> T:
        """While a model writes, what depends on places alone is the same in all layers: made once per pass."""
        plain = call.mask is None or isinstance(call.mask, LazyMask)
        if not (_is_decoding(call) and act.edit.by_place and plain) or call.indices is not None:
            return make(act, call)
        if self._pass != (where := positions(call)):
            self._pass = where
            self._known.clear()
        name = (what, act.number, act.heads, id(act.query), id(act.key), call.query.shape[:2], id(call.mask), id(call.cut))
        if name not in self._known:
            self._known[name] = make(act, call), call.mask, call.cut  # kept, so that no id comes twice
        found: T = self._known[name][0]
        return found

    def _made(self, act: Act, call: AttentionCall) -> _Made | None:
        scene = self._scene(act, call)
        cut = act.edit.cuts(scene)
        if cut is None:
            return None
        after = hiding(call, cut[None])
        said = act.edit.addresses(cut, scene)
        addressed, taken = _there(said, call), _there(cut, call)
        moved = torch.full((call.query.shape[1],), float("nan"))
        if _is_decoding(call) or not bool(taken.any()):
            moved = torch.zeros(len(moved))
        elif call.query.shape[2] <= MEASURED:
            moved = (weights_of(after)[0] - weights_of(call)[0]).abs().sum((0, 2, 3))
        assert after.cut is not None
        return _Made(after.cut, addressed.sum((0, 2, 3)), taken.sum((0, 2, 3)), moved, _missing(said, call, addressed))

    def _change(self, act: Act, call: AttentionCall) -> AttentionCall:
        changed = act.edit.changes(self._scene(act, call))
        if changed is None:
            return call
        self._note_change(act, call, changed)
        return changed

    def _note_change(self, act: Act, before: AttentionCall, after: AttentionCall) -> None:
        """Count what was appended from outside: pairs that may talk now, and the weight on them; else what is told anew."""
        if act.edit.reweighs():
            return  # counted there
        there = _there(self._scene(act, before).wanted, before)
        changed, moved = there, torch.zeros(before.query.shape[1])
        if (since := len(before.outside)) < len(after.outside):
            there = changed = _open_outside(after, since)
            if after.query.shape[2] > MEASURED:
                moved = torch.full_like(moved, float("nan"))
            elif not _is_decoding(after):
                weights = weights_of(after)[0][..., -there.shape[-1] :]
                changed, moved = weights != 0, weights.abs().sum((0, 2, 3))
        elif isinstance(act.edit, ScaleOdds):
            changed = torch.zeros_like(there) if after is before else there
            if after.query.shape[2] <= MEASURED and after is not before:
                moved = (weights_of(after)[0] - weights_of(before)[0]).abs().sum((0, 2, 3))
        self.tally.add(act, there.sum((0, 2, 3)), changed.sum((0, 2, 3)), moved)

    def _met(self, act: Act, call: AttentionCall) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Entries addressed that exist, how many by head, and how many do not."""
        wanted = self._scene(act, call).wanted
        there = _there(wanted, call)
        _check_first(act, call, there)
        return there, there.sum((0, 2, 3)), _missing(wanted, call, there)

    def wants_weights(self, call: AttentionCall) -> bool:
        """Whether some edit of this call changes weights."""
        return any(act.edit.reweighs() for act in self.plan.acts.get(call.name, ()))

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Each edit in order."""
        self.tally.paths.add("explicit")
        kind = weights.dtype
        weights, sink = (
            weights.float() if kind.itemsize < 4 else weights,
            None if sink is None else sink.to(torch.promote_types(kind, torch.float32)),
        )
        for act in self.plan.acts[call.name]:
            if act.edit.reweighs():
                weights, sink = self._reweighed(act, call, weights, sink)
        return weights.to(kind), None if sink is None else sink.to(kind)

    def _reweighed(self, act: Act, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        there, count, missing = self._shared(act, call, "met", self._met)
        self.tally.miss(act, missing)
        scene = self._scene(act, call)
        after, silent = act.edit.weigh(weights, sink, _with_outside(there, scene, whole=act.edit.whole), scene)
        if after is weights:
            self.tally.add(act, count, torch.zeros_like(count), torch.zeros_like(count))
            return after, silent
        difference = after - weights
        size = float(difference.abs().sum())
        if not math.isfinite(size):
            raise InputError(
                f"`{act.edit}` makes weights that are no finite numbers in layer {act.layer}: choose a smaller factor"
            )
        own = difference[..., : call.keys]
        self.tally.add(act, count, (own != 0).sum((0, 2, 3)), own.abs().sum((0, 2, 3)))
        return after, silent


def _check_signs(acts: list[Act]) -> None:
    """Refuse edits of a softmax where there is none."""
    for act in acts:
        if not act.edit.takes_signs():
            raise InputError(
                f"`{act.edit}`: layer {act.layer} is linear attention, whose weights are signed and no shares of a row. What "
                "acts there: cut, mute, scale_head, swap, freeze, mean_ablate, rules of topology, and with policy='leave' "
                "set_weight and scale_edges"
            )


def hiding(call: AttentionCall, cut: Tensor) -> AttentionCall:
    """The call with more of the sequence's own entries cut: `[1 or batch, 1 or head, query, key]`."""
    cut = widened(cut, call.outside, False)
    return replace(call, cut=cut if call.cut is None else call.cut | cut)


def _is_decoding(call: AttentionCall) -> bool:
    return call.query.shape[2] == 1 < call.keys


def _open_outside(call: AttentionCall, since: int) -> Tensor:
    """`[batch, head, query, key]`: which readers may hear the keys of the sources appended from number `since` on."""
    count = sum(one.count for one in call.outside[since:])
    shape = (*call.query.shape[:3], count)
    if call.cut is None:
        return torch.ones(shape, dtype=torch.bool, device=call.query.device)
    return ~call.cut[..., -count:].expand(shape)


def _there(wanted: Tensor, call: AttentionCall) -> Tensor:
    """`[batch, head, query, key]`: the entries wanted that exist, those cut before left out."""
    found = wanted[None].expand(call.query.shape[0], -1, -1, -1)
    permitted = exists(call)
    if permitted is not None:
        found = found & permitted
    return found if call.cut is None else found & ~call.cut[..., : call.keys]


def _missing(wanted: Tensor, call: AttentionCall, there: Tensor) -> tuple[int, int]:
    """Of the entries wanted: how many the model's own mask hides, and how many another edit has cut."""
    permitted = exists(call)
    own = int(wanted.sum()) * len(there) if permitted is None else int((wanted & permitted).expand(len(there), -1, -1, -1).sum())
    return int(wanted.sum()) * len(there) - own, own - int(there.sum())


def _with_outside(there: Tensor, scene: Scene, *, whole: bool) -> Tensor:
    """The region over all keys; those from outside belong to it where an edit is of whole heads."""
    wide = widened(there, scene.call.outside, False)
    if whole and scene.call.outside:
        keys = scene.call.keys
        wide[..., keys:] = scene.readers[None, :, :, None]
        if scene.call.cut is not None:
            wide[..., keys:] &= ~scene.call.cut[..., keys:]
    return wide


def _check_first(act: Act, call: AttentionCall, there: Tensor) -> None:
    """The policy `to_first` needs the first token's edge to exist for every reader it touches."""
    if getattr(act.edit, "policy", None) != "to_first" or not bool(there.any()):
        return
    first = torch.ones_like(there[:, :, :1, :1]).expand(*there.shape[:2], 1, there.shape[3]).clone()
    first[..., 1:] = False
    open_to = _there(first[0].expand(-1, there.shape[2], -1), call)[..., 0]
    missing = there.any(-1) & ~open_to
    if positions(call)[1].start > 0 or bool(missing.any()):
        raise InputError(
            f"`{act.edit}`: some readers in layer {act.layer} cannot hear the first token (a sliding window, or cut before), so "
            "nothing can be moved to it: choose another policy or fewer readers"
        )


def positions(call: AttentionCall) -> tuple[range, range]:
    """The absolute positions of a call's queries and keys: as the mask says; else the queries are the last of the keys."""
    queries, keys = call.query.shape[2], call.keys
    if isinstance(call.mask, LazyMask):
        rule = call.mask.rule
        return range(rule.query_offset, rule.query_offset + queries), range(rule.key_offset, rule.key_offset + keys)
    return range(keys - queries, keys), range(keys)


def exists(call: AttentionCall) -> Tensor | None:
    """`[batch, 1, query, key]`: true where the model itself lets the query read the key; None where it does everywhere."""
    permitted = allowed(call)
    extra = additive(call)
    if extra is not None:
        seen = ~is_hidden(extra[..., : call.keys])
        permitted = seen if permitted is None else permitted & seen
    return permitted
