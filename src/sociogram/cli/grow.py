"""`sociogram grow`: the experiments, run from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sociogram.cli.screen import console, table

if TYPE_CHECKING:
    from sociogram.experiments import Study

SHOWN = 60
"""So many rows of a table are shown on the screen; the JSON has all."""

SEEDS = 3
"""So many seeds are taken by `--over seed`."""

Name = Annotated[str | None, typer.Argument(help="Which experiment; without it they are listed.", show_default=False)]
Quick = Annotated[bool, typer.Option("--quick", help="Under a minute, to see that it works: its numbers are no results.")]
Over = Annotated[
    list[str] | None,
    typer.Option("--over", help="Run once for each value and tell the spread: seed, seed=0,1,2 or width=32,64; may be repeated."),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="A setting, as steps=500 or layers=1+2; may be repeated.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write NAME.json and NAME.png into this folder.")]


def grow(
    name: Name = None,
    quick: Quick = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Everything random comes from it.")] = 0,
    over: Over = None,
    settings: Set = None,
    model: Annotated[str | None, typer.Option("--model", help="A model, where the experiment takes one.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Processes for --over; 0 is one for each core.")] = 0,
    out: Out = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Run an experiment: its tables, what they cannot show, and where asked a picture and JSON."""
    if name is None:
        _list(as_json)
        return
    _check_folder(out)
    from sociogram.experiments import open_experiment

    texts = _pairs("--set", settings or ()) | ({} if model is None else {"model": model})
    which, given = _run_of(name, over, texts, seed, jobs)
    with _bar():
        study = open_experiment(which).run(quick=quick, seed=seed, **given)
    written = [] if out is None else _write(study, out)
    if as_json:
        import json

        typer.echo(json.dumps(study.as_plain(), ensure_ascii=False, allow_nan=False))
        return
    _print(study)
    for line in written:
        console().print(line, markup=False, soft_wrap=True)


def _list(as_json: bool) -> None:
    from sociogram.experiments import names, question_of

    rows = [[name, question_of(name)] for name in names()]
    if as_json:
        import json

        typer.echo(json.dumps([{"name": name, "question": question} for name, question in rows]))
        return
    console().print(table([("experiment", "left"), ("what it asks", "text")], rows))
    console().print("[dim]sociogram grow NAME --quick shows that one works; without --quick it takes up to half an hour[/dim]")


def _check_folder(out: Path | None) -> None:
    from sociogram import InputError

    if out is not None and not out.is_dir():
        if out.exists():
            raise InputError(f"--out {out}: this is a file; name a folder")
        if not out.absolute().parent.is_dir():
            raise InputError(f"--out {out}: there is no folder {out.parent} to make it in")


def _run_of(name: str, over: list[str] | None, texts: dict[str, str], seed: int, jobs: int) -> tuple[str, dict[str, Any]]:
    """Which experiment's `run` to call, and with which settings."""
    from sociogram import InputError
    from sociogram.experiments import settings_of

    known = settings_of(name)
    if "seed" in texts:
        raise InputError(f"--set seed={texts['seed']}: the seed has an option of its own, --seed {texts['seed']}")
    inner = texts.pop("experiment", known["experiment"]) if name == "generality" else name
    given = {setting: _value(inner, setting, text) for setting, text in texts.items()}
    if over is None and name != "generality":
        return name, given
    wanted = _over(inner, over or ["seed"], seed)
    return "generality", {"experiment": inner, "over": wanted, "settings": given, "jobs": jobs}


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """`a=b` as pairs."""
    from sociogram import InputError

    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(f"{option} {text}: write a name and its value, as in {option} steps=500")
        if name in found:
            raise InputError(f"{option} {text}: {name} is there twice")
        found[name] = value
    return found


def _over(experiment: str, texts: list[str], seed: int) -> dict[str, tuple[Any, ...]]:
    """What is varied, and its values."""
    from sociogram import InputError

    found: dict[str, tuple[Any, ...]] = {}
    for part in (part for text in texts for part in ([text] if "=" in text else text.split(","))):
        if part == "seed":
            found["seed"] = tuple(range(seed, seed + SEEDS))
        elif "=" not in part:
            raise InputError(f"--over {part}: say which values, as in --over {part}=...,... (seed takes {SEEDS})")
        else:
            ((name, values),) = _pairs("--over", [part]).items()
            found[name] = tuple(_value(experiment, name, value) for value in values.split(","))
    return found


def _value(experiment: str, setting: str, text: str) -> Any:
    """A setting's value from its text, of the type of its value in a full run; members of tuples are joined by `+`."""
    from sociogram import InputError
    from sociogram.experiments import settings_of

    known = {"seed": 0} | settings_of(experiment)
    if setting not in known:
        raise InputError(f"{experiment} has no setting {setting!r}: it has {', '.join(known)}")
    like = known[setting]
    try:
        if isinstance(like, tuple):
            return tuple(_one(part, like[0]) for part in text.split("+"))
        return _one(text, like)
    except ValueError as error:
        raise InputError(f"{setting}={text}: {experiment} takes one like {_spelled(like)}") from error


def _one(text: str, like: Any) -> Any:
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    return text if isinstance(like, str) else type(like)(text)


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def _bar() -> Iterator[None]:
    """Inside, a bar on standard error says what an experiment is doing; nothing where nobody looks."""
    import sys

    from sociogram.experiments.watching import watched_by

    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("")
        with watched_by(lambda what, done, total: progress.update(task, description=what, completed=done, total=total)):
            yield


def _write(study: Study, out: Path) -> list[str]:
    """The JSON and the picture; without matplotlib the JSON alone, said so."""
    from sociogram import MissingExtraError

    lines = [f"written: {study.save(out)}"]
    try:
        lines.append(f"written: {study.save_picture(out)}")
    except MissingExtraError as error:
        lines.append(f"no picture: {error}")
    return lines


def _print(study: Study) -> None:
    screen = console()
    screen.print(study.question, style="bold", markup=False)
    for one in study.tables:
        screen.print()
        screen.print(one.title, style="bold", markup=False)
        rows = one.frame.head(SHOWN)
        columns = [(str(name), "left" if one.kind(str(name)) == "text" else "right") for name in rows.columns]
        screen.print(table(columns, [[_cell(value) for value in row] for row in rows.itertuples(index=False)]))
        if len(one.frame) > SHOWN:
            screen.print(f"{len(one.frame) - SHOWN} more of {len(one.frame)} rows are in the JSON (--out, --json)", style="dim")
        if one.note:
            screen.print(one.note, style="dim", markup=False)
    screen.print()
    screen.print("What this cannot show", style="bold")
    for sentence in study.cannot_show:
        screen.print(f"- {sentence}", markup=False)
    screen.print()
    screen.print(study.provenance, style="dim", markup=False)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)
