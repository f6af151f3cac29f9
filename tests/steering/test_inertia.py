"""A prompt swapped behind a continuation's back: against one plain pass with masks, and the controls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import sociogram as sg
from sociogram.steering.inertia import _Run, compared
from tests.models.conftest import tiny_llama

A, B, LONGER = [5, 9, 17, 3], [44, 21, 8, 30], [44, 21, 8, 30, 12, 2]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    torch.manual_seed(1)
    hf = tiny_llama(num_hidden_layers=3)
    with torch.no_grad():
        for parameter in hf.parameters():  # louder, so that prompts matter
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)
    return sg.load(hf)


def swapped(model: sg.Model, a: list[int], b: list[int], written: list[int], later: list[int]) -> Tensor:
    """The oracle: one pass of transformers' eager path over A, its words, B and what follows.

    A and its words hear only each other, B only itself, what follows all but A. A stands where its words, the same distance
    away as before, come to follow B.
    """
    own = [*a, *written[:-1], *b, written[-1], *later]
    first, second = len(a) + len(written) - 1, len(b)
    count = len(own)
    hidden = torch.ones(count, count, dtype=torch.bool).triu(1)
    hidden[first : first + second, :first] = True
    hidden[first + second :, : len(a)] = True
    mask = torch.zeros(count, count).masked_fill(hidden, torch.finfo(torch.float32).min)
    start = len(b) - len(a)
    places = [*range(start, start + first), *range(second), *range(start + first, start + first + 1 + len(later))]
    model.hf.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            given = {"attention_mask": mask[None, None], "position_ids": torch.tensor([places]), "use_cache": False}
            logits = model.hf(input_ids=torch.tensor([own]), **given).logits[0]
    finally:
        model.hf.set_attn_implementation("sdpa")
    return torch.softmax(logits[first + second :].double(), -1)


@pytest.mark.parametrize("b", [B, LONGER])
def test_the_three_runs_are_those_of_plain_passes(llama: sg.Model, b: list[int]) -> None:
    result = sg.inertia(llama, A, b, before=4, max_new_tokens=6)
    written = [int(text.removeprefix("#")) for text in result.written]
    assert written == llama.hf.generate(torch.tensor([A]), max_new_tokens=4, do_sample=False, pad_token_id=0)[0, 4:].tolist()
    table, later = result.table, result.table["token_id"].tolist()
    ours = swapped(llama, A, b, written, later[:-1])
    plain = [torch.softmax(llama.logits([*prompt, *written, *later[:-1]]).double(), -1)[-6:] for prompt in (A, b)]
    for step in range(6):
        p, of_a, of_b = ours[step], plain[0][step], plain[1][step]
        row = table.iloc[step]
        assert row["token_id"] == int(p.argmax())
        assert row[["swapped", "under_a", "under_b"]].tolist() == pytest.approx(
            [float(x[later[step]]) for x in (p, of_a, of_b)], abs=1e-5
        )
        way = of_a - of_b
        assert row["share"] == pytest.approx(float((p - of_b) @ way / (way @ way)), abs=1e-3)
        assert row["kl_from_a"] == pytest.approx(float((p * (p / of_a).log()).sum()), abs=1e-4)
        assert row["kl_from_b"] == pytest.approx(float((p * (p / of_b).log()).sum()), abs=1e-4)
        assert row["kl_a_b"] == pytest.approx(float((of_a * (of_a / of_b).log()).sum()), abs=1e-4)
    assert table["kl_from_b"].max() > 1e-3  # something of A was left


def test_positions_go_on_after_a_hole(llama: sg.Model) -> None:
    """The loop that reads token by token, on a past whose positions are not its places."""
    hole = sg.Past.of(llama, [*A, *B]).erase(slice(1, 3))
    run = _Run(hole)
    hole = hole[slice(0, 5)].read([B[-1]])  # its last token is read again, and no longer hears what is gone
    assert hole.positions.tolist() == [0, 3, 4, 5, 6, 7]
    for token in (7, 12, 33):
        run.read(token)
    torch.testing.assert_close(run.logits, hole.logits([7, 12, 33])[-1], atol=1e-5, rtol=0)


def test_controls(llama: sg.Model) -> None:
    same = sg.inertia(llama, A, A, before=4, max_new_tokens=5).table
    assert same["share"].isna().all()
    assert same[["kl_from_a", "kl_from_b", "kl_a_b"]].to_numpy().max() < 1e-6
    for before in (0, 1):  # nothing computed under A is left
        gone = sg.inertia(llama, A, B, before=before, max_new_tokens=5).table
        assert gone["kl_from_b"].max() < 1e-6
        assert gone["share"].abs().max() < 1e-3
        assert gone["kl_a_b"].max() > 1e-3


def test_the_arithmetic_of_one_step() -> None:
    a, b = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.1, 0.2, 0.7]).double()
    share, *others = compared(0.25 * a + 0.75 * b, a, b, 2)
    assert share == pytest.approx(0.25)
    assert others[:3] == pytest.approx([0.55, 0.1, 0.7])
    c = torch.tensor([0.2, 0.5, 0.3]).double()
    divergences = [float((x * (x / y).log()).sum()) for x, y in ((c, a), (c, b), (a, b))]
    assert compared(c, a, b, 0)[4:] == pytest.approx(divergences)
    assert compared(a, a, b, 0)[0] == pytest.approx(1)
    assert compared(b, a, b, 0)[0] == pytest.approx(0)
    assert np.isnan(compared(b, a, a + 1e-6, 0)[0])
    assert compared(a, a, b, 0)[4] == 0
    assert compared(a, torch.tensor([0.0, 0.5, 0.5]).double(), b, 0)[4] == float("inf")


def test_it_prints_and_is_drawn(llama: sg.Model) -> None:
    result = sg.inertia(llama, A, LONGER, before=2, max_new_tokens=3)
    assert str(result).splitlines()[0] == f"4 tokens of A swapped for 6 of B, after {''.join(result.written)}"
    assert len(str(result).splitlines()) == 4
    axes = sg.plot.inertia(result)
    assert axes.get_title() == "2 tokens written before the swap; no share for 0 of 3"
    np.testing.assert_allclose(axes.lines[2].get_ydata(), result.table["share"])


def test_it_stops_where_the_model_ends(llama: sg.Model) -> None:
    free = sg.inertia(llama, A, B, before=2, max_new_tokens=4)
    end = int(free.table["token_id"].iloc[0])
    first = int(free.written[0].removeprefix("#"))
    settings = llama.hf.generation_config
    try:
        settings.eos_token_id = [end, 299]
        assert end not in [int(text.removeprefix("#")) for text in free.written]
        assert sg.inertia(llama, A, B, before=2, max_new_tokens=4).table["token_id"].tolist() == [end]
        settings.eos_token_id = first
        with pytest.raises(
            sg.InputError, match=r"inertia before=2: after prompt_a the model ended at token 1, .* choose before=0"
        ):
            sg.inertia(llama, A, B, before=2)
    finally:
        settings.eos_token_id = None


def test_learned_positions_need_prompts_of_one_length() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=4, n_positions=32, bos_token_id=None, eos_token_id=None)
    model = sg.load(GPT2LMHeadModel(config).eval())
    assert len(sg.inertia(model, A, B, before=3, max_new_tokens=2).table) == 2
    with pytest.raises(sg.InputError, match=r"would have to move to .* cannot be moved"):
        sg.inertia(model, A, LONGER, before=3, max_new_tokens=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"before": -1}, "inertia before=-1: a whole number of at least 0"),
        ({"max_new_tokens": 0}, "inertia max_new_tokens=0: a whole number of at least 1"),
        ({"max_new_tokens": 60}, "4 tokens and 68 new ones are too many"),
    ],
)
def test_what_means_nothing_is_refused(llama: sg.Model, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        sg.inertia(llama, A, B, **settings)


@pytest.mark.real
def test_on_the_real_model(smollm: sg.Model) -> None:
    a, b = "Once upon a time in Paris, a young French painter named", "Once upon a time in Tokyo, an old fisherman named"
    table = sg.inertia(smollm, a, b, before=8, max_new_tokens=8).table
    assert table["kl_from_b"].max() > 0.01
    assert sg.inertia(smollm, a, a, before=4, max_new_tokens=3).table["share"].isna().all()
