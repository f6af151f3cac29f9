"""`sociogram steer`, `compare` and `generate`: edits on the command line, always with their receipt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sociogram.cli.screen import console, opened, prompt, table

if TYPE_CHECKING:
    from sociogram import Receipt
    from sociogram.edits import Edit

Text = Annotated[str | None, typer.Argument(help="The prompt, or - to read it from standard input.", show_default=False)]
FromFile = Annotated[Path | None, typer.Option("--file", help="Read the prompt from a file.", dir_okay=False)]
Name = Annotated[str, typer.Option("--model", help="A known name, hub id, folder or .gguf file.")]
One = Annotated[list[str] | None, typer.Option("--edit", help="An edit, as in 'cut layer=5 head=3 key=2'; may be repeated.")]
Many = Annotated[Path | None, typer.Option("--edits", help="A JSON file with a list of edits.", dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def steer(
    text: Text = None,
    edit: One = None,
    edits: Many = None,
    file: FromFile = None,
    model: Name = "smollm2-135m",
    as_json: AsJson = False,
) -> None:
    """Run a prompt under edits: the receipt, and what the model says then."""
    content, wanted = prompt(text, file), _edits(edit, edits)
    import sociogram as sg

    with sg.steer(opened(model), wanted) as steered:
        steered.record(content, keep=("residual",))
        receipt = steered.receipt
    if as_json:
        typer.echo(_document(_receipt(receipt)))
        return
    _print_receipt(receipt)
    _print_sides(receipt)


def compare(
    text: Text = None,
    edit: One = None,
    edits: Many = None,
    file: FromFile = None,
    model: Name = "smollm2-135m",
    top: Annotated[int, typer.Option("--top", min=1, help="How many changed messages to show.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Run a prompt plain and under edits: what it says, where the stream departs, which messages changed."""
    content, wanted = prompt(text, file), _edits(edit, edits)
    import sociogram as sg

    found = sg.compare(opened(model), content, wanted)
    changed = found.messages(top)
    if as_json:
        typer.echo(_document(_receipt(found.receipt) | {"messages": _rows(changed)}))
        return
    _print_receipt(found.receipt)
    _print_sides(found.receipt)
    out = console()
    out.print("[bold]Which messages changed most[/bold]")
    rows = [_changed(row) for row in changed.to_dict("records")]
    columns = [("layer", "right"), ("head", "right"), ("from", "text"), ("to", "text"), ("plain", "right"), ("steered", "right")]
    out.print(table([*columns, ("change", "right")], rows))


def _changed(row: dict[Any, Any]) -> list[str]:
    places = [str(row["layer"]), str(row["head"]), f"{row['key']} {row['key_token']}", f"{row['query']} {row['query_token']}"]
    return [*places, f"{row['plain']:.2f}", f"{row['steered']:.2f}", f"{row['change']:+.2f}"]


def generate(
    text: Text = None,
    edit: One = None,
    edits: Many = None,
    file: FromFile = None,
    model: Name = "smollm2-135m",
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="How many tokens to write.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Let the model write, plain and under edits."""
    content, wanted = prompt(text, file), _edits(edit, edits, needed=False)
    import sociogram as sg

    loaded = opened(model)
    plain = loaded.generate(content, max_new_tokens=max_new_tokens)
    with sg.steer(loaded, wanted) as steered:
        written = steered.generate(content, max_new_tokens=max_new_tokens) if wanted else None
        receipt = steered.receipt if wanted else None
    if as_json:
        more = {} if receipt is None else _receipt(receipt)
        typer.echo(_document({"plain": plain, "steered": written} | more))
        return
    out = console()
    out.print("[dim]plain[/dim]", soft_wrap=True)
    out.print(plain, markup=False, soft_wrap=True)
    if receipt is not None:
        out.print("\n[dim]steered[/dim]")
        out.print(str(written), markup=False, soft_wrap=True)
        out.print()
        _print_receipt(receipt)


def _edits(given: list[str] | None, file: Path | None, *, needed: bool = True) -> list[Edit]:
    import sociogram as sg
    from sociogram import edits

    found = [] if file is None else edits.from_json(_read(file))
    found += [edits.parse(text) for text in given or ()]
    if needed and not found:
        raise sg.InputError("give at least one edit: --edit 'cut layer=5 head=3 key=2', or --edits FILE")
    return found


def _read(file: Path) -> str:
    import sociogram as sg

    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise sg.InputError(f"{file} is no UTF-8 text: {error}") from error


def _receipt(receipt: Receipt) -> dict[str, Any]:
    document: dict[str, Any] = {
        "edits": [edit.as_plain() for edit in receipt.steered.edits],
        "path": receipt.path,
        "null_drift": receipt.null_drift,
        "landed": _rows(receipt.edits),
        "first_departure": receipt.first_departure,
    }
    if receipt.speaks:
        change = receipt.output_change
        document |= {"predictions": _rows(change), "kl": change.attrs["kl"]}
    return document


def _rows(frame: Any) -> list[dict[str, Any]]:
    import json

    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15, force_ascii=False))
    return rows


def _document(content: dict[str, Any]) -> str:
    import json

    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _print_receipt(receipt: Receipt) -> None:
    out = console()
    for line in str(receipt).splitlines():
        out.print(line, style="green", markup=False)
    departed = receipt.first_departure
    where = "nowhere" if departed is None else f"in layer {departed}"
    out.print(f"the stream departs {where}", style="green", markup=False)
    out.print()


def _print_sides(receipt: Receipt) -> None:
    if not receipt.speaks:
        return
    out = console()
    change = receipt.output_change
    rows = [[r["token"], f"{r['plain']:.1%}", f"{r['steered']:.1%}"] for r in change.to_dict("records")[:6]]
    out.print(table([("says next", "left"), ("plain", "right"), ("steered", "right")], rows))
    out.print(f"KL(plain, steered) {change.attrs['kl']:.3g} nats", style="dim", markup=False)
    out.print()
