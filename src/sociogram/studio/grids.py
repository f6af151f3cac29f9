"""A table of statistics by layer and head as one self-contained page: a coloured grid each, then every number. No script."""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #ddd; --dim: #666; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #161616; --line: #333; --dim: #999; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto; max-width: 80rem;
  padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 0 0 .3rem; } p { max-width: 46rem; }
.grids { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; }
.grid table { border-collapse: collapse; } .grid td { width: 1.05rem; height: .8rem; padding: 0; }
.grid th { font-size: .65rem; font-weight: normal; color: var(--dim); padding: 0 .25rem; text-align: right; }
.grid p { font-size: .8rem; color: var(--dim); margin: .2rem 0 0; max-width: 14rem; }
td.none { background: repeating-linear-gradient(45deg, transparent 0 3px, var(--line) 3px 4px); }
td.out { outline: 1.5px solid var(--ink); outline-offset: -1.5px; }
.all { overflow: auto; max-height: 70vh; border: 1px solid var(--line); margin-top: 2rem; }
.all table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
.all th { position: sticky; top: 0; background: var(--paper); } .all th, .all td { padding: .15rem .6rem; text-align: right; }
"""
_LOW, _MIDDLE, _HIGH = (53, 92, 150), (222, 222, 222), (200, 96, 20)
"""Blue and orange, which are told apart with any colour vision."""


def grids_page(title: str, intro: str, table: pd.DataFrame, columns: Sequence[str], outstanding: str | None = None) -> str:
    """The page's text.

    Args:
        title: what it is about.
        intro: how to read it.
        table: one row per graph, with `layer` and `head`.
        columns: of which each gets a grid; those whose name begins with `z ` are coloured around zero.
        outstanding: a prefix: where the column of this name and the grid's has at most 0.05, the cell gets a frame.
    """
    by_head = bool((table["head"] >= 0).all() and (table["layer"] >= 0).all())
    pictures = "".join(_grid(table, column, outstanding) for column in columns) if by_head else ""
    numbers = table.to_html(index=False, border=0, na_rep="n/a", float_format=lambda value: f"{value:.4g}", escape=True)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f'<p>{html.escape(intro)}</p><div class="grids">{pictures}</div><div class="all">{numbers}</div></body></html>\n'
    )


def _grid(table: pd.DataFrame, column: str, outstanding: str | None) -> str:
    values = table[column].astype(float)
    known = values[values.abs() < float("inf")].dropna()
    if known.empty:
        return ""
    around_zero = column.startswith("z ")
    high = float(known.abs().quantile(0.98)) if around_zero else float(known.max())
    low = -high if around_zero else float(known.min())
    frames = table.get(f"{outstanding}{column.removeprefix('z ')}") if outstanding else None
    rows = []
    for layer, group in table.groupby("layer"):
        cells = "".join(
            _cell(f"layer {layer}, head {table['head'][i]}", values[i], low, high, frames is not None and frames[i] <= 0.05)
            for i in group.index
        )
        rows.append(f"<tr><th>{layer}</th>{cells}</tr>")
    head = "".join(f"<th>{number}</th>" for number in sorted(table["head"].unique()))
    scale = f"{low:.3g} (blue) to {high:.3g} (orange)" + (", framed: stands out over all heads" if frames is not None else "")
    cells = f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    return f'<div class="grid"><h2>{html.escape(column)}</h2>{cells}<p>{scale}</p></div>'


def _cell(where: str, value: float, low: float, high: float, framed: bool) -> str:
    if value != value:
        return f'<td class="none" title="{where}: n/a"></td>'
    place = 0.5 if high <= low else min(max((value - low) / (high - low), 0.0), 1.0)
    colour = _between(_LOW, _MIDDLE, 2 * place) if place < 0.5 else _between(_MIDDLE, _HIGH, 2 * place - 1)
    frame = ' class="out"' if framed else ""
    return f'<td{frame} style="background:rgb{colour}" title="{where}: {value:.4g}"></td>'


def _between(one: tuple[int, int, int], two: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, two, strict=True))
    return red, green, blue
