"""What a run knows of its own time: which tokens it was given, which it has written, how sure the model was of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sociogram.core.moment import Moment
from sociogram.core.schedule import Schedule
from sociogram.models.continuing import Readable
from sociogram.models.examine import forward_arguments
from sociogram.models.model import Model
from sociogram.models.seam import unwatched
from sociogram.steering.base import Edit


@dataclass(eq=False)
class Clock:
    """Says of each reader whether a schedule is open to it. Asked once per edit and token; what was said stays said.

    Attributes:
        main: the stack in which the model writes.
        given: how many tokens of it the run was given.
        texts, ids: the tokens of each stack, which grow while the model writes; ids only where tokens are text.
    """

    main: str
    given: int
    texts: Mapping[str, list[str]]
    ids: Mapping[str, list[int]]
    said: dict[int, dict[int, bool]] = field(default_factory=dict)
    entropies: dict[int, float] = field(default_factory=dict)
    _last: Tensor | None = None

    def foresee(self, edits: Sequence[Edit], read: int, expected: Expected) -> None:
        """Ask all predicates about the tokens given, which are read in one pass; those before `read` were read earlier."""
        for number, edit in enumerate(edits):
            schedule, stack = schedule_of(edit), edit.stack or self.main
            if schedule is not None and schedule.predicate is not None and stack in self.texts:
                places = range(read, self.given) if stack == self.main else range(len(self.texts[stack]))
                self.said[number] = {p: self._ask(schedule, stack, p, expected.of(p)) for p in places}

    def note(self, output: Any) -> None:
        """After a pass: what the model expects next."""
        logits = getattr(output, "logits", None)
        self._last = logits[0, -1].detach() if isinstance(logits, Tensor) and logits.ndim == 3 else None

    def expect(self, logits: Float[Tensor, " vocabulary"]) -> None:
        """What the run expects next after an edit of the output, which the model itself did not."""
        self._last = logits.detach()

    def is_open(self, number: int, schedule: Schedule, stack: str, at: range) -> Bool[Tensor, " query"]:
        """Whether a schedule over tokens, of the edit of this number, is open to the readers at these positions."""
        if schedule.predicate is not None:
            return torch.tensor([self._at_moment(number, schedule, stack, p) for p in at], dtype=torch.bool)
        places = torch.arange(at.start, at.stop)
        if schedule.over == "positions":
            return schedule.is_open(places)
        return schedule.is_open(places - self.given) & (stack == self.main)

    def step(self, position: int) -> int:
        """How many tokens were written up to a position of the main stack."""
        return max(0, position - self.given + 1)

    def _at_moment(self, number: int, schedule: Schedule, stack: str, position: int) -> bool:
        said = self.said.setdefault(number, {})
        if position not in said:
            said[position] = self._ask(schedule, stack, position, self._last)
        return said[position]

    def _ask(self, schedule: Schedule, stack: str, position: int, logits: Tensor | None) -> bool:
        ids, texts = self.ids.get(stack, []), self.texts[stack]
        moment = Moment(
            position=position,
            token_id=ids[position] if position < len(ids) else None,
            text=texts[position] if position < len(texts) else "",
            step=self.step(position) if stack == self.main else 0,
            probabilities=None if logits is None or stack != self.main else torch.softmax(logits.float(), -1),
        )
        if stack == self.main:
            self.entropies[position] = moment.entropy
        return schedule.is_open_at(moment)


@dataclass(frozen=True, eq=False)
class Expected:
    """Logits `[token, vocabulary]` of the plain model: row i is what it expects at position `first + i`."""

    first: int = 0
    logits: Float[Tensor, "token vocabulary"] | None = None

    def of(self, position: int) -> Tensor | None:
        """What it expects at a position; None where it was not asked."""
        row = position - self.first
        return self.logits[row] if self.logits is not None and 0 <= row < len(self.logits) else None


def expected(model: Model, inputs: Mapping[str, Tensor], past: Readable | None) -> Expected:
    """What the plain model expects of the tokens of a prompt, by one pass without edits; nothing where it predicts none."""
    hf = model.hf
    if not hf.can_generate():
        return Expected()
    ids = inputs.get("decoder_input_ids", inputs.get("input_ids"))
    with unwatched(), torch.no_grad():
        output = hf(**(forward_arguments(hf, dict(inputs)) if past is None else past.arguments(inputs)))
        logits = getattr(output, "logits", None)
        if ids is None or not isinstance(logits, Tensor) or logits.ndim != 3:
            return Expected()
        first = ids.shape[1] - logits.shape[1] + 1
        if past is not None and len(past.ids) == first - 1:  # the first token after it was expected by it
            before = model.logits(None, past=past)[-1:]
            return Expected(first - 1, torch.cat([before, logits[0]]))
    return Expected(first, logits[0])


def schedule_of(edit: Edit) -> Schedule | None:
    """An edit's schedule, where it has one."""
    found = getattr(edit, "schedule", None)
    return found if isinstance(found, Schedule) else None


def asks_moments(edits: Sequence[Edit]) -> bool:
    """Whether some edit has a schedule that is a predicate."""
    return any(schedule is not None and schedule.predicate is not None for schedule in map(schedule_of, edits))
