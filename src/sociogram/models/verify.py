"""The proof of an anatomy: on a real pass, every layer's entries must add up to the model's own stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sociogram.models.anatomy import Anatomy
from sociogram.models.readout import Reader
from sociogram.models.run import GroupRun, LayerError, LayerRun
from sociogram.models.seam import watching
from sociogram.models.trace import Trace

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest relative error with which an account is taken for right, by dtype; what a run really has is in its audit."""
ROUNDINGS = 8
"""How many roundings of the stream itself are forgiven: where a long stream moves little, the model's own sum is no finer."""


@dataclass(frozen=True)
class Closing:
    """How well one group of a layer closes: |account - model|, absolute and relative to the model's own move, worst token.

    `branch` is the relative error of an attention branch's messages against its own output; `closes` the verdict, which
    forgives the rounding of the stream.
    """

    absolute: float
    relative: float
    branch: float
    closes: bool

    @classmethod
    def of(cls, before: Tensor, group: GroupRun) -> Closing:
        """Compare a group's account with the model's stream, and each attention branch with the sum of its messages."""
        move = group.after - before
        size = move_size(move, group.edited)
        error = (group.account() - move).norm(dim=-1)
        branches = [
            relative_error((run.total() + run.bias - run.out).norm(dim=-1), run.branch.norm(dim=-1)) for run in group.heard
        ]
        branch = max(branches, default=0.0)
        closes = within(error, size, group.after.norm(dim=-1), before.dtype) and branch <= TOLERANCE[before.dtype]
        return cls(float(error.max()), relative_error(error, size), branch, closes)


def move_size(move: Tensor, edited: Tensor | None) -> Tensor:
    """The size that an account's error is measured by: each token's move, or what it would have moved without edits if that is
    larger (an edit may hold a token still, where entries cancel that are as large as ever).
    """
    size = move.norm(dim=-1)
    return size if edited is None else torch.maximum(size, (move - edited).norm(dim=-1))


def within(error: Tensor, move: Tensor, stream: Tensor, dtype: torch.dtype) -> bool:
    """Whether each token's error is below the tolerance of its move, or below some roundings of its place in the stream."""
    allowed = TOLERANCE[dtype] * move + ROUNDINGS * torch.finfo(dtype).eps * stream
    return bool((error <= allowed).all())


def relative_error(error: Tensor, size: Tensor) -> float:
    """The worst token's error over its size; a token that the model does not move counts with the largest move instead."""
    floor = size.max() * torch.finfo(size.dtype).eps
    if not bool(torch.isfinite(error).all()):
        return float("nan")
    return float((error / torch.where(size > floor, size, size.max().clamp_min(torch.finfo(size.dtype).tiny))).max())


def closings(run: LayerRun) -> list[Closing]:
    """One `Closing` per group of a layer."""
    before = run.before
    result = []
    for group in run.groups:
        result.append(Closing.of(before, group))
        before = group.after
    return result


def verified(model: nn.Module, inputs: Mapping[str, Any], anatomy: Anatomy, trace: Trace | None = None) -> Anatomy:
    """The anatomy with the layers marked that do not add up on this pass, whatever structure said of them.

    A trace of the pass saves running it again, unless the model writes in place over what must be read.
    """
    problems: dict[tuple[str, int, int], str] = {}

    def judge(run: LayerRun) -> None:
        if not all(closing.closes for closing in closings(run)):
            problems[run.layer.path, run.layer.number, run.layer.part] = "the entries do not add up to the stream"

    readable = anatomy
    while True:
        problems_before = dict(problems)
        try:
            _read_once(model, inputs, Reader(model, readable, judge), trace)
        except LayerError as error:
            problems[error.layer] = error.reason
        if problems == problems_before:
            return readable
        layers = [replace(x, problem=problems.get((x.path, x.number, x.part), x.problem)) for x in anatomy.layers]
        readable = replace(anatomy, layers=tuple(replace(x, groups=()) if x.problem else x for x in layers))


def _read_once(model: nn.Module, inputs: Mapping[str, Any], reader: Reader, trace: Trace | None) -> None:
    if trace is not None and not reader.overwritten:
        reader.read_trace(trace)
        return
    with torch.no_grad(), watching(model, [reader]) as session:
        reader.attach(session)
        model(**inputs)
