"""What it costs to import Sociogram, and to ask the command line for nothing."""

from __future__ import annotations

from benchmarks import system
from benchmarks.report import Table
from benchmarks.turns import medians

REPETITIONS = 9
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import sociogram": ("-c", "import sociogram"),
    "sociogram --version": ("-m", "sociogram", "--version"),
    "sociogram --help": ("-m", "sociogram", "--help"),
}


def run(*, quick: bool) -> list[Table]:
    """Fresh processes, in turn."""
    seconds = medians({name: system.here(*command) for name, command in COMMANDS.items()}, 1 if quick else REPETITIONS)
    bare = seconds["python -c pass"]
    table = Table("Importing", ("command", "seconds", "above bare python"))
    table.rows = [(name, value, value - bare) for name, value in seconds.items()]
    table.notes = ["Target: import sociogram < 0.1 s above bare python. Medians of fresh processes, in turn."]
    return [table]
