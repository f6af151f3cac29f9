"""Run an experiment: choose the settings, seed everything, take the time, and note who made it and where."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import sociogram as sg
from sociogram.experiments.code import code_hash
from sociogram.experiments.registry import module_of, question_of
from sociogram.experiments.study import Study, Table

Chosen = TypeVar("Chosen")

PACKAGES = ("torch", "transformers", "numpy", "scipy", "pandas")


def conduct(
    name: str,
    work: Callable[[Chosen, int], Sequence[Table]],
    chosen: Chosen,
    cannot_show: Sequence[str],
    *,
    quick: bool,
    seed: int,
    seeds: Sequence[int] | None = None,
    sources: Sequence[str] = (),
) -> Study:
    """A study of what `work(chosen, seed)` finds.

    Args:
        name: the experiment's.
        work: makes the tables; everything random in it comes from the seed.
        chosen: the settings, from `choose`.
        cannot_show: what no number of it says, in sentences.
        quick: whether the settings are those of a quick run.
        seed: a whole number from 0.
        seeds: all seeds used, where they are several.
        sources: modules whose code made it; the experiment's own unless given.

    Raises:
        InputError: a seed that is none.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise sg.InputError(f"{name}: seed={seed!r}: a whole number from 0 up")
    made, start = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    code = code_hash(*(sources or [module_of(name)]))  # before the work: files may be edited while it lasts
    tables = tuple(work(chosen, seed))
    return Study(
        name=name,
        question=question_of(name),
        tables=tables,
        cannot_show=tuple(cannot_show),
        settings=plain_settings(chosen),
        seeds=tuple(seeds) if seeds is not None else (seed,),
        quick=quick,
        machine=machine(),
        versions=versions(),
        seconds=round(time.perf_counter() - start, 3),
        made=made,
        code=code,
    )


def choose(name: str, full: Chosen, quick: Chosen, wanted_quick: bool, settings: dict[str, Any]) -> Chosen:
    """The settings of a run: those of a quick or a full one, with those replaced that the caller named.

    Raises:
        InputError: a setting that the experiment does not have, or a value of another type.
    """
    base = quick if wanted_quick else full
    assert is_dataclass(base)
    assert not isinstance(base, type)
    known = [field.name for field in fields(base)]
    for setting, value in settings.items():
        if setting not in known:
            raise sg.InputError(f"{name} has no setting {setting!r}: it has {', '.join(known) or 'none'}")
        _check(name, setting, value, getattr(base, setting))
    return replace(base, **settings)


def _check(name: str, setting: str, value: Any, like: Any) -> None:
    """Refuse a value of another type than the setting's own; whole numbers are numbers too."""
    if isinstance(like, tuple):
        fits = isinstance(value, tuple) and len(value) > 0 and (not like or all(_same(v, like[0]) for v in value))
        wanted = f"a tuple such as {like!r}"
    else:
        fits, wanted = _same(value, like), f"{type(like).__name__}, such as {like!r}"
    if not fits:
        raise sg.InputError(f"{name}: {setting}={value!r} does not fit: it is {wanted}")


def _same(value: Any, like: Any) -> bool:
    if isinstance(like, bool) or isinstance(value, bool):
        return isinstance(like, bool) and isinstance(value, bool)
    if isinstance(like, float):
        return isinstance(value, int | float)
    return isinstance(value, type(like)) or (isinstance(value, dict) and isinstance(like, dict))


def plain_settings(chosen: Any) -> dict[str, Any]:
    """Settings as JSON gives them back: tuples are lists."""
    return {name: _listed(value) for name, value in asdict(chosen).items()}


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(v) for v in value]
    return {k: _listed(v) for k, v in value.items()} if isinstance(value, dict) else value


def machine() -> dict[str, Any]:
    """Processor, cores, system, Python."""
    return {
        "processor": _processor(),
        "cores": f"{os.cpu_count()} cores",
        "system": platform.platform(),
        "python": f"Python {platform.python_version()}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of sociogram and of what computes."""
    found = {"sociogram": sg.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a system's own build without metadata
            continue
    return found
