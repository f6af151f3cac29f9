"""Edits as values: addresses, text and JSON forms, row policies, rules on pairs, receptive fields."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

import sociogram as sg
from sociogram import edits
from sociogram.core.address import Span, address, as_plain, from_plain, indices, places
from sociogram.models.attention import AttentionCall
from sociogram.models.tokens import find_token
from sociogram.steering.base import Scene
from sociogram.steering.written import KINDS
from tests.models.conftest import tiny_llama

WHOLE = st.integers(-3, 12)
ONES = st.one_of(
    WHOLE, st.text(max_size=6), st.builds(slice, st.none() | WHOLE, st.none() | WHOLE, st.none() | st.integers(1, 3))
)
ADDRESSES = st.none() | ONES | st.lists(ONES, min_size=1, max_size=3)
EDITS = st.one_of(
    st.builds(edits.cut, layer=ADDRESSES, head=ADDRESSES, query=ADDRESSES, key=ADDRESSES),
    st.builds(edits.mute, layer=ADDRESSES, head=ADDRESSES, query=ADDRESSES),
    st.builds(
        edits.set_weight, key=ADDRESSES, value=st.floats(0, 1), policy=st.sampled_from(["renormalise", "leave", "to_first"])
    ),
    st.builds(edits.scale_edges, query=ADDRESSES, factor=st.floats(0, 9)),
    st.builds(edits.scale_odds, key=ADDRESSES, factor=st.floats(0.1, 9)),
    st.builds(edits.force, key=ONES, share=st.floats(0, 1)),
    st.builds(edits.window, width=st.integers(1, 9), sinks=st.integers(0, 3)),
    st.builds(edits.bottleneck, council=st.lists(st.integers(0, 9), min_size=1, max_size=3)),
    st.builds(edits.random, p=st.floats(0, 1), seed=st.integers(0, 9)),
)


@given(st.lists(EDITS, max_size=4))
def test_edits_go_to_json_and_back(some: list[edits.Edit]) -> None:
    assert edits.from_json(edits.to_json(some)) == some
    assert all(hash(edit) is not None for edit in some)


@given(EDITS)
def test_edits_print_as_the_command_line_takes_them(edit: edits.Edit) -> None:
    assert edits.parse(str(edit)) == edit


@given(ADDRESSES)
def test_addresses_keep_their_meaning(where: Any) -> None:
    kept = address(where)
    assert from_plain(as_plain(kept)) == kept == address(kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frobnicate layer=1", "no edit 'frobnicate'; there are cut, set_weight"),
        ("cut layer", "'layer' is no argument; write name=value"),
        ("cut layer=1 layer=2", "layer is given twice"),
        ("cut loudness=3", "cut takes no loudness; it takes layer, head, query, key, stack"),
        ("mute key=3", "mute takes no key=: it takes head, layer, query"),
        ("set_weight layer=1", "set_weight needs value="),
        ("set_weight value=2", "an attention weight lies between 0 and 1"),
        ("set_weight value=x", "a finite number is needed"),
        ("scale_edges factor=-1", "cannot become negative"),
        ("scale_odds factor=0", "a number above 0 is needed; to take edges away, use cut"),
        ("set_weight value=0.5 policy=loud", "choose one of renormalise, leave, to_first, to_sink"),
        ("force share=0.5", "force needs the tokens to rely on"),
        ("window width=0", "a whole number, at least 1"),
        ("random p=2", "a probability lies between 0 and 1"),
        ("bottleneck", "give positions from 0, at least one"),
    ],
)
def test_bad_text_names_the_fault(text: str, words: str) -> None:
    with pytest.raises(sg.InputError, match=words.replace("=", "=")):
        edits.parse(text)


def test_bad_json_names_the_fault() -> None:
    for text, words in (
        ("{", "no JSON"),
        ('{"edit": "cut"}', "a list of objects"),
        ('[{"edit": "cut", "depth": 1}]', "no depth"),
    ):
        with pytest.raises(sg.InputError, match=words):
            edits.from_json(text)
    with pytest.raises(sg.InputError, match="is a function, which cannot be stored"):
        edits.to_json([edits.cut(key=lambda text: True)])
    for odd in (True, 1.5, [], [None]):
        with pytest.raises(sg.InputError, match=r"is no (address|list of addresses)"):
            edits.cut(key=odd)


def test_a_rule_of_ones_own_acts_and_one_without_a_rule_cannot_be_made() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Even(edits.Topology):
        name = "even"

        def keeps(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            return (key % 2 == 0) | (query == key)

    with sg.steer(sg.load(tiny_llama()), Even()) as steered:
        weights = steered.record([5, 9, 17, 3, 44]).dataset["weights"].values
    assert weights[:, :, 4, [1, 3]].max() == 0
    assert weights[:, :, 4, [0, 2, 4]].min() > 0
    assert edits.from_json(edits.to_json([Even(layer=2)])) == [Even(layer=2)] == [edits.parse("even layer=2")]
    with pytest.raises(TypeError, match="abstract"):
        edits.Topology()  # type: ignore[abstract]


def test_edits_are_frozen_and_comparable() -> None:
    edit = edits.cut(layer=[1, 2], key=slice(0, 3))
    assert edit == edits.cut(layer=(1, 2), key=Span(0, 3)) != edits.cut(layer=(1, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        edit.layer = 3  # type: ignore[misc]


def test_places_answer_for_tokens_still_to_come() -> None:
    texts = ["a", "b", "c", "d"]
    later = places(address(slice(2, None)), texts, find_token, 10, "key")
    assert [later.holds(i, None) for i in range(8)] == [False, False] + [True] * 6
    closed = places(address(slice(1, 3)), texts, find_token, 10, "key")
    assert [closed.holds(i, None) for i in range(5)] == [False, True, True, False, False]
    named = places(address(["c", 6]), texts, find_token, 10, "key")
    assert [i for i in range(9) if named.holds(i, None)] == [2, 6]
    assert indices(address([slice(-2, None), 0]), 5, "layer") == [0, 3, 4]


def rows(weights: torch.Tensor, edit: edits.Edit, region: torch.Tensor, sink: torch.Tensor | None = None) -> torch.Tensor:
    return edit.weigh(weights, sink, region, scene(weights, region))[0]


def scene(weights: torch.Tensor, region: torch.Tensor) -> Scene:
    batch, heads, queries, keys = weights.shape
    asked, told = torch.zeros(batch, heads, queries, 2), torch.zeros(batch, heads, keys, 2)
    call = AttentionCall("attn", 0, torch.nn.Identity(), asked, told, told, None, 1.0)
    return Scene(call, 0, range(queries), range(keys), region)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.99))
def test_row_policies(seed: int, value: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.softmax(torch.randn(1, 2, 4, 6, generator=generator, dtype=torch.float64), -1)
    region = torch.zeros(2, 4, 6, dtype=torch.bool)
    region[0, 1, 2] = True
    room = value <= float(weights[0, 0, 1, 2] + weights[0, 0, 1, 0])
    for policy in ("renormalise", "leave", "to_first") if room else ("renormalise", "leave"):
        changed = rows(weights, edits.set_weight(value=value, policy=policy), region)
        assert float(changed[0, 0, 1, 2]) == pytest.approx(value)
        untouched = torch.ones(2, 4, dtype=torch.bool)
        untouched[0, 1] = False
        assert torch.equal(changed[0][untouched], weights[0][untouched])
        total = float(changed[0, 0, 1].sum())
        expected = 1 if policy != "leave" else 1 + value - float(weights[0, 0, 1, 2])
        assert total == pytest.approx(expected)
    even = rows(weights, edits.set_weight(value=value), region)[0, 0, 1]
    old = weights[0, 0, 1]
    torch.testing.assert_close(even[[0, 1, 3]] / even[4], old[[0, 1, 3]] / old[4])
    forced = rows(weights, edits.force(key=2, share=value), region)[0, 0, 1]
    assert float(forced[2]) == pytest.approx(value)
    assert float(forced.sum()) == pytest.approx(1)


def test_a_sink_takes_part_in_the_policies() -> None:
    weights, sink = torch.full((1, 1, 1, 3), 0.2), torch.full((1, 1, 1), 0.4)
    region = torch.tensor([[[True, False, False]]])
    changed, rest = edits.set_weight(value=0.0).weigh(weights, sink, region, scene(weights, region))
    assert rest is not None
    torch.testing.assert_close(changed[0, 0, 0], torch.tensor([0.0, 0.25, 0.25]))
    assert float(rest) == pytest.approx(0.5)
    changed, rest = edits.set_weight(value=0.0, policy="to_sink").weigh(weights, sink, region, scene(weights, region))
    assert rest is not None
    torch.testing.assert_close(changed[0, 0, 0], torch.tensor([0.0, 0.2, 0.2]))
    assert float(rest) == pytest.approx(0.6)


def test_pairs_are_counted_as_by_hand() -> None:
    assert edits.window(width=3).pairs(6) == 1 + 2 + 3 * 4
    assert edits.window(width=2, sinks=1).pairs(5) == 1 + 2 + 3 * 3
    assert edits.isolate().pairs(7) == 7
    assert edits.blocks(size=3).pairs(7) == 6 + 6 + 1
    assert edits.strided(stride=2).pairs(5) == 1 + 1 + 2 + 2 + 3
    assert edits.bottleneck(council=[0]).pairs(5) == 1 + 2 * 4
    assert edits.isolate().pairs(7, causal=False) == 7
    share = edits.random(p=0.3, seed=1).allowed(400, causal=False).double()
    off = share[~torch.eye(400, dtype=torch.bool)]
    assert float(off.mean()) == pytest.approx(0.3, abs=0.01)
    assert abs(float(torch.corrcoef(torch.stack([off[:-1], off[1:]]))[0, 1])) < 0.02
    assert not torch.equal(edits.random(p=0.3, seed=2).allowed(50), edits.random(p=0.3, seed=1).allowed(50))


@pytest.mark.parametrize(
    "rule",
    [
        edits.window(width=3),
        edits.window(width=2, sinks=1),
        edits.strided(stride=3),
        edits.blocks(size=4),
        edits.isolate(),
        edits.bottleneck(council=(2,)),
    ],
    ids=str,
)
def test_the_receptive_field_is_exact_to_the_bit(rule: Any) -> None:
    """What a changed token cannot reach stays bit for bit; what it can reach, moves."""
    model: LlamaForCausalLM = tiny_llama()
    loaded = sg.load(model)
    ids = list(range(10, 22))
    field = rule.reach(2, len(ids))
    if rule == edits.window(width=3):
        assert int(field[-1].sum()) == 2 * (3 - 1) + 1
    with sg.steer(loaded, rule) as steered:
        before = steered.logits(ids)
        for place in (0, 2, 5):
            other = [*ids[:place], 7, *ids[place + 1 :]]
            moved = (steered.logits(other) != before).any(-1)
            np.testing.assert_array_equal(moved.numpy(), field[:, place].numpy())


def test_the_page_of_edits_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "edits.md").read_text()
    rows = {
        name: (takes, last)
        for name, takes, last in re.findall(r"^\| `(\w+)\((.*?)\)` \|.*\| (\w+) \|$", page, flags=re.MULTILINE)
    }
    assert set(rows) == set(KINDS)
    for name, (takes, decodes) in rows.items():
        known = {field.name for field in dataclasses.fields(KINDS[name])}
        assert {one.strip(" =") for one in takes.split(",") if one} <= known
        writes = KINDS[name].decodes.fget(None) if name != "graft" else True  # a graft's answer depends on its source
        assert decodes == ("yes" if writes else "no"), name
