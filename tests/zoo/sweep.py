"""Build every entry, each in a child process of its own, and say what came of it."""

from __future__ import annotations

import multiprocessing as mp
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from .builder import build
from .heads import entries
from .trial import CannotBuild

LIMIT_SECONDS = 25.0
LIMIT_BYTES = 6 * 2**30


@dataclass(frozen=True)
class Outcome:
    """What became of one entry."""

    name: str
    class_name: str
    problem: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it was built and ran."""
        return not self.problem


def _child(name: str, pipe: Connection) -> None:
    """Build one entry and send (class name, problem)."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    warnings.simplefilter("ignore")
    try:
        specimen = build(name)
        pipe.send((f"{type(specimen.model).__name__}({', '.join(specimen.inputs)})", ""))
    except CannotBuild as reason:
        pipe.send(("", str(reason)))
    except BaseException as error:
        pipe.send(("", f"unexpected {type(error).__name__}: {error}".splitlines()[0]))


def attempt(name: str) -> Outcome:
    """One entry in a child process that may hang or crash without harm."""
    context = mp.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    start = time.perf_counter()
    child = context.Process(target=_child, args=(name, sender), daemon=True)
    child.start()
    sender.close()
    class_name, problem = "", f"no answer within {LIMIT_SECONDS:g} s"
    if receiver.poll(LIMIT_SECONDS):
        try:
            class_name, problem = receiver.recv()
        except EOFError:
            problem = "the process died"
    child.kill() if child.is_alive() and problem.startswith("no answer") else None
    child.join()
    return Outcome(name, class_name, problem, time.perf_counter() - start)


def sweep(names: tuple[str, ...]) -> list[Outcome]:
    """All entries in turn, printed as they come."""
    outcomes = []
    for name in names:
        outcome = attempt(name)
        outcomes.append(outcome)
        print(f"{outcome.name:36} {outcome.seconds:6.2f}  {outcome.problem or 'ok ' + outcome.class_name}", flush=True)
    return outcomes


def main(arguments: list[str]) -> int:
    """Sweep the entries named in the arguments, or all."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    outcomes = sweep(tuple(arguments) or entries())
    good = sum(outcome.ok for outcome in outcomes)
    print(f"{good} of {len(outcomes)} entries build and run; {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
