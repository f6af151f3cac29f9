"""The anatomy of a whole model from one traced pass: which modules are layers, which stacks they form, what stays unseen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from torch import nn

from sociogram.models.anatomy import Alone, Anatomy, Heard, Layer
from sociogram.models.head import find_head
from sociogram.models.mixing import Mixing
from sociogram.models.solve import LayerSolver, Unsolved, in_list, modules_above
from sociogram.models.trace import Trace
from sociogram.models.verify import verified

CallName = tuple[str, int]


def discover(model: nn.Module, inputs: dict[str, Any]) -> Anatomy:
    """Run the model once on `inputs` (a few tokens are enough), read its anatomy off the trace and prove it on the same pass.

    Layers that structure cannot tell, or whose entries do not add up, are kept, with the reason in `Layer.problem`.

    Raises:
        UnsupportedModelError: the model takes no attention function from outside.
    """
    trace = Trace(model)
    trace.run(inputs)
    return verified(model, inputs, _Discovery(trace).anatomy(), trace)


class _Discovery:
    """The search for layers on one trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.mixing = Mixing(trace)
        self.solved: dict[CallName, Layer] = {}
        self.tried: dict[CallName, str] = {}
        self.outside: list[str] = []

    def anatomy(self) -> Anatomy:
        for node in self.trace.attention:
            if not any(self._covers(layer, node) for layer in self.solved.values()):
                self._place(node)
        if not self.trace.attention:
            self._unheard()
        self._siblings()
        ordered = sorted(self.solved.values(), key=lambda layer: self.trace.spans[layer.path, layer.number].first)
        layers, stacks = _stacked([part for layer in ordered for part in _parts(layer)], self.trace)
        heads = {c.name: (*c.query.shape[1:2], c.key.shape[1], c.query.shape[-1], c.value.shape[-1]) for c in self._calls()}
        widths = {layer.stack: self._width(layer) for layer in layers}
        lengths = {c.name: (c.query.shape[0], c.query.shape[2], c.key.shape[2]) for c in self._calls()}
        main = next(reversed(stacks), "")
        last = next((layer for layer in reversed(layers) if layer.stack == main), None)
        head = find_head(self.trace, last)
        return Anatomy(
            tuple(layers),
            stacks,
            tuple(self._silent()),
            tuple(self.outside),
            heads,
            lengths,
            widths,
            head,
            self.trace.overwritten(),
        )

    def _width(self, layer: Layer) -> int:
        ends = self.trace.ends(layer.path, layer.number, "out")
        return next((self.trace.nodes[node].shape[-1] for _, node in ends if self.trace.nodes[node].shape), 0)

    def _calls(self) -> Iterator[Any]:
        yield from self.trace.attention.values()

    def _covers(self, layer: Layer, node: int) -> bool:
        span = self.trace.spans[layer.path, layer.number]
        return span.first <= node < span.last

    def _place(self, node: int) -> None:
        """Find the layer around one attention call: the nearest list element that solves and holds more than attention alone."""
        best: Layer | None = None
        first: CallName | None = None
        for path, number in self._around(node):
            first = first or (path, number)
            layer = self._try(path, number)
            if layer is None:
                continue
            if best is None or len(layer.heard) <= 3:
                best = layer
            if any(isinstance(step, Alone) for step in layer.steps):
                break
        if best is not None:
            self.solved[best.path, best.number] = best
        elif first is not None:
            self.solved[first] = Layer(*first, "", 0, None, problem=self.tried[first], calls=self._calls_in(first))
        else:
            self.outside.append(self.trace.attention[node].path)

    def _around(self, node: int) -> Iterator[CallName]:
        """Calls of list elements around an attention call, nearest first; without any, every module around it."""
        path = self.trace.attention[node].path
        ancestors = [p for p in modules_above(path) if p]
        elements = [p for p in ancestors if in_list(self.trace.model, p)]
        for candidate in elements or ancestors[1:]:
            number = self._number_at(candidate, node)
            if number is not None:
                yield candidate, number

    def _number_at(self, path: str, node: int) -> int | None:
        for (name, number), span in self.trace.spans.items():
            if name == path and span.first <= node < span.last:
                return number
        return None

    def _try(self, path: str, number: int) -> Layer | None:
        if (path, number) in self.tried:
            return None
        try:
            return LayerSolver(self.trace, self.mixing, path, number).solve()
        except Unsolved as reason:
            self.tried[path, number] = str(reason)
        except RecursionError:
            self.tried[path, number] = "too large a module to follow"
        return None

    def _calls_in(self, name: CallName) -> tuple[CallName, ...]:
        span = self.trace.spans[name]
        return tuple(c.name for n, c in self.trace.attention.items() if span.first <= n < span.last)

    def _siblings(self) -> None:
        """Layers of the same lists that hold no attention call: hybrids."""
        lists = {layer.path.rpartition(".")[0] for layer in self.solved.values() if in_list(self.trace.model, layer.path)}
        for path, number in list(self.trace.spans):
            if path.rpartition(".")[0] in lists and (path, number) not in self.solved:
                layer = self._try(path, number)
                reason = self.tried.get((path, number), "")
                self.solved[path, number] = layer or Layer(path, number, "", 0, None, problem=reason)

    def _unheard(self) -> None:
        """Layers of a model without attention: the outermost elements of lists whose account can be read, token by token.

        Not where something that looks like attention ran unseen: that conversation is missed, and no entry stands for it. And
        only where the tokens are those that went in, so that rows of a picture or of a spectrum are not taken for them.
        """
        if any(self._silent()):
            return
        lengths = {self.trace.nodes[n].shape[1] for _, n in self.trace.ends("", 0, "in") if len(self.trace.nodes[n].shape) > 1}
        for path, number in sorted(self.trace.spans, key=lambda name: name[0].count(".")):
            inside = any(path.startswith(f"{layer.path}.") for layer in self.solved.values())
            if inside or not in_list(self.trace.model, path) or (layer := self._try(path, number)) is None:
                continue
            extent = _extent(layer, self.trace)
            if len(extent) == 3 and extent[1] in lengths:
                self.solved[path, number] = layer

    def _silent(self) -> Iterator[str]:
        """Modules that look like attention (they hold a head count) and ran, but never called the seam."""
        called = {call.path for call in self._calls()}
        for path, number in self.trace.spans:
            module = self.trace.model.get_submodule(path)
            named = "attention" in type(module).__name__.lower() and any(hasattr(module, n) for n in _HEAD_COUNTS)
            if number == 0 and path and named and not any(c == path or c.startswith(path + ".") for c in called):
                yield path


def _parts(layer: Layer) -> Iterator[Layer]:
    """Cut a layer before its second and later self-attention branches, so that each part has at most one."""
    cuts = [i for i, group in enumerate(layer.groups) if any(isinstance(s, Heard) and not s.cross for s in group.steps)][1:]
    before = layer.before
    for part, (start, stop) in enumerate(pairwise([0, *cuts, len(layer.groups)])):
        groups = layer.groups[start:stop]
        calls = tuple(name for group in groups for s in group.steps if isinstance(s, Heard) for name in s.calls)
        yield replace(layer, groups=groups, before=before, part=part, calls=calls if cuts else layer.calls)
        before = groups[-1].stop if groups else None


_HEAD_COUNTS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "num_key_value_heads", "num_key_value_groups")


def _stacked(layers: list[Layer], trace: Trace) -> tuple[list[Layer], dict[str, str]]:
    """Group layers into stacks by the list that holds them, name the stacks, number the layers; the main stack comes last."""
    members: dict[tuple[str, tuple[int, ...]], list[Layer]] = {}
    for layer in layers:
        members.setdefault((_list_of(layer.path, trace.model), _extent(layer, trace)), []).append(layer)
    order = sorted(members, key=lambda key: (_is_main(members[key]), trace.spans[_name(members[key][-1])].last))
    stacks: dict[str, str] = {}
    numbered: list[Layer] = []
    for key in order:
        name = _free_name(_stack_name(key[0], members[key], trace), stacks)
        stacks[name] = key[0]
        numbered += [replace(layer, stack=name, index=i) for i, layer in enumerate(members[key])]
    return numbered, stacks


def _name(layer: Layer) -> CallName:
    return layer.path, layer.number


def _list_of(path: str, model: nn.Module) -> str:
    return path.rpartition(".")[0] if in_list(model, path) else path


def _extent(layer: Layer, trace: Trace) -> tuple[int, ...]:
    """The shape of the stream that leaves a layer: stages of a pyramid in one list are stacks of their own."""
    if layer.after is None or layer.after.path != layer.path:
        return ()
    return next((trace.nodes[n].shape for slot, n in trace.ends(layer.path, layer.number, "out") if slot == layer.after.slot), ())


def _is_main(layers: list[Layer]) -> tuple[bool, bool]:
    """Stacks that listen to another sequence come last, lone blocks first."""
    return any(step.cross for layer in layers for step in layer.heard), len(layers) > 1


_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vision", ("vision", "visual", "image", "vit", "pixel")),
    ("audio", ("audio", "speech", "feature_extractor")),
    ("encoder", ("encoder",)),
    ("decoder", ("decoder",)),
    ("text", ("text_model", "language_model", "text")),
)


def _stack_name(path: str, layers: list[Layer], trace: Trace) -> str:
    for name, words in _WORDS[:2]:
        if any(word in path for word in words):
            return name
    if any(step.cross for layer in layers for step in layer.heard):
        return "decoder"
    for name, words in _WORDS[2:4]:
        if any(word in path.split(".") for word in words):
            return name
    return "decoder" if _is_causal(layers, trace) else "encoder"


def _is_causal(layers: list[Layer], trace: Trace) -> bool:
    from sociogram.models.attention import additive, allowed

    names = {name for layer in layers for name in layer.calls}
    for call in trace.attention.values():
        if call.name in names:
            keys = call.key.shape[-2]
            permitted = allowed(call)
            if permitted is None and (extra := additive(call)) is not None:
                permitted = extra > -1e4
            return permitted is not None and keys > 1 and not bool(permitted[..., 0, 1:].any())
    return True


def _free_name(name: str, taken: dict[str, str]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f"{name}_{number}"
        number += 1
    return free
