"""Heads that listen to another sequence besides their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.attention import AttentionCall, additive, plain_channels
from sociogram.models.outside import Outside
from sociogram.models.rotary import Rotation, find_rotation
from sociogram.steering.arguments import as_schedule, choice, forgotten, numbers, rate
from sociogram.steering.base import Edit, Scene, check_whole
from sociogram.steering.chosen import Part, found_part, narrowed, strongest
from sociogram.steering.heads import by_head, refuse_grafted
from sociogram.steering.source import Found, Source, source_of

if TYPE_CHECKING:
    from sociogram.models.model import Model

POSITIONS = ("before", "as_stored", "none")


@dataclass(frozen=True, eq=False)
class _Ready:
    """A source made ready: how keys move in this model, and those that have been moved."""

    source: Source
    rotation: Rotation | None
    moved: dict[tuple[str, int], tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Attend(Edit):
    """Let heads hear the tokens of another sequence: a `Past`, a recording (`keep="qkv"`), or the path of a saved one.

    `join`: `"softmax"`, the source's keys compete with the sequence's own in one softmax, as if they had been in the prompt;
    `"gate"`, the source is attended to on its own and mixed in: `(1 - gate) * own + gate * source`, `gate` a number or one per
    head, from 0 to 1 (a sigmoid of the difference of the two log-sum-exps would give the joint softmax).
    `positions`: `"before"`, the source stands right before the first token (its keys are turned there with the model's own rotary
    code); `"as_stored"`, where it stood when it was made; `"none"`, without positions: neither its keys nor the queries that meet
    them are turned.
    `top_k`: each reader and head hears this many of the source's tokens, those whose keys answer its query best (Wu et al. 2022,
    2203.08913), all of them when left out.
    `schedule`: a `Schedule` of when the source can be heard: over positions, tokens written, layers, or `Schedule.when(...)`.
    `forget`: a rate from 0 to 1 at which what is older is heard less: the odds of a token in its softmax are multiplied by
    (1 - rate) ** age, its age being how many letters (or passages) of the source were made later. 0 is no change; 1 leaves the
    newest alone, exactly, since the others are out of the softmax (scaled values would stay in its denominator).

    Every reader can hear all of the source, in layers with a sliding window too. Where the source has nothing for a layer (and no
    layer was asked for), that layer is left alone. Recordings show what was told from there as messages from outside.

    Misleads: keys and values made in one context and read in another were never met in training; a source from another place in
    the text is what that text told *there*.
    """

    name: ClassVar[str] = "attend"
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))
    source: Any
    join: Literal["softmax", "gate"] = "softmax"
    gate: Any = None
    positions: Literal["before", "as_stored", "none"] = "before"
    top_k: int | None = None
    schedule: Any = None
    forget: float = 0.0

    @property
    def apart(self) -> bool:
        """Whether the source has a softmax of its own."""
        return self.join == "gate"

    def check(self) -> None:
        """Known words, a gate where one is needed."""
        choice(self.name, "join", self.join, ("softmax", "gate"))
        choice(self.name, "positions", self.positions, POSITIONS)
        if self.top_k is not None:
            check_whole(self.name, "top_k", self.top_k, 1)
        object.__setattr__(self, "schedule", as_schedule(self.name, self.schedule))
        object.__setattr__(self, "forget", rate(self.name, self.forget))
        if (self.gate is None) == (self.join == "gate"):
            raise InputError(f'{self.name} join="{self.join}" gate={self.gate!r}: a gate from 0 to 1 goes with join="gate"')
        if self.gate is not None:
            gates = numbers(self.name, "gate", self.gate)
            if not all(0 <= gate <= 1 for gate in gates):
                raise InputError(f"{self.name} gate={self.gate!r}: a gate lies between 0 (closed) and 1 (the source alone)")
            object.__setattr__(self, "gate", gates[0] if len(gates) == 1 else gates)

    def ready(self, model: Model) -> _Ready:
        """The source, and how this model's keys move."""
        rotation = None if self.positions == "as_stored" else find_rotation(model)
        if rotation is not None and rotation.kind == "absolute":
            raise InputError(
                f"`{self}`: keys cannot be moved to other positions in {type(model.hf).__name__}: {rotation.reason}. "
                'Give positions="as_stored"'
            )
        return _Ready(source_of(str(self), self.source, model, self.stack), rotation)

    def changes(self, scene: Scene) -> AttentionCall | None:
        """The call with the source's keys and values appended, or those of the tokens that are found in it."""
        ready: _Ready = scene.material
        if self.schedule is not None and self.schedule.over == "layers" and not self.schedule.is_open(scene.layer):
            return None
        open_to = scene.listeners(self.schedule)
        part = self._sought(ready, scene, open_to) or self._compared(ready, scene, open_to)
        if part is None:
            if self.layer is not None:
                raise InputError(f"`{self}`: the source has no keys and values for layer {scene.layer}")
            return None
        refuse_grafted(self, scene.call, self.heads(scene.call.query.shape[1]))
        call, key, value = self._reconciled(scene.call, part.key, part.value)
        call, key = self._turned(ready, scene, call, key)
        bias = forgotten(str(self), ready.source, self.forget)
        bias = bias if bias is None or part.places is None else bias[list(part.places)]
        closed = ~open_to[None, :, :, None] if part.heard is None else ~part.heard
        if bias is not None:
            closed = closed | bias.isneginf().to(closed.device)
        batch = len(call.key)
        parts = [torch.cat([own, new.expand(batch, -1, -1, -1)], 2) for own, new in ((call.key, key), (call.value, value))]
        cut = _beside(call.cut, closed.expand(-1, -1, -1, key.shape[2]), call.key.shape[2])
        outside = Outside(
            part.names, *self._factors(call), source=self, turned=self._is_plain(ready), places=part.places, bias=bias,
            label=self.label,
        )  # fmt: skip
        return replace(call, key=parts[0], value=parts[1], outside=(*call.outside, outside), cut=cut)

    def _sought(self, ready: _Ready, scene: Scene, open_to: Tensor) -> Part | None:
        """The tokens that a source with very many finds by its index; None where all are to be compared."""
        nearest = getattr(ready.source, "nearest", None)
        if nearest is None or self.top_k is None or self.forget or not self._is_plain(ready) or len(scene.call.query) > 1:
            return None
        assert ready.rotation is not None
        query = ready.rotation.strip(scene.call.name, plain_channels(scene.call)[0], scene.standing())[0]
        found: Found | None = nearest(scene.call.name, query, self.top_k, open_to)
        return None if found is None else found_part(ready.source.names, found, open_to).like(scene.call.key)

    def _compared(self, ready: _Ready, scene: Scene, open_to: Tensor) -> Part | None:
        """All of the source's tokens, or those that answer some reader best; None where the source has nothing for this call."""
        call, names = scene.call, ready.source.names
        if (told := ready.source.told(call.name)) is None:
            return None
        self._check_fit(call, *told)
        key, value = self._placed(ready, scene, *told)
        if self.top_k is None or self.top_k >= key.shape[2]:
            return Part(tuple(names), key, value)
        query, stand = plain_channels(call)[0], scene.standing()
        if self._is_plain(ready):
            assert ready.rotation is not None
            query = ready.rotation.move(call.name, query, stand, torch.zeros_like(stand))
        bias = forgotten(str(self), ready.source, self.forget)
        return narrowed(names, key, value, strongest(query * call.scale, key, self.top_k, bias), open_to)

    @property
    def label(self) -> str:
        """What the source is called where one edit has several."""
        return ""

    def _factors(self, call: AttentionCall) -> tuple[Tensor | None, Tensor | None]:
        """What is kept of what was heard before, and what is heard of the source, per head."""
        if self.join == "softmax":
            return None, None
        gate = self._per_head(self.gate, call)
        return 1 - gate, gate

    def _per_head(self, numbers: Any, call: AttentionCall) -> Tensor:
        heads = call.query.shape[1]
        if isinstance(numbers, tuple) and len(numbers) != heads:
            raise InputError(f"`{self}`: {len(numbers)} numbers for {heads} heads: give one, or one per head")
        return torch.as_tensor(numbers, dtype=torch.float64).expand(heads)

    def _placed(self, ready: _Ready, scene: Scene, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The source's keys where they are to be heard from, moved once per run."""
        name = scene.call.name
        if name not in ready.moved:
            like, old = scene.call.key, ready.source.positions
            if ready.rotation is not None and self.positions == "before":
                self._check_bias(scene.call)
                key = self._before(ready.rotation, name, key, old)
            elif ready.rotation is not None:
                key = ready.rotation.move(name, key, old, torch.zeros_like(old))
            ready.moved[name] = key.to(like)[None], value.to(like)[None]
        return ready.moved[name]

    def _before(self, rotation: Rotation, name: tuple[str, int], key: Tensor, old: Tensor) -> Tensor:
        try:
            return rotation.move(name, key, old, torch.arange(-len(old), 0))
        except InputError as error:
            said = f"`{self}`: the source's {len(old):,} tokens cannot all stand before the prompt ({error})"
            raise InputError(f'{said}: give positions="none" or "as_stored"') from error

    def _check_bias(self, call: AttentionCall) -> None:
        if call.bias is not None or additive(call) is not None:
            raise InputError(
                f"`{self}`: this model adds a bias of its own for each pair of positions, and there is none for places before "
                'the first token: give positions="as_stored" or "none" (no bias for the source then). Where the bias is that of '
                "scale_odds, put that edit after this one"
            )

    def _is_plain(self, ready: _Ready) -> bool:
        """Whether its keys are met by queries without positions."""
        return self.positions == "none" and ready.rotation is not None and ready.rotation.kind != "free"

    def _turned(self, ready: _Ready, scene: Scene, call: AttentionCall, key: Tensor) -> tuple[AttentionCall, Tensor]:
        """With `positions="none"`: queries twice as wide, whose second half meets such sources alone and is not turned."""
        doubled = any(one.turned for one in call.outside)
        if self._is_plain(ready):
            return call if doubled else self._doubled(ready, scene, call), torch.cat([torch.zeros_like(key), key], -1)
        return call, torch.cat([key, torch.zeros_like(key)], -1) if doubled else key

    def _doubled(self, ready: _Ready, scene: Scene, call: AttentionCall) -> AttentionCall:
        assert ready.rotation is not None
        stand = scene.standing()
        plain = ready.rotation.move(call.name, call.query, stand, torch.zeros_like(stand))
        keys = torch.cat([call.key, torch.zeros_like(call.key)], -1)
        return replace(call, query=torch.cat([call.query, plain], -1), key=keys)

    def _check_fit(self, call: AttentionCall, key: Tensor, value: Tensor) -> None:
        heads, own = key.shape[0], call.query.shape[1]
        own_width = call.key.shape[3] // (2 if any(one.turned for one in call.outside) else 1)
        widths = key.shape[2] == own_width and value.shape[2] == call.value.shape[3]
        if widths and heads == value.shape[0] and (heads == call.key.shape[1] or own % heads == 0):
            return
        here = f"{call.key.shape[1]} key/value heads of {own_width} and {call.value.shape[3]} channels"
        there = f"{heads} of {key.shape[2]} and {value.shape[2]}"
        raise InputError(f"`{self}`: the source does not fit {call.path}, which has {here}; the source has {there}")

    def _reconciled(self, call: AttentionCall, key: Tensor, value: Tensor) -> tuple[AttentionCall, Tensor, Tensor]:
        """Call and source with as many key/value heads each."""
        if key.shape[1] == call.key.shape[1]:
            return call, key, value
        call = by_head(call)
        repeats = call.query.shape[1] // key.shape[1]
        return call, key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)


@dataclass(frozen=True, kw_only=True)
class AddHead(Attend):
    """Add a head that attends to a source alone, beside each head addressed: it asks with that head's queries and speaks through
    its output projection, and what the head itself hears stays as it is. `gain` makes it louder or quieter.

    `source`, `positions`, `top_k`, `schedule`, `forget` as in `attend`.
    """

    name: ClassVar[str] = "add_head"
    gain: Any = 1.0

    @property
    def apart(self) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """A finite gain; no join, since nothing is shared."""
        if self.join != "softmax" or self.gate is not None:
            raise InputError("add_head takes no join= and gate=: the head is added beside the others; give gain=")
        super().check()
        gains = numbers("add_head", "gain", self.gain)
        object.__setattr__(self, "gain", gains[0] if len(gains) == 1 else gains)

    def _factors(self, call: AttentionCall) -> tuple[Tensor, Tensor]:
        gain = self._per_head(self.gain, call)
        return torch.ones_like(gain), gain


def _beside(cut: Tensor | None, closed: Tensor, keys: int) -> Tensor | None:
    """What was cut before, and the source closed to those who may not hear it."""
    if cut is None:
        if not bool(closed.any()):
            return None
        cut = torch.zeros(1, 1, 1, keys, dtype=torch.bool, device=closed.device)
    rows = (max(len(cut), len(closed)), *closed.shape[1:3], -1)
    return torch.cat([cut.expand(rows), closed.expand(rows)], -1)
