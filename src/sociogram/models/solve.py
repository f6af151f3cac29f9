"""From a trace to a layer's account: follow the residual stream back through sums, and each branch back to what made it.

Every rule is about operations, none about names. What cannot be followed is said (`Unsolved`), never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from sociogram.models.anatomy import Alone, Group, Heard, Layer, NormOp, Op, Read, Rescaling, ScaleOp, Step
from sociogram.models.carry import ADD, DIV, SUB, Carry, first_ref, operands
from sociogram.models.frozen import is_affine
from sociogram.models.mixing import Mixing
from sociogram.models.trace import Site, Trace


class Unsolved(Exception):  # noqa: N818 - it is an answer, caught one call up, never a user's error
    """A layer that structure cannot tell, with the reason in the coverage table's words."""


@dataclass(frozen=True)
class _Segment:
    """One stretch of the stream: the steps that end at `node`, whether they are a branch, and of which layer."""

    node: int
    steps: tuple[Step, ...]
    branch: bool


class LayerSolver:
    """Solves one call of one layer module on a trace."""

    def __init__(self, trace: Trace, mixing: Mixing, path: str, number: int) -> None:
        """Look at call `number` of the module at `path`."""
        self.trace, self.mixing, self.path, self.number = trace, mixing, path, number
        self.span = trace.spans[path, number]
        self.calls = {n: c for n, c in trace.attention.items() if self.span.first <= n < self.span.last}
        self.carry: Carry

    def solve(self, stack: str = "", index: int = 0) -> Layer:
        """The layer's account.

        Raises:
            Unsolved: with the reason.
        """
        out, after = self._leaving()
        segments = list(self._stream(out))
        groups = self._groups(segments[::-1], after)
        self._check_all_heard(groups)
        names = tuple(call.name for call in self.calls.values())
        return Layer(self.path, self.number, stack, index, self.entry, tuple(groups), calls=names)

    def _leaving(self) -> tuple[int, Site]:
        """The node with which the stream leaves, and its site; sets the carrying analysis up on the stream that comes in."""
        entries = self.trace.ends(self.path, self.number, "in")
        for slot, node in self.trace.ends(self.path, self.number, "out"):
            made = self.trace.nodes[node]
            if not made.floating or len(made.shape) < 2:
                continue
            width = made.shape[-1]
            streams = {n for _, n in entries if self._like_stream(n, width) and not self.trace.nodes[n].constant}
            self.carry = Carry(self.trace, self.span, streams, self.calls)
            if "stream" in self.carry(node):
                return node, Site(self.path, self.number, "out", slot)
        raise Unsolved("the layer's input does not reach its output by sums")

    def _like_stream(self, node: int, width: int) -> bool:
        made = self.trace.nodes[node]
        return made.floating and len(made.shape) >= 2 and made.shape[-1] == width

    def _stream(self, node: int) -> Iterator[_Segment]:
        """Follow the stream from its end to its beginning, one segment at a time."""
        trunk = list(self._trunk(node))
        source = trunk[-1]
        self.carry = Carry(self.trace, self.span, {source}, self.calls)
        self.entry = self._entry(source)
        for node, following in pairwise(trunk):
            if (norm := self.carry.norm_at(node)) is not None:
                yield _Segment(node, (Rescaling(Read(norm.before), Read(norm.after), norm.path),), branch=False)
            elif self.trace.nodes[node].op in ADD | SUB:
                others = self._split(node)[1]
                yield _Segment(node, tuple(s for n, sign in others for s in self._branch(n, sign)), branch=True)
            elif (scaled := self._scaling(node)) is not None:
                yield _Segment(node, (self._rescaled(node, following, scaled[1]),), branch=False)

    def _trunk(self, node: int) -> Iterator[int]:
        """The nodes on the stream's way, from where it leaves the layer to where it came in."""
        while node not in self.carry.streams:
            yield node
            made = self.trace.nodes[node]
            if self.carry.norm_at(node) is not None:
                node = self.carry.norm_input(node)
            elif made.op in ADD | SUB:
                node = self._split(node)[0]
            elif (scaled := self._scaling(node)) is not None:
                node = scaled[0]
            elif self.carry.is_shape(node):
                node = first_ref(made)
            else:
                raise Unsolved(f"the stream passes an operation that is not read ({made.op})")
        yield node

    def _entry(self, node: int) -> Site:
        sites = [s for s in self.trace.sites[node] if (s.path, s.number, s.end) == (self.path, self.number, "in")]
        return sites[0]

    def _split(self, node: int) -> tuple[int, list[tuple[int, int]]]:
        """Of a sum on the stream: the operand that carries it, and the others with their signs."""
        made = self.trace.nodes[node]
        if made.kwargs.get("alpha", 1) != 1:
            raise Unsolved("a sum with a factor inside (alpha)")
        signed = operands(made)
        kept = [n for n, sign in signed if n is not None and "stream" in self.carry(n) and sign == 1]
        others = [(n, sign) for n, sign in signed if n is not None and "stream" not in self.carry(n)]
        if len(kept) != 1 or len(kept) + len(others) != len(signed):
            raise Unsolved("the stream is added to itself")
        return kept[0], others

    def _scaling(self, node: int) -> tuple[int, ScaleOp] | None:
        """A multiplication or division by a constant: the other operand, and the factor."""
        made = self.trace.nodes[node]
        if (factor := self.carry.constant_factor(node)) is None:
            return None
        source, constant = factor
        return source, ScaleOp(constant, divide=made.op in DIV)

    def _rescaled(self, node: int, source: int, op: ScaleOp) -> Rescaling:
        """The stream times a factor, read before it, or after it and divided back."""
        if (after := self._door(node)) is not None and self._door(source) is None:
            return Rescaling(Read(after, (ScaleOp(op.factor, divide=not op.divide),)), Read(after), "")
        read = self._read(source, ())
        return Rescaling(read, Read(read.site, (*read.ops, op)), "")

    def _branch(self, node: int, sign: int, ops: tuple[Op, ...] = ()) -> Iterator[Step]:
        """What a branch is made of: messages, what tokens did alone, or sums of these. `ops` stand between it and the stream."""
        made = self.trace.nodes[node]
        if not self.carry(node):
            yield from self._alone(node, sign, ops)
        elif (heard := self._heard(node, sign, ops)) is not None:
            yield heard
        elif (norm := self.carry.norm_at(node)) is not None:
            yield from self._branch(self.carry.norm_input(node), sign, (norm, *ops))
        elif made.op in ADD | SUB:
            yield from self._sum(node, sign, ops)
        elif (scaled := self._scaling(node)) is not None:
            yield from self._branch(scaled[0], sign, (scaled[1], *ops))
        elif self.carry.is_shape(node):
            yield from self._branch(first_ref(made), sign, ops)
        else:
            raise Unsolved(f"between the output projection and the stream stands an operation that is not read ({made.op})")

    def _sum(self, node: int, sign: int, ops: tuple[Op, ...]) -> Iterator[Step]:
        if any(isinstance(op, NormOp) for op in ops):
            raise Unsolved("several branches pass one norm together")
        for part, part_sign in operands(self.trace.nodes[node]):
            if part is None or self.trace.nodes[part].constant:
                raise Unsolved("a constant is added to a branch outside its projection")
            yield from self._branch(part, sign * part_sign, ops)

    def _heard(self, node: int, sign: int, ops: tuple[Op, ...]) -> Heard | None:
        """The attention branch whose output projection gives this node, or None."""
        for out in self.trace.sites.get(node, []):
            if out.end != "out" or not self._inside(out):
                continue
            for slot, taken in self.trace.ends(out.path, out.number, "in"):
                chain = self.carry.to_attention(taken)
                if taken == node or chain is None or set(chain.calls) != self.carry(node):
                    continue
                module = self.trace.model.get_submodule(out.path)
                value = self.trace.value(taken)
                if is_affine(module, value.shape[-1], value):
                    calls = tuple(self.calls[n].name for n in chain.calls)
                    entry = Site(out.path, out.number, "in", slot)
                    cross = self._is_cross(chain.calls[0])
                    return Heard(calls, out.path, Read(out, ops, sign), entry, chain.gated, cross, chain.norm)
        return None

    def _inside(self, site: Site) -> bool:
        """Whether a site belongs to this very call of the layer."""
        span = self.trace.spans.get((site.path, site.number))
        return span is not None and self.span.first <= span.first and span.last <= self.span.last

    def _is_cross(self, attention: int) -> bool:
        """Whether the keys were made without the stream of this layer: in its own call, or, of keys handed on, ever."""
        seen, queue = set(), [self.trace.nodes[attention].inputs[1]]
        oldest = self.span.first if queue[0] >= self.span.first else min(self.carry.streams)
        while queue:
            node = queue.pop()
            if node in self.carry.streams:
                return False
            if node not in seen and node >= oldest:
                seen.add(node)
                queue.extend(self.trace.nodes[node].inputs)
        return True

    def _alone(self, node: int, sign: int, ops: tuple[Op, ...]) -> Iterator[Step]:
        """A branch without messages, or the parts of a sum of such branches, each read at a door of its own."""
        made = self.trace.nodes[node]
        if (site := self._door(node)) is not None:
            yield Alone("mlp" if self.mixing.acts_alone(site) else "opaque", Read(site, ops, sign), site.path)
        elif (scaled := self._scaling(node)) is not None:
            yield from self._alone(scaled[0], sign, (scaled[1], *ops))
        elif self.carry.is_shape(node):
            yield from self._alone(first_ref(made), sign, ops)
        elif made.op in ADD | SUB and all(part is not None for part, _ in operands(made)):
            for part, part_sign in operands(made):
                assert part is not None
                yield from self._alone(part, sign * part_sign, ops)
        else:
            raise Unsolved(f"a branch is at no module's door ({made.op})")

    def _read(self, node: int, ops: tuple[Op, ...], sign: int = 1) -> Read:
        """Where a node can be read, through shapes and constant factors."""
        while True:
            if (site := self._door(node)) is not None:
                return Read(site, ops, sign)
            if (scaled := self._scaling(node)) is not None:
                node, ops = scaled[0], (scaled[1], *ops)
            elif self.carry.is_shape(node):
                node = first_ref(self.trace.nodes[node])
            else:
                raise Unsolved(f"a branch is at no module's door ({self.trace.nodes[node].op})")

    def _door(self, node: int) -> Site | None:
        """A place inside this layer's call where the node can be read: the outermost module it comes out of, else goes into."""
        sites = [s for s in self.trace.sites.get(node, []) if self._inside(s) and s.path != self.path]
        own = [s for s in self.trace.sites.get(node, []) if (s.path, s.number) == (self.path, self.number)]
        outs = sorted((s for s in sites if s.end == "out"), key=lambda s: s.path.count("."))
        return next(iter([*outs, *(s for s in sites if s.end == "in"), *own]), None)

    def _groups(self, segments: list[_Segment], after: Site) -> list[Group]:
        """Cut the stream where it can be read: before each branch but the first."""
        groups: list[Group] = []
        steps: list[Step] = []
        for position, segment in enumerate(segments):
            steps += segment.steps
            following = segments[position + 1] if position + 1 < len(segments) else None
            if following is None:
                groups.append(Group(_label(steps), tuple(steps), after))
            elif following.branch and any(not isinstance(s, Rescaling) for s in steps):
                stop = self._door(segment.node)
                if stop is not None:
                    groups.append(Group(_label(steps), tuple(steps), stop))
                    steps = []
        if not any(isinstance(step, Heard | Alone) for group in groups for step in group.steps):
            raise Unsolved("nothing is added to the stream")
        return groups

    def _check_all_heard(self, groups: list[Group]) -> None:
        heard = {name for g in groups for s in g.steps if isinstance(s, Heard) for name in s.calls}
        missing = [call.name for call in self.calls.values() if call.name not in heard]
        if missing:
            raise Unsolved("an attention call does not reach the stream by sums through one projection")


def _label(steps: list[Step]) -> str:
    names = []
    for step in steps:
        if isinstance(step, Heard):
            names.append("cross" if step.cross else "attention")
        elif isinstance(step, Alone):
            names.append(step.kind)
    return "+".join(dict.fromkeys(names))


def modules_above(path: str) -> Iterator[str]:
    """The paths of a module's ancestors, nearest first, itself included, the model itself left out."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        yield ".".join(parts[:end])


def in_list(model: nn.Module, path: str) -> bool:
    """Whether the module is an element of a list of modules."""
    parent, _, _ = path.rpartition(".")
    return isinstance(model.get_submodule(parent), nn.ModuleList | nn.Sequential)
