"""`sociogram notes`: a small store of ideas. Adding, finding, listing, showing, removing, and the sources of an idea."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sociogram.cli import notes_out
from sociogram.cli.screen import console, prompt, table

if TYPE_CHECKING:
    import pandas as pd

    from sociogram.notes import Note, Notes

app = typer.Typer(help="A small store of ideas, found by meaning: add, find, near, share, attach ...", no_args_is_help=True)

LINE = 240
"""Longer notes are cut in tables; `show` has them whole."""

Where = notes_out.Where
Which = Annotated[str, typer.Argument(metavar="NOTE", help="A note's id, or a beginning of it that is no other's.")]
Top = Annotated[int, typer.Option("--top", min=1, help="How many to show.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

app.command("share")(notes_out.share)
app.command("attach")(notes_out.attach)
app.command("export")(notes_out.export)
app.command("import")(notes_out.import_folder)


@app.command("add")
def add(
    text: Annotated[
        str | None, typer.Argument(help="The note, or - to read it from standard input, as without it.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read the note from a file.", dir_okay=False)] = None,
    again: Annotated[bool, typer.Option("--again", help="Save it even if a note with this very text is there.")] = False,
    top: Annotated[int, typer.Option("--top", min=0, help="How many older notes to show; with 0 none are looked for.")] = 3,
    path: Where = None,
) -> None:
    """Show the nearest older notes, then save this one and print its id."""
    if text in (None, "-") and file is None and sys.stdin.isatty():
        _aside("write the note; Ctrl-D on a line of its own ends it")
    content = prompt("-" if text is None and file is None else text, file)
    import sociogram as sg

    notes = sg.notes.Notes(path)
    if not again and content.strip() and (same := notes.same(content)):
        _aside(f"this very text is a note already, of {_day(notes.note(same[0]))}; --again saves it a second time")
        typer.echo(same[0])
        return
    if top and content.strip() and len(notes):
        _say_neighbours(notes, content, top)
    typer.echo(notes.add(content, again=again))


def _say_neighbours(notes: Notes, content: str, top: int) -> None:
    """On standard error, so that standard output is the id alone. Without the sentence model the note is saved all the same."""
    import sociogram as sg

    try:
        near = notes.find(content, top=top)
    except sg.ModelNotFoundError as error:
        _aside(f"the nearest older notes cannot be told, and this one is saved without: {error}")
        return
    out = console(stderr=True)
    out.print("[bold]The nearest older notes[/bold]")
    out.print(_table(notes, near))


@app.command("find")
def find(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    top: Top = 5,
    least: Annotated[float, typer.Option("--least", help="Only notes with a cosine of this or more.")] = -1.0,
    path: Where = None,
    as_json: AsJson = False,
) -> None:
    """The notes nearest in meaning to a text."""
    import sociogram as sg

    notes = sg.notes.Notes(path)
    _tell(notes, notes.find(query, top=top, least=least), as_json)


@app.command("near")
def near(note: Which, top: Top = 5, path: Where = None, as_json: AsJson = False) -> None:
    """The neighbours of a note: those nearest to it in meaning."""
    import sociogram as sg

    notes = sg.notes.Notes(path)
    _tell(notes, notes.near(note, top=top), as_json)


@app.command("list")
def list_notes(
    top: Annotated[int | None, typer.Option("--top", min=1, help="Only so many, the newest.")] = None,
    path: Where = None,
    as_json: AsJson = False,
) -> None:
    """All notes, oldest first."""
    import sociogram as sg

    notes = sg.notes.Notes(path)
    every = notes.table
    _tell(notes, every if top is None else every.tail(top), as_json)


@app.command("show")
def show(note: Which, path: Where = None, as_json: AsJson = False) -> None:
    """A note as a whole, with its sources."""
    import sociogram as sg

    found = sg.notes.Notes(path).note(note)
    if as_json:
        typer.echo(_document(_plain(vars(found))))
        return
    _print(found)


@app.command("remove")
def remove(
    note: Annotated[list[str], typer.Argument(metavar="NOTE...", help="Ids, or beginnings of them.")], path: Where = None
) -> None:
    """Take notes away, with their sources."""
    import sociogram as sg

    notes = sg.notes.Notes(path)
    found = [notes.note(one) for one in note]
    notes.remove(*(one.id for one in found))
    for one in found:
        typer.echo(f"removed {one.id}: {_line(one.text, 60)}")


@app.command("link")
def link(
    note: Which,
    source: Annotated[str, typer.Option("--source", help="A URL or a title.")],
    kind: Annotated[str, typer.Option("--kind", help="read, talk or video.")] = "read",
    path: Where = None,
) -> None:
    """Say where the idea of a note comes from; it may have several sources."""
    import sociogram as sg

    _print(sg.notes.Notes(path).link(note, source, kind))


@app.command("unlink")
def unlink(note: Which, source: Annotated[str, typer.Option("--source", help="As it was given.")], path: Where = None) -> None:
    """Take a source from a note."""
    import sociogram as sg

    _print(sg.notes.Notes(path).unlink(note, source))


def _tell(notes: Notes, found: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        typer.echo(_document([_plain(row) for row in found.to_dict("records")]))
        return
    if found.empty:
        there = len(notes)
        _aside("none of them is as near" if there else f"no notes in {notes.folder}: sociogram notes add TEXT makes the first")
        return
    console().print(_table(notes, found))


def _table(notes: Notes, found: pd.DataFrame) -> Any:
    import sociogram as sg

    digits, with_cosine = sg.notes.shortest(notes.table["id"]), "cosine" in found
    columns = [*([("cosine", "right")] if with_cosine else []), ("id", "left"), ("written", "left"), ("note", "text")]
    rows = []
    for row in found.to_dict("records"):
        lines = [_line(row["text"], LINE), *(_seen(f"{source}") for source in row["sources"])]
        first = [f"{row['cosine']:.2f}"] if with_cosine else []
        rows.append([*first, row["id"][:digits], row["made"][:10], "\n".join(lines)])
    return table(columns, rows)


def _print(note: Note) -> None:
    out = console()
    out.print(f"{note.id}  {_day(note)}", style="dim", markup=False)
    out.print(_seen(note.text), markup=False, soft_wrap=True)
    for source in note.sources:
        out.print(_seen(str(source)), style="cyan", markup=False, soft_wrap=True)


def _day(note: Note) -> str:
    return f"{note.made[:16].replace('T', ' ')} UTC"


def _line(text: str, length: int) -> str:
    words = _seen(" ".join(text.split()))
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _seen(text: str) -> str:
    """What a terminal would obey (a note may come from anywhere) is shown as a sign."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def _plain(row: Any) -> dict[str, Any]:
    return {**row, "sources": [{"what": source.what, "kind": source.kind} for source in row["sources"]]}


def _document(content: Any) -> str:
    import json

    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _aside(text: str) -> None:
    console(stderr=True).print(text, markup=False, soft_wrap=True)
