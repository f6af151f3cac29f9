"""What every edit is: a frozen value that names one change and where it acts."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sociogram.core.address import address, as_plain, from_plain, indices, written
from sociogram.core.errors import InputError
from sociogram.core.schedule import Schedule
from sociogram.models.anatomy import Heard
from sociogram.models.attention import AttentionCall

if TYPE_CHECKING:
    from sociogram.models.model import Model

ADDRESSES = ("layer", "head", "query", "key")


@dataclass(frozen=True, eq=False)
class Scene:
    """Where an edit acts: one attention call of one pass.

    Attributes:
        call: what was asked, advertised and told, edits before this one included.
        layer: the layer's number in its stack.
        queries, keys: absolute positions of the call's readers and of the sequence's own senders.
        wanted: `[head, query, key]`, the entries that the edit addresses, whether the model's mask lets them exist or not.
        material: what the edit made ready before the run.
        step: the attention branch that the call belongs to.
        stand: where the tokens of a past stand, then the next position, if that is not where they lie in the cache.
        arguments: what the call's module was given, for edits that overhear it.
        notes: what the edit keeps during this run.
        opened: by schedule, whether it is open to each reader.
    """

    call: AttentionCall
    layer: int
    queries: range
    keys: range
    wanted: Bool[Tensor, "head query key"]
    material: Any = None
    step: Heard | None = None
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    stand: Tensor | None = None
    notes: dict[Any, Any] = field(default_factory=dict)
    opened: Callable[[Schedule], Bool[Tensor, " query"]] | None = None

    @property
    def readers(self) -> Bool[Tensor, "head query"]:
        """Which readers are addressed, by head."""
        return self.wanted.any(-1)

    def listeners(self, schedule: Schedule | None) -> Bool[Tensor, "head query"]:
        """The readers addressed to whom a schedule over tokens is open, by head; of one over layers, all."""
        if schedule is None or self.opened is None or schedule.over == "layers":
            return self.readers
        return self.readers & self.opened(schedule).to(self.readers.device)

    def standing(self) -> Int[Tensor, " query"]:
        """The positions at which the readers were encoded: those of a past with a hole are not their places in the cache."""
        places = self.at("query")
        if self.stand is None:
            return places
        last = len(self.stand) - 1
        stand = self.stand.to(places.device)
        return torch.where(places < last, stand[places.clamp_max(last)], stand[last] + places - last)

    def at(self, axis: str) -> Tensor:
        """Absolute positions along `"query"` or `"key"`, on the call's device."""
        where = self.queries if axis == "query" else self.keys
        return torch.arange(where.start, where.stop, device=self.call.query.device)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change, and where: which layers, heads, readers (`query`) and senders (`key`); all of them where nothing is said.

    Layers and heads are numbers; tokens are positions, texts or conditions on the text; slices and lists of them are welcome.
    `stack` names the stack of layers where a model has several; the main one when left out.
    """

    name: ClassVar[str] = ""
    takes: ClassVar[frozenset[str]] = frozenset(ADDRESSES)
    """Which addresses have a meaning here."""
    whole: ClassVar[bool] = False
    """Whether it is of all that a head tells, what it hears from outside included."""
    overhears: ClassVar[bool] = False
    """Whether it asks what the attention module was given (`Scene.arguments`)."""
    by_place: ClassVar[bool] = True
    """Whether what it cuts depends on positions and texts alone, so that layers of one pass can share it."""
    signs: ClassVar[bool] = False
    """Whether it means the same where weights are signed and no shares of a row (linear attention)."""
    hears: ClassVar[bool] = True
    """Whether it is of attention; else of the stream or of what the model says, for which there are other editors."""
    further: ClassVar[frozenset[str]] = frozenset()
    """Arguments of its own that are addresses too."""

    layer: Any = None
    head: Any = None
    query: Any = None
    key: Any = None
    stack: str | None = None

    def __post_init__(self) -> None:
        """Bring addresses into their kept form and check all values."""
        for one in dataclasses.fields(self):
            if isinstance(value := getattr(self, one.name), np.generic):
                object.__setattr__(self, one.name, value.item())
        for name in ADDRESSES:
            given = getattr(self, name)
            if given is not None and name not in self.takes:
                raise InputError(f"{self.name} takes no {name}=: it takes {', '.join(sorted(self.takes))}")
            object.__setattr__(self, name, address(given))
        for name in self.further:
            object.__setattr__(self, name, address(getattr(self, name)))
        self.check()

    def check(self) -> None:
        """Refuse values that mean nothing, with an InputError."""

    @property
    def decodes(self) -> bool:
        """Whether it acts the same in prefill and in cached decoding."""
        return True

    @property
    def alone(self) -> bool:
        """Whether it keeps a past of its own, which only one plainly generated sequence has."""
        return False

    def heads(self, count: int) -> tuple[int, ...]:
        """The heads addressed, of so many.

        Raises:
            InputError: a head outside the range.
        """
        return tuple(indices(self.head, count, "head"))

    def ready(self, model: Model) -> Any:
        """What the edit needs beyond the call, made or fetched once before the run (and kept in `Scene.material`).

        Raises:
            InputError: what is asked for is not there, or does not fit the model.
        """
        return None

    def cuts(self, scene: Scene) -> Bool[Tensor, "#head query key"] | None:
        """Which of the entries wanted are taken out before the softmax; None where the edit takes out none."""
        return None

    def addresses(self, cut: Tensor, scene: Scene) -> Tensor:
        """Of a cutting edit, the entries that it says something about: what it cuts."""
        return cut

    def changes(self, scene: Scene) -> AttentionCall | None:
        """The call with other queries, keys or values, or with keys appended; None where the edit leaves them."""
        return None

    def takes_signs(self) -> bool:
        """Whether this edit means something where weights are signed: those of its kind, unless it says otherwise."""
        return self.signs

    def asks_positions(self) -> bool:
        """Whether it matters where readers and senders stand."""
        return self.query is not None or self.key is not None

    def refuse(self, tokens: int) -> None:
        """Refuse values that do not fit so many tokens (the prompt's and those to come), with an InputError."""

    def reweighs(self) -> bool:
        """Whether `weigh` changes weights after the softmax."""
        return False

    def weigh(self, weights: Tensor, sink: Tensor | None, region: Tensor, scene: Scene) -> tuple[Tensor, Tensor | None]:
        """The weights and sink weights to be used instead.

        Args:
            weights: `[batch, head, query, key]`, keys from outside at the end.
            sink: `[batch, head, query]`, or None where the softmax has none.
            region: like the weights, the entries wanted that exist.
            scene: where this is.
        """
        return weights, sink

    def __str__(self) -> str:
        """As `sociogram steer --edit` takes it."""
        parts = [self.name]
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if value != one.default:
                parts.append(f"{one.name}={written(value) if self.is_address(one.name) else self.spelled(value)}")
        return " ".join(parts)

    @classmethod
    def is_address(cls, name: str) -> bool:
        """Whether an argument is an address."""
        return name in ADDRESSES or name in cls.further

    def spelled(self, value: Any) -> str:
        """A value that is no address, as text; what lives in memory only, in angle brackets."""
        if isinstance(value, tuple | list):
            nested = any(isinstance(one, tuple | list) for one in value)
            return str([list(one) for one in value]).replace(" ", "") if nested else ",".join(map(self.spelled, value))
        if isinstance(value, PathLike):
            value = fspath(value)
        if isinstance(value, str):
            return value if re.fullmatch(r"[\w./~-]*[A-Za-z][\w./~-]*", value) and not _is_literal(value) else repr(value)
        if isinstance(value, Schedule) and value.predicate is not None:
            return f"<{value}>"
        if hasattr(value, "as_plain"):
            return str(value.as_plain()).replace(" ", "")
        if value is None or isinstance(value, bool | int | float):
            return str(value)
        return f"<{type(value).__name__.lower()}>"

    def as_plain(self) -> dict[str, Any]:
        """For JSON; `from_plain` reads it.

        Raises:
            InputError: an address that is a function, or a value that is not stored anywhere (a recording in memory).
        """
        plain: dict[str, Any] = {"edit": self.name}
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if value != one.default:
                plain[one.name] = as_plain(value) if self.is_address(one.name) else self._plain(one.name, value)
        return plain

    def _plain(self, name: str, value: Any) -> Any:
        """A value for JSON."""
        if isinstance(value, tuple | list):
            return [self._plain(name, one) for one in value]
        if isinstance(value, PathLike):
            return fspath(value)
        if hasattr(value, "as_plain"):
            return value.as_plain()
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise InputError(f"{self.name} {name}={value!r} cannot be stored as text: save it, and give its path instead")


def _is_literal(text: str) -> bool:
    """Whether Python would read a text as something else than a text."""
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return True


def check_number(edit: str, name: str, value: Any) -> None:
    """Refuse what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{edit} {name}={value!r}: a finite number is needed")


def check_whole(edit: str, name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{edit} {name}={value!r}: a whole number, at least {least}")


def plain_fields(kind: type[Edit], plain: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an edit from their JSON form."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := sorted(set(plain) - known):
        raise InputError(f"{kind.name} has no {', '.join(unknown)}; it takes {', '.join(sorted(_takes(kind)))}")
    return {name: from_plain(value) if kind.is_address(name) else value for name, value in plain.items()}


def _takes(kind: type[Edit]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)} - (set(ADDRESSES) - kind.takes)
