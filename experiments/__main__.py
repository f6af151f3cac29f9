"""`python -m experiments [names]`: full runs (minutes each), stored in results/, and docs/experiments.md written from them."""

from __future__ import annotations

import argparse

from experiments.page import RESULTS, write_page
from sociogram.experiments import names, open_experiment


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which to run: {', '.join(names())} (all unless given)")
    chosen = parser.parse_args().names or names()
    unknown = sorted(set(chosen) - set(names()))
    if unknown:
        parser.error(f"no experiment {', '.join(unknown)}; there are {', '.join(names())}")
    for name in chosen:
        study = open_experiment(name).run(quick=False)
        print(f"{study.save(RESULTS)}: {study.seconds:.0f} s", flush=True)
    print(f"written: {write_page()}")


if __name__ == "__main__":
    main()
