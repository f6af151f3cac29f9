"""Random lists of edits: they compose, come back from JSON, act alike in prefill and decoding, and their accounts close."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sociogram as sg
from sociogram import edits
from tests.models.conftest import tiny_llama

IDS = [5, 9, 17, 3, 44, 21, 8, 30]
LAYERS = st.sampled_from([0, 1, None])
HEADS = st.sampled_from([0, 1, 2, 3, (0, 2), None])
TOKENS = st.sampled_from([0, 2, (1, 3), slice(1, 4), None])
LATER = st.sampled_from([None, slice(4, None), (5, 6, 7)])


def made(kind: Any, **arguments: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **arguments)


EDITS = st.one_of(
    made(edits.cut, layer=LAYERS, head=HEADS, query=LATER, key=TOKENS.filter(lambda key: key is not None)),
    made(edits.scale_edges, layer=LAYERS, head=HEADS, query=LATER, key=TOKENS, factor=st.floats(0, 4)),
    made(edits.scale_odds, layer=LAYERS, head=HEADS, query=LATER, key=TOKENS, factor=st.floats(0.1, 9)),
    made(edits.set_weight, layer=LAYERS, head=HEADS, query=LATER, key=TOKENS, value=st.floats(0, 1), policy=st.just("leave")),
    made(edits.force, layer=LAYERS, head=HEADS, key=TOKENS.filter(lambda key: key is not None), share=st.floats(0, 1)),
    made(edits.scale_head, layer=LAYERS, head=HEADS, query=LATER, factor=st.floats(-2, 2)),
    made(edits.mute, layer=LAYERS, head=HEADS, query=LATER),
    made(edits.mean_ablate, layer=LAYERS, head=HEADS, query=LATER, reference=st.just(((3, 4, 5), (60, 61)))),
    made(
        edits.swap,
        layer=LAYERS,
        head=st.just(0),
        other=st.sampled_from([2, 3]),
        what=st.sampled_from(["pattern", "values", "both"]),
    ),
    made(edits.graft, layer=LAYERS, head=HEADS, source_layer=st.sampled_from([0, 1]), source_head=st.sampled_from([1, 3])),
    made(edits.window, layer=LAYERS, head=HEADS, width=st.integers(1, 6), sinks=st.integers(0, 2)),
    made(edits.random, layer=LAYERS, p=st.floats(0.2, 1), seed=st.integers(0, 5)),
    made(
        edits.add,
        vector=st.just([1.0] * 16),
        layer=LAYERS,
        query=TOKENS,
        at=st.sampled_from(["output", "input", "attention", "mlp"]),
    ),
    made(edits.project_out, vector=st.just([1.0, 2.0] * 8), layer=LAYERS, query=TOKENS),
    made(edits.cut_skip, layer=st.just(1), at=st.sampled_from(["both", "attention", "mlp"])),
    made(edits.skip_layer, layer=st.just(0), query=TOKENS),
)


@cache
def model() -> sg.Model:
    return sg.load(tiny_llama())


def said(some: list[edits.Edit], ids: list[int]) -> torch.Tensor | None:
    """Logits under the edits, or None where one of them meets nothing that the others left, or two cannot be told apart."""
    try:
        with sg.steer(model(), some) as steered:
            return steered.logits(ids)
    except (sg.EditDidNotLand, sg.InputError) as error:
        if isinstance(error, sg.InputError) and "cannot both be grafted" not in str(error):
            raise
        return None


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EDITS, max_size=4))
def test_lists_compose_and_come_back(some: list[edits.Edit]) -> None:
    whole = said(some, IDS)
    if whole is None:
        return
    assert bool(whole.isfinite().all())
    torch.testing.assert_close(said(edits.from_json(edits.to_json(some)), IDS), whole, atol=0, rtol=0)
    with sg.steer(model(), some[:2]) as outer, sg.steer(outer, some[2:]) as inner:
        torch.testing.assert_close(inner.logits(IDS), whole, atol=0, rtol=0)
    with sg.steer(model(), some) as steered:
        rec = steered.record(IDS)
        assert steered.receipt.null_drift <= 1e-5
    assert rec.audit().max_relative_error <= 1e-3  # small moves of heads that cancel have few digits


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_lists_act_alike_in_prefill_and_in_decoding(some: list[edits.Edit]) -> None:
    hf = model().hf
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None, "return_dict_in_generate": True}
    try:
        with sg.steer(model(), some) as steered:
            told = steered._run(IDS, 4, lambda inputs, _: hf.generate(**inputs, **options, output_logits=True))
    except (sg.EditDidNotLand, sg.InputError) as error:
        if isinstance(error, sg.InputError) and "cannot both be grafted" not in str(error):
            raise
        return
    whole = said(some, told.sequences[0, :-1].tolist())
    assert whole is not None
    torch.testing.assert_close(torch.cat(told.logits), whole[len(IDS) - 1 :], atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.permutations([edits.cut(layer=1, key=2), edits.window(width=4), edits.cut(head=1, key=0, query=slice(3, None))]))
def test_cuts_act_in_any_order(some: list[edits.Edit]) -> None:
    expected = said([edits.window(width=4), edits.cut(layer=1, key=2), edits.cut(head=1, key=0, query=slice(3, None))], IDS)
    torch.testing.assert_close(said(some, IDS), expected, atol=0, rtol=0)
