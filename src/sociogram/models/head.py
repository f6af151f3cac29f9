"""From the last layer to the logits: the norms and factors on the way, the unembedding, and what follows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sociogram.models.anatomy import Head, Layer, NormOp, Op, ScaleOp
from sociogram.models.branch import frozen_norm, scaled
from sociogram.models.carry import Carry, first_ref
from sociogram.models.seam import unwatched
from sociogram.models.trace import Span, Trace


def find_head(trace: Trace, last: Layer | None) -> Head:
    """Follow the last layer's output to the unembedding and from there to the logits; `Head.problem` says where that fails."""
    embeddings: Any = getattr(trace.model, "get_output_embeddings", None)
    module = None if embeddings is None else embeddings()
    path = next((name for name, other in trace.model.named_modules() if module is not None and other is module), None)
    if path is None or last is None or last.after is None or (path, 0) not in trace.spans:
        return Head(problem="the model has no output embedding that gives logits per token")
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        return Head(problem=f"{path} is no matrix of one row per token")
    stream = dict(trace.ends(last.path, last.number, "out"))[last.after.slot]
    taken = trace.ends(path, 0, "in")[0][1]
    before = _way(trace, taken, stream)
    if before is None:
        return Head(problem="between the last layer and the logits stands more than norms and factors")
    made = trace.ends(path, 0, "out")[0][1]
    logits = next((node for slot, node in trace.ends("", 0, "out") if slot == ("logits",)), made)
    after = _way(trace, logits, made)
    return Head(path, before, tuple(op for op in after or () if isinstance(op, ScaleOp)), capped=after is None)


def _way(trace: Trace, node: int, goal: int) -> tuple[Op, ...] | None:
    """The operations from `goal` to `node`, first first, or None where something else stands between."""
    carry = Carry(trace, Span(0, len(trace.nodes)), {goal}, {})
    ops: list[Op] = []
    while node != goal:
        made = trace.nodes[node]
        if (norm := carry.norm_at(node)) is not None:
            ops.insert(0, norm)
            node = carry.norm_input(node)
        elif (factor := carry.constant_factor(node)) is not None:
            ops.insert(0, ScaleOp(factor[1], divide="div" in made.op))
            node = factor[0]
        elif carry.is_shape(node):
            node = first_ref(made)
        else:
            return None
    return tuple(ops)


@dataclass(frozen=True, eq=False)
class LogitDirection:
    """One token's logit as a function of where each token stands after the last layer, the final norm's scale frozen.

    `logit[q] = directions[q] . x[q] + constant`.
    """

    directions: Float[Tensor, "query d_model"]
    constant: float


def logit_direction(model: nn.Module, head: Head, stream: Float[Tensor, "query d_model"], token: int) -> LogitDirection:
    """The direction of one token's logit in a run whose stream ended at `stream`."""
    module = model.get_submodule(head.path)
    weight, bias = getattr(module, "weight"), getattr(module, "bias", None)  # noqa: B009 - modules type their attributes loosely
    row = weight[token].detach()
    constant = torch.zeros((), dtype=row.dtype) if bias is None else bias[token].detach()
    with torch.no_grad(), unwatched():
        x, steps = stream.to(row), []
        for op in head.before:
            y = model.get_submodule(op.path)(x[None])[0] if isinstance(op, NormOp) else scaled(model, x, op)
            steps.append((op, x))
            x = y
        directions = row.expand_as(x)
        for op, entered in reversed(steps):
            directions, constant = _back(model, op, entered, directions, constant)
        for op in head.after:
            directions, constant = scaled(model, directions, op), scaled(model, constant, op)
    return LogitDirection(directions, float(constant.reshape(-1)[0]))


def read_logits(model: nn.Module, head: Head, stream: Float[Tensor, "token d_model"]) -> Float[Tensor, "token vocab"]:
    """What the end of the model makes of any vectors of the stream, by its own norm and unembedding (before any squashing)."""
    module = model.get_submodule(head.path)
    with torch.no_grad(), unwatched():
        x = stream.to(next(module.parameters()).dtype)[None]
        for op in head.before:
            x = model.get_submodule(op.path)(x) if isinstance(op, NormOp) else scaled(model, x, op)
        logits = module(x)
        for op in head.after:
            logits = scaled(model, logits, op)
    return logits[0]


def _back(model: nn.Module, op: Op, entered: Tensor, directions: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Carry directions back through one operation: the transpose of its linear part; its bias joins the constant."""
    if isinstance(op, ScaleOp):
        return scaled(model, directions, op), constant
    norm = frozen_norm(model, op, entered)
    scale = norm.scale(entered, model.get_submodule(op.path)(entered[None])[0])
    constant = constant + (directions[0] * norm.bias).sum()
    return norm.transposed(directions) * scale[:, None], constant
