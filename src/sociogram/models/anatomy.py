"""The anatomy of a model: its layers as sequences of steps along the residual stream, and where each quantity can be read.

These are plain values. How they are found is in `solve.py`; that they are right is proved on every run by the audit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sociogram.models.constants import Recipe
from sociogram.models.trace import Site

Placement = Literal["pre", "post", "sandwich", "parallel", "none"]


@dataclass(frozen=True)
class Constant:
    """A factor made of weights and numbers alone: a number, or the recipe to compute it with."""

    expression: Recipe | None
    number: float = 1.0


@dataclass(frozen=True)
class NormOp:
    """A norm on the way of a branch: linear once this run's scale is frozen, read where the norm takes in and gives out."""

    path: str
    before: Site
    after: Site


@dataclass(frozen=True)
class ScaleOp:
    """A multiplication by something that the input does not change (a multiplier, a layer scale), or a division by it."""

    factor: Constant
    divide: bool = False


Op = NormOp | ScaleOp


@dataclass(frozen=True)
class Read:
    """How to get one quantity from a run: the site to read, then the operations between there and the stream."""

    site: Site
    ops: tuple[Op, ...] = ()
    sign: int = 1

    @property
    def door(self) -> Read:
        """The same quantity read at the last site before the stream: only constant factors and the sign are left to do."""
        ops: tuple[Op, ...] = ()
        for op in reversed(self.ops):
            if isinstance(op, NormOp):
                return Read(op.after, ops, self.sign)
            ops = (op, *ops)
        return self


@dataclass(frozen=True)
class Heard:
    """An attention branch: what each token heard from others.

    Attributes:
        calls: the attention calls (module path, number) whose outputs are joined, along the tokens, before the projection.
        projection: path of the module that maps heads x d_head to d_model.
        projected: the projection's output, and what happens to it before it joins the stream.
        taken: the projection's actual input.
        gated: whether something that acts channel by channel (a gate, a root-mean-square norm) stands between the attention
            call's output and the projection's input.
        cross: whether the keys come from another sequence.
        norm: a norm before the projection that mixes channels or adds a bias, or None.
    """

    calls: tuple[tuple[str, int], ...]
    projection: str
    projected: Read
    taken: Site
    gated: bool = False
    cross: bool = False
    norm: NormOp | None = None


@dataclass(frozen=True)
class Alone:
    """A branch without messages: the MLP (each token for itself), or an opaque mixer (tokens meet, but not by attention)."""

    kind: Literal["mlp", "opaque"]
    read: Read
    path: str


@dataclass(frozen=True)
class Rescaling:
    """The stream itself passes a norm or a factor: `after - before` is an entry of the account."""

    before: Read
    after: Read
    path: str


Step = Heard | Alone | Rescaling


@dataclass(frozen=True)
class Group:
    """Steps up to the next place where the stream can be read, and that place."""

    label: str
    steps: tuple[Step, ...]
    stop: Site


@dataclass(frozen=True)
class Layer:
    """One call of one layer module: the stream comes in, groups of steps move it, it leaves.

    A module with several self-attention branches in sequence is several layers, told apart by `part`. `problem` says why the
    account of this layer cannot be read (then `groups` is empty), in the words of the coverage table.
    """

    path: str
    number: int
    stack: str
    index: int
    before: Site | None
    groups: tuple[Group, ...] = ()
    problem: str = ""
    calls: tuple[tuple[str, int], ...] = ()
    part: int = 0

    @property
    def steps(self) -> Iterator[Step]:
        """Every step of the layer in order."""
        for group in self.groups:
            yield from group.steps

    @property
    def heard(self) -> list[Heard]:
        """The attention branches."""
        return [step for step in self.steps if isinstance(step, Heard)]

    @property
    def after(self) -> Site | None:
        """Where the stream leaves the layer."""
        return self.groups[-1].stop if self.groups else None

    @property
    def placement(self) -> Placement:
        """Where the norms stand: on the stream after the sum (post), on the branches (sandwich), neither (pre), or parallel."""
        if any(isinstance(step, Rescaling) and step.path for step in self.steps):
            return "post"
        reads = [s.projected if isinstance(s, Heard) else s.read for s in self.steps if not isinstance(s, Rescaling)]
        if any(isinstance(op, NormOp) for read in reads for op in read.ops):
            return "sandwich"
        kinds = [{type(step) for step in group.steps} for group in self.groups]
        return "parallel" if any({Heard, Alone} <= kind for kind in kinds) else "pre"

    def summary(self, heads: Mapping[tuple[str, int], tuple[int, int, int, int]]) -> str:
        """The layer in one line: its steps in order, with heads and projections; `heads` is the anatomy's."""
        if self.problem:
            return f"unsupported: {self.problem}"
        return f"{self.placement}-norm: " + ", ".join(self._step(step, heads) for step in self.steps)

    def _step(self, step: Step, heads: Mapping[tuple[str, int], tuple[int, int, int, int]]) -> str:
        if isinstance(step, Rescaling):
            return f"rescaling by {self._own(step.path)}" if step.path else "rescaling by a factor"
        if isinstance(step, Alone):
            return f"{step.kind} {self._own(step.path)}"
        count, groups, width, _ = heads[step.calls[0]]
        grouped = f" ({groups} key/value)" if groups != count else ""
        extras = " gated" * step.gated + f" through {len(step.projected.ops)} norms or factors" * bool(step.projected.ops)
        kind = "cross-attention" if step.cross else "attention"
        name, projection = self._own(step.calls[0][0]), self._own(step.projection)
        return f"{kind} {name}, {count} heads{grouped} of {width}, out by {projection}{extras}"

    def _own(self, path: str) -> str:
        return path.removeprefix(f"{self.path}.")

    @property
    def status(self) -> Literal["closed", "opaque", "unsupported"]:
        """`closed`: every entry can be read; `opaque`: no token-token matrix in this layer; else `unsupported`."""
        if self.problem:
            return "unsupported"
        return "closed" if self.heard else "opaque"


@dataclass(frozen=True)
class Head:
    """From the main stack's end to the logits: operations before the unembedding at `path`, and factors after it.

    `capped` where the logits are squashed afterwards; `problem` says why the logits are no linear function of the stream.
    """

    path: str = ""
    before: tuple[Op, ...] = ()
    after: tuple[ScaleOp, ...] = ()
    capped: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Anatomy:
    """What a model is made of, found by structure from one small traced pass.

    Attributes:
        layers: every layer call in order of execution, of all stacks.
        stacks: stack name -> path of the list that holds its layers; the main stack is the last.
        silent: attention-like modules that never called the seam: what they do is not seen.
        outside: attention calls that belong to no layer of the account.
        heads: attention call -> query heads, key/value heads, width of a query, width of a value.
        lengths: attention call -> sequences, queries and keys in the pass that the anatomy was found on.
        widths: stack -> width of its residual stream.
        head: the way from the main stack's end to the logits.
        overwritten: sites whose tensor the model later changes in place: a reader must copy it at once.
    """

    layers: tuple[Layer, ...]
    stacks: dict[str, str]
    silent: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    heads: dict[tuple[str, int], tuple[int, int, int, int]] = field(default_factory=dict)
    lengths: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    head: Head = Head(problem="not looked for")
    overwritten: frozenset[Site] = frozenset()

    def stack(self, name: str) -> tuple[Layer, ...]:
        """The layers of one stack in order of execution."""
        return tuple(layer for layer in self.layers if layer.stack == name)

    @property
    def main(self) -> str:
        """The name of the main stack."""
        return next(reversed(self.stacks), "")

    @property
    def problems(self) -> Counter[str]:
        """Reasons why layers cannot be read, with how many layers each concerns."""
        return Counter(layer.problem for layer in self.layers if layer.problem)
