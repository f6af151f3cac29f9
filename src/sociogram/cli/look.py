"""`sociogram look`: one prompt, and what its tokens said to each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sociogram.cli.screen import console, opened, prompt, table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from sociogram import Recording


def look(
    text: Annotated[
        str | None, typer.Argument(help="The prompt, or - to read it from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read the prompt from a file.", dir_okay=False)] = None,
    model: Annotated[str, typer.Option("--model", help="A known name, hub id, folder or .gguf file.")] = "smollm2-135m",
    token: Annotated[
        str, typer.Option("--token", help="Whose ears: a token by text or position; the last one unless given.")
    ] = "-1",
    top: Annotated[int, typer.Option("--top", min=1, help="How many messages to show.")] = 8,
    layer: Annotated[int | None, typer.Option("--layer", help="Only this layer.")] = None,
    head: Annotated[int | None, typer.Option("--head", help="Only this head.")] = None,
    weight: Annotated[str, typer.Option("--weight", help="Rank by message, attention, contribution or toward.")] = "message",
    drop_first: Annotated[
        bool, typer.Option("--drop-first", help="Leave the first token out, which soaks up attention.")
    ] = False,
    toward: Annotated[
        str | None,
        typer.Option("--toward", help="What each message adds to this next token (mind the space: ' Paris')."),
    ] = None,
    save: Annotated[Path | None, typer.Option("--save", help="Store the recording in this folder.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write the flock in motion as one page to this file.", dir_okay=False)
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Also draw the flock into this file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Show what the tokens of a prompt told each other inside a model."""
    content = prompt(text, file)
    import sociogram as sg

    rec = sg.record(opened(model), content)
    reader: int | str = int(token) if token.lstrip("-").isdigit() else token
    edges = rec.edges(weight, top=top, layer=layer, head=head, query=reader, drop_first=drop_first, toward=toward)
    if save is not None:
        rec.save(save)
    if html is not None:
        with console(stderr=True).status("making the page ..."):  # seconds; minutes for thousands of tokens
            sg.to_html(rec, html, toward=toward)
    if png is not None:
        _draw(rec, png, layer)
    if as_json:
        typer.echo(_document(rec, edges))
        return
    _show(rec, edges, reader, layer)
    for file_written in (html, png):
        if file_written is not None:
            typer.echo(f"wrote {file_written} ({file_written.stat().st_size / 1e6:.1f} MB)")


def _draw(rec: Recording, png: Path, layer: int | None) -> None:
    import sociogram as sg

    figure: Any = sg.plot.flock(rec, layer=layer).figure
    try:
        figure.savefig(png, dpi=160)
    except ValueError as error:  # an ending that matplotlib cannot write
        raise sg.InputError(f"--png {png}: {error}") from error


def _document(rec: Recording, edges: pd.DataFrame) -> str:
    """The JSON document of `--json`."""
    import json

    audit = rec.audit()
    document = {
        "model": rec.tree.attrs["model"],
        "tokens": rec.tokens,
        "predictions": _records(_predictions(rec)[["token", "probability"]]) if _predicts(rec) else [],
        "edges": _records(edges),
        "edges_share": edges.attrs["share"],
        "moves": _records(rec.moves()),
        "audit": {"max_absolute_error": audit.max_absolute_error, "max_relative_error": audit.max_relative_error},
        "null_drift": rec.null_drift(),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; numbers that do not exist (NaN) become null."""
    import json

    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15, force_ascii=False))
    return rows


def _predicts(rec: Recording) -> bool:
    return "final_logits" in rec.outputs


def _predictions(rec: Recording) -> pd.DataFrame:
    return rec.predictions(5)


def _show(rec: Recording, edges: pd.DataFrame, reader: int | str, layer: int | None) -> None:
    out = console()
    place = rec.find("query", reader)
    _header(out, rec)
    if _predicts(rec):
        said = _predictions(rec).to_dict("records")
        rows = [(r["token"], f"{r['probability']:6.1%}", "█" * round(24 * r["probability"])) for r in said]
        out.print(table([("says next", "left"), ("", "right"), ("", "left")], rows))
    out.print()
    _heard(out, rec, edges, place)
    moves = rec.moves()
    _moved(out, moves, place, layer)
    _most_heard(out, rec)
    _proof(out, rec, moves)


def _header(out: Console, rec: Recording) -> None:
    from rich.text import Text

    tokens = Text()
    for position, token in enumerate(rec.tokens):
        tokens.append(f"{position} ", style="dim")
        tokens.append(f"{token}  ", style="bold")
    shape = rec.dataset.sizes
    name = rec.tree.attrs["model"]
    out.print(Text(f"{name}: {len(rec.tokens)} tokens, {shape['layer']} layers, {shape.get('head', 0)} heads", style="dim"))
    out.print(tokens)
    out.print()


def _heard(out: Console, rec: Recording, edges: pd.DataFrame, place: int) -> None:
    from rich.text import Text

    weight = edges.attrs["weight"]
    share = f"{len(edges)} of {edges.attrs['edges']:,} edges, {edges.attrs['share']:.0%} of the total {weight}"
    title = f"What {rec.tokens[place]} (token {place}) heard: the strongest messages"
    out.print(Text.assemble((title, "bold"), (f"  {share}", "dim")))
    numbers = [("message", ".2f"), ("attention", ".2f"), ("contribution", "+.2f"), ("pull", "+.2f"), ("toward", "+.2f")]
    numbers = [(name, form) for name, form in numbers if name in edges]
    if out.width < 60:  # a narrow terminal shows what was ranked by, and the attention
        numbers = [(name, form) for name, form in numbers if name in (weight, "attention")]
    columns = [("layer", "right"), ("head", "right"), ("from", "text"), *((name, "right") for name, _ in numbers)]
    rows = []
    for edge in edges.to_dict("records"):
        cells = ["" if edge[name] != edge[name] else format(edge[name], form) for name, form in numbers]
        rows.append([str(edge["layer"]), str(edge["head"]), f"{edge['key']} {edge['key_token']}", *cells])
    out.print(table(columns, rows) if rows else Text("no message fits", style="dim"))
    out.print()


def _moved(out: Console, moves: pd.DataFrame, place: int, layer: int | None) -> None:
    from rich.text import Text

    own = moves[moves["query"] == place]
    own = own[own["layer"] == layer] if layer is not None else own.sort_values("moved", ascending=False, kind="stable").head(5)
    title = "Which layers moved it most, and who did it"
    out.print(Text.assemble((title, "bold"), ("  norms of the parts of each move", "dim")))
    names = [
        ("moved", "moved"),
        ("others", "from_others"),
        ("itself", "from_itself"),
        ("source", "from_source"),
        ("MLP", "mlp"),
        ("rest", "rest"),
    ]
    present = [(heading, name) for heading, name in names if name in own and not own[name].isna().all()]
    rows = [
        [str(row["layer"]), *("" if row[name] != row[name] else f"{row[name]:.1f}" for _, name in present)]
        for row in own.to_dict("records")
    ]
    out.print(table([("layer", "right"), *((heading, "right") for heading, _ in present)], rows))
    out.print()


def _most_heard(out: Console, rec: Recording) -> None:
    from rich.text import Text

    told = rec.senders().head(5).to_dict("records")
    rows = [[f"{r['key']} {r['token']}", f"{r['share']:.0%}", f"{r['attention']:.0f}", str(r["readers"])] for r in told]
    out.print(Text.assemble(("Most heard by all", "bold"), ("  share of what was told between different tokens", "dim")))
    out.print(table([("token", "left"), ("share", "right"), ("attention", "right"), ("readers", "right")], rows))
    out.print()


def _proof(out: Console, rec: Recording, moves: pd.DataFrame) -> None:
    from rich.text import Text

    both = moves.attrs["self_share_correlation"]
    line = f"rank correlation {both['all']:+.2f} ({both['without_first']:+.2f} without the first token)"
    out.print(Text(f"self share against attention's move: {line}", style="dim"))
    out.print(Text(f"{rec.audit()}   null drift: {rec.null_drift():.1e}", style="green"))
