"""Gradient edits of the past: what is predicted to first order happens, and nothing but the past is changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sociogram as sg
from tests.models.conftest import byte_level_tokenizer, tiny_llama

IDS = [5, 9, 17, 3, 44, 21]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama().double(), tokenizer=byte_level_tokenizer(eos_token="<end>"))


def test_the_gradient_is_that_of_finite_differences(llama: sg.Model) -> None:
    """The slope along the step taken, by the plain model reading pasts moved a little either way."""
    past = sg.Past.of(llama, IDS)
    step, tiny = 0.1, 1e-4
    made = sg.revise(past, [7, 12], step_size=step)
    row = made.steps.iloc[0]

    def value(size: float) -> float:
        moved = sg.revise(past, [7, 12], step_size=size).past
        return float(torch.softmax(moved.logits()[-1], -1)[[7, 12]].sum().log())

    slope = (value(tiny) - value(-tiny)) / (2 * tiny)
    assert row["predicted"] == pytest.approx(step * slope, rel=1e-5)
    assert row["norm"] == pytest.approx(step * 2, rel=1e-9)  # two layers, keys and values: four tensors of this length each


def test_the_prediction_becomes_exact_as_steps_become_small(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    off = [
        abs(r["real"] / r["predicted"] - 1) for r in (sg.revise(past, [7], step_size=s).steps.iloc[0] for s in (0.4, 0.04, 0.004))
    ]
    assert off[0] > 5 * off[1] > 25 * off[2]
    assert off[2] < 0.01


def test_sign_and_steps(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    up, down = sg.revise(past, [7], step_size=0.02), sg.revise(past, [7], step_size=-0.02)
    assert up.gain > 0 > down.gain
    assert up.steps["predicted"].iloc[0] == pytest.approx(-down.steps["predicted"].iloc[0], rel=1e-9)
    many = sg.revise(past, [7], steps=4)
    assert many.steps["step"].tolist() == [0, 1, 2, 3]
    assert many.gain > 3 * up.gain
    assert many.steps["before"].iloc[1:].to_numpy() == pytest.approx(
        (many.steps["before"] + many.steps["real"]).iloc[:-1].to_numpy()
    )


def test_the_objective_reported_is_what_the_revised_past_says(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    made = sg.revise(past, [7, 12], steps=2)
    says = [float(torch.softmax(p.logits()[-1], -1)[[7, 12]].sum().log()) for p in (past, made.past)]
    assert made.steps["before"].iloc[0] == pytest.approx(says[0], abs=1e-12)
    assert made.gain == pytest.approx(says[1] - says[0], abs=1e-12)
    assert made.past.ids.tolist() == IDS
    assert torch.equal(made.past.positions, past.positions)
    again = made.past[slice(0, 5)].read(IDS[5:])
    torch.testing.assert_close(again.keys[1], made.past.keys[1], atol=1e-12, rtol=0)
    assert float((made.past.keys[1][:, -1] - past.keys[1][:, -1]).abs().max()) > 0


def test_a_function_as_the_objective_and_after_a_hole(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS).erase(2)
    one = sg.revise(past, lambda logits: torch.log_softmax(logits, -1)[7])
    other = sg.revise(past, [7])
    assert one.gain == pytest.approx(other.gain, rel=1e-12)
    assert one.past.positions.tolist() == [0, 1, 3, 4, 5]


def test_weights_are_untouched() -> None:
    hf = tiny_llama()
    hf.lm_head.weight.requires_grad_(False)
    model = sg.load(hf)
    before = {name: (p.detach().clone(), p.requires_grad) for name, p in hf.named_parameters()}
    past = sg.Past.of(model, IDS)
    kept = [t.clone() for t in (*past.keys, *past.values)]
    made = sg.revise(past, [7], steps=2)
    for name, parameter in hf.named_parameters():
        assert torch.equal(parameter, before[name][0])
        assert parameter.requires_grad == before[name][1]
        assert parameter.grad is None
    assert all(torch.equal(a, b) for a, b in zip((*past.keys, *past.values), kept, strict=True))
    assert not any(t.requires_grad for t in (*made.past.keys, *made.past.values))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": [7], "steps": 0}, "revise steps=0"),
        ({"objective": [7], "step_size": float("nan")}, "revise step_size=nan"),
        ({"objective": [7], "step_size": 0.0}, "revise step_size=0.0: a finite number other than 0"),
        ({"objective": []}, "no tokens were given"),
        ({"objective": "the nail is"}, r"objective='the nail is' is not one token but \d"),
        ({"objective": [300]}, "objective=300: no such token id"),
        ({"objective": lambda logits: logits}, r"one number is needed as a tensor, and it gave \[300\]"),
        ({"objective": lambda logits: 1.0}, "one number is needed as a tensor, and it gave float"),
        ({"objective": lambda logits: torch.ones(())}, "does not depend on the logits"),
        ({"objective": lambda logits: logits[0] * float("inf")}, "its value is -?inf|its value is nan"),
    ],
)
def test_what_means_nothing_is_refused(llama: sg.Model, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        sg.revise(sg.Past.of(llama, IDS), **settings)


def test_one_token_has_nothing_before_it(llama: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="at least two tokens"):
        sg.revise(sg.Past.of(llama, [5]), [7])


@pytest.mark.real
def test_on_the_real_model(smollm: sg.Model) -> None:
    past = sg.Past.of(smollm, "The food was")
    made = sg.revise(past, [" terrible", " awful"], steps=3)
    assert (made.steps["real"] > 0).all()
    assert made.gain > 0.5
    assert made.steps["real"].iloc[0] == pytest.approx(made.steps["predicted"].iloc[0], rel=0.5)


def test_an_objective_that_is_none_is_refused(llama: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="objective=3: give a function of the logits, or tokens"):
        sg.revise(sg.Past.of(llama, [5, 9, 17]), 3)
