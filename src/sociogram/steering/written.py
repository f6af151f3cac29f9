"""Edits as text and as JSON, and back."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from inspect import isabstract
from typing import Any

from sociogram.core.errors import InputError
from sociogram.steering.attend import AddHead, Attend
from sociogram.steering.base import ADDRESSES, Edit, plain_fields
from sociogram.steering.blend import Blend
from sociogram.steering.clusters import Clusters
from sociogram.steering.edits import Cut, Force, Mute, ScaleEdges, ScaleHead, SetWeight
from sociogram.steering.graft import Graft
from sociogram.steering.heads import Freeze, Swap
from sociogram.steering.means import MeanAblate
from sociogram.steering.odds import ScaleOdds
from sociogram.steering.output import KnnLM
from sociogram.steering.residual import Add, CutSkip, Patch, ProjectOut, SkipLayer
from sociogram.steering.topology import Blocks, Bottleneck, Isolate, Random, Strided, Topology, Window

KINDS: dict[str, type[Edit]] = {
    kind.name: kind
    for kind in (
        Cut, SetWeight, ScaleEdges, ScaleOdds, Force, Mute, ScaleHead, MeanAblate, Freeze, Swap, Graft, Attend, AddHead, Blend,
        Window, Strided, Random, Blocks, Clusters, Bottleneck, Isolate,
        Add, ProjectOut, Patch, CutSkip, SkipLayer, KnnLM,
    )
}  # fmt: skip
_WORD = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\s'"])+""")
_NUMBER = re.compile(r"-?\d+")
_SPAN = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")


def parse(text: str) -> Edit:
    """An edit from its text form: `cut layer=5 head=3 key=2`, `window width=64 sinks=4`, `mute layer=7 head=1:4`.

    Addresses are numbers, spans (`2:5`), texts in quotes, or several with commas between them.

    Raises:
        InputError: an unknown edit or argument, or a value that is none.
    """
    name, *words = _WORD.findall(text) or [""]
    kind = _kind(name)
    given: dict[str, Any] = {}
    for word in words:
        field, equals, value = word.partition("=")
        if not equals or not value:
            raise InputError(f"`{text}`: {word!r} is no argument; write name=value, as in layer=5")
        if field in given:
            raise InputError(f"`{text}`: {field} is given twice")
        given[field] = _address(value, text) if kind.is_address(field) else _value(value)
    return _made(kind, given)


def to_json(edits: Sequence[Edit]) -> str:
    """A list of edits as JSON.

    Raises:
        InputError: an address that is a function.
    """
    return json.dumps([edit.as_plain() for edit in edits], ensure_ascii=False, indent=1)


def from_json(text: str) -> list[Edit]:
    """The edits that `to_json` wrote.

    Raises:
        InputError: no such list.
    """
    try:
        plain = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"these edits are no JSON: {error}") from error
    if not isinstance(plain, list) or not all(isinstance(one, dict) and isinstance(one.get("edit"), str) for one in plain):
        raise InputError('edits in JSON are a list of objects, each with "edit": [{"edit": "cut", "layer": 5}]')
    found = []
    for one in plain:
        kind = _kind(one["edit"])
        found.append(_made(kind, plain_fields(kind, {name: value for name, value in one.items() if name != "edit"})))
    return found


def _kind(name: str) -> type[Edit]:
    known = KINDS | {rule.name: rule for rule in _rules(Topology) if rule.name and rule.name not in KINDS}
    if name not in known:
        raise InputError(f"no edit {name!r}; there are {', '.join(known)}")
    return known[name]


def _rules(kind: type[Edit]) -> Iterator[type[Edit]]:
    """Rules of the user's own, as far as their classes exist now."""
    for rule in kind.__subclasses__():
        if not isabstract(rule):
            yield rule
        yield from _rules(rule)


def _made(kind: type[Edit], given: dict[str, Any]) -> Edit:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    takes = [name for name in fields if name not in ADDRESSES or name in kind.takes]
    if unknown := [name for name in given if name not in fields]:
        raise InputError(f"{kind.name} takes no {', '.join(unknown)}; it takes {', '.join(takes)}")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in given]
    if missing:
        raise InputError(f"{kind.name} needs {', '.join(missing)}=")
    return kind(**given)


def _address(text: str, whole: str) -> Any:
    if ",".join(_split(text)) != text:
        raise InputError(f"`{whole}`: nothing beside a comma in {text!r}")
    parts = [_one(part, whole) for part in _split(text)]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _split(text: str) -> list[str]:
    """At commas outside quotes."""
    return re.findall(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,'"])+""", text) or [text]


def _one(text: str, whole: str) -> Any:
    if _NUMBER.fullmatch(text):
        return int(text)
    if span := _SPAN.fullmatch(text):
        return slice(*(int(end) if end else None for end in span.groups()))
    if text[0] in "'\"":
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError) as error:
            raise InputError(f"`{whole}`: {text} is no text in quotes") from error
    if text == "all":
        return None
    return text


def _value(text: str) -> Any:
    """A number, a text in quotes or without, a mapping, or several with commas between them."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        parts = _split(text)
        return text if len(parts) == 1 else tuple(_value(part) for part in parts)
