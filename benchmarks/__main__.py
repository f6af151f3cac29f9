"""`python -m benchmarks [names] [--quick]`: run the benchmarks, print their tables, write benchmarks/results/*.json."""

from __future__ import annotations

import argparse
from importlib import import_module

from benchmarks.report import save, show
from benchmarks.system import machine

NAMES = ("recording", "cold_start", "imports", "page", "steering", "topology")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run: {', '.join(NAMES)} (all unless given)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: smallest sizes, one repetition, numbers mean nothing")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        before = machine()
        tables = import_module(f"benchmarks.{name}").run(quick=arguments.quick)
        show(tables)
        path = save(name, tables, before, quick=arguments.quick)
        print(f"{name}: written to {path}\n")


if __name__ == "__main__":
    main()
