"""What the committed full run of `emergence` says, with margins."""

from __future__ import annotations

import pytest

from experiments import page
from sociogram.experiments import Study
from sociogram.experiments import emergence as experiment

FILE = page.RESULTS / "emergence.json"

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no full run of emergence is committed")


@pytest.fixture(scope="module")
def study() -> Study:
    return Study.open(FILE)


def test_two_layers_continue_repetitions_and_one_does_not_come_beyond_places(study: Study) -> None:
    assert len(study.seeds) >= 3
    known = study[experiment.KNOWN]["accuracy"].tolist()
    ends = study[experiment.ENDS].set_index("layers")
    assert (ends.loc[2, "accuracy"] > 0.99).all()
    assert (ends.loc[1, "accuracy"] < known[2] + 0.05).all(), "what places tell, and no more"
    assert (ends.loc[2, "fall"].abs() < 0.02).all(), "settled"
    assert (ends.loc[1, "fall"] < 0.1).all()
    assert (ends["unrepeated"] < 0.03).all(), "without repetition at chance"


def test_prefix_matching_is_by_content_and_comes_with_the_accuracy(study: Study) -> None:
    ends = study[experiment.ENDS].set_index("layers")
    assert (ends.loc[2, "prefix"] > 0.9).all()
    assert (ends.loc[2, "elsewhere"] < 0.2).all()
    assert (ends.loc[1, "prefix"] - ends.loc[1, "elsewhere"]).abs().max() < 0.05, "one layer: position alone"
    half = study[experiment.HALF]
    assert ((half["prefix_half"] - half["accuracy_half"]).abs() <= 30).all()
    assert ((half["previous_half"] - half["accuracy_half"]).abs() <= 60).all()


def test_the_accuracy_needs_what_followed_and_the_token_before(study: Study) -> None:
    left = study[experiment.NEEDED].set_index("change")["accuracy"]
    for change in (
        "mute the prefix-matching heads",
        "cut layer 1 from what followed",
        "cut layer 0 from the token before",
    ):
        assert left[change].max() < 0.25, change
    for control in (
        "control: cut layer 1 from the token itself",
        "control: cut layer 1 from what preceded",
        "control: cut layer 0 from two before",
    ):
        assert left[control].min() > 0.9, control


def test_one_layer_does_a_fixed_period_by_position(study: Study) -> None:
    fixed = study[experiment.FIXED]
    assert (fixed["accuracy"] > 0.99).all()
    assert (fixed["prefix"] - fixed["elsewhere"]).abs().max() < 0.05
    assert (fixed["other_periods"] < 0.3).all()


def test_whole_heads_are_a_coarse_cut(study: Study) -> None:
    muted = study[experiment.MUTED]
    assert muted[muted["layer"] == 1]["accuracy"].min() > 0.9, "others stand in"
    left = study[experiment.NEEDED].set_index("change")["accuracy"]
    assert left["control: mute others of layer 0"].min() < 0.5, "a control that costs much too"


def test_the_heads_listen_to_fewer_and_further_tokens_and_the_rank_falls_first(study: Study) -> None:
    heads = study[experiment.NETWORKS].set_index(["role", "when"]).loc["prefix-matching"]
    assert heads.loc["after", "entropy"] < 0.5 * heads.loc["before", "entropy"]
    assert heads.loc["after", "distance"] > heads.loc["before", "distance"] + 3
    flock, half = study[experiment.FLOCK], study[experiment.HALF].set_index("seed")["accuracy_half"]
    end = flock[(flock["layers"] == 2) & (flock["stop"] == 2) & (flock["tokens"] == "without first")]
    rank = end.pivot_table(index="step", columns="seed", values="effective_rank")
    assert (rank.min() + 3 < rank.iloc[[0, -1]].min()).all()
    assert (rank.idxmin() < half).all()


def test_at_another_rate_two_layers_find_another_way(study: Study) -> None:
    tried = study[experiment.RATES]
    right = tried[(tried["layers"] == 2) & (tried["accuracy"] > 0.9)]
    other = right[right["beyond"] > right["prefix"]]
    assert len(other)
    assert set(other["rate"]).isdisjoint(right[right["prefix"] > right["beyond"]]["rate"]), "a matter of the rate"
