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
