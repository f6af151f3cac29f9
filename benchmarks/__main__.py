"""`python -m benchmarks [names] [--quick] [--long]`: run benchmarks, print tables, write results/*.json and the docs page."""

from __future__ import annotations

import argparse
from importlib import import_module

from benchmarks.report import save, show, write_page
from benchmarks.system import machine

NAMES = (
    "recording",
    "cold_start",
    "densify",
    "imports",
    "memory",
    "networks",
    "nulls",
    "page",
    "steering",
    "streaming",
    "topology",
)
LONG = ("streaming",)
"""Those with a part that takes about an hour: with --long it runs in place of the rest and has a result file of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run: {', '.join(NAMES)} (all unless given)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: smallest sizes, one repetition, numbers mean nothing")
    parser.add_argument("--long", action="store_true", help=f"only the part that takes about an hour; of {', '.join(LONG)}")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if arguments.long and not set(arguments.names) <= set(LONG):
        parser.error(f"--long is for {', '.join(LONG)}")
    for name in arguments.names or (LONG if arguments.long else NAMES):
        before = machine()
        more = {"long": True} if arguments.long else {}
        tables = import_module(f"benchmarks.{name}").run(quick=arguments.quick, **more)
        show(tables)
        path = save(f"{name}_long" if arguments.long else name, tables, before, quick=arguments.quick)
        print(f"{name}: written to {path}\n")
        if not arguments.quick:
            write_page()


if __name__ == "__main__":
    main()
