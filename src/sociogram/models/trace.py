"""One small forward pass as a graph: which tensor was computed from which, and at which module's door it can be read.

The anatomy is found on this graph, by what happens to each attention call's output, never by the names of a family's modules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from sociogram.models.attention import AttentionCall
from sociogram.models.seam import Session, watching

Slot = tuple[int | str, ...]


class Site(NamedTuple):
    """A place where a running model shows a tensor: going into or coming out of one call of one module."""

    path: str
    number: int
    end: Literal["in", "out"]
    slot: Slot


class Ref(NamedTuple):
    """A tensor argument, by the index of the node that made it."""

    node: int


@dataclass(slots=True)
class Node:
    """One tensor of the pass: the operation that made it and the nodes it was made from.

    `op` is the operation's short name (`"add"`, `"linear"`), `"attention"` for the seam's output, `"parameter"` for weights and
    buffers, `"input"` for tensors that entered from outside. `constant` is true where only weights and numbers went in.
    `heard` holds the attention calls (by their node) that the tensor depends on.
    """

    index: int
    op: str
    shape: tuple[int, ...]
    floating: bool
    inputs: tuple[int, ...] = ()
    func: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    item: int | None = None
    parameter: str | None = None
    constant: bool = False
    heard: frozenset[int] = frozenset()


class Span(NamedTuple):
    """The nodes made during one call of a module: `first <= index < last`."""

    first: int
    last: int


def tensors_in(value: Any, slot: Slot = ()) -> Iterator[tuple[Slot, Tensor]]:
    """Every tensor in nested tuples, lists and dicts, with its address."""
    if isinstance(value, Tensor):
        yield slot, value
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*slot, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_in(item, (*slot, key))


def at_slot(value: Any, slot: Slot) -> Any:
    """The part of nested tuples and dicts at an address of `tensors_in`."""
    for step in slot:
        value = value[step]
    return value


class Trace(TorchFunctionMode):
    """Records the graph of the pass that runs inside it. Also an observer of the seam.

    Attributes:
        nodes: in order of execution.
        sites: node index -> the places where that tensor can be read, in order.
        spans: (module path, call number) -> which nodes its forward made.
        attention: node index of each attention call's output -> the call.
    """

    def __init__(self, model: nn.Module) -> None:
        """Prepare for one pass of `model`."""
        super().__init__()
        self.model = model
        self.nodes: list[Node] = []
        self.sites: dict[int, list[Site]] = {}
        self.spans: dict[tuple[str, int], Span] = {}
        self.attention: dict[int, AttentionCall] = {}
        self._index: dict[int, int] = {}
        self._keep: list[Tensor] = []
        self._calls: Counter[str] = Counter()
        self._open: list[tuple[str, int, int]] = []
        self._names = _named_tensors(model)
        self._changed: set[int] = set()
        self._arguments: dict[tuple[str, int], tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def wants_weights(self, call: AttentionCall) -> bool:
        """The graph needs no weights."""
        return False

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        """Enter the call's output into the graph as one node."""
        with torch._C.DisableTorchFunction():
            inputs = tuple(self.node_of(t) for t in (call.query, call.key, call.value))
            node = self._add("attention", output, inputs)
            node.heard = node.heard | {node.index}
            self.attention[node.index] = call

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and note what it made from what."""
        kwargs = kwargs or {}
        refs = _refs(self, args), _refs(self, kwargs)
        result = func(*args, **kwargs)
        name = _op_name(func)
        if name == "__setitem__":
            self._changed.add(_storage(args[0]))
            self._record(name, func, refs, args[0], None)
        else:
            inputs = {id(t) for _, t in tensors_in((args, kwargs))}
            several = not isinstance(result, Tensor)
            if _in_place(name, kwargs):
                self._changed.update(_storage(t) for _, t in tensors_in(result))
            for slot, tensor in tensors_in(result):
                if id(tensor) not in inputs or _in_place(name, kwargs):
                    self._record(name, func, refs, tensor, slot[0] if several and slot else None)
        return result

    def node_of(self, tensor: Tensor) -> int:
        """The node that made this tensor, entering it as a parameter or an input if it is new."""
        index = self._index.get(id(tensor))
        if index is None:
            name = self._names.get(id(tensor))
            node = self._add("input" if name is None else "parameter", tensor, ())
            node.parameter, node.constant = name, name is not None
            index = node.index
        return index

    def ends(self, path: str, number: int, end: str) -> list[tuple[Slot, int]]:
        """The tensors at one end of a module's call, as (slot, node)."""
        return self._ends.get((path, number, end), [])

    def arguments(self, path: str, number: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What a module was called with."""
        return self._arguments[path, number]

    def run(self, inputs: dict[str, Any]) -> Any:
        """One forward pass of the model, recorded. Returns the model's output."""
        self._ends: dict[tuple[str, int, str], list[tuple[Slot, int]]] = {}
        with torch.no_grad(), watching(self.model, [self]) as session:
            for path, module in self.model.named_modules():
                entering, leaving = self._entering(path, session), self._leaving(session)
                session.hooks.append(module.register_forward_pre_hook(entering, with_kwargs=True))
                session.hooks.append(module.register_forward_hook(leaving, with_kwargs=True))
            with self:
                return self.model(**inputs)

    def overwritten(self) -> frozenset[Site]:
        """Sites whose memory an in-place operation touched at any time in the pass (before or after; the cautious answer)."""
        mutable = {n for n in self.sites if _storage(self._keep[n]) in self._changed}
        return frozenset(site for n in mutable for site in self.sites[n])

    def value(self, index: int) -> Tensor:
        """The tensor of a node, as it was when the pass ended."""
        return self._keep[index]

    def _add(self, op: str, tensor: Tensor, inputs: tuple[int, ...]) -> Node:
        heard: frozenset[int] = frozenset().union(*(self.nodes[i].heard for i in inputs))
        node = Node(len(self.nodes), op, tuple(tensor.shape), tensor.is_floating_point(), inputs, heard=heard)
        self.nodes.append(node)
        self._keep.append(tensor)
        self._index[id(tensor)] = node.index
        return node

    def _record(self, op: str, func: Any, refs: tuple[Any, Any], tensor: Tensor, item: Any) -> None:
        inputs = tuple(ref.node for _, ref in _refs_in(refs))
        node = self._add(op, tensor, inputs)
        node.func, node.args, node.kwargs = func, refs[0], refs[1]
        node.item = item if isinstance(item, int) else None
        node.constant = all(self.nodes[i].constant for i in inputs)

    def _entering(self, path: str, session: Session) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            if not session.is_active():  # another thread's pass
                return
            number = self._calls[path]
            self._calls[path] += 1
            self._open.append((path, number, len(self.nodes)))
            self._arguments[path, number] = (args, kwargs)
            self._note(path, number, "in", (args, kwargs))

        return hook

    def _leaving(self, session: Session) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, ___: Any, output: Any) -> None:
            if not session.is_active():
                return
            path, number, first = self._open.pop()
            self.spans[path, number] = Span(first, len(self.nodes))
            self._note(path, number, "out", output)

        return hook

    def _note(self, path: str, number: int, end: Literal["in", "out"], value: Any) -> None:
        for slot, tensor in tensors_in(value):
            with torch._C.DisableTorchFunction():  # a look at a tensor's shape is no step of the model
                node = self.node_of(tensor)
            self.sites.setdefault(node, []).append(Site(path, number, end, slot))
            self._ends.setdefault((path, number, end), []).append((slot, node))


def _storage(tensor: Tensor) -> int:
    """Where a tensor's memory is; lazy masks have none."""
    return 0 if type(tensor) is not Tensor else tensor.untyped_storage().data_ptr()


def _named_tensors(model: nn.Module) -> dict[int, str]:
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {id(tensor): name for name, tensor in named}


def _refs(trace: Trace, value: Any) -> Any:
    if isinstance(value, Tensor):
        return Ref(trace.node_of(value))
    if isinstance(value, tuple | list):
        return tuple(_refs(trace, item) for item in value)
    if isinstance(value, dict):
        return {key: _refs(trace, item) for key, item in value.items()}
    return value


def _refs_in(value: Any) -> Iterator[tuple[Slot, Ref]]:
    if isinstance(value, Ref):
        yield (), value
    elif isinstance(value, tuple):
        for item in value:
            yield from _refs_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _refs_in(item)


def _op_name(func: Any) -> str:
    name: str = getattr(func, "__name__", "")
    if name == "__get__":
        owner = resolve_name(func) or ""
        return owner.split(".")[-2] if "." in owner else "get"
    return name


def _in_place(name: str, kwargs: dict[str, Any]) -> bool:
    dunder = name.startswith("__i") and name.endswith("__") and name not in ("__index__", "__invert__", "__int__")
    return dunder or "out" in kwargs or (name.endswith("_") and not name.endswith("__"))
