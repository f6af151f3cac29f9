"""`sociogram worksheet`: the arithmetic of one head for one reader."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sociogram.cli.screen import opened, prompt, write


def worksheet(
    layer: Annotated[int, typer.Option("--layer", help="Which layer.")],
    head: Annotated[int, typer.Option("--head", help="Which head.")],
    text: Annotated[
        str | None, typer.Argument(help="The prompt, or - to read it from standard input.", show_default=False)
    ] = None,
    token: Annotated[str, typer.Option("--token", help="The reader, by text or position; the last one unless given.")] = "-1",
    file: Annotated[Path | None, typer.Option("--file", help="Read the prompt from a file.", dir_okay=False)] = None,
    model: Annotated[str, typer.Option("--model", help="A known name, hub id, folder or .gguf file.")] = "smollm2-135m",
    keys: Annotated[
        int, typer.Option("--keys", min=1, help="Show this many of the tokens read, those with the largest weights.")
    ] = 12,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file instead.", dir_okay=False)] = None,
) -> None:
    """Show the arithmetic of one attention head for one token, number by number."""
    content = prompt(text, file)
    import sociogram as sg

    rec = sg.record(opened(model), content, keep="qkv")
    reader: int | str = int(token) if token.lstrip("-").isdigit() else token
    sheet = rec.worksheet(layer, head, reader)
    if html is None:
        typer.echo(sheet.to_text(keys=keys))
        return
    write(html, sheet.to_html())
    typer.echo(f"wrote {html}")
