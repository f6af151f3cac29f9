"""A steered model: the model's own interface, with edits acting in every run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import count
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.continuing import Readable
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.models.seam import Editor, Session, unwatched, watching
from sociogram.steering.base import Edit
from sociogram.steering.clock import Clock, asks_moments, expected
from sociogram.steering.compiled import compiled
from sociogram.steering.editor import PlanEditor
from sociogram.steering.follower import Follower
from sociogram.steering.output import OutputEditor, spoken
from sociogram.steering.receipt import Receipt, check_landing
from sociogram.steering.stream import StreamEditor, streamed
from sociogram.steering.tally import Tally
from sociogram.steering.words import has_condition, tokens_of
from sociogram.steering.written import to_json
from sociogram.watch.keep import Keep
from sociogram.watch.passes import SIMPLE
from sociogram.watch.record import record_under
from sociogram.watch.recording import Recording
from sociogram.watch.request import Request

T = TypeVar("T")


@contextmanager
def steer(model: Model | Steered, edits: Sequence[Edit] | Edit) -> Iterator[Steered]:
    """A view of a model in which edits act, in prefill and in cached decoding alike; the model itself stays as it is.

    Args:
        model: from `sg.load`, or a steered one, whose edits then come first.
        edits: from `sociogram.edits`; what is cut is cut before the softmax, then the others act in order.

    Yields:
        The steered model: `logits`, `record`, `generate`, and after each run its `receipt`. Outside the `with` block it refuses.

    Raises:
        InputError: what is no edit; at a run, an address outside the model or the prompt.
        EditDidNotLand: at a run, an edit that addresses no entry that exists. The run's result is not given out then.

    Misleads: an edit shows what a change does, not what the model would do "without" something: heads downstream see a
    stream that they never met in training.
    """
    given = (edits,) if isinstance(edits, Edit) else tuple(edits)
    for edit in given:
        if not isinstance(edit, Edit):
            raise InputError(f"{edit!r} is no edit: take them from sociogram.edits, such as edits.cut(layer=5, head=3, key=2)")
    base, before = (model.model, model.edits) if isinstance(model, Steered) else (model, ())
    steered = Steered(base, (*before, *given))
    try:
        yield steered
    finally:
        steered._open = False


@final
class Steered:
    """A model under edits; made by `sg.steer`.

    Attributes:
        model: the plain one, which nothing here changes.
        edits: what acts, in order.
    """

    def __init__(self, model: Model, edits: tuple[Edit, ...]) -> None:
        """Made by `sg.steer`."""
        self.model, self.edits = model, edits
        self._open = True
        self._receipt: Receipt | None = None

    @cached_property
    def _materials(self) -> list[Any]:
        """What each edit needs beyond the calls, made ready once."""
        with unwatched():
            return [edit.ready(self.model) for edit in self.edits]

    @property
    def receipt(self) -> Receipt:
        """What the edits did in the last run.

        Raises:
            InputError: nothing was run yet.
        """
        if self._receipt is None:
            raise InputError("no receipt yet: run something first (steered.logits, .record or .generate)")
        return self._receipt

    def logits(self, what: Promptable | None, *, past: Readable | None = None) -> Tensor:
        """Logits under the edits, as `Model.logits` gives them for one prompt: `[query, vocabulary]`.

        After a `past` the edits act while the new tokens are read; tokens are numbered from the first one of the past on.

        Raises:
            InputError, EditDidNotLand: see `steer`.
        """
        if past is None:
            return self._run(what, 0, lambda inputs, _: self.model.logits(inputs))
        return self._run(what, 0, lambda *_: self.model.logits(what, past=past), past)

    def record(
        self,
        what: Promptable,
        *,
        keep: Keep = "default",
        top: int = 8,
        by: str = "message",
        generate: int | Mapping[str, Any] = 0,
        memory_limit: int | None = None,
    ) -> Recording:
        """A recording of the steered run, as `sg.record` makes it (see there); its account is that of what happened.

        The weights recorded are those that were used. `tree.attrs["edits"]` names the edits, `tree.attrs["edits_json"]` is what
        `edits.from_json` makes them of again (where they can be stored), `tree.attrs["receipt"]` holds what they met, as JSON.

        Raises:
            InputError, EditDidNotLand, MemoryLimitError: see `steer` and `sg.record`.
        """
        self._check_open()
        self._receipt = None
        inputs = self._one(what)
        tally = Tally()
        request = Request(keep=keep, top=top, by=by, generate=generate, memory_limit=memory_limit).checked()
        if request.new_tokens and self._is_about_words:
            self._refuse_several(request.settings)
        rec = self._recorded(inputs, request, tally)
        rec.tree.attrs["edits"] = json.dumps([str(edit) for edit in self.edits])
        with suppress(InputError):  # conditions, and runs that are in memory only
            rec.tree.attrs["edits_json"] = to_json(self.edits)
        if isinstance(what, str):
            rec.tree.attrs["text"] = what
        self._finish(inputs, tally, request.new_tokens)
        rec.tree.attrs["receipt"] = self.receipt.as_json()
        return rec

    def _recorded(self, inputs: Mapping[str, Tensor], request: Request, tally: Tally) -> Recording:
        tallies = iter([tally])
        to_come = iter([request.new_tokens + bool(request.new_tokens)])
        clocks: list[Clock] = []

        def editors(given: Mapping[str, Tensor]) -> list[Editor]:
            """Editors of the recorded run; or, later, of one over all that it read, with schedules as they were."""
            made, follow = self._editors(given, next(to_come, 0), next(tallies, Tally()), clock=clocks[0] if clocks else None)
            clocks.append(made[0].clock)
            return [*made, Follower(follow)] if request.new_tokens else made

        return record_under(self.model, dict(inputs), request, editors=editors)

    def generate(self, text: Promptable | None, *, max_new_tokens: int = 32, past: Readable | None = None, **kwargs: Any) -> str:
        """Continue one prompt under the edits, as `Model.generate` does, with the model's own cache; `past` as in `logits`.

        Raises:
            InputError: also edits or addresses that have no meaning while the model writes.
            EditDidNotLand: see `steer`.
        """
        if self._is_about_words:
            self._refuse_several(kwargs)
        options = {"max_new_tokens": max_new_tokens, **kwargs}
        if past is None:
            return self._run(text, max_new_tokens, lambda inputs, _: self.model.generate(inputs, **options))
        return self._run(text, max_new_tokens, lambda *_: self.model.generate(text, past=past, **options), past)

    @property
    def _is_about_words(self) -> bool:
        return asks_moments(self.edits) or any(edit.alone or has_condition(edit) for edit in self.edits)

    def _refuse_several(self, kwargs: Mapping[str, Any]) -> None:
        """Conditions need the text of every token as it is written, grafted heads keep a past: one sequence, token by token."""
        settings = self.model.hf.generation_config
        several = any(int(kwargs.get(n) or getattr(settings, n, None) or 1) > 1 for n in ("num_beams", "num_return_sequences"))
        if self.model.hf.config.is_encoder_decoder or several or set(kwargs) - SIMPLE:
            odd = ", ".join(sorted(set(kwargs) - SIMPLE)) or "several sequences, or an encoder-decoder"
            raise InputError(
                "conditions on the text of tokens, predicates of schedules and heads grafted from a model act on one plainly "
                f"generated sequence, not with {odd}: address positions, or generate plainly"
            )

    def reading(self, what: Promptable, read: Callable[[Model, Sequence[Editor]], T], new: int = 0) -> T:
        """Let `read` run the model over a prompt and what it writes, with the editors that carry the edits out; for `Past.of`.

        Whoever lets it write `new` tokens does so in one sequence, token by token.
        """
        self._check_open()
        self._receipt = None
        inputs, tally = self._one(what), Tally()
        editors, follow = self._editors(inputs, new, tally)
        result = read(self.model, [*editors, Follower(follow)] if new else editors)
        self._finish(inputs, tally, new)
        return result

    def _run(
        self,
        what: Promptable | None,
        to_come: int,
        run: Callable[[dict[str, Tensor], Session], T],
        past: Readable | None = None,
    ) -> T:
        self._check_open()
        self._receipt = None
        inputs = self._one(what, past)
        tally = Tally()
        editors, follow = self._editors(inputs, to_come, tally, past)
        with watching(self.model.hf, [], editors) as session:
            if to_come:
                session.on_input("", follow)
            result = run(inputs, session)
        self._finish(inputs, tally, to_come, past)
        return result

    def _editors(
        self,
        inputs: Mapping[str, Tensor],
        to_come: int,
        tally: Tally,
        past: Readable | None = None,
        clock: Clock | None = None,
    ) -> tuple[list[Any], Callable[[tuple[Any, ...], dict[str, Any]], None]]:
        texts, known = tokens_of(self.model, inputs)
        anatomy = self.model.find_anatomy(inputs)
        plan = compiled(self.edits, anatomy, texts, materials=self._materials, to_come=to_come)
        acts = streamed(self.edits, anatomy, texts, to_come=to_come)
        clock = clock or self._clock(texts, known, inputs, past)
        ids = known.get(anatomy.main, [])
        passes = count()

        def follow(_: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            """Learn the texts of tokens as they are written, for addresses that ask for them."""
            new = kwargs.get("input_ids")
            if next(passes) and isinstance(new, Tensor) and len(new) == 1:
                ids.extend(new[0].tolist())
                plan.texts[:] = self.model.spell(ids)  # all of them: a sign may be made of several tokens

        editors: list[Editor] = [PlanEditor(plan, tally, _standing(past), clock)]
        editors += [StreamEditor(self.model.hf, acts, tally)] if acts else []
        said = spoken(self.edits, anatomy, texts, self._materials, to_come)
        editors += [OutputEditor(said, anatomy.stack(anatomy.main), tally, clock)] if said else []
        return editors, follow

    def _clock(
        self, texts: dict[str, list[str]], ids: dict[str, list[int]], inputs: Mapping[str, Tensor], past: Readable | None
    ) -> Clock:
        main = self.model.find_anatomy(inputs).main
        clock = Clock(main, len(texts.get(main, ())), texts, ids)
        if asks_moments(self.edits):
            read = 0 if past is None else min(len(past.ids), clock.given - 1)
            clock.foresee(self.edits, read, expected(self.model, inputs, past))
        return clock

    def _one(self, what: Promptable | None, past: Readable | None = None) -> dict[str, Tensor]:
        inputs = self.model._given(what, past)
        mask = inputs.get("attention_mask")
        if mask is not None and mask.ndim == 2 and not bool(mask.all()):
            raise InputError("edits count the tokens of a prompt, and the attention mask given hides some: leave the padding out")
        if many := max((len(value) for value in inputs.values() if value.ndim > 1), default=1) - 1:
            raise InputError(f"edits are about the tokens of one prompt, and {many + 1} were given: run them one by one")
        return inputs

    def _finish(self, inputs: Mapping[str, Tensor], tally: Tally, to_come: int, past: Readable | None = None) -> None:
        check_landing(self.edits, tally)
        self._receipt = Receipt(self, dict(inputs), tally, to_come, past)

    def _check_open(self) -> None:
        if not self._open:
            raise InputError("this steered model is closed: its `with sg.steer(...)` block has ended")

    def __repr__(self) -> str:
        """The model and its edits."""
        listed = "; ".join(map(str, self.edits)) or "no edits"
        return f"Steered({self.model.name!r}: {listed})"


def _standing(past: Readable | None) -> Tensor | None:
    """Where the tokens of a past stand, and the next one."""
    if past is None:
        return None
    return torch.cat([past.positions, torch.tensor([past.next_position], device=past.positions.device)])
