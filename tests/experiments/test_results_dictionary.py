"""What the committed full run of `dictionary` says, with margins."""

from __future__ import annotations

import pytest

from experiments import page
from sociogram.experiments import Study
from sociogram.experiments import dictionary_arms as arms
from sociogram.experiments import dictionary_tables as tables

FILE = page.RESULTS / "dictionary.json"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no full run of dictionary is committed")


@pytest.fixture(scope="module")
def study() -> Study:
    return Study.open(FILE)


def test_in_the_society_entries_help_by_what_they_say_in_every_seed(study: Study) -> None:
    assert len(study.seeds) >= 3
    told = study[tables.DIFFERENCE].set_index(["model", "first", "second", "where"]).loc["society"]
    for control in (arms.WIDER, arms.ZEROS, arms.SHUFFLED):
        for where in ("all", "after rare", "of rare"):
            row = told.loc[(arms.DICTIONARY, control, where)]
            assert row["lower"] == row["seeds"]
            assert row["difference"] < -1.5 * max(row["seeds_half"], row["rows_half"])
        rare, rest = (told.loc[(arms.DICTIONARY, control, where), "difference"] for where in ("after rare", "rest"))
        assert rare < 2 * rest < 0, "most behind rare words"
    assert told.loc[(arms.SHUFFLED, arms.ZEROS, "all"), "lower"] == 3, "some of it is knowing the word, whatever the entry says"


def test_on_the_pretrained_model_nothing_is_told_from_zero(study: Study) -> None:
    table = study[tables.DIFFERENCE]
    own = table[(table["model"] == "smollm2-135m") & (table["first"] == arms.DICTIONARY) & (table["second"] != arms.PLAIN)]
    for second in (arms.SHUFFLED, arms.WIDER):
        rows = own[own["second"] == second]
        assert (rows["difference"].abs() < rows[["seeds_half", "rows_half"]].max(axis=1)).all()


def test_all_adapters_are_of_one_size_and_settled_and_cost_little(study: Study) -> None:
    cost, runs = study[tables.COST], study[tables.RUNS].dropna(subset=["rate"])
    for model, own in cost.groupby("model"):
        rows = own.set_index("arm")
        assert rows.loc[list(arms.ARMS), "parameters"].nunique() == 1
        limit = 1.15 if model == "society" else 1.01
        assert (rows.loc[list(arms.ARMS), "flops_times"] < limit).all()
        assert rows.loc[arms.PROMPT, "flops_times"] > 6
        assert rows.loc[arms.PROMPT, "ms_times"] > 2
    assert (runs["fell"].abs() < 0.05).all()


def test_most_words_of_two_senses_are_right_in_the_pretrained_model_and_at_chance_in_the_society(study: Study) -> None:
    senses = study[tables.SENSES].set_index(["model", "arm"])
    for arm in (arms.PLAIN, arms.PROMPT, *arms.ARMS):
        assert senses.loc[("smollm2-135m", arm), "right"] > 0.9
        assert abs(senses.loc[("society", arm), "score"]) < 2 * senses.loc[("society", arm), "error"]
    assert senses.loc[("smollm2-135m", arms.DICTIONARY), "score"] < senses.loc[("smollm2-135m", arms.PLAIN), "score"]
