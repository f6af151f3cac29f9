"""A run read layer by layer: the numbers of every entry of the account, at the places that the anatomy names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from sociogram.core.errors import AccountError
from sociogram.models.anatomy import Alone, Anatomy, Group, Heard, Layer, NormOp, Op, Read, Rescaling, ScaleOp, Step
from sociogram.models.attention import AttentionCall, log_sum_exp, plain_channels
from sociogram.models.branch import apply_ops, behind_norm, frozen_norm, scaled, with_grafts
from sociogram.models.frozen import projection_matrix
from sociogram.models.joining import joined
from sociogram.models.run import GroupRun, HeardRun, LayerError, LayerRun, Told
from sociogram.models.seam import Session, unwatched
from sociogram.models.trace import Site, Trace, at_slot


@runtime_checkable
class InBlocks(Protocol):
    """Somebody who reads attention calls without ever holding all of their weights."""

    def listen(self, stack: str, step: Heard, call: AttentionCall) -> tuple[Tensor, Any]:
        """A call's output `[batch, query, head, d_value]`, and what was kept of it."""

    def read(self, stack: str, step: Heard, call: AttentionCall, weights: Tensor, sink: Tensor | None, output: Tensor) -> Any:
        """What is kept of a call whose weights are there."""


@dataclass(eq=False)
class Reader:
    """Collects what a run shows at the sites of an anatomy and hands each layer on as soon as it is complete.

    An observer of the seam. `take` receives each `LayerRun`; `weights` and `totals` say whether the weights and the rows'
    log-sum-exp are wanted; `place` may offer the memory that a layer's self-attention weights go into. A `streamer` reads calls
    in blocks, in place of weights that nobody keeps or beside them.
    """

    model: nn.Module
    anatomy: Anatomy
    take: Callable[[LayerRun], None]
    weights: bool = True
    totals: bool = False
    place: Callable[[Layer, AttentionCall], Tensor | None] | None = None
    streamer: InBlocks | None = None
    _values: dict[Site, Tensor] = field(default_factory=dict)
    _told: dict[tuple[str, int], Told] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)
    _originals: dict[Site, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Plan which sites and calls the readable layers need."""
        self.layers = [layer for layer in self.anatomy.layers if not layer.problem]
        self._sites = {site for layer in self.layers for site in _sites(layer)}
        self._calls = {name for layer in self.layers for step in layer.heard for name in step.calls}
        self._places = {
            step.calls[0]: layer for layer in self.layers for step in layer.heard if len(step.calls) == 1 and not step.cross
        }
        self._steps = {name: (layer, step) for layer in self.layers for step in layer.heard for name in step.calls}
        self._streamed: dict[tuple[str, int], Any] = {}
        self._ends: dict[tuple[str, int], list[Layer]] = {}
        for layer in self.layers:
            self._ends.setdefault((layer.path, layer.number), []).append(layer)

    @property
    def overwritten(self) -> bool:
        """Whether the model writes in place over something that is read here."""
        return bool(self._sites & self.anatomy.overwritten)

    def wants_weights(self, call: AttentionCall) -> bool:
        """Weights are wanted for the calls of readable layers, and wherever keys from outside are to be told from the others."""
        return (self.weights or (bool(call.outside) and self.streamer is None)) and call.name in self._calls

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """Keep what the seam showed until the layer is complete."""
        if call.name in self._calls:
            total = log_sum_exp(call) if self.totals and self.streamer is None else None
            query, key = plain_channels(call)
            streamed = self._streamed.pop(call.name, None)
            if self.streamer is not None and weights is not None:
                layer, step = self._steps[call.name]
                streamed = self.streamer.read(layer.stack, step, call, weights, sink, output)
            self._told[call.name] = Told(
                query=query.detach(),
                key=key.detach(),
                value=call.value.detach(),
                weights=None if weights is None or (self.streamer and not self.weights) else weights.detach(),
                sink=None if sink is None else sink.detach(),
                mixed=output.detach(),
                scale=call.scale,
                log_sum_exp=total,
                outside=call.outside,
                projections=call.projections,
                streamed=streamed,
            )

    def listen(self, call: AttentionCall) -> Tensor | None:
        """The call's output, where the streamer computes it."""
        if self.streamer is None or call.name not in self._calls:
            return None
        layer, step = self._steps[call.name]
        output, self._streamed[call.name] = self.streamer.listen(layer.stack, step, call)
        return output

    def buffer(self, call: AttentionCall) -> Tensor | None:
        """Where the weights of a call should go, if whoever takes the layers has a place for them."""
        layer = self._places.get(call.name)
        return None if layer is None or self.place is None else self.place(layer, call)

    def attach(self, session: Session) -> None:
        """Hook into a session: one hook per module and end, and one where each layer ends."""
        self._originals = session.doors.originals
        ends = {(site.path, site.end) for site in self._sites} | {(path, "out") for path, _ in self._ends}
        for path in sorted({path for path, _ in ends}):
            inputs = [s for s in self._sites if s.path == path and s.end == "in"]
            session.on_input(path, partial(self._entered, path, inputs))
            if (path, "out") in ends:
                outputs = [s for s in self._sites if s.path == path and s.end == "out"]
                session.on_output(path, partial(self._left, path, outputs))

    def new_pass(self) -> None:
        """Modules' calls are counted anew."""
        self._numbers.clear()

    def read_trace(self, trace: Trace) -> None:
        """Take the layers of a pass that was traced, whose tensors are all still there, instead of running it again."""
        for site in self._sites:
            self._values[site] = trace.value(dict(trace.ends(site.path, site.number, site.end))[site.slot])
        for node, call in trace.attention.items():
            self.observe(call, None, None, trace.value(node))
        with unwatched(), torch.no_grad():
            for layer in self.layers:
                self.take(self._checked(layer))

    def _entered(self, path: str, sites: list[Site], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        number = self._numbers[path]
        self._numbers[path] += 1
        for site in sites:
            if site.number == number:
                self._keep(site, (args, kwargs))

    def _left(self, path: str, sites: list[Site], output: Any) -> None:
        number = self._numbers[path] - 1
        for site in sites:
            if site.number == number:
                self._keep(site, output)
        for layer in self._ends.get((path, number), []):
            with unwatched():
                self.take(self._checked(layer))
        if (path, number) in self._ends:
            self._release(path, number)

    def _checked(self, layer: Layer) -> LayerRun:
        try:
            return self._layer(layer)
        except (RuntimeError, KeyError) as error:
            where = (layer.path, layer.number, layer.part)
            raise LayerError(where, f"its numbers do not fit together ({str(error).splitlines()[0]})") from error

    def _keep(self, site: Site, where: Any) -> None:
        try:
            value = at_slot(where, site.slot).detach()
            self._values[site] = value.clone() if site in self.anatomy.overwritten else value
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise AccountError(
                f"{site.path} was called in another form than when the anatomy was found (nothing at {site.slot}, {site.end}). "
                "Record the same kind of input that the anatomy was made for, or make it anew with model.find_anatomy(inputs)."
            ) from error

    def _release(self, path: str, number: int) -> None:
        inside = path + "."
        for site in [s for s in self._values if s.path == path or s.path.startswith(inside)]:
            del self._values[site]
            self._originals.pop(site, None)
        for name in [n for n in self._told if n[0] == path or n[0].startswith(inside)]:
            del self._told[name]

    def _layer(self, layer: Layer) -> LayerRun:
        assert layer.before is not None
        before = self._values[layer.before]
        shape = (before.shape[0] if before.ndim > 2 else 1, -1, before.shape[-1])
        as_tokens = partial(_as_tokens, shape=before.reshape(shape).shape)
        groups = [self._group(group, as_tokens, layer.after) for group in layer.groups]
        return LayerRun(layer, as_tokens(before), groups)

    def _group(self, group: Group, as_tokens: Callable[[Tensor], Tensor], end: Site | None) -> GroupRun:
        branches = [self._heard(step, as_tokens) for step in group.steps if isinstance(step, Heard)]
        heard = [run for branch in branches for run in branch.split()]
        alone = [(s, as_tokens(self._read(s.read))) for s in group.steps if isinstance(s, Alone)]
        changes = [s for s in group.steps if isinstance(s, Rescaling)]
        moves = [as_tokens(self._read(s.after)) - as_tokens(self._read(s.before)) for s in changes]
        rescaling = torch.stack(moves).sum(0) if moves else None
        edited = self._edited(group, end)
        after = as_tokens(self._values[group.stop])
        return GroupRun(group, heard, alone, rescaling, after, None if edited is None else as_tokens(edited))

    def _edited(self, group: Group, end: Site | None) -> Tensor | None:
        """What edits changed in the group: in its branches on their way into the sum, and where the layer ends."""
        doors = [read.door for step in group.steps if not isinstance(step, Rescaling) for read in _reads(step)]
        doors += [Read(group.stop)] if group.stop == end else []
        changes = [
            apply_ops(self.model, self._values[d.site], d) - apply_ops(self.model, self._originals[d.site], d)
            for d in doors
            if d.site in self._originals
        ]
        return torch.stack([change.reshape(changes[0].shape) for change in changes]).sum(0) if changes else None

    def _read(self, read: Read) -> Tensor:
        """The value at a site, taken through the operations between there and the stream."""
        return apply_ops(self.model, self._own(read.door.site), read.door)

    def _own(self, site: Site) -> Tensor:
        """What a module gave out, before any edit; but what it took in, after it."""
        return self._originals.get(site, self._values[site]) if site.end == "out" else self._values[site]

    def _heard(self, step: Heard, as_tokens: Callable[[Tensor], Tensor]) -> HeardRun:
        told = joined([self._told[name] for name in step.calls])
        taken = self._values[step.taken]
        module = self.model.get_submodule(step.projection)
        matrix, bias = projection_matrix(module, taken.shape[-1], taken)
        matrix = with_grafts(matrix, told.projections)
        scale: Tensor | None = None
        if step.norm is not None:
            before, after = (
                self._values[site].reshape(*told.mixed.shape[:2], -1) for site in (step.norm.before, step.norm.after)
            )
            norm = frozen_norm(self.model, step.norm, before)
            (matrix, bias), scale = behind_norm(norm, matrix, bias), norm.scale(before, after)
        if step.projected.sign != 1:
            matrix, bias = -matrix, -bias
        for op in step.projected.ops:
            matrix, bias, scale = self._through(op, matrix, bias, scale, as_tokens)
        shape = told.mixed.shape
        out = as_tokens(self._read(step.projected))
        if shape[:2] != out.shape[:2]:
            raise RuntimeError("tokens are re-arranged between the attention call and the stream")
        matrix = matrix.unflatten(0, (shape[2], shape[3]))
        gate = _gate(taken.reshape(shape), told.mixed) if step.gated else None
        return HeardRun(step, told, matrix, bias, gate, scale, out, module)

    def _through(self, op: Op, matrix: Tensor, bias: Tensor, scale: Tensor | None, as_tokens: Callable[[Tensor], Tensor]) -> Any:
        """A projection's matrix, bias and scale per token, carried on through one operation of the branch."""
        if isinstance(op, ScaleOp):
            return scaled(self.model, matrix, op), scaled(self.model, bias, op), scale
        before, after = as_tokens(self._own(op.before)), as_tokens(self._own(op.after))
        norm = frozen_norm(self.model, op, before)
        step = norm.scale(before, after)
        bias = norm.linear(bias) * step[..., None] + norm.bias
        return norm.linear(matrix), bias, step if scale is None else scale * step


def _as_tokens(value: Tensor, shape: torch.Size) -> Tensor:
    return value.reshape(shape)


def _gate(taken: Tensor, mixed: Tensor) -> Tensor:
    """What the projection's input is, per channel, of the attention's output; 0 where there was nothing to gate."""
    return torch.where(mixed == 0, torch.zeros_like(mixed), taken / torch.where(mixed == 0, torch.ones_like(mixed), mixed))


def _sites(layer: Layer) -> Iterator[Site]:
    assert layer.before is not None
    yield layer.before
    for group in layer.groups:
        yield group.stop
        for step in group.steps:
            if isinstance(step, Heard):
                yield step.taken
                yield from () if step.norm is None else (step.norm.before, step.norm.after)
            for read in _reads(step):
                yield read.site
                for op in read.ops:
                    if isinstance(op, NormOp):
                        yield op.before
                        yield op.after


def _reads(step: Step) -> tuple[Read, ...]:
    if isinstance(step, Heard):
        return (step.projected,)
    return (step.read,) if isinstance(step, Alone) else (step.before, step.after)
