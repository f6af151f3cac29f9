"""Is a text's vector better read at its first token or off the mean over all: what is arithmetic, what training, what neither.

Small societies classify texts by a few planted tokens, trained to be read at the first token (`cls`) or off the mean; both are
then read both ways by fresh linear probes, beside societies that were never trained. How far one more token moves either vector
is measured against the closed form for means of independent vectors, and in MiniLM, which was trained with mean pooling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

import sociogram as sg
from sociogram.experiments.conduct import choose, conduct
from sociogram.experiments.pooling_pictures import ACCURACY, FORM, FOUND, MOVED, RATES, READ, REAL, drawn
from sociogram.experiments.pooling_runs import CLASSES, Runs, Settings, Trained, over_seeds, task_of, texts_of, trained, untrained
from sociogram.experiments.study import Study, Table
from sociogram.experiments.subjects import fresh
from sociogram.experiments.vectors import (
    READINGS,
    all_signs,
    changed_means,
    expected,
    found_halves,
    help_pieces,
    last_states,
    mean_and_range,
    moves,
    pooled,
    probe,
    wrapped,
)
from sociogram.experiments.watching import steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "pooling"

CANNOT_SHOW = (
    "MiniLM was trained with mean pooling (padding left out, special tokens included): that its mean is the better vector is "
    "what it was made for, and to conclude from it that means are better is circular. It stands here to show just that.",
    "Planted evidence is a task for counting, which a mean does by itself; a text whose meaning hangs on order or on one word "
    "may favour the other. What holds of one layer on random tokens need not hold of large encoders.",
    "A vector that moves little when a token joins is neither good nor bad by that: the relative move says how much of the "
    "difference between texts one token makes, and the clues' rows beside the neutral ones whether it is the right one.",
    "Linear probes say what can be read off linearly from so many examples, not all that a vector holds.",
    "The closed form is of independent vectors. Tokens that hear each other are none; the column `independent` says how far off.",
)


JOINED = (
    "of the fewest clues; relative: mean square move over the variance of such vectors over texts; expected: 1 / (n + 1), as of "
    "means of independent vectors; independent: the move over what it would be if tokens that differ as much were independent"
)

FULL = Settings()
QUICK = Settings(
    seeds=(0,),
    lengths=(16,),
    clues=(4,),
    rates=(0.01,),
    steps=30,
    tests=128,
    probed=300,
    moved=50,
    draws=500,
    passages=6,
    pieces=(8,),
)


def run(*, quick: bool, seed: int = 0, **settings: Any) -> Study:
    """Moves of means in closed form and measured; societies trained and read both ways; an encoder that was trained one way.

    Raises:
        InputError: an unknown setting, a value that does not fit, texts too short for their clues, a model whose texts begin
            with no token that stands for them.
        ModelNotFoundError: no such model.
    """
    chosen = choose(NAME, FULL, QUICK, quick, settings)
    for name in ("moved", "passages"):
        if getattr(chosen, name) < 2:
            raise sg.InputError(
                f"{NAME}: {name}={getattr(chosen, name)}: two texts or more, to compare moves with their differences"
            )
    return conduct(NAME, _work, chosen, CANNOT_SHOW, quick=quick, seed=seed, seeds=_seeds(chosen, seed))


def _seeds(chosen: Settings, seed: int) -> list[int]:
    return [1000 * seed + each for each in chosen.seeds]


def _work(chosen: Settings, seed: int) -> list[Table]:
    plan = [
        (length, clues, pool, each, rate)
        for length in chosen.lengths
        for clues in chosen.clues
        for pool in READINGS
        for each in _seeds(chosen, seed)
        for rate in chosen.rates
    ]
    tried = {one: trained(chosen, *one) for one in steps(plan, "training", len(plan))}
    runs: Runs = {}
    for key, run_ in tried.items():
        runs[key[:4]] = max(runs.get(key[:4], run_), run_, key=lambda one: one.accuracy)
    runs |= {(length, clues, "not", each): untrained(chosen, length, each) for length, clues, _, each in list(runs)}
    real, found = _encoder(chosen, seed)
    note = "means over seeds, with the lowest and the highest; chance is 1 of 4, the oracle 1"
    return [
        Table(FORM, one_more(chosen.draws, seed), ("tokens", "change", "how"), "mean square of the move, channels of variance 1"),
        Table(
            ACCURACY,
            _accuracy(runs),
            ("length", "clues", "trained"),
            f"{note}; soon: first step from which on the accuracy is 0.9",
        ),
        Table(READ, _read(chosen, runs), ("length", "clues", "trained", "read"), f"{note}; held-out texts, logistic regression"),
        Table(
            MOVED,
            _moved(chosen, runs),
            ("length", "clues", "added", "trained", "read"),
            JOINED,
        ),
        Table(
            REAL,
            real,
            ("weights", "tokens", "read"),
            f"{chosen.model}; {chosen.passages} texts; columns as above; special tokens count",
        ),
        Table(
            FOUND,
            found,
            ("weights", "read"),
            f"{chosen.model}, {chosen.passages} texts, halves of 40 tokens; trained with mean pooling",
        ),
        Table(RATES, _tried(tried), ("length", "clues", "trained", "seed", "rate")),
    ]


def one_more(draws: int, seed: int) -> pd.DataFrame:
    """The closed form against all patterns of signs (exactly) and against normal vectors of 16 channels (with errors)."""
    rows, draw = [], torch.Generator().manual_seed(seed)
    for change in ("added", "replaced"):
        for tokens in (2, 4, 8):
            found = float(changed_means(all_signs(tokens), change).mean())
            rows.append((tokens, change, "all signs", expected(tokens, 1, change), found, 0.0))
        for tokens in (4, 16, 64, 256):
            vectors = torch.randn(draws, tokens + 1, 16, generator=draw)
            found_ = changed_means(vectors.double(), change)
            error = float(found_.std() / draws**0.5)
            rows.append((tokens, change, "drawn", expected(tokens, 16, change), float(found_.mean()), error))
    return pd.DataFrame(rows, columns=["tokens", "change", "how", "closed_form", "measured", "error"])


def _accuracy(runs: Runs) -> pd.DataFrame:
    rows = []
    for key, several in over_seeds(runs, ("cls", "mean")):
        ends = mean_and_range([one.accuracy for one in several])
        soon, fall = (float(np.mean([getattr(one, name) for one in several])) for name in ("soon", "fall"))
        rows.append({**key, **ends, "soon": soon, "fall": fall})
    return pd.DataFrame(rows)


def _read(chosen: Settings, runs: Runs) -> pd.DataFrame:
    rows = []
    for key, several in steps(list(over_seeds(runs, ("cls", "mean", "not"))), "probes", len(runs) // len(chosen.seeds)):
        known, asked = (texts_of(chosen, key["length"], key["clues"], part) for part in (1, 2))
        found: dict[str, list[float]] = {reading: [] for reading in READINGS}
        for one in several:
            states = [last_states(one.model, batch["input_ids"]) for batch in (known, asked)]
            for reading in READINGS:
                fitted, held = (pooled(each, reading) for each in states)
                said = probe(fitted, known["labels"], held, CLASSES)
                found[reading].append(float((said == asked["labels"]).double().mean()))
        rows += [{**key, "read": reading, **mean_and_range(values)} for reading, values in found.items()]
    return pd.DataFrame(rows)


def _moved(chosen: Settings, runs: Runs) -> pd.DataFrame:
    rows = []
    few = {key: one for key, one in runs.items() if key[1] == min(chosen.clues)}
    for key, several in over_seeds(few, ("cls", "mean", "not")):
        ids = texts_of(chosen, key["length"], key["clues"], 3)["input_ids"]
        task = task_of(key["length"], key["clues"])
        for added, low, high in (
            ("neutral", 1 + CLASSES * task.markers, task.vocab_size),
            ("clue", 1, 1 + CLASSES * task.markers),
        ):
            token = torch.randint(low, high, (len(ids), 1), generator=torch.Generator().manual_seed(key["length"]))
            states = [(last_states(one.model, ids), last_states(one.model, torch.cat([ids, token], 1))) for one in several]
            for reading in READINGS:
                found = [moves(*both, reading) for both in states]
                relative = mean_and_range([one["relative"] for one in found])
                alone = float(np.mean([one["independent"] for one in found]))
                names = {
                    "length": key["length"],
                    "clues": key["clues"],
                    "added": added,
                    "trained": key["trained"],
                    "read": reading,
                }
                rows.append(
                    {
                        **names,
                        "relative": relative.pop("mean"),
                        **relative,
                        "expected": 1 / (key["length"] + 1),
                        "independent": alone,
                    }
                )
    return pd.DataFrame(rows)


def _encoder(chosen: Settings, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The real encoder and the same with fresh weights: moves when a text's next token joins, and halves that find each other."""
    model, rows, halves = sg.load(chosen.model), [], []
    ids = help_pieces(model, chosen.passages, max(*chosen.pieces, 80) + 1)
    for weights, reader in (("trained", model), ("fresh", fresh(model, seed))):
        for count in chosen.pieces:
            before, after = (last_states(reader, wrapped(model, ids[:, : count + more])) for more in (0, 1))
            tokens = before.shape[1]
            rows += [
                (weights, tokens, reading, *moves(before, after, reading).values(), 1 / (tokens + 1)) for reading in READINGS
            ]
        one, other = (last_states(reader, wrapped(model, ids[:, part])) for part in (slice(0, 40), slice(40, 80)))
        for reading in READINGS:
            share = found_halves(pooled(one, reading), pooled(other, reading))
            halves += [(weights, reading, share, 1 / chosen.passages)]
    names = ["weights", "tokens", "read", "moved", "relative", "median", "independent", "expected"]
    return pd.DataFrame(rows, columns=names), pd.DataFrame(halves, columns=["weights", "read", "found", "chance"])


def _tried(tried: dict[Any, Trained]) -> pd.DataFrame:
    rows = [(*key, one.accuracy, float(one.history["test_loss"].iloc[-1]), one.fall, one.soon) for key, one in tried.items()]
    names = ["length", "clues", "trained", "seed", "rate", "accuracy", "loss", "fall", "soon"]
    return pd.DataFrame(rows, columns=names)


def draw(study: Study) -> Figure:
    """The closed form; moves in societies and in the encoder; accuracies as trained and otherwise; halves found."""
    figure: Figure = drawn(study)
    return figure
