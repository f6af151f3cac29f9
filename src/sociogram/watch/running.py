"""A recorded run: the model's own passes, read layer by layer into builders, each layer's account checked as it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.anatomy import Anatomy, Layer
from sociogram.models.attention import AttentionCall
from sociogram.models.readout import Reader
from sociogram.models.run import LayerRun
from sociogram.models.seam import Editor, watching
from sociogram.models.verify import closings
from sociogram.watch.account import name_the_gap
from sociogram.watch.allocator import give_back
from sociogram.watch.build import StackBuilder, builders
from sociogram.watch.disk import Disk
from sociogram.watch.layout import Pieces
from sociogram.watch.passes import Course
from sociogram.watch.progress import bar
from sociogram.watch.request import Request
from sociogram.watch.stream import Streamer
from sociogram.watch.tokens import padding_of

CHECKED = 16
"""How many tokens of each sequence and pass are checked while recording; `rec.audit()` checks all."""


@dataclass(eq=False)
class Running:
    """One run that is being recorded.

    Attributes:
        stacks: the builders of each stack, filled when it is over.
        seen: how many tokens have been read so far.
        worst: the largest relative error of any layer's account among the tokens checked.
        checked: how many tokens were checked, in each layer that was.
    """

    course: Course
    anatomy: Anatomy
    request: Request
    disk: Disk | None = None
    stacks: dict[str, list[StackBuilder]] = field(default_factory=dict)
    seen: int = 0
    worst: float = 0.0
    checked: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Make the builders."""
        names, pieces = self.request.names, Pieces(self.course.tokens) if self.course.pieces else None
        self.streamer = self._streamer()
        layers = max(len(self.anatomy.stack(stack)) for stack in self.anatomy.stacks)
        self.stacks = builders(
            self.anatomy,
            names,
            streaming=self.streamer is not None,
            pieces=pieces,
            store=None if self.disk is None else self.disk.rows,
            stream_layers=self.request.stream_layers(layers),
            stream_dtype=torch.bfloat16 if self.request.residual == "bfloat16" else None,
        )

    def run(self, editors: Sequence[Editor]) -> tuple[Any, dict[str, Tensor]]:
        """Run and read; returns the last output, and the inputs of all tokens that were read."""
        names = self.request.names
        weights = "weights" in names or ("sink_weight" in names and self.streamer is None)
        hf = self.course.model.hf
        self._reader = Reader(
            hf, self.anatomy, self._take, weights=weights, totals="lse" in names, place=self._place, streamer=self.streamer
        )
        course = self.course
        tokens = course.tokens if course.pieces else 0
        what = "writing" if course.new else "reading"
        with bar(what, tokens, course.passes) as self._advance, torch.no_grad(), watching(hf, [self._reader], editors) as session:
            if course.pieces:
                session.on_input("", self._new_pass)
                session.on_output("", lambda _: self._advance(self._count))
            self._reader.attach(session)
            if self.disk is not None:
                session.on_output("", lambda _: self._store())
            output, inputs = self.course.run()
        return output, self._read(inputs) if self.course.new else inputs

    def _read(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inputs with the tokens that were read, without one that was only said."""
        ids = inputs["input_ids"][:, : self.seen]
        more = {"attention_mask": torch.ones_like(ids)} if "attention_mask" in inputs else {}
        if (types := inputs.get("token_type_ids")) is not None:  # what is written is of the last token's type
            more["token_type_ids"] = torch.cat([types, types[:, -1:].expand(-1, max(0, self.seen - types.shape[1]))], 1)
        return {**inputs, "input_ids": ids, **more}

    def _new_pass(self, _: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if kwargs.get("input_ids") is None:
            raise UnsupportedModelError(
                f"{type(self.course.model.hf).__name__} does not give its passes the ids of the tokens that are read in them: "
                "record the finished text in one pass"
            )
        count = kwargs["input_ids"].shape[1]
        if self.course.new and self.seen and count > 1:
            raise UnsupportedModelError(
                f"{type(self.course.model.hf).__name__} keeps no cache: it reads all tokens again for each that it writes. "
                "Record the finished text instead: sg.record(model, prompt + model.generate(prompt))"
            )
        for builder in (builder for pair in self.stacks.values() for builder in pair):
            builder.begin(Pieces(self.course.tokens, self.seen))
        if self.streamer is not None:
            self.streamer.past = self.seen
        self._reader.new_pass()
        self.seen += count
        self._count = count

    def _store(self) -> None:
        """A pass is over: what is on disk is whole up to here."""
        assert self.disk is not None
        filled = [builder for pair in self.stacks.values() for builder in pair if builder.rows]
        self.disk.finish_block(filled, self.seen or self.course.tokens, self.attributes)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a recording says of its run: how it was read, and how well the accounts that were checked closed."""
        checked = max(self.checked.values(), default=0)
        return {"chunk": self.course.chunk, "checked_error": self.worst, "checked_tokens": checked}

    def _place(self, layer: Layer, call: AttentionCall) -> Tensor | None:
        return self.stacks[layer.stack][0].place(layer, call)

    def _take(self, run: LayerRun) -> None:
        for builder in self.stacks[run.layer.stack]:
            builder.take(run)
        self._check(run)
        if self.streamer is not None and run.layer == self.anatomy.layers[-1]:
            give_back(run.before.shape[1])

    def _check(self, run: LayerRun) -> None:
        """Stop at the first layer whose account does not close: a picture of it would be wrong.

        A wrong anatomy is wrong for every token, so a few tokens from first to last tell; the audit looks at all of them.
        """
        count = run.before.shape[1]
        few = torch.linspace(0, count - 1, min(CHECKED, count), device=run.before.device).round().long()
        self.checked[run.layer.stack, run.layer.index] += len(run.before) * len(few)
        for group, closing in zip(run.groups, closings(run.at(few)), strict=True):
            if not closing.closes:
                raise name_the_gap(run.layer, group.group.label, closing)
            self.worst = max(self.worst, closing.relative)

    def _streamer(self) -> Streamer | None:
        """Who reads the calls in blocks, if something is kept that is read so."""
        wanted, inputs = self.request.wanted, self.course.inputs
        if wanted is None:
            return None
        if any(len(step.calls) > 1 for layer in self.anatomy.layers if not layer.problem for step in layer.heard):
            raise UnsupportedModelError(
                f"{type(self.course.model.hf).__name__} splits the tokens of a layer among several attention calls, which are "
                'not read in blocks: record with keep="default"'
            )
        tokens = self.course.tokens if self.course.pieces else None
        return Streamer(self.course.model.hf, wanted, padding_of(self.anatomy, inputs), tokens)
