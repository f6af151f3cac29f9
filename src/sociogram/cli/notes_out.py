"""`sociogram notes share`, `attach`, `export` and `import`: notes for other readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sociogram.cli.screen import check_out, console, opened

if TYPE_CHECKING:
    from sociogram.notes import Notes

Where = Annotated[
    Path | None,
    typer.Option(
        "--path", help="The folder of the notes; $SOCIOGRAM_NOTES, or your own folder for data, unless given.", file_okay=False
    ),
]
Query = Annotated[str | None, typer.Argument(help="Which notes: those nearest to this in meaning; all without it.")]


def share(
    query: Annotated[str, typer.Argument(help="What the notes are about.")],
    out: Annotated[Path, typer.Option("--out", help="The page to write (.html).", dir_okay=False)],
    top: Annotated[int, typer.Option("--top", min=1, help="At most so many notes.")] = 12,
    least: Annotated[float, typer.Option("--least", help="Only notes with a cosine of this or more to the query.")] = 0.3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    path: Where = None,
) -> None:
    """Write the notes about something as one page that opens anywhere: no network, no script."""
    check_out(out, ".html")
    import sociogram as sg

    if out.exists() and not overwrite:
        raise sg.InputError(f"--out {out} exists already: choose another name, or give --overwrite")
    cluster = sg.notes.Notes(path).cluster(query, top=top, least=least)
    sg.notes.to_html(cluster, out, overwrite=overwrite)
    said = f"{len(cluster)} of {cluster.total} notes, with a cosine of {least:g} or more"
    left = f"; {cluster.beyond} more are as near (--top {top})" if cluster.beyond else ""
    console().print(f"written: {out} ({said}{left})", markup=False, soft_wrap=True)


def attach(
    query: Query = None,
    memory: Annotated[Path | None, typer.Option("--memory", help="The memory's folder, new or one to update.")] = None,
    model: Annotated[str, typer.Option("--model", help="A known name, hub id, folder or .gguf file.")] = "smollm2-135m",
    top: Annotated[int | None, typer.Option("--top", min=1, help="With a query: at most so many notes.")] = None,
    least: Annotated[float | None, typer.Option("--least", help="With a query: only notes with this cosine or more.")] = None,
    layer: Annotated[
        list[int] | None, typer.Option("--layer", help="Keep this layer's keys and values; may be repeated; all unless given.")
    ] = None,
    path: Where = None,
) -> None:
    """Make or update a memory from notes, which a model can listen to while it reads and writes."""
    import sociogram as sg

    if memory is None:
        raise sg.InputError("say where the memory is, or shall be: --memory FOLDER")
    notes = _some(path)
    done = notes.attach(memory, model=opened(model), query=query, top=top, least=least, layers=layer)
    screen, stats = console(), done.memory.stats
    screen.print(
        f"added {done.added}, there already {done.there}: {memory} holds {stats['passages']} passages "
        f"({stats['tokens']:,} tokens) of {stats['model']}",
        markup=False,
        soft_wrap=True,
    )
    screen.print("To let the model hear them:", style="dim")
    for line in _use(model, memory, done.positions):
        screen.print(f"    {line}", markup=False, soft_wrap=True)


def _use(model: str, memory: Path, positions: str) -> list[str]:
    where = "" if positions == "before" else f", positions={positions!r}"
    return [
        "import sociogram as sg",
        "from sociogram import edits",
        f"model, memory = sg.load({model!r}), sg.Memory({str(memory)!r})",
        f"with sg.steer(model, edits.attend(source=memory, top_k=8{where})) as steered:",
        '    print(steered.generate("..."))',
    ]


def export(
    folder: Annotated[Path, typer.Argument(help="The folder to write; its parent must exist.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of notes that are there.")] = False,
    path: Where = None,
) -> None:
    """Write each note as a Markdown file, with its id, date and sources as front matter."""
    done = _some(path).export(folder, overwrite=overwrite)
    said = f"{done.written} of {done.notes} notes written"
    rest = "" if done.written == done.notes else "; the files of the others are there, with the same content"
    console().print(f"{folder}: {said}{rest}", markup=False, soft_wrap=True)


def import_folder(
    folder: Annotated[Path, typer.Argument(help="A folder of Markdown files, with or without front matter.")], path: Where = None
) -> None:
    """Add the notes of a folder of Markdown files; what is there already is not added again, and nothing is overwritten."""
    import sociogram as sg

    notes = sg.notes.Notes(path)
    done = notes.import_folder(folder)
    screen = console()
    screen.print(f"{len(done.added)} notes added, {done.there} there already", markup=False, soft_wrap=True)
    if done.linked:
        screen.print(f"{len(done.linked)} that are there got sources that they had not", markup=False, soft_wrap=True)
    if done.empty:
        screen.print(f"empty and left out: {len(done.empty)} of the files", markup=False, soft_wrap=True)
    for file in done.differing:
        screen.print(f"left as it is: the note of {file} is there with another text", markup=False, soft_wrap=True)


def _some(path: Path | None) -> Notes:
    """Notes to do something with.

    Raises:
        InputError: there are none.
    """
    import sociogram as sg

    notes = sg.notes.Notes(path)
    if not len(notes):
        raise sg.InputError(f"no notes in {notes.folder}: sociogram notes add TEXT makes the first")
    return notes
