"""Which sources made a study, as one hash: when they change, a stored study is no longer what the code would find."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOMS = ("sociogram.experiments", "sociogram.grow")
"""Sources in these are followed; those of the instruments are told by the version of sociogram."""

FRAME = ("", ".study", ".registry", ".code", ".conduct", ".watching", ".pictures")
"""Modules of this room that make no number."""


def code_hash(*modules: str) -> str:
    """sha256 over the modules' code and that of `experiments` and `grow` that they import, directly or through others.

    Whoever asks for the whole of `grow` (`sg.grow`, `from sociogram import grow`) has all its sources. Comments, docstrings,
    the layout of lines and a module's `draw`, which makes no number, do not count; the rest of the syntax tree does.

    Misleads: a change that makes no other number (a name, a message) changes it too, and a change of torch does not (see the
    study's versions). Another version of Python may spell syntax trees otherwise.
    """
    digest = hashlib.sha256()
    for name, source in sorted(_sources(modules).items()):
        digest.update(f"{name}\0{_bare(source)}\0".encode())
    return digest.hexdigest()


def _bare(source: str) -> str:
    """The code as its syntax tree spells it, without the texts that stand for themselves (docstrings) and without `draw`."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not (isinstance(node, ast.FunctionDef) and node.name == "draw")]
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            lines = getattr(node, name, None)
            if isinstance(lines, list):
                setattr(node, name, [line for line in lines if not _is_text(line)])
    return ast.unparse(tree)


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _sources(modules: Iterable[str]) -> dict[str, str]:
    """The sources by their modules' names."""
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _path(name)
        if name in found or path is None:
            continue
        found[name] = path.read_text(encoding="utf-8")
        waiting += _imported(name, found[name])
    return found


@cache
def _path(module: str) -> Path | None:
    """The file of a module; None where the name is no module (a function imported from one)."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _imported(module: str, source: str) -> list[str]:
    """Names in our rooms that a source imports; names that stand in a module are given too, and are no modules."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute) and node.attr == "grow" and isinstance(node.value, ast.Name):
            found.append("sociogram.grow")
    if module != "sociogram.grow" and "sociogram.grow" in found:
        found += _whole_room("sociogram.grow")
    frame = {ROOMS[0] + name for name in FRAME}
    return [name for name in found if name.startswith(ROOMS) and name not in frame]


def _whole_room(room: str) -> list[str]:
    path = _path(room)
    files = [] if path is None else path.parent.rglob("*.py")
    return [f"{room}.{'.'.join(file.relative_to(path.parent).with_suffix('').parts)}" for file in files if path is not None]
