"""What the committed full runs of communication and objective found: orderings with margins, over three seeds; ceilings."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments import page
from sociogram.experiments import Study
from sociogram.experiments import communication as talk
from sociogram.experiments import objective as aims


def committed(name: str) -> Study:
    file = page.RESULTS / f"{name}.json"
    if not file.is_file():
        pytest.skip(f"no full run of {name} is committed")
    return Study.open(file)


def accuracies(study: Study, task: str) -> pd.DataFrame:
    table = study[talk.LENGTHS]
    return table[table["task"] == task].set_index(["kind", "length"]).sort_index()


def test_they_have_three_seeds() -> None:
    for name in ("communication", "objective"):
        assert len(committed(name).seeds) >= 3


def test_nobody_exceeds_a_ceiling_and_the_isolated_stand_at_theirs() -> None:
    study = committed("communication")
    lengths = study[talk.LENGTHS]
    asked = {"recall": 512 * 2, "copy": 512 * 4, "sense": 512}
    error = lengths["task"].map(asked).rdiv(0.25).pow(0.5) * 4
    assert (lengths["high"] <= lengths["ceiling"] + error).all()
    alone = lengths[lengths["kind"] == "isolated"]
    assert ((alone["accuracy"] - alone["ceiling"]).abs() < 0.06).all()
    for title in (talk.BOUND, talk.NARROW):
        assert (study[title]["accuracy"] <= study[title]["ceiling"] + 0.02).all()
    assert (study[talk.NARROW]["ceiling"] < 0.9).any(), "a ceiling that is never below 1 says nothing"


def test_the_flock_recalls_where_all_others_break() -> None:
    study = committed("communication")
    table = accuracies(study, "recall")
    flock = table.xs("flock")
    assert (flock["low"] > 0.9).all()
    for kind in ("rnn", "lstm", "xlstm", "linear attention", "council"):
        assert table.loc[(kind, 64), "high"] < flock.loc[64, "low"] - 0.3, kind
        assert table.loc[(kind, 8), "accuracy"] > table.loc[(kind, 64), "accuracy"], kind
    near = table.xs("neighbourhood")
    assert (near.loc[[8, 16], "low"] > 0.9).all()
    assert (near["accuracy"] < near["ceiling"] + 0.02).all()
    assert (near["accuracy"] > 0.7 * near["ceiling"]).all(), "a window breaks where its reach ends, and only there"


def test_parameters_were_equal_and_operations_counted() -> None:
    costs = committed("communication")[talk.COSTS]
    assert (costs["off"].abs() < 0.01).all()
    assert (costs["flops"] - costs["counted"]).abs().max() < 1e-6


def test_equal_states_are_equal() -> None:
    table = committed("communication")[talk.BYTES]
    assert ((table["state_bytes"] / table["budget"] - 1).abs() < 0.1).all()


def test_moving_targets_collapse_and_their_loss_is_a_trap() -> None:
    study = committed("objective")
    table = study[aims.SCORED].set_index(["objective", "targets"]).sort_index()
    letters = table.loc[("frequencies of letters", "control"), "accuracy"]
    pairs = table.loc[("frequencies of pairs", "control"), "accuracy"]
    best = table.loc[("cross-entropy", "moving")]
    assert best["low"] > pairs + 0.05
    for distance in ("cosine", "mse", "mae"):
        held, moving, frozen = (table.loc[(distance, targets)] for targets in aims.TARGETS)
        assert moving["loss"] < 0.3 * held["loss"]
        assert moving["high"] < held["low"] - 0.02
        assert moving["cosine"] > 0.7 > 0.3 > held["cosine"]
        assert moving["rank"] < 0.65 * held["rank"]
        assert abs(frozen["cosine"]) < 0.05
        assert best["low"] > held["high"]
    assert table.loc[("cosine", "held"), "low"] > pairs > letters
    assert table.loc[("cosine", "held"), "low"] > max(table.loc[(other, "held"), "high"] for other in ("mse", "mae"))


def test_at_the_higher_rate_moving_targets_end_in_one_point() -> None:
    """The better rate is the one that collapses less; at the other one (one seed) nothing is left."""
    runs = committed("objective")[aims.RUNS]
    gone = runs[(runs["targets"] == "moving") & (runs["rate"] == 0.01) & (runs["objective"] != "cross-entropy")]
    assert len(gone) == 3
    assert (gone["cosine"] > 0.9).all()
    assert (gone["rank"] < 3).all()
    assert (gone["accuracy"] < 0.15).all()
