"""What the committed full run of `pooling` says, with margins."""

from __future__ import annotations

import pytest

from experiments import page
from sociogram.experiments import Study
from sociogram.experiments import pooling as experiment

FILE = page.RESULTS / "pooling.json"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no full run of pooling is committed")


@pytest.fixture(scope="module")
def study() -> Study:
    return Study.open(FILE)


def test_means_of_independent_vectors_move_as_the_closed_form_says(study: Study) -> None:
    table = study[experiment.FORM]
    exact = table[table["how"] == "all signs"]
    assert exact["measured"].to_numpy() == pytest.approx(exact["closed_form"].to_numpy(), rel=1e-12)
    drawn = table[table["how"] == "drawn"]
    assert ((drawn["measured"] - drawn["closed_form"]).abs() < 4.5 * drawn["error"]).all()


def test_both_ways_learn_the_task(study: Study) -> None:
    assert len(study.seeds) >= 3
    table = study[experiment.ACCURACY]
    assert (table["lowest"] > 0.98).all()
    assert (table["fall"].abs() < 0.05).all(), "settled"


def test_the_better_reading_is_the_one_that_was_trained(study: Study) -> None:
    table = study[experiment.READ]
    hard = table[(table["length"] == table["length"].max()) & (table["clues"] == table["clues"].min())]
    read = hard.set_index(["trained", "read"])
    for own, other in (("cls", "mean"), ("mean", "cls")):
        assert read.loc[(own, own), "lowest"] > 0.98
        assert read.loc[(own, own), "lowest"] > read.loc[(own, other), "highest"] + 0.05, "in every seed, whichever it is"
    untrained = read.loc["not", "highest"]
    assert (untrained < 0.6).all()


def test_neutral_tokens_move_trained_vectors_less_than_clues_do(study: Study) -> None:
    table = study[experiment.MOVED].set_index(["length", "trained", "read", "added"]).sort_index()
    for length in study.settings["lengths"]:
        for way in ("cls", "mean"):
            own = table.loc[(length, way, way)]
            assert own.loc["neutral", "highest"] < 0.2 * own.loc["clue", "lowest"]
            assert own.loc["neutral", "highest"] < 0.2 / (length + 1), "less than independent vectors"
        for reading in ("cls", "mean"):
            untrained = table.loc[(length, "not", reading, "neutral")]
            assert untrained["relative"] == pytest.approx(untrained["expected"], rel=0.35)


def test_in_the_encoder_one_token_moves_all_others(study: Study) -> None:
    table = study[experiment.REAL].set_index(["weights", "read"])
    assert (table.loc[("fresh", "mean"), "independent"] < 2).all(), "untrained: nearly the arithmetic of means"
    assert (table.loc[("trained", "mean"), "independent"] > 4).all()


def test_the_mean_of_the_encoder_trained_on_means_finds_more(study: Study) -> None:
    found = study[experiment.FOUND].set_index(["weights", "read"])["found"]
    assert found["trained", "mean"] > found["trained", "cls"] > found["fresh", "cls"]
    assert found["fresh", "mean"] >= found["fresh", "cls"], "some of it without any training: too few texts to say more"


def test_the_median_text_s_first_token_moves_no_further_than_its_mean(study: Study) -> None:
    real = study[experiment.REAL]
    median = real[real["weights"] == "trained"].pivot(index="tokens", columns="read", values="median")
    assert (median["cls"] < 1.1 * median["mean"]).all()


def test_untrained_tokens_are_not_independent(study: Study) -> None:
    table = study[experiment.MOVED]
    untrained = table[(table["trained"] == "not") & (table["read"] == "mean") & (table["added"] == "neutral")]
    assert (untrained["independent"] > 5).all()
