"""Causal tests: the effect is that of the edits, the controls are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from sociogram.graphs.causal import CausalTest
from sociogram.graphs.targets import targets_of
from tests.watch.conftest import tiny


def kl(plain: torch.Tensor, other: torch.Tensor) -> float:
    one, two = (torch.log_softmax(x.double(), -1) for x in (plain, other))
    return float((one.exp() * (one - two)).sum())


def test_effects_are_those_of_the_edits(smollm: sg.Model, alice: sg.Recording) -> None:
    text = alice.tree.attrs["text"]
    found = sg.networks(alice).causal_test([(5, 3), (9, 1)], samples=3)
    with sg.steer(smollm, [edits.mute(layer=5, head=3), edits.mute(layer=9, head=1)]) as steered:
        expected = kl(smollm.logits(text)[-1], steered.logits(text)[-1])
    assert found.effect == pytest.approx(expected, rel=1e-4)
    assert found.unit == "KL, nats"
    assert found.table["set"].tolist() == ["chosen", "control", "control", "control"]
    np.testing.assert_array_equal(found.table["effect"][1:], found.controls)
    layers = [[part.split("·")[0] for part in row.split(", ")] for row in found.table["parts"]]
    assert layers == [["5", "9"]] * 4


def test_tokens_that_carry_the_answer_matter_more_than_others(alice: sg.Recording) -> None:
    found = sg.networks(alice).causal_test([alice.find("key", "␣Mary")], samples=12, query=-1)
    assert found.what == "tokens"
    assert found.effect > found.controls.mean()
    assert found.interval[0] <= found.difference <= found.interval[1]
    assert 1 / 13 <= found.p <= 1


def test_a_head_that_does_nothing_has_no_effect(smollm: sg.Model) -> None:
    """Heads at the last layer tell only the last token something, so that another token's output is what it was."""
    rec = sg.record(smollm, "The Eiffel Tower is located in the city of")
    found = sg.networks(rec).causal_test([(29, 2, 9, 4)], samples=2, query=3)
    assert found.effect == 0


def test_edges_are_matched_in_head_and_reader(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    targets = targets_of(nets, [(8, 1, 12, 0), (8, 1, 12, 5)], 12)
    rng = np.random.default_rng(0)
    weights = nets.weights(8, 1)[12]
    for _ in range(20):
        one, two = targets.controls("matched", rng)
        assert one[:3] == two[:3] == (8, 1, 12)
        assert len({one, two, (8, 1, 12, 0), (8, 1, 12, 5)}) == 4
        others = [k for k in range(13) if k not in (0, 5)]
        assert two[3] in sorted(others, key=lambda k: abs(weights[k] - weights[5]))[:6]
    anywhere = {targets.controls("random", rng)[0] for _ in range(20)}
    assert len({part[1:3] for part in anywhere}) > 5
    assert {part[0] for part in anywhere} == {8}


def test_tokens_are_matched_in_place_and_the_first_only_stands_in_for_itself(alice: sg.Recording) -> None:
    last = len(alice.tokens) - 1
    rng = np.random.default_rng(0)
    targets = targets_of(sg.networks(alice), [4], last)
    near = {targets.controls("matched", rng)[0][0] for _ in range(100)}
    assert near == {1, 2, 3, 5, 6, 7, 8, 9}
    far = {targets.controls("random", rng)[0][0] for _ in range(300)}
    assert far == set(range(1, last)) - {4}


def test_an_encoder_s_effect_is_how_far_its_output_moved(encoded: sg.Recording) -> None:
    found = sg.networks(encoded).causal_test([(2, 4)], samples=3, query=2)
    assert found.unit == "relative move"
    assert 0 < found.effect < 2


def test_the_output_is_read_in_the_main_stack() -> None:
    """Encoder heads are muted, and what is read is a decoder's token; a classifier's output is read whole."""
    rec = tiny("t5")
    assert rec.model is not None
    decoder = rec.dataset.sizes["query"]
    found = sg.networks(rec, stack="encoder").causal_test([(0, 1)], samples=1)
    assert found.query == decoder - 1
    plain = rec.model.hf(**rec.inputs).logits[0, -1].detach()
    with sg.steer(rec.model, edits.mute(layer=0, head=1, stack="encoder")) as steered:
        other = steered.logits(dict(rec.inputs))[-1]
    assert found.effect == pytest.approx(kl(plain, other), rel=1e-3, abs=1e-9)
    seen = sg.networks(tiny("vit")).causal_test([(1, 0)], samples=2)
    assert seen.unit == "relative move"
    assert 0 < seen.effect < 1


def test_intervals_and_p_by_hand() -> None:
    import pandas as pd

    found = CausalTest(5.0, np.array([1.0, 2.0, 3.0, 6.0]), pd.DataFrame(), "KL, nats", "heads", "matched", 3)
    assert found.difference == 2.0
    assert found.p == 2 / 5
    low, high = found.interval
    assert -1 <= low < 2 < high <= 4
    assert "heads: 5 KL, nats; 4 matched controls 3; difference 2" in repr(found)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ([], "give heads as"),
        ([(1, 2), 3], "all of one kind"),
        ([(1, 2), (1, 2)], "names a part twice"),
        ([(1, 9)], "no head 9: there are 9"),
        ([(30, 0)], "no layer 30"),
        ([99], "99"),
        ([(8, head) for head in range(5)], "nobody is left to stand for"),
    ],
)
def test_bad_parts_are_refused(alice: sg.Recording, what: list[object], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        sg.networks(alice).causal_test(what, samples=1)


def test_bad_settings_are_refused(alice: sg.Recording, smollm: sg.Model) -> None:
    nets = sg.networks(alice)
    with pytest.raises(sg.InputError, match="control='same': choose one of matched, random"):
        nets.causal_test([(1, 2)], control="same")
    with pytest.raises(sg.InputError, match="samples=0: a whole number from 1 up"):
        nets.causal_test([(1, 2)], samples=0)
    with pytest.raises(sg.EditDidNotLand, match="mask hides"):
        nets.causal_test([(1, 2, 3, 7)], samples=1)
    with sg.steer(smollm, edits.cut(layer=3, head=1, key=2)) as steered:
        rec = steered.record("The Eiffel Tower is located")
    with pytest.raises(sg.RecordingError, match="this recording is of a steered run"):
        sg.networks(rec).causal_test([(1, 2)])
