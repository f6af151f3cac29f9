"""Training a society by transformers' own `Trainer`."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedConfig, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from sociogram.core.errors import InputError
from sociogram.grow.config import SocietyConfig
from sociogram.grow.course import Batches, Measure, Run, Watch
from sociogram.grow.grown import Grown, is_finished, open_grown, read_settings, write_settings
from sociogram.grow.scoring import check_fit
from sociogram.grow.society import Society
from sociogram.grow.tasks import Batch, Task
from sociogram.models.quiet import quiet
from sociogram.watch.progress import bar


def train(
    what: SocietyConfig | Society,
    task: Task,
    *,
    steps: int,
    batch: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
    to: str | PathLike[str] | None = None,
    resume: bool = False,
    every: int | None = None,
    test: Task | None = None,
    test_count: int = 256,
    measure: Measure | None = None,
    until: float | None = None,
    schedule: str = "cosine",
    warmup: int | None = None,
    weight_decay: float = 0.01,
    save_every: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Grown:
    """Train a society on a task.

    The work is done by transformers' `Trainer` (AdamW, schedule, clipping of gradients to norm 1, checkpoints). Batch number
    `n` is a function of `seed` and `n` alone. Where an accelerator is found it is used.

    Args:
        what: a config (its society is made with weights drawn by `seed`), or a society, which is changed in place.
        task: what is asked; it must fit.
        steps: optimiser steps in all.
        batch: sequences in each.
        learning_rate: the highest; reached after `warmup` steps (a twentieth of all when left out), then lowered by `schedule`
            (transformers' names: `"cosine"`, `"linear"`, `"constant_with_warmup"` ...).
        seed: draws weights and batches.
        to: a folder for checkpoints, and for the society when it is finished; nothing is kept when left out.
        resume: go on from the last checkpoint in `to`, with the same arguments; on a CPU with as many threads the weights are
            then bit for bit those of a run that was not interrupted. Starts from the beginning where there is none.
        every: how often to test and measure, at step 0 and at the end besides; a twentieth of all steps when left out.
        test: the task to test on, the same when left out (held-out sequences of it); test_count: on how many.
        measure: called with the society (in evaluation mode) whenever it is tested; what it returns joins the history.
        until: stop when the accuracy reaches this.
        save_every: how often to write a checkpoint (with `to`); about a fifth of all steps when left out. The last two are kept.
            With a multiple of `every` the history of a resumed run is that of an uninterrupted one too (else the first `loss`
            after the checkpoint is a mean over fewer steps).
        arguments: more of transformers' `TrainingArguments`.

    Raises:
        InputError: society and task do not fit; a folder that holds another run; settings out of range.

    Misleads: an accuracy that has not settled says that training was short, not that the society cannot learn the task.
    """
    run = Run(task, test or task, steps, batch, seed, every or max(1, steps // 20), test_count, measure, until)
    society = _society(what, task, seed)
    check_fit(society.config, run.test)
    settings = _settings(society, run, learning_rate, schedule, warmup, weight_decay, arguments)
    _check(settings, to, resume)
    if resume and to is not None and is_finished(Path(to)):
        return _as_it_was(society, open_grown(to))
    save_every = (save_every or run.every * max(1, steps // (5 * run.every))) if to is not None else None
    with _own_randomness(seed), tempfile.TemporaryDirectory() as spare:
        folder = Path(spare if to is None else to)
        chosen = _arguments(folder, settings, save_every) | dict(arguments or {})
        history = _trained(society, run, chosen, get_last_checkpoint(str(folder)) if resume and folder.is_dir() else None)
    grown = Grown(society, history, settings)
    if to is not None:
        grown.save(to)
    return grown


def _society(what: SocietyConfig | Society, task: Task, seed: int) -> Society:
    if isinstance(what, Society):
        check_fit(what.config, task)
        return what
    if not isinstance(what, SocietyConfig):
        raise InputError(
            f"train({type(what).__name__}, ...): it trains societies, whose labels are aligned with their answers; other models "
            "shift theirs. Give a SocietyConfig or a Society."
        )
    check_fit(what, task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Society(what)


def _as_it_was(society: Society, grown: Grown) -> Grown:
    """A run that had been finished: its weights, in the society at hand."""
    society.load_state_dict(grown.model.state_dict())
    return Grown(society.eval(), grown.history, grown.settings)


def _settings(
    society: Society,
    run: Run,
    learning_rate: float,
    schedule: str,
    warmup: int | None,
    weight_decay: float,
    arguments: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Everything that decides what comes out, as plain values."""
    if not learning_rate > 0:
        raise InputError(f"train(learning_rate={learning_rate!r}): nothing would be learned. Give a number above 0.")
    own = {field.name for field in fields(SocietyConfig)} - {field.name for field in fields(PreTrainedConfig)} - {"use_cache"}
    return {
        "config": {name: getattr(society.config, name) for name in sorted(own)},
        "task": repr(run.task),
        "test": repr(run.test),
        "test_count": run.test_count,
        "steps": run.steps,
        "batch": run.batch,
        "seed": run.seed,
        "every": run.every,
        "until": run.until,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "warmup": run.steps // 20 if warmup is None else warmup,
        "weight_decay": weight_decay,
        "arguments": {name: repr(value) for name, value in (arguments or {}).items()},
    }


def _check(settings: dict[str, Any], to: str | PathLike[str] | None, resume: bool) -> None:
    """Refuse to mix runs in a folder."""
    if to is None:
        if resume:
            raise InputError("train(resume=True): there is nothing to go on from without a folder. Give to=...")
        return
    folder = Path(to)
    before = read_settings(folder)
    if before is None and not (folder.is_dir() and get_last_checkpoint(str(folder))):
        write_settings(folder, settings)
        return
    if not resume:
        raise InputError(
            f"train(to={str(to)!r}): it holds a run already. Give another folder, or resume=True to go on with that one."
        )
    differing = sorted(name for name in settings if before is None or before.get(name) != settings[name])
    if differing:
        name = differing[0]
        was = None if before is None else before.get(name)
        raise InputError(
            f"train(to={str(to)!r}, resume=True): the run there has {name}={was!r}, and this call {name}={settings[name]!r}. "
            "Call it as before, or give another folder."
        )


def _arguments(folder: Path, settings: Mapping[str, Any], save_every: int | None) -> dict[str, Any]:
    """What the Trainer is told."""
    return {
        "output_dir": str(folder),
        "max_steps": settings["steps"],
        "per_device_train_batch_size": 1,  # an item of the dataset is a whole batch
        "train_sampling_strategy": "sequential",
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": settings["schedule"],
        "warmup_steps": settings["warmup"],
        "weight_decay": settings["weight_decay"],
        "seed": settings["seed"],
        "logging_steps": settings["every"],
        "save_strategy": "no" if save_every is None else "steps",
        "save_steps": save_every or 500,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }


def _trained(society: Society, run: Run, arguments: dict[str, Any], checkpoint: str | None) -> pd.DataFrame:
    """Run the Trainer; returns the history."""
    caching = society.config.use_cache
    with bar("training", run.steps, run.steps, "steps") as advance, quiet():
        trainer = Trainer(
            society,
            TrainingArguments(**arguments),
            train_dataset=Batches(run),
            data_collator=_only,
            callbacks=[Watch(run, advance)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=checkpoint)
    society.config.use_cache = caching
    society.eval()
    return _history(trainer.state.log_history)


def _only(items: list[Batch]) -> Batch:
    return items[0]


def _history(log: list[dict[str, float]]) -> pd.DataFrame:
    """One row for each step."""
    rows: dict[int, dict[str, float]] = {}
    for entry in log:
        if "train_runtime" not in entry:
            rows.setdefault(int(entry["step"]), {}).update(entry)
    table = pd.DataFrame([rows[step] for step in sorted(rows)]).drop(columns="epoch", errors="ignore")
    return table[["step", *(name for name in table.columns if name != "step")]]


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """The Trainer seeds every global generator; the caller finds its own as they were."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
