"""Which tensors carry the residual stream or an attention call's output by sums and frozen factors alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from sociogram.models.anatomy import Constant, NormOp
from sociogram.models.attention import AttentionCall
from sociogram.models.constants import recipe
from sociogram.models.frozen import FrozenNorm, freeze_norm
from sociogram.models.trace import Node, Ref, Site, Span, Trace

ADD = frozenset({"add", "__add__", "__radd__", "__iadd__", "add_"})
SUB = frozenset({"sub", "__sub__", "__rsub__", "__isub__", "sub_", "subtract"})
MUL = frozenset({"mul", "__mul__", "__rmul__", "__imul__", "mul_", "multiply"})
DIV = frozenset({"div", "__truediv__", "__div__", "__itruediv__", "div_", "divide", "true_divide"})
LINEAR = frozenset({"linear", "matmul", "__matmul__", "mm", "addmm", "bmm", "einsum", "baddbmm", "conv1d"})
_ARRANGED = (
    "view view_as reshape reshape_as flatten unflatten unsqueeze squeeze expand expand_as transpose permute swapaxes swapdims"
)
_CAST = "contiguous clone to float double half bfloat16 type type_as dropout detach movedim T mT data alias __copy__ positive"
SHAPE = frozenset(f"{_ARRANGED} {_CAST}".split())


def first_ref(node: Node) -> int:
    """The tensor that a change of shape or type acts on."""
    head = next(iter((*node.args, *node.kwargs.values())), None)
    return head.node if isinstance(head, Ref) else node.inputs[0]


def operands(node: Node) -> list[tuple[int | None, int]]:
    """The two operands of a sum or difference with their signs; None where one is a number."""
    pair = (*node.args, *(v for k, v in node.kwargs.items() if k in ("input", "other")))[:2]
    signs = (1, 1) if node.op in ADD else (1, -1)
    if node.op == "__rsub__":
        signs = (-1, 1)
    return [(v.node if isinstance(v, Ref) else None, sign) for v, sign in zip(pair, signs, strict=True)]


@dataclass(frozen=True)
class Chain:
    """The way from a projection's input back to the attention calls that feed it."""

    calls: tuple[int, ...]
    gated: bool
    norm: NormOp | None = None


class Carry:
    """`carry(node)`: what reaches a node linearly: `"stream"`, attention calls by their nodes, or nothing.

    Linear means: through sums, changes of shape, norms (with this run's statistics), factors that do not depend on what is
    carried, and, for attention calls only, linear maps with constant weights.
    """

    def __init__(self, trace: Trace, span: Span, streams: set[int], calls: Mapping[int, AttentionCall]) -> None:
        """Analyse the nodes of `span`, in which `streams` come in."""
        self.trace, self.span, self.streams, self.calls = trace, span, streams, calls
        self._memo: dict[int, frozenset[int | str]] = {}
        self._norms: dict[int, tuple[NormOp, int] | None] = {}

    def __call__(self, node: int) -> frozenset[int | str]:
        """What the node carries (iterative over a memo: traces are long, recursion is short within one layer)."""
        if node not in self._memo:
            self._memo[node] = frozenset()  # cuts cycles of in-place operations short
            self._memo[node] = self._carried(node)
        return self._memo[node]

    def _carried(self, index: int) -> frozenset[int | str]:
        node = self.trace.nodes[index]
        if index in self.streams:
            return frozenset({"stream"})
        if index in self.calls:
            return frozenset({index})
        if not self.span.first <= index < self.span.last or node.constant:
            return frozenset()
        if (found := self._norm(index)) is not None:
            return self(found[1])
        if node.op in ADD | SUB:
            return frozenset().union(*(self(n) for n, _ in operands(node) if n is not None))
        if node.op in MUL | DIV:
            return self._product(node)
        if node.op in LINEAR:
            return self._linear(node)
        if node.op == "cat":
            return self._joined(node)
        return self(first_ref(node)) if self.is_shape(index) else frozenset()

    def _product(self, node: Node) -> frozenset[int | str]:
        carried = [(n, self(n)) for n in node.inputs]
        full = [(n, c) for n, c in carried if c]
        if len(full) != 1 or (node.op in DIV and full[0][0] != first_ref(node)):
            return frozenset()
        kept, carries = full[0]
        others = [self.trace.nodes[n] for n, _ in carried if n != kept]
        if "stream" in carries:
            return carries if all(o.constant for o in others) else frozenset()
        return carries if all(not (o.heard & carries) for o in others) else frozenset()

    def _linear(self, node: Node) -> frozenset[int | str]:
        data = [n for n in node.inputs if not self.trace.nodes[n].constant]
        carries = self(data[0]) if len(data) == 1 else frozenset()
        return frozenset() if "stream" in carries else carries

    def _joined(self, node: Node) -> frozenset[int | str]:
        parts = [self(n) for n in node.inputs]
        whole: frozenset[int | str] = frozenset().union(*parts)
        return whole if all(parts) and "stream" not in whole else frozenset()

    def is_shape(self, index: int) -> bool:
        """Whether a node only arranges or casts the numbers of another."""
        node = self.trace.nodes[index]
        if not node.inputs:
            return False
        if node.op in SHAPE:
            return True
        same = self.trace.nodes[first_ref(node)].shape == node.shape
        return node.op == "__getitem__" and _size(self.trace.nodes[first_ref(node)].shape) == _size(node.shape) and same

    def constant_factor(self, index: int) -> tuple[int, Constant] | None:
        """For a product with a constant: the other operand and the factor."""
        node = self.trace.nodes[index]
        if node.op not in MUL | DIV:
            return None
        pair = (*node.args, *(v for k, v in node.kwargs.items() if k in ("input", "other")))[:2]
        for kept, factor in (pair, pair[::-1]) if node.op in MUL else (pair,):
            if not isinstance(kept, Ref) or self.trace.nodes[kept.node].constant:
                continue
            if isinstance(factor, Ref) and self.trace.nodes[factor.node].constant:
                return kept.node, Constant(recipe(self.trace, factor.node))
            if isinstance(factor, int | float):
                return kept.node, Constant(None, float(factor))
        return None

    def norm_at(self, index: int) -> NormOp | None:
        """The norm module that gives this node out, where its input carries something."""
        found = self._norm(index)
        return None if found is None else found[0]

    def norm_input(self, index: int) -> int:
        """What went into the norm of `norm_at`."""
        found = self._norm(index)
        assert found is not None
        return found[1]

    def _norm(self, index: int) -> tuple[NormOp, int] | None:
        if index not in self._norms:
            self._norms[index] = self._find_norm(index)
        return self._norms[index]

    def _find_norm(self, index: int) -> tuple[NormOp, int] | None:
        for site in self.trace.sites.get(index, []):
            if site.end != "out" or site.slot != ():
                continue
            entries = self.trace.ends(site.path, site.number, "in")
            if len(entries) != 1 or entries[0][1] == index or not self(entries[0][1]):
                continue
            slot, source = entries[0]
            if self._frozen(site.path, source) is not None:
                return NormOp(site.path, Site(site.path, site.number, "in", slot), site), source
        return None

    def _frozen(self, path: str, source: int) -> FrozenNorm | None:
        module = self.trace.model.get_submodule(path)
        value = self.trace.value(source)
        plain = not any(True for _ in module.children()) and all(p.ndim <= 1 for p in module.parameters())
        if not plain or isinstance(module, nn.Dropout | nn.Identity):
            return None
        return freeze_norm(module, value.shape[-1], value)

    def to_attention(self, index: int) -> Chain | None:
        """The way from a projection's input to the calls that feed it, or None where it is not theirs alone.

        A root-mean-square norm acts like a gate, channel by channel; a norm that mixes channels or adds a bias is kept apart,
        and must be alone.
        """
        gated, norm, start = False, None, index
        while index not in self.calls:
            node = self.trace.nodes[index]
            if not self(index) or "stream" in self(index):
                return None
            if (found := self._norm(index)) is not None:
                if self._is_diagonal(found):
                    gated = True
                elif norm is None and self.trace.nodes[found[1]].shape[-1] == self.trace.nodes[start].shape[-1]:
                    norm = found[0]
                else:
                    return None
                index = found[1]
            elif node.op in MUL | DIV:
                index, gated = next(n for n in node.inputs if self(n)), True
            elif node.op == "cat":
                return None if norm is not None else self._joined_chain(node, gated)
            elif self.is_shape(index):
                index = first_ref(node)
            else:
                return None
        return None if norm is not None and gated else Chain((index,), gated, norm)

    def _is_diagonal(self, found: tuple[NormOp, int]) -> bool:
        frozen = self._frozen(found[0].path, found[1])
        return frozen is not None and not frozen.centred and not bool(frozen.bias.any())

    def _joined_chain(self, node: Node, gated: bool) -> Chain | None:
        chains = [self.to_attention(n) for n in node.inputs]
        if any(c is None or c.norm is not None for c in chains):
            return None
        found = [c for c in chains if c is not None]
        return Chain(tuple(n for c in found for n in c.calls), gated or any(c.gated for c in found))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size
