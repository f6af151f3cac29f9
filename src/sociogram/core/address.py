"""Addresses of layers, heads and tokens: by number, span, text, or a condition on the text; resolved against what there is."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sociogram.core.errors import InputError


@dataclass(frozen=True)
class Span:
    """Positions from `start` up to but not including `stop`, as a slice; without `stop`, tokens still to come belong to it."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        """As in a slice."""
        ends = ["" if end is None else str(end) for end in (self.start, self.stop)]
        return ":".join([*ends, *([] if self.step is None else [str(self.step)])])


One: TypeAlias = int | str | Span | Callable[[str], bool]
Address: TypeAlias = One | tuple[One, ...] | None
"""None is all of them."""
Given: TypeAlias = One | slice | Iterable[int | str | slice] | None
"""What users may write: slices, lists and ranges become `Span`s and tuples."""


def address(given: Any) -> Address:
    """An address as it is kept: hashable, comparable, printable.

    Raises:
        InputError: what is no address.
    """
    if isinstance(given, slice):
        return Span(_whole(given.start), _whole(given.stop), _whole(given.step))
    if isinstance(given, bool):
        raise InputError(f"{given!r} is no address: give a number, a span, a text, a function of the text, or several of them")
    if given is None or isinstance(given, str | Span) or callable(given):
        return given
    try:
        return operator.index(given)
    except TypeError:  # arrays of numbers have __index__ too, and are lists of addresses
        pass
    if isinstance(given, Iterable):
        parts = tuple(address(one) for one in given)
        if not parts or any(part is None or isinstance(part, tuple) for part in parts):
            raise InputError(f"{given!r} is no list of addresses: numbers, spans or texts, at least one")
        return parts[0] if len(parts) == 1 else parts  # type: ignore[return-value]
    raise InputError(f"{given!r} is no address: give a number, a span, a text, a function of the text, or several of them")


def _whole(end: Any) -> int | None:
    if end is None:
        return None
    if isinstance(end, bool) or not hasattr(end, "__index__"):
        raise InputError(f"a span goes from number to number, not to {end!r}")
    return int(end)


def written(where: Address) -> str:
    """An address as people write it in `sociogram steer --edit`; `all` for None."""
    if where is None:
        return "all"
    if isinstance(where, tuple):
        return ",".join(written(part) for part in where)
    if isinstance(where, str):
        return repr(where)
    return f"<{getattr(where, '__name__', 'condition')}>" if callable(where) else str(where)


def as_plain(where: Address) -> Any:
    """An address for JSON: numbers and texts as they are, spans as `{"from", "to", "step"}`.

    Raises:
        InputError: a condition, which is code.
    """
    if isinstance(where, tuple):
        return [as_plain(part) for part in where]
    if isinstance(where, Span):
        return {"from": where.start, "to": where.stop, "step": where.step}
    if callable(where):
        raise InputError(f"the address {written(where)} is a function, which cannot be stored: give positions or texts")
    return where


def from_plain(plain: Any) -> Address:
    """The address that `as_plain` wrote.

    Raises:
        InputError: anything else.
    """
    if isinstance(plain, dict):
        if not set(plain) <= {"from", "to", "step"}:
            raise InputError(f"{plain!r} is no span: it has from, to and step")
        return address(slice(plain.get("from"), plain.get("to"), plain.get("step")))
    if isinstance(plain, list):
        return address([Span(**_ends(one)) if isinstance(one, dict) else one for one in plain])
    return address(plain)


def _ends(plain: dict[str, Any]) -> dict[str, int | None]:
    return {"start": plain.get("from"), "stop": plain.get("to"), "step": plain.get("step")}


def indices(where: Address, count: int, what: str) -> list[int]:
    """The numbers that an address of layers or heads means, in order, each once.

    Raises:
        InputError: a number outside the range, with the range; an address that is no number.
    """
    if where is None:
        return list(range(count))
    found: set[int] = set()
    for part in where if isinstance(where, tuple) else (where,):
        if isinstance(part, Span):
            own = range(count)[part.start : part.stop : part.step]
            if not own:
                raise InputError(f"{what}={part}: no {what} is in it; there are {count}, numbered 0 to {count - 1}")
            found.update(own)
        elif isinstance(part, int):
            if not -count <= part < count:
                raise InputError(f"no {what} {part}: there are {count}, numbered 0 to {count - 1} (or -{count} to -1)")
            found.add(part % count)
        else:
            raise InputError(f"{what}={written(part)}: a {what} is addressed by number")
    return sorted(found)


def is_relative(where: Address) -> bool:
    """Whether an address counts from the end, which moves while a model writes."""
    if isinstance(where, tuple):
        return any(is_relative(part) for part in where)
    if isinstance(where, Span):
        return any(end is not None and end < 0 for end in (where.start, where.stop, where.step))
    return isinstance(where, int) and where < 0


@dataclass(frozen=True)
class Places:
    """An address of tokens resolved against a prompt; says of any position whether it is meant, of later ones too."""

    everything: bool
    fixed: frozenset[int]
    open_spans: tuple[tuple[int, int | None, int], ...]
    conditions: tuple[Callable[[str], bool], ...]

    def holds(self, position: int, text: str | None) -> bool:
        """Whether the token at a position is meant; conditions need its text."""
        if self.everything or position in self.fixed:
            return True
        for start, stop, step in self.open_spans:
            if position >= start and (stop is None or position < stop) and (position - start) % step == 0:
                return True
        return text is not None and any(bool(condition(text)) for condition in self.conditions)


def places(
    where: Address, texts: Sequence[str], find: Callable[[Sequence[str], int | str], int], to_come: int, what: str
) -> Places:
    """Resolve an address of tokens.

    Args:
        where: the address.
        texts: the prompt's tokens.
        find: the position of a token given by number or text (raises InputError).
        to_come: how many tokens may follow.
        what: `"query"` or `"key"`, for messages.

    Raises:
        InputError: positions that no token can have, with the range; counting from the end while tokens are to come.
    """
    if where is None:
        return Places(True, frozenset(), (), ())
    if to_come and is_relative(where):
        raise InputError(
            f"{what}={written(where)} counts from the end, which moves while the model writes: give positions from the start "
            f"(the prompt has 0 to {len(texts) - 1})"
        )
    fixed: set[int] = set()
    spans: list[tuple[int, int | None, int]] = []
    conditions: list[Callable[[str], bool]] = []
    for part in where if isinstance(where, tuple) else (where,):
        if isinstance(part, Span):
            spans.append(_ends_of(part, len(texts), to_come, what))
        elif isinstance(part, int) and len(texts) <= part < len(texts) + to_come:
            fixed.add(part)
        elif isinstance(part, int | str):
            fixed.add(find(texts, part))
        else:
            conditions.append(part)
    return Places(False, frozenset(fixed), tuple(spans), tuple(conditions))


def _ends_of(span: Span, count: int, to_come: int, what: str) -> tuple[int, int | None, int]:
    start, stop, step = slice(span.start, span.stop, span.step).indices(count + to_come)
    if step < 1:
        raise InputError(f"{what}={span}: a span of tokens goes forwards")
    if start >= stop:
        raise InputError(f"{what}={span}: no token is in it; there are {count}, numbered 0 to {count - 1}")
    return start, None if span.stop is None else stop, step
