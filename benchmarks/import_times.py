"""What a command imports and how long each takes, from `python -X importtime`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import system
from benchmarks.report import Table

TOP = 10


class Line(NamedTuple):
    """One line of the report: microseconds without and with what the module imports itself."""

    own: int
    whole: int
    module: str


def lines(said: str) -> list[Line]:
    """The report's lines in order."""
    found = []
    for line in said.splitlines():
        if line.startswith("import time:") and not line.endswith("imported package"):
            own, whole, module = line.removeprefix("import time:").split("|")
            found.append(Line(int(own), int(whole), module.strip()))
    return found


def tables(command: Sequence[str]) -> list[Table]:
    """Our own modules with what they pull in, and whole packages by their own time."""
    python, *rest = command
    report = lines(system.run([python, "-X", "importtime", *rest]).stderr)
    ours = sorted((line for line in report if line.module.split(".")[0] == "sociogram"), key=lambda line: -line.whole)
    first = Table("Our modules by what importing them takes, everything they pull in included", ("module", "seconds"))
    first.rows = [(line.module, line.whole / 1e6) for line in ours[:TOP]]
    packages: Counter[str] = Counter()
    for line in report:
        packages[line.module.split(".")[0]] += line.own
    second = Table("Packages by the time of their own modules", ("package", "seconds", "modules"))
    count = Counter(line.module.split(".")[0] for line in report)
    second.rows = [(name, own / 1e6, count[name]) for name, own in packages.most_common(TOP)]
    second.notes = ["Measured with -X importtime, which slows imports down: read these as shares."]
    return [first, second]
