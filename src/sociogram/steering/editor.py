"""Edits at the seam: what is cut before the softmax, what is reweighed after it, and a count of what that did."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.attention import AttentionCall, additive, allowed, weights_of
from sociogram.models.masks import LazyMask
from sociogram.steering.compiled import Act, Plan

MEASURED = 1_024
"""In longer passes the weight that cuts move is not measured: that would take the weights, which cuts do not need."""


@dataclass(eq=False)
class Count:
    """What one edit did at one layer: entries addressed that exist, entries changed, weight moved, by head."""

    addressed: Tensor
    changed: Tensor
    moved: Tensor

    def add(self, addressed: Tensor, changed: Tensor, moved: Tensor) -> None:
        """One more call."""
        self.addressed += addressed
        self.changed += changed
        self.moved += moved


class Counted(Protocol):
    """An act of some edit in some layer."""

    @property
    def number(self) -> int:
        """Which edit, by its place in the list."""

    @property
    def layer(self) -> int:
        """In which layer."""


@dataclass(eq=False)
class Tally:
    """Counts by (number of the edit, layer), and which paths the edited calls took."""

    counts: dict[tuple[int, int], Count] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    hidden: dict[int, int] = field(default_factory=dict)
    """Per edit, entries addressed that the model itself masks."""

    def add(self, act: Counted, addressed: Tensor, changed: Tensor, moved: Tensor) -> None:
        """Add what an edit did in one call: one number per head; for edits of the stream one number in all."""
        key = act.number, act.layer
        if key not in self.counts:
            zeros = torch.zeros(len(addressed), dtype=torch.long), torch.zeros(len(addressed), dtype=torch.float64)
            self.counts[key] = Count(zeros[0].clone(), zeros[0].clone(), zeros[1])
        self.counts[key].add(addressed.cpu(), changed.cpu(), moved.double().cpu())


class PlanEditor:
    """Carries a plan out, call by call."""

    def __init__(self, plan: Plan, tally: Tally) -> None:
        """`tally` is added to as calls come."""
        self.plan, self.tally = plan, tally

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """The call with what is cut."""
        acts = self.plan.acts.get(call.name)
        if not acts:
            return call
        queries, keys = positions(call)
        at = [torch.arange(r.start, r.stop, device=call.query.device) for r in (queries, keys)]
        for act in acts:
            region = self._region(act, call)
            cut = act.edit.cuts(at[0], at[1], region)
            if cut is not None:
                call = self._cut(act, call, cut, region)
        if not self.wants_weights(call):
            self.tally.paths.add("sdpa")
        return call

    def _cut(self, act: Act, call: AttentionCall, cut: Tensor, region: Tensor) -> AttentionCall:
        after = replace(call, cut=cut[None] if call.cut is None else call.cut | cut[None])
        addressed, taken = (_there(act.edit.addresses(cut, region), call), _there(cut, call))
        self._note_hidden(act, act.edit.addresses(cut, region), addressed)
        moved = torch.full((len(cut),), float("nan"))
        if not bool(taken.any()) or call.query.shape[2] == 1 < call.key.shape[2]:
            moved = torch.zeros(len(cut))
        elif call.query.shape[2] <= MEASURED:
            moved = (weights_of(after)[0] - weights_of(call)[0]).abs().sum((0, 2, 3))
        self.tally.add(act, addressed.sum((0, 2, 3)), taken.sum((0, 2, 3)), moved)
        return after

    def _note_hidden(self, act: Act, wanted: Tensor, there: Tensor) -> None:
        hidden = int(wanted.sum()) * len(there) - int(there.sum())
        self.tally.hidden[act.number] = self.tally.hidden.get(act.number, 0) + hidden

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
        wanted = self._region(act, call)
        there = _there(wanted, call)
        _check_first(act, call, there)
        self._note_hidden(act, wanted, there)
        after, silent = act.edit.weigh(weights, sink, there)
        if not bool(after.isfinite().all()):
            raise InputError(
                f"`{act.edit}` makes weights that are no finite numbers in layer {act.layer}: choose a smaller factor"
            )
        difference = after - weights
        self.tally.add(act, there.sum((0, 2, 3)), (difference != 0).sum((0, 2, 3)), difference.abs().sum((0, 2, 3)))
        return after, silent

    def _region(self, act: Act, call: AttentionCall) -> Tensor:
        queries, keys = positions(call)
        return self.plan.region(act, call.query.shape[1], queries, keys, call.query.device)


def _there(wanted: Tensor, call: AttentionCall) -> Tensor:
    """`[batch, head, query, key]`: the entries wanted that exist, those cut before left out."""
    found = wanted[None].expand(call.query.shape[0], -1, -1, -1)
    permitted = exists(call)
    if permitted is not None:
        found = found & permitted
    return found if call.cut is None else found & ~call.cut


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
    queries, keys = call.query.shape[2], call.key.shape[2]
    if isinstance(call.mask, LazyMask):
        rule = call.mask.rule
        return range(rule.query_offset, rule.query_offset + queries), range(rule.key_offset, rule.key_offset + keys)
    return range(keys - queries, keys), range(keys)


def exists(call: AttentionCall) -> Tensor | None:
    """`[batch, 1, query, key]`: true where the model itself lets the query read the key; None where it does everywhere."""
    permitted = allowed(call)
    extra = additive(call)
    if extra is not None:
        seen = extra[..., : call.key.shape[2]] > torch.finfo(extra.dtype).min / 2
        permitted = seen if permitted is None else permitted & seen
    return permitted
