"""docs/experiments.md and its pictures, from the stored results: `python -m experiments.page`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.findings import findings
from sociogram.experiments import Study, Table, names, question_of
from sociogram.experiments.code import code_hash
from sociogram.experiments.registry import module_of

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "experiments.md"
LONGEST = 40
"""Tables of more rows are left to the JSON."""

HEADER = """<!-- Written by `python -m experiments` from experiments/results/*.json; do not edit.
Again without running anything: `python -m experiments.page`. -->

# Experiments

`sociogram grow` lists them; `sociogram grow NAME` runs one in up to half an hour on one core, `--quick` in less than a minute (to
see that it works: its numbers are no results). Each prints tables and what they cannot show; `--out FOLDER` writes JSON and a
picture. `--set name=value` replaces a setting, `--model` the model where one is read, and `--over seed=0,1,2 --over inputs=5,10`
runs an experiment once for each combination and tells the spread of every number (`generality`).

```python
from experiments.findings import findings
from sociogram.experiments import Study, open_experiment

study = open_experiment("in-context-descent").run(quick=True, steps=20, tests=200)
print(study["The best single step"])
study.save("studies")
print(Study.open("studies/in-context-descent.quick.json").provenance)
```

A study carries its settings, seeds, machine, versions and the hash of the code that made it. What follows is what the committed
full runs found (`make experiments` makes them again); no number here is written by hand, those in
sentences are read off the tables.
"""


def page() -> str:
    """The whole page."""
    files = sorted(RESULTS.glob("*.json"), key=lambda file: _order(file.stem))
    done = [Study.open(file) for file in files]
    there = {study.name for study in done}
    waiting = [f"- `{name}`: {question_of(name)}" for name in names() if name not in there]
    rest = ["## Without a committed run\n\n" + "\n".join(waiting) + "\n"] if waiting else []
    index = "".join(f"- [{study.name}](#{study.name}): {study.question}\n" for study in done)
    return "\n".join([HEADER, index, *map(section, done), *rest])


def _order(stem: str) -> int:
    return next(number for number, name in enumerate(names()) if stem.startswith(name))


def section(study: Study) -> str:
    """One study: what it asks, how it was made, its tables, its limits."""
    of = study.settings.get("experiment")
    over = "".join(f" --over {name}={','.join(map(str, values))}" for name, values in study.settings.get("over", {}).items())
    command = f"sociogram grow {of}{over}" if of else f"sociogram grow {study.name}"
    parts = [f"## {study.name}\n\n{study.question}\n\n`{command}`\n\n{_facts(study)}\n"]
    parts += [f"![{study.question}](images/{study.stem}.png)\n"]
    if told := findings(study):
        parts += [f"### What came out of {study.name}\n\n" + "\n".join(f"- {sentence}" for sentence in told) + "\n"]
    parts += [_table(table) for table in study.tables]
    limits = "\n".join(f"- {sentence}" for sentence in study.cannot_show)
    return "\n".join([*parts, f"### What {study.name} cannot show\n\n{limits}\n"])


def _facts(study: Study) -> str:
    of = study.settings.get("experiment")
    now = code_hash(*([module_of(study.name)] + ([module_of(of)] if of else [])))
    stale = "" if now == study.code else " (the code here is another by now: `make experiments` makes it anew)"
    machine = ", ".join(map(str, study.machine.values()))
    versions = ", ".join(f"{name} {number}" for name, number in study.versions.items())
    settings = ", ".join(f"{name} {value}" for name, value in study.settings.items())
    lines = [f"{study.made[:16].replace('T', ' ')} UTC, {study.seconds:.0f} s, seeds {', '.join(map(str, study.seeds))}"]
    lines += [settings, f"{machine}; {versions}", f"code `{study.code[:16]}`{stale}"]
    return "\n".join(f"- {line}" for line in lines)


def _table(table: Table) -> str:
    head = f"### {table.title}\n"
    if len(table.frame) > LONGEST:
        return f"{head}\n{len(table.frame)} rows, in the JSON.{' ' + table.note if table.note else ''}\n"
    columns = [str(name) for name in table.frame.columns]
    rule = ["---" if table.kind(name) == "text" else "---:" for name in columns]
    rows = [[_cell(value) for value in row] for row in table.frame.itertuples(index=False)]
    lines = "\n".join(f"| {' | '.join(line)} |" for line in [columns, rule, *rows])
    return f"{head}\n{lines}\n" + (f"\n{table.note}\n" if table.note else "")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value).replace("|", "\\|")


def write_page() -> Path:
    """Write the page and its pictures."""
    PAGE.write_text(page(), encoding="utf-8")
    for file in RESULTS.glob("*.json"):
        Study.open(file).save_picture(PAGE.parent / "images")
    return PAGE


if __name__ == "__main__":
    print(f"written: {write_page()}")
