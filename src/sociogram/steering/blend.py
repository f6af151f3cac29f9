"""Several voices beside the model's own heads, each with its loudness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sociogram.core.errors import InputError
from sociogram.models.attention import AttentionCall
from sociogram.steering.arguments import as_schedule, choice, numbers, rate
from sociogram.steering.attend import POSITIONS, AddHead
from sociogram.steering.base import Edit, Scene, check_whole

if TYPE_CHECKING:
    from sociogram.models.model import Model


@dataclass(frozen=True, kw_only=True)
class Blend(Edit):
    """Let heads hear several sources, each by itself: `blend([(memory_a, 1.0), (memory_b, -0.5)], layer=20)`.

    `voices`: pairs of a source (as in `attend`) and its gain, a number or one per head; negative ones subtract. Each voice has
    a softmax of its own and is added to what the head hears anyway, as by `add_head`: the head's output becomes
    own + the sum of gain * voice. `positions`, `top_k`, `schedule` and `forget` as in `attend`, the same for all voices.

    `rec.interference()` tells, of a recording under this edit, how far the voices agree or annul each other.

    Misleads: a negative gain subtracts what a source tells these readers, which is not the opposite of what its text means.
    """

    name: ClassVar[str] = "blend"
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))
    apart: ClassVar[bool] = True
    voices: Any = field(kw_only=False)
    positions: Literal["before", "as_stored", "none"] = "before"
    top_k: int | None = None
    schedule: Any = None
    forget: float = 0.0

    def check(self) -> None:
        """At least one voice, each a pair of a source and a gain."""
        object.__setattr__(self, "voices", tuple(_voices(self.voices)))
        choice(self.name, "positions", self.positions, POSITIONS)
        if self.top_k is not None:
            check_whole(self.name, "top_k", self.top_k, 1)
        object.__setattr__(self, "forget", rate(self.name, self.forget))
        object.__setattr__(self, "schedule", as_schedule(self.name, self.schedule))

    @property
    def _parts(self) -> Iterator[_Voice]:
        same = {
            name: getattr(self, name) for name in ("layer", "head", "query", "stack", "positions", "top_k", "schedule", "forget")
        }
        for number, (source, gain) in enumerate(self.voices):
            yield _Voice(source=source, gain=gain, blend=self, number=number, **same)

    def ready(self, model: Model) -> list[tuple[_Voice, Any]]:
        """Each voice with its source made ready."""
        return [(voice, voice.ready(model)) for voice in self._parts]

    def changes(self, scene: Scene) -> AttentionCall | None:
        """The call with the keys and values of all voices appended, one source after the other."""
        call, changed = scene.call, False
        for voice, ready in scene.material:
            told = voice.changes(replace(scene, call=call, material=ready))
            call, changed = (call, changed) if told is None else (told, True)
        return call if changed else None

    def spelled(self, value: Any) -> str:
        """Voices as lists of source and gain."""
        if value is not self.voices:
            return super().spelled(value)
        return "[" + ",".join(f"[{_source(self, source)},{_gain(gain)}]" for source, gain in value) + "]"


@dataclass(frozen=True, kw_only=True)
class _Voice(AddHead):
    """One voice of a blend; it speaks of itself as the blend."""

    blend: Any
    number: int

    @property
    def label(self) -> str:
        """Its number: what it is called among the sources of the blend."""
        return f"voice {self.number}"

    def __str__(self) -> str:
        """The blend."""
        return str(self.blend)


def _voices(given: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(given, list | tuple) or not given:
        raise InputError(f"blend voices={given!r}: give a list of (source, gain), such as [(memory, 1.0), (other, -0.5)]")
    for one in given:
        if not isinstance(one, list | tuple) or len(one) != 2:
            raise InputError(f"blend voices: {one!r} is no pair of a source and its gain, such as (memory, 1.0)")
        gains = numbers("blend", "gain", one[1])
        yield one[0], gains[0] if len(gains) == 1 else gains


def _source(blend: Blend, source: Any) -> str:
    """A path in quotes, as Python reads it; what lives in memory only in angle brackets."""
    return repr(fspath(source)) if isinstance(source, str | PathLike) else Edit.spelled(blend, source)


def _gain(gain: Any) -> str:
    return str(list(gain)).replace(" ", "") if isinstance(gain, tuple) else str(gain)
