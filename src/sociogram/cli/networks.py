"""`sociogram networks`: a prompt's attention as graphs, their statistics, and what of them is beyond chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sociogram.cli.screen import check_out, console, opened, prompt, recorded, table, write

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sociogram import Networks

LEFT_OUT = ("layer", "head", "edges", "kept_share", "dropped_share")
"""Columns of the summary that are counts or labels."""


Null = Annotated[
    str | None,
    typer.Option(
        "--null",
        help="Random graphs to compare with: uniform, positional, degrees, sbm, rdpg, rows, weights, erdos-renyi, untrained.",
    ),
]


def networks(
    text: Annotated[str | None, typer.Argument(help="The prompt, or - for standard input.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Read the prompt from a file.", dir_okay=False)] = None,
    model: Annotated[str, typer.Option("--model", help="A known name, hub id, folder or .gguf file.")] = "smollm2-135m",
    by: Annotated[str, typer.Option("--by", help="One graph per head, per layer, or one for all.")] = "head",
    weight: Annotated[
        str, typer.Option("--weight", help="What an edge weighs: attention, message, contribution, toward.")
    ] = "attention",
    toward: Annotated[str | None, typer.Option("--toward", help="The token that weight toward is about, as ' Paris'.")] = None,
    drop_first: Annotated[bool, typer.Option("--drop-first", help="Leave out the first token, a sink.")] = False,
    threshold: Annotated[float, typer.Option("--threshold", help="Leave out edges of this weight or less.")] = 0.0,
    null: Null = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many random graphs beside each.")] = 200,
    stream: Annotated[
        bool, typer.Option("--stream", help="For long texts: what the sums of each head say, without tokens x tokens.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write a .csv, or a page (.html).", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Statistics of a prompt's attention as weighted directed graphs, and which of them no null model explains."""
    content = prompt(text, file)
    check_out(out, ".csv", ".html")
    import sociogram as sg

    if (weight == "toward") != (toward is not None):
        raise sg.InputError("--weight toward and --toward go together: --weight toward --toward ' Paris'")
    if stream and null is not None:
        raise sg.InputError(
            "--stream --null: random graphs are compared with all edges, which a streamed recording does not keep"
        )
    rec = recorded(opened(model), content, weight=weight, stream=stream, top=1)
    graphs = sg.networks(rec, weight, by=by, drop_first=drop_first, threshold=threshold, toward=toward)
    numbers = graphs.summary()
    statistics = [name for name in numbers.columns if name not in LEFT_OUT and numbers[name].notna().any()]
    tests = graphs.test_all(null=null, samples=samples) if null else {}
    for name in statistics if tests else ():
        found = tests[name].table
        numbers[f"z {name}"], numbers[f"p alone {name}"], numbers[f"p {name}"] = found["z"], found["p"], found["p_corrected"]
    if out is not None:
        _write(out, graphs, numbers, statistics, null, samples)
    if as_json:
        typer.echo(numbers.to_json(orient="records"))
        return
    _print(graphs, numbers, statistics, null, samples)
    if out is not None:
        console().print(f"written: {out}", markup=False, soft_wrap=True)


def _print(graphs: Networks, numbers: pd.DataFrame, statistics: list[str], null: str | None, samples: int) -> None:
    screen = console()
    screen.print(f"{len(graphs)} graphs by {graphs.source.by}, edges weigh {graphs.source.weight}", markup=False)
    screen.print(f"{len(graphs.tokens)} tokens: {' '.join(graphs.tokens[:30])}", markup=False, soft_wrap=True)
    columns = [
        ("statistic", "left"),
        ("median", "right"),
        ("lowest", "right"),
        ("where", "left"),
        ("highest", "right"),
        ("where", "left"),
    ]
    if null:
        columns += [("beyond", "right"), ("alone", "right"), ("farthest", "left")]
    screen.print(table(columns, [_row(numbers, name, bool(null)) for name in statistics]))
    fixed = [name for name in ("reciprocity", "weighted_density") if name not in statistics]
    if fixed and "weights" in graphs.source.rec.dataset:
        screen.print(f"[dim]n/a, fixed by the mask or the softmax: {', '.join(fixed)}[/dim]")
    if null:
        screen.print(
            f"[dim]beyond the {null} null: graphs with p <= 0.05, corrected over all graphs; alone: without correction, "
            f"of which chance gives one in twenty ({samples} samples: no p below {1 / (samples + 1):.2g})[/dim]"
        )


def _row(numbers: pd.DataFrame, name: str, tested: bool) -> list[str]:
    values = numbers[name]
    cells = [name, f"{values.median():.3g}"]
    for place in (_first(values.to_numpy(), -1), _first(values.to_numpy(), 1)):
        cells += [f"{values.iloc[place]:.3g}", _where(numbers, place)]
    if tested:
        z = numbers[f"z {name}"]
        beyond, alone = (int((numbers[f"{prefix} {name}"] <= 0.05).sum()) for prefix in ("p", "p alone"))
        farthest = _first(z.abs().to_numpy(), 1) if z.notna().any() else None
        cells += [f"{beyond} of {int(z.notna().sum())}", str(alone)]
        cells += ["" if farthest is None else f"{_where(numbers, farthest)}: z {z.iloc[farthest]:+.1f}"]
    return cells


def _first(values: np.ndarray, sign: int) -> int:
    """The row of the largest value (or, with sign -1, the smallest)."""
    import numpy as np

    return int(np.nanargmax(sign * values.astype(float)))


def _where(numbers: pd.DataFrame, row: int) -> str:
    layer, head = int(numbers["layer"].iloc[row]), int(numbers["head"].iloc[row])
    return "all" if layer < 0 else f"layer {layer}" + (f" head {head}" if head >= 0 else "")


def _write(out: Path, graphs: Networks, numbers: pd.DataFrame, statistics: list[str], null: str | None, samples: int) -> None:
    if out.suffix == ".csv":
        text = numbers.to_csv(index=False)
    else:
        from sociogram.studio.grids import grids_page

        shown = [f"z {name}" for name in statistics if numbers[f"z {name}"].notna().any()] if null else statistics
        against = (
            f" Each z is the distance from the {null} null in its deviations ({samples} samples); a frame marks p <= 0.05 "
            "corrected over all graphs."
            if null
            else " Without a null it is not to be seen what of a number any head with this mask has."
        )
        intro = (
            f"{graphs.source.weight} between {len(graphs.tokens)} tokens, {len(graphs)} graphs by {graphs.source.by}.{against}"
        )
        text = grids_page(f"Networks of {graphs.source.rec.tree.attrs['model']}", intro, numbers, shown, "p " if null else None)
    write(out, text)
