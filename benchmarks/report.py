"""Tables for people (rich on a terminal, Markdown elsewhere) and JSON for later."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass
class Table:
    """Rows of one kind, with what was aimed at and what must be known to read them."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def records(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def show(tables: Sequence[Table]) -> None:
    """Print every table."""
    for table in tables:
        if sys.stdout.isatty():
            _rich(table)
        else:
            print(markdown(table), flush=True)


def _rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    grid = RichTable(title=table.title, caption="\n".join(table.notes), title_justify="left", caption_justify="left")
    for column in table.columns:
        grid.add_column(column, justify="right" if _numeric(table, column) else "left")
    for row in table.rows:
        grid.add_row(*(_cell(value) for value in row))
    Console().print(grid)


def _numeric(table: Table, column: str) -> bool:
    return any(isinstance(record[column], int | float) for record in table.records())


def markdown(table: Table) -> str:
    """The table as Markdown, its notes as a list below."""
    rule = ["---:" if _numeric(table, column) else "---" for column in table.columns]
    lines = [list(table.columns), rule, *([_cell(value) for value in row] for row in table.rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {note}" for note in table.notes)
    return f"### {table.title}\n\n{text}\n" + (f"\n{notes}\n" if notes else "")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 5e-4 else f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"
    return str(value)


def save(name: str, tables: Sequence[Table], before: dict[str, Any], *, quick: bool) -> Path:
    """Write benchmarks/results/<name>.json; a smoke run goes to <name>.quick.json, which git ignores."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "machine": before,
        "tables": [{"title": table.title, "notes": table.notes, "rows": table.records()} for table in tables],
    }
    path = RESULTS / (f"{name}.quick.json" if quick else f"{name}.json")
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
