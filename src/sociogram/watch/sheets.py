"""A worksheet as text and as a page."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sociogram.watch.cells import Cell, Step
    from sociogram.watch.worksheet import Worksheet

_SHOWN = 4
_KEY = re.compile(r"\[(\d+)\]")
_PER_KEY = ("k", "dot", "scaled", "bias", "score", "exp", "weight", "v", "told", "message")


def number(value: float) -> str:
    """A number with six significant digits."""
    return f"{value:.6g}"


def cell_value(cell: Cell) -> str:
    """A number, or a vector's first components and its norm."""
    if isinstance(cell.value, float):
        return number(cell.value)
    first = " ".join(f"{v:.3g}" for v in cell.value[:_SHOWN])
    more = " ..." if len(cell.value) > _SHOWN else ""
    return f"[{first}{more}] norm {number(float(np.linalg.norm(cell.value)))}"


def key_of(name: str) -> int | None:
    """The token that a cell is about, or None."""
    found = _KEY.search(name)
    return int(found[1]) if found and name.split("[")[0] in _PER_KEY else None


def strongest(sheet: Worksheet, count: int | None) -> set[int]:
    """The tokens with the largest weights."""
    weights = {key: float(c.value) for n, c in sheet.cells.items() if n.startswith("weight[") and (key := key_of(n)) is not None}
    order = sorted(weights, key=lambda key: -abs(weights[key]))
    return set(order if count is None else order[:count])


def title(sheet: Worksheet) -> str:
    """Whose arithmetic it is."""
    return f"Layer {sheet.layer}, head {sheet.head}: what {sheet.reader!r} (token {sheet.query}) hears"


def as_text(sheet: Worksheet, keys: int | None) -> str:
    """Lines of text, one per cell."""
    shown = strongest(sheet, keys)
    lines = [title(sheet), ""]
    for place, step in enumerate(sheet.steps, 1):
        lines.append(f"{place:2}. {step.title}: {step.text}")
        names = [name for name in step.cells if (key := key_of(name)) is None or key in shown]
        lines += [_line(sheet, name) for name in names]
        if len(names) < len(step.cells):
            lines.append(f"      (and {len(step.cells) - len(names)} more cells, of tokens with smaller weights)")
    lines += ["", f"off by {sheet.difference:.1e} ({sheet.relative_difference:.1e} of the attention branch's move)"]
    return "\n".join(lines)


def _line(sheet: Worksheet, name: str) -> str:
    cell = sheet.cells[name]
    key = key_of(name)
    token = "" if key is None else f"  {sheet.keys[key]}"
    return f"      {name:<12} = {cell_value(cell)}   ({cell.formula}){token}"


_HINT = "Point at a row, or move to it with the Tab key: the rows it was computed from light up."
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
h2{font-size:1rem;margin:1.4rem 0 .2rem}p{margin:.1rem 0 .5rem;color:#57606a}
table{border-collapse:collapse;width:100%;table-layout:fixed}td:nth-child(1){width:8rem}td:nth-child(2){width:11rem}
td:nth-child(3){width:27rem}td{padding:.15rem .6rem;border-bottom:1px solid #e5e8eb;vertical-align:top}
td.n{font-family:ui-monospace,monospace;white-space:nowrap}td.v{font-family:ui-monospace,monospace;text-align:right}
td.f{color:#57606a}tr.on{background:#fff3c4}tr.me{background:#cfe8ff}tr:focus{outline:2px solid #0969da}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}td{border-color:#30363d}p,td.f{color:#9198a1}
tr.on{background:#4d3d00}tr.me{background:#0c2d6b}}
@media print{tr.on,tr.me{background:none}}
"""
_SCRIPT = """
const rows=[...document.querySelectorAll('tr[data-cell]')];const by=new Map(rows.map(r=>[r.dataset.cell,r]));
function light(row){rows.forEach(r=>r.classList.remove('on','me'));if(!row)return;row.classList.add('me');
row.dataset.from.split(' ').forEach(n=>by.get(n)?.classList.add('on'))}
for(const row of rows){for(const e of ['mouseenter','focus'])row.addEventListener(e,()=>light(row));
for(const e of ['mouseleave','blur'])row.addEventListener(e,()=>light(null))}
"""


def as_html(sheet: Worksheet) -> str:
    """One self-contained page; nothing is loaded from elsewhere."""
    head = escape(title(sheet))
    body = "".join(_section(sheet, place, step) for place, step in enumerate(sheet.steps, 1))
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{head}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{head}</h1><p>{_HINT}</p>{body}"
        f"<p>Off by {sheet.difference:.1e} ({sheet.relative_difference:.1e} of the attention branch's move).</p>"
        f"<script>{_SCRIPT}</script></body></html>"
    )


def _section(sheet: Worksheet, place: int, step: Step) -> str:
    rows = "".join(_row(sheet, name) for name in step.cells)
    return f"<h2>{place}. {escape(step.title)}</h2><p>{escape(step.text)}</p><table>{rows}</table>"


def _row(sheet: Worksheet, name: str) -> str:
    cell, key = sheet.cells[name], key_of(name)
    token = "" if key is None else escape(sheet.keys[key])
    return (
        f'<tr tabindex="0" data-cell="{escape(name)}" data-from="{escape(" ".join(cell.sources))}">'
        f'<td class="n">{escape(name)}</td><td><bdi>{token}</bdi></td><td class="v">{escape(cell_value(cell))}</td>'
        f'<td class="f">{escape(cell.formula)}</td></tr>'
    )
