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
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


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
        "tables": [
            {"title": table.title, "columns": table.columns, "notes": table.notes, "rows": table.records()} for table in tables
        ],
    }
    path = RESULTS / (f"{name}.quick.json" if quick else f"{name}.json")
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


HEADER = """<!-- Written by `python -m benchmarks` from benchmarks/results/*.json; do not edit.
Again without measuring: `python -m benchmarks.report`. -->

# Benchmarks

Written by `python -m benchmarks`: the last full run of each benchmark, with its date, machine and versions.
`benchmarks/README.md` says how the numbers are taken. Ratios carry over to other machines better than seconds do.
"""


def page() -> str:
    """Every result file that exists as Markdown: machine, versions, date and tables."""
    files = sorted(file for file in RESULTS.glob("*.json") if not file.name.endswith(".quick.json"))
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return "\n".join([HEADER, *map(_section, documents)])


def _section(document: dict[str, Any]) -> str:
    taken = document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in taken["versions"].items())
    threads = ", ".join(f"{name}={value}" for name, value in taken["threads"].items())
    facts = [
        f"{document['date'][:16].replace('T', ' ')} UTC, commit {taken['commit']}",
        f"{taken['processor']}, {taken['cores']} cores, {taken['memory_gb']} GB, {taken['system']}",
        f"Python {taken['python']}, {versions}" + (f", {threads}" if threads else ""),
        f"load average before: {', '.join(map(str, taken['load_average'] or ['not known']))}",
    ]
    name = document["benchmark"]
    command = f"python -m benchmarks {name.removesuffix('_long')}" + (" --long" if name.endswith("_long") else "")
    lines = "\n".join(f"- {fact}" for fact in facts)
    return "\n".join([f"## {name}\n\n`{command}`\n\n{lines}\n", *(markdown(_table(stored)) for stored in document["tables"])])


def _table(stored: dict[str, Any]) -> Table:
    columns = tuple(stored.get("columns") or (stored["rows"][0] if stored["rows"] else ()))
    return Table(stored["title"], columns, [tuple(row.values()) for row in stored["rows"]], stored["notes"])


def write_page() -> Path:
    """Write docs/benchmarks.md."""
    PAGE.write_text(page(), encoding="utf-8")
    return PAGE


if __name__ == "__main__":
    print(f"written: {write_page()}")
