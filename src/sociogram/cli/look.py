"""`sociogram look`: one prompt, and what its tokens said to each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sociogram.cli.screen import console, opened, prompt, recorded, table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from sociogram import Recording

LONG = 200
EDGE = 20
"""Longer texts are not printed: their first and last tokens are."""
DRIFT_TOKENS = 512


def look(
    text: Annotated[
        str | None, typer.Argument(help="The prompt, or - to read it from standard input.", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read the prompt from a file.", dir_okay=False)] = None,
    model: Annotated[str, typer.Option("--model", help="A known name, hub id, folder or .gguf file.")] = "smollm2-135m",
    token: Annotated[
        str, typer.Option("--token", help="Whose ears: a token by text or position; the last one unless given.")
    ] = "-1",
    top: Annotated[
        int,
        typer.Option("--top", min=1, help="How many messages to show; with --stream, also of each reader and head to keep."),
    ] = 8,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="For long texts: keep of each reader and head the strongest messages, and sums of all."),
    ] = False,
    generate: Annotated[
        int, typer.Option("--generate", min=0, help="Let the model write so many tokens, and look at them too.")
    ] = 0,
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

    if stream and toward is not None and html is not None:
        raise sg.InputError(
            "--stream --toward --html: the page of a streamed recording has messages and attention only; "
            "leave out --toward or --html"
        )
    rec = recorded(opened(model), content, weight=weight, stream=stream, top=top, generate=generate)
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
        typer.echo(_document(rec, edges, reader))
        return
    _show(rec, edges, reader, layer)
    for file_written in (html, png):
        if file_written is not None:
            typer.echo(f"wrote {file_written} ({file_written.stat().st_size / 1e6:.1f} MB)")


def _is_streamed(rec: Recording) -> bool:
    return "weights" not in rec.dataset


def _draw(rec: Recording, png: Path, layer: int | None) -> None:
    import sociogram as sg
    from sociogram.core.files import whole

    figure: Any = sg.plot.flock(rec, layer=layer).figure
    try:
        with whole(png) as part:
            figure.savefig(part, dpi=160)
    except ValueError as error:  # an ending that matplotlib cannot write
        raise sg.InputError(f"--png {png}: {error}") from error


def _document(rec: Recording, edges: pd.DataFrame, reader: int | str) -> str:
    """The JSON document of `--json`. Of a streamed recording, which may be long, it holds the moves of one token."""
    import json

    moves = rec.moves()
    if _is_streamed(rec):
        moves = moves[moves["query"] == rec.find("query", reader)]
    share = float(edges.attrs["share"])
    document = {
        "model": rec.tree.attrs["model"],
        "tokens": rec.tokens,
        "predictions": _records(_predictions(rec)[["token", "probability"]]) if _predicts(rec) else [],
        "edges": _records(edges),
        "edges_share": share if share == share else None,
        "moves": _records(moves),
        "audit": _audit(rec),
        "null_drift": rec.null_drift() if _drifts(rec) else None,
    }
    if "prompt_tokens" in rec.tree.attrs:
        document["prompt_tokens"] = int(rec.tree.attrs["prompt_tokens"])
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _audit(rec: Recording) -> dict[str, float]:
    """How well the account closes: all of it, or, where the weights are gone, what was checked while recording."""
    if _is_streamed(rec):
        attributes = rec.tree.attrs
        return {"checked_error": float(attributes["checked_error"]), "checked_tokens": int(attributes["checked_tokens"])}
    audit = rec.audit()
    return {"max_absolute_error": audit.max_absolute_error, "max_relative_error": audit.max_relative_error}


def _checked(rec: Recording) -> str:
    found = _audit(rec)
    return f"account closed: {found['checked_error']:.1e}, {found['checked_tokens']:.0f} tokens checked while recording"


def _drifts(rec: Recording) -> bool:
    """Whether to run the model again for the null drift: of long texts that is as much work as all the rest."""
    return not _is_streamed(rec) or len(rec.tokens) <= DRIFT_TOKENS


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

    texts, begins = rec.tokens, rec.tree.attrs.get("prompt_tokens", len(rec.tokens))
    shown = range(len(texts)) if len(texts) <= LONG else [*range(EDGE), *range(len(texts) - EDGE, len(texts))]
    tokens, last = Text(), -1
    for position in shown:
        if position > last + 1:
            tokens.append(f"... {position - last - 1:,} more ...  ", style="dim")
        if position >= begins > last:
            tokens.append("| written:  ", style="dim")
        tokens.append(f"{position} ", style="dim")
        tokens.append(f"{texts[position]}  ", style="bold")
        last = position
    shape = rec.dataset.sizes
    count = f"{len(texts):,} tokens" if begins == len(texts) else f"{begins:,} tokens read, {len(texts) - begins:,} written"
    head = f"{rec.tree.attrs['model']}: {count}, {shape['layer']} layers, {shape.get('head', 0)} heads"
    out.print(Text(head, style="dim"))
    out.print(tokens)
    out.print()


def _heard(out: Console, rec: Recording, edges: pd.DataFrame, place: int) -> None:
    from rich.text import Text

    weight = edges.attrs["weight"]
    share = _share(rec, edges)
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


def _share(rec: Recording, edges: pd.DataFrame) -> str:
    """How many edges of how many, and what they carry, as far as it is known."""
    share, known = edges.attrs["share"], edges.attrs["edges"]
    parts = [f"{len(edges)} of {known:,} edges" if known == known else f"{len(edges)} edges"]
    if share == share:
        parts.append(f"{share:.0%} of the total {edges.attrs['weight']}")
    if _is_streamed(rec) and not edges.attrs["exact"]:
        kept = rec.dataset["top_key"].sizes["rank"]
        by = next(name for name in rec.dataset["ranked_by"].values.tolist() if name)
        parts.append(f"the strongest among the {kept} kept of each head by {by}")
    return ", ".join(parts)


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
        ("outside", "from_outside"),
        ("MLP", "mlp"),
        ("edits", "edited"),
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
    counted = not _is_streamed(rec)  # readers are
    rows = [
        [f"{r['key']} {r['token']}", f"{r['share']:.1%}", f"{r['attention']:.0f}", *([str(r["readers"])] if counted else [])]
        for r in told
    ]
    columns = [("token", "left"), ("share", "right"), ("attention", "right"), *([("readers", "right")] if counted else [])]
    out.print(Text.assemble(("Most heard by all", "bold"), ("  share of what was told between different tokens", "dim")))
    out.print(table(columns, rows))
    out.print()


def _proof(out: Console, rec: Recording, moves: pd.DataFrame) -> None:
    from rich.text import Text

    both = moves.attrs["self_share_correlation"]
    line = f"rank correlation {both['all']:+.2f} ({both['without_first']:+.2f} without the first token)"
    out.print(Text(f"self share against attention's move: {line}", style="dim"))
    said = str(rec.audit()) if not _is_streamed(rec) else _checked(rec)
    out.print(Text(said + (f"   null drift: {rec.null_drift():.1e}" if _drifts(rec) else ""), style="green"))
