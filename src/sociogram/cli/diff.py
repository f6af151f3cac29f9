"""`sociogram diff`: two stored recordings of the same tokens, their statistics and edges side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sociogram.cli.screen import check_out, console, opened, table, write

if TYPE_CHECKING:
    import pandas as pd

    from sociogram import Difference, Recording


def diff(
    one: Annotated[Path, typer.Argument(metavar="A.zarr", help="A recording, as rec.save() or look --save wrote it.")],
    other: Annotated[Path, typer.Argument(metavar="B.zarr", help="Another one, of the same tokens.")],
    weight: Annotated[
        str, typer.Option("--weight", help="What an edge weighs: attention, message or contribution.")
    ] = "attention",
    by: Annotated[str, typer.Option("--by", help="One graph per head, per layer, or one for all.")] = "head",
    drop_first: Annotated[bool, typer.Option("--drop-first", help="Leave out the first token, a sink.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="How many statistics and edges to show.")] = 10,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="The model of both, or one for each: recordings without output projections need it."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write all statistics to this .csv file.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Compare two recordings of the same tokens: which statistics of which heads differ most, and which edges."""
    _check(out, model)
    import sociogram as sg

    sides = [sg.networks(rec, weight, by=by, drop_first=drop_first) for rec in _recordings([one, other], model or [])]
    found = sides[0].diff(sides[1], top=top)
    if out is not None:
        write(out, found.statistics.to_csv(index=False))
    if as_json:
        typer.echo(_document(found, top))
        return
    _print(found, top)
    if out is not None:
        console().print(f"written: {out}", markup=False, soft_wrap=True)


def _check(out: Path | None, model: list[str] | None) -> None:
    import sociogram as sg

    check_out(out, ".csv")
    if len(model or ()) > 2:
        raise sg.InputError(f"--model is given {len(model or ())} times; give one for both recordings, or one for each")


def _recordings(paths: list[Path], models: list[str]) -> list[Recording]:
    import sociogram as sg

    loaded = {name: opened(name) for name in models}
    names = [models[min(i, len(models) - 1)] if models else None for i in range(len(paths))]
    return [sg.open_recording(path, loaded.get(name) if name else None) for path, name in zip(paths, names, strict=True)]


def _print(found: Difference, top: int) -> None:
    screen = console()
    screen.print(f"{found!r}", markup=False, soft_wrap=True)
    changed = found.largest(top)
    count = int((found.statistics["change"].fillna(0) != 0).sum())
    known = int(found.statistics["change"].notna().sum())
    if changed.empty:
        screen.print(f"none of {known} statistics differs", style="dim", markup=False)
    else:
        screen.print("\n[bold]Which statistics differ most[/bold]")
        columns = [("graph", "left"), ("statistic", "left"), ("A", "right"), ("B", "right"), ("change", "right")]
        rows = [[_where(row), row["statistic"], *_numbers(row), _spread(row["relative"])] for row in changed.to_dict("records")]
        screen.print(table([*columns, ("in deviations of A", "right")], rows))
        screen.print(f"{len(changed)} of {count} that differ, of {known} in all", style="dim", markup=False)
    if len(found.edges):
        screen.print("\n[bold]Which edges changed most[/bold]")
        columns = [("graph", "left"), ("from", "text"), ("to", "text"), ("A", "right"), ("B", "right"), ("change", "right")]
        screen.print(table(columns, [_edge(row) for row in found.edges.to_dict("records")]))
        about = found.edges.attrs
        told = f"{len(found.edges)} of {about['changed']:,} that changed, {about['share']:.1%} of all change"
        screen.print(f"{told}; {about['pairs']:,} pairs in all", style="dim", markup=False)


def _edge(row: dict[Any, Any]) -> list[str]:
    return [_where(row), f"{row['key']} {row['key_token']}", f"{row['query']} {row['query_token']}", *_numbers(row)]


def _numbers(row: dict[Any, Any]) -> list[str]:
    return [f"{row['one']:.4g}", f"{row['other']:.4g}", f"{row['change']:+.3g}"]


def _spread(value: float) -> str:
    return "" if value != value else f"{value:+.2f}"


def _where(row: dict[Any, Any]) -> str:
    if row["layer"] < 0:
        return "all"
    return f"layer {row['layer']}" + (f" head {row['head']}" if row["head"] >= 0 else "")


def _document(found: Difference, top: int) -> str:
    import json

    def rows(frame: pd.DataFrame) -> Any:
        return json.loads(frame.to_json(orient="records", double_precision=15, force_ascii=False))

    content = {"statistics": rows(found.largest(top)), "edges": rows(found.edges), "why": found.why, **found.edges.attrs}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)
