"""Odds multiplied before the softmax: one key at m times the odds against m equal keys, and what the edit refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sociogram as sg
from sociogram import edits
from sociogram.models.attention import AttentionCall, mix, weights_of
from sociogram.models.straight import straight
from sociogram.steering.base import Scene
from tests.models.conftest import tiny_llama
from tests.models.test_rotary import nope
from tests.watch.conftest import specimen

IDS = [5, 9, 17, 3, 44, 21, 8, 30]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama())


def call_of(keys: torch.Tensor, values: torch.Tensor, query: torch.Tensor) -> AttentionCall:
    return AttentionCall("attention", 0, nn.Identity(), query, keys, values, None, 0.5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 99))
def test_a_key_at_m_times_the_odds_is_m_equal_keys(counts: list[int], seed: int) -> None:
    """The theorem, in double precision: both the explicit weights and torch's own attention."""
    draw = torch.Generator().manual_seed(seed)
    key, value = (torch.randn(1, 2, len(counts), 4, generator=draw, dtype=torch.float64) for _ in range(2))
    query = torch.randn(1, 4, 3, 4, generator=draw, dtype=torch.float64)
    few, times = call_of(key, value, query), torch.tensor(counts)
    many = call_of(key.repeat_interleave(times, 2), value.repeat_interleave(times, 2), query)
    for place, count in enumerate(counts):
        wanted = (torch.arange(len(counts)) == place).expand(4, 3, -1)
        few = edits.scale_odds(key=place, factor=count).changes(Scene(few, 0, range(3), range(len(counts)), wanted))
    torch.testing.assert_close(mix(weights_of(few)[0], few), mix(weights_of(many)[0], many), atol=1e-12, rtol=0)
    torch.testing.assert_close(straight(few), straight(many), atol=1e-12, rtol=0)
    plain = replace(few, bias=None)
    assert (float((straight(plain) - straight(many)).abs().max()) > 1e-9) == (len(set(counts)) > 1)


def test_through_a_model_without_positions_a_repeated_past_is_one_token_at_so_many_times_the_odds() -> None:
    model = sg.load(nope(no_rope_layers=[0, 0]))
    once = sg.Past.of(model, IDS[:1])
    many = sg.Past.of(model, IDS[:1] * 6)
    torch.testing.assert_close(once.keys[0].expand_as(many.keys[0]), many.keys[0])
    with sg.steer(model, edits.scale_odds(key=0, factor=6.0)) as steered:
        ours = steered.logits(IDS[1:], past=once)
    torch.testing.assert_close(ours, many.logits(IDS[1:]), atol=1e-5, rtol=0)
    assert float((once.logits(IDS[1:]) - ours).abs().max()) > 1e-4


def test_odds_are_what_is_multiplied(llama: sg.Model) -> None:
    """The odds of an edge against any other of its row, read off two recordings."""
    with sg.steer(llama, edits.scale_odds(layer=0, key=2, factor=3.0, query=slice(4, None))) as steered:
        after = steered.record(IDS).dataset["weights"].values[0]
        receipt = steered.receipt
    before = sg.record(llama, IDS).dataset["weights"].values[0]
    odds = [one[:, 4:, 2] / one[:, 4:, 1] for one in (before, after)]
    torch.testing.assert_close(torch.tensor(odds[1]), torch.tensor(3.0 * odds[0]), atol=0, rtol=1e-4)
    torch.testing.assert_close(torch.tensor(after[:, :4]), torch.tensor(before[:, :4]))
    moved = float(abs(after - before).sum())
    assert receipt.edits["moved"].sum() == pytest.approx(moved, rel=1e-4)
    assert receipt.edits["changed"].sum() == receipt.edits["addressed"].sum() == 4 * 4


def test_a_factor_of_one_lands_and_changes_nothing(llama: sg.Model) -> None:
    with sg.steer(llama, edits.scale_odds(factor=1.0)) as steered:
        assert torch.equal(steered.logits(IDS), llama.logits(IDS))
        assert steered.receipt.edits["addressed"].sum() > 0
        assert steered.receipt.edits["changed"].sum() == 0


def test_prefill_and_decoding_agree_and_other_edits_stand_beside_it(llama: sg.Model) -> None:
    odds = edits.scale_odds(key=1, factor=4.0)
    with sg.steer(llama, odds) as steered:
        whole = steered.logits(IDS)
        torch.testing.assert_close(steered.logits(IDS[5:], past=sg.Past.of(steered, IDS[:5])), whole[5:], atol=1e-5, rtol=0)
    twice = [edits.scale_odds(key=1, factor=2.0), edits.cut(key=0, query=3), edits.scale_odds(key=1, factor=2.0)]
    with sg.steer(llama, twice) as one, sg.steer(llama, [edits.cut(key=0, query=3), odds]) as other:
        torch.testing.assert_close(one.logits(IDS), other.logits(IDS), atol=1e-5, rtol=0)
    past = sg.Past.of(llama, IDS[:3])
    with sg.steer(llama, [edits.attend(source=past), odds]) as steered:
        assert bool(steered.logits(IDS).isfinite().all())
    with sg.steer(llama, [odds, edits.attend(source=past)]) as steered, pytest.raises(sg.InputError, match="after this one"):
        steered.logits(IDS)


@pytest.mark.filterwarnings("ignore")
def test_soft_caps_are_refused() -> None:
    model = sg.load(specimen("gemma2").model)
    with sg.steer(model, edits.scale_odds(factor=2.0)) as steered, pytest.raises(sg.InputError, match="pass a soft cap"):
        steered.logits([1, 5, 9, 7])
    assert math.isclose(edits.parse("scale_odds key=0:2 factor=2.5").factor, 2.5)
