"""Edits at the seam: what is cut before the softmax, what is reweighed after it, and a count of what that did."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

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


@dataclass(eq=False)
class Tally:
    """Counts by (number of the edit, layer), and which paths the edited calls took."""

    counts: dict[tuple[int, int], Count] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    hidden: dict[int, int] = field(default_factory=dict)
    """Per edit, entries addressed that the model itself masks."""

    def add(self, act: Act, addressed: Tensor, changed: Tensor, moved: Tensor) -> None:
        """Add what an edit did in one call; one number per head."""
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
                call = self._cut(act, call, cut)
        if not self.wants_weights(call):
            self.tally.paths.add("sdpa")
        return call

    def _cut(self, act: Act, call: AttentionCall, cut: Tensor) -> AttentionCall:
        there = exists(call)
        addressed = cut if there is None else cut & there[0]
        if call.cut is not None:
            addressed = addressed & ~call.cut[0]
        together = cut[None] if call.cut is None else call.cut | cut[None]
        after = replace(call, cut=together)
        self._note_hidden(act, cut, addressed)
        count = addressed.sum((1, 2))
        moved = torch.full((len(count),), float("nan"))
        if call.query.shape[2] <= MEASURED and bool(count.any()):
            moved = (weights_of(after)[0] - weights_of(call)[0]).abs().sum((0, 2, 3))
        elif not bool(count.any()):
            moved = torch.zeros(len(count))
        self.tally.add(act, count, count, moved)
        return after

    def _note_hidden(self, act: Act, wanted: Tensor, there: Tensor) -> None:
        hidden = int(wanted.sum()) - int(there.sum())
        self.tally.hidden[act.number] = self.tally.hidden.get(act.number, 0) + hidden

    def wants_weights(self, call: AttentionCall) -> bool:
        """Whether some edit of this call changes weights."""
        return any(act.edit.reweighs() for act in self.plan.acts.get(call.name, ()))

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Each edit in order."""
        self.tally.paths.add("explicit")
        there = exists(call)
        for act in self.plan.acts[call.name]:
            if not act.edit.reweighs():
                continue
            wanted = region = self._region(act, call)
            if there is not None:
                region = region & there[0]
            if call.cut is not None:
                region = region & ~call.cut[0]
            self._note_hidden(act, wanted, region)
            before = weights
            weights, sink = act.edit.weigh(weights, sink, region)
            difference = weights - before
            self.tally.add(act, region.sum((1, 2)), (difference != 0).sum((0, 2, 3)), difference.abs().sum((0, 2, 3)))
        return weights, sink

    def _region(self, act: Act, call: AttentionCall) -> Tensor:
        queries, keys = positions(call)
        return self.plan.region(act, call.query.shape[1], queries, keys, call.query.device)


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
