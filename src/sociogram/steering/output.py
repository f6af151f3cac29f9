"""Edits of what a model says: its next-token distributions, changed where they leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.core.address import Places, places
from sociogram.core.errors import InputError
from sociogram.models.anatomy import Anatomy, Layer
from sociogram.models.attention import AttentionCall
from sociogram.models.seam import Session
from sociogram.models.tokens import find_token
from sociogram.models.trace import Site
from sociogram.steering.arguments import as_schedule
from sociogram.steering.base import Edit, check_number, check_whole
from sociogram.steering.clock import Clock
from sociogram.steering.compiled import _held
from sociogram.steering.stream import cached
from sociogram.steering.tally import Tally
from sociogram.watch.states import state_site, unit

LOGITS = Site("", 0, "out", ("logits",))
"""Where they leave the model, whatever its family does to them before (a soft cap, a factor)."""


@runtime_checkable
class Recalls(Protocol):
    """What knows which token followed a state: a memory with states."""

    def recall(
        self, state: Float[Tensor, "query d_model"], count: int
    ) -> tuple[Float[Tensor, "query found"], Int[Tensor, "query found"]]:
        """For each state the squared distances of the nearest stored ones, and the tokens that followed these."""


@dataclass(frozen=True, kw_only=True)
class OutputEdit(Edit):
    """A change of the next-token distributions of some tokens (`query`); layers, heads and keys have no meaning here."""

    takes: ClassVar[frozenset[str]] = frozenset(("query",))
    hears: ClassVar[bool] = False
    schedule: Any = None

    def check(self) -> None:
        """A schedule over tokens, or none."""
        object.__setattr__(self, "schedule", as_schedule(self.name, self.schedule))
        if self.schedule is not None and self.schedule.over == "layers":
            raise InputError(
                f'{self.name} schedule={self.schedule}: what a model says has no layer; over="positions" or "generated"'
            )

    def changed(
        self, logits: Float[Tensor, "row vocabulary"], state: Float[Tensor, "row d_model"], material: Any
    ) -> Float[Tensor, "row vocabulary"]:
        """The logits to be said instead, given where the tokens stand before the last layer's MLP."""
        return logits


@dataclass(frozen=True, kw_only=True)
class KnnLM(OutputEdit):
    """Mix what followed in similar states into each prediction: `p = lam * p_knn + (1 - lam) * p_model` (Khandelwal et al. 2020,
    1911.00172).

    `source`: a memory that keeps states (`memory.add(..., keep=("states",))`), a collection of one, or a memory's path. Of the
    `k` stored states nearest to the token's own, each votes for the token that followed it, in proportion to
    `exp(-distance / temperature)`, the distance being the squared Euclidean one. A state is where a token stands before the last
    layer's MLP, scaled to a mean square of 1: the MLP's input but for the gain of its norm, so that distances grow with the
    width (up to 4 * d_model). `query`: whose predictions; all when left out. `schedule`: when.

    Misleads: a text that the memory holds, read again in the same way, is found by its states and then copied; that shows
    recall, not that the model has learned.
    """

    name: ClassVar[str] = "knn_lm"
    source: Any
    lam: float | int = 0.25
    k: int = 64
    temperature: float | int = 10.0

    def check(self) -> None:
        """A share from 0 to 1, at least one neighbour, a temperature above 0."""
        super().check()
        check_number(self.name, "lam", self.lam)
        check_number(self.name, "temperature", self.temperature)
        check_whole(self.name, "k", self.k, 1)
        if not 0 <= self.lam <= 1:
            raise InputError(f"knn_lm lam={self.lam!r}: the memory's share lies between 0 and 1")
        if self.temperature <= 0:
            raise InputError(f"knn_lm temperature={self.temperature!r}: a number above 0")

    def ready(self, model: Any) -> Recalls:
        """The memory, opened for this model."""
        from sociogram.steering.source import opened

        found = opened(self.source, model)
        if not isinstance(found, Recalls):
            raise InputError(
                f"`{self}`: {self.source!r} holds no states: give a memory made with memory.add(..., keep=('states',))"
            )
        return found

    def changed(
        self, logits: Float[Tensor, "row vocabulary"], state: Float[Tensor, "row d_model"], material: Any
    ) -> Float[Tensor, "row vocabulary"]:
        """Logarithms of the mixture, on the scale of the logits that were there; those themselves where `lam` is 0."""
        if self.lam == 0 or not len(logits):
            return logits
        distance, token = material.recall(unit(state), self.k)
        votes = torch.softmax(-distance.to(logits.device, torch.float64) / self.temperature, -1)
        said = torch.log_softmax(logits.double(), -1).exp() * (1 - self.lam)
        mixed = said.scatter_add_(-1, token.to(logits.device), self.lam * votes)
        return (mixed.log() + logits.double().logsumexp(-1, keepdim=True)).to(logits.dtype)


@dataclass(frozen=True, kw_only=True)
class Unsaid(OutputEdit):
    """Takes the path of an edit of the output, and leaves what is said."""

    name: ClassVar[str] = "unsaid"


@dataclass(frozen=True, eq=False)
class OutputAct:
    """One edit of the output in a run: of whose predictions, and with what."""

    edit: OutputEdit
    number: int
    layer: int
    query: Places
    texts: list[str]
    material: Any


def spoken(
    edits: Sequence[Edit], anatomy: Anatomy, texts: Mapping[str, list[str]], materials: Sequence[Any], to_come: int
) -> list[OutputAct]:
    """Resolve every edit of the output; errors as `compiled`'s, which resolves the others."""
    own, last = texts[anatomy.main], len(anatomy.stack(anatomy.main))
    return [
        OutputAct(edit, number, last, places(edit.query, own, find_token, to_come, "query"), own, material)
        for number, (edit, material) in enumerate(zip(edits, materials, strict=True))
        if isinstance(edit, OutputEdit)
    ]


class OutputEditor:
    """Carries out the edits of the output, in every pass of the model."""

    def __init__(self, acts: Sequence[OutputAct], layers: Sequence[Layer], tally: Tally, clock: Clock) -> None:
        """`layers`: of the stack that speaks."""
        self.acts, self.tally, self.clock = acts, tally, clock
        self._site, self._state, self._start = state_site(layers), torch.empty(0), 0

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """The call itself."""
        return call

    def wants_weights(self, call: AttentionCall) -> bool:
        """Weights are left alone."""
        return False

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Never asked."""
        return weights, sink

    def attach(self, session: Session) -> None:
        """Look at the states, and stand where the logits leave."""
        session.on_input("", self._begin)
        session.doors.change(self._site, self._look)
        session.doors.change(LOGITS, self._say)

    def _begin(self, _: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._start = cached(kwargs)

    def _look(self, value: Tensor) -> Tensor:
        self._state = value
        return value

    def _say(self, logits: Float[Tensor, "batch token vocabulary"]) -> Float[Tensor, "batch token vocabulary"]:
        """The logits of one pass under all edits; families may give those of the last tokens alone."""
        state = self._state.reshape(len(logits), -1, self._state.shape[-1])
        first = self._start + state.shape[1] - logits.shape[1]
        at = range(first, first + logits.shape[1])
        after = logits
        for act in self.acts:
            after = self._acted(act, after, state[:, -logits.shape[1] :], at)
        if after is not logits:
            self.clock.expect(after[0, -1])
        return after

    def _acted(self, act: OutputAct, logits: Tensor, state: Tensor, at: range) -> Tensor:
        mine = _held(act.query, at, act.texts) & self._opened(act, at)
        after = logits
        if bool(mine.any()):
            changed = act.edit.changed(logits[:, mine].flatten(0, 1), state[:, mine].flatten(0, 1), act.material)
            after = logits.clone()
            after[:, mine] = changed.view(len(logits), -1, logits.shape[-1])
        self._count(act, mine, logits, after)
        return after

    def _opened(self, act: OutputAct, at: range) -> Bool[Tensor, " token"]:
        schedule = act.edit.schedule
        if schedule is None:
            return torch.ones(len(at), dtype=torch.bool)
        found = self.clock.is_open(act.number, schedule, self.clock.main, at)
        self.tally.hear(act.number, at, found, _held(act.query, at, act.texts))
        return found

    def _count(self, act: OutputAct, mine: Tensor, before: Tensor, after: Tensor) -> None:
        """Predictions addressed and changed, and how much probability went to other tokens."""
        self.tally.paths.add("output")
        one, two = (torch.softmax(x[:, mine].double(), -1) for x in (before, after))
        changed = (before[:, mine] != after[:, mine]).any(-1).sum()
        self.tally.add(act, len(before) * mine.sum()[None], changed[None], (one - two).abs().sum()[None] / 2)
