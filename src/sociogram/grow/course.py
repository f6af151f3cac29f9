"""One run of training: what is asked, its batches, and who tests and measures meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset
from transformers import TrainerCallback
from transformers.trainer_utils import SaveStrategy

from sociogram.core.errors import InputError
from sociogram.grow.scoring import drawn, evaluating, score
from sociogram.grow.society import Society
from sociogram.grow.tasks import Batch, Task

Measure = Callable[[Society], Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Run:
    """What one run is asked, besides what the Trainer is told."""

    task: Task
    test: Task
    steps: int
    batch: int
    seed: int
    every: int
    test_count: int
    measure: Measure | None
    until: float | None

    def __post_init__(self) -> None:
        """Refuse counts that are none."""
        for option in ("steps", "batch", "every", "test_count"):
            value = getattr(self, option)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"train({option}={value!r}): this is a number of things. Give a whole number from 1 on.")
        if self.until is not None and self.task.asks == "number":
            raise InputError(f"train(until={self.until}): numbers have no accuracy to wait for. Leave out until.")


class Batches(Dataset[Batch]):
    """All batches of a run, each drawn when it is asked for."""

    def __init__(self, run: Run) -> None:
        """Of one run."""
        self.run = run

    def __len__(self) -> int:
        """As many as steps."""
        return self.run.steps

    def __getitem__(self, number: int) -> Batch:
        """Batch `number`, the same whenever it is asked for."""
        return self.run.task.batch(self.run.batch, drawn(self.run.seed, number))


class Watch(TrainerCallback):  # type: ignore[misc]
    """Tests, measures, moves the bar, and stops when it is good enough."""

    def __init__(self, run: Run, advance: Callable[[int], None]) -> None:
        """`advance` moves the progress bar by so many steps."""
        self.run, self.advance = run, advance

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before the first step."""
        self.advance(state.global_step)
        if state.global_step == 0:
            self._note(args, state, control, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After each."""
        self.advance(1)
        if state.global_step % self.run.every == 0 or state.global_step == self.run.steps:
            self._note(args, state, control, kwargs["model"])

    def _note(self, args: Any, state: Any, control: Any, society: Society) -> None:
        run = self.run
        found = score(society, run.test, count=run.test_count, seed=run.seed)
        noted = {"test_loss": found["loss"], **{name: value for name, value in found.items() if name != "loss"}}
        if run.measure is not None:
            with evaluating(society):
                noted |= {name: float(value) for name, value in run.measure(society).items()}
        state.log_history.append({"step": state.global_step, **noted})
        if run.until is not None and found["accuracy"] >= run.until:
            control.should_training_stop = True
            control.should_save = args.save_strategy != SaveStrategy.NO
