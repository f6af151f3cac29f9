"""Changing values at the doors of modules: in order, once per call, in this session alone, and seen by observers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

import sociogram as sg
from sociogram.models.doors import replaced
from sociogram.models.seam import Session, unwatched, watching
from sociogram.models.trace import Site
from tests.models.conftest import tiny_llama

IDS = torch.tensor([[5, 9, 17, 3]])
OUT, INTO = Site("model.layers.0", 0, "out", ()), Site("model.layers.1", 0, "in", (0, 0))


class Changes:
    """An editor of no attention call, who stands at doors."""

    def __init__(self, *some: tuple[Site, Callable[[Tensor], Tensor]]) -> None:
        self.some = some

    def prepare(self, call):  # type: ignore[no-untyped-def]
        return call

    def wants_weights(self, call) -> bool:  # type: ignore[no-untyped-def]
        return False

    def attach(self, session: Session) -> None:
        for site, by in self.some:
            session.doors.change(site, by)


class Watcher:
    def wants_weights(self, call) -> bool:  # type: ignore[no-untyped-def]
        return False

    def observe(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> LlamaForCausalLM:
    return tiny_llama()


def states(model: LlamaForCausalLM) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return model(IDS, output_hidden_states=True).hidden_states


def test_changes_at_one_door_come_in_order_and_the_first_value_is_kept(model: LlamaForCausalLM) -> None:
    plain = model.model.layers[0].self_attn.o_proj.weight.clone(), states(model)
    seen: list[Tensor] = []
    editor = Changes((OUT, lambda x: x + 1), (OUT, lambda x: x * 2), (INTO, lambda x: seen.append(x) or x))  # type: ignore[func-returns-value]
    with watching(model, [Watcher()], [editor]) as session:
        session.on_output("model.layers.0", lambda output: seen.append(output))
        states(model)
        torch.testing.assert_close(session.doors.originals, {OUT: plain[1][1]}, atol=1e-6, rtol=0)
        states(model)
    for value in seen:  # an observer's hook and the next layer see what came of it, in both passes
        torch.testing.assert_close(value, (plain[1][1] + 1) * 2, atol=1e-5, rtol=0)
    assert len(seen) == 4
    assert torch.equal(states(model)[1], plain[1][1])


def test_nothing_is_kept_where_nobody_observes(model: LlamaForCausalLM) -> None:
    with watching(model, [], [Changes((OUT, lambda x: x + 1))]) as session:
        states(model)
        assert session.doors.originals == {}


def test_other_threads_and_questions_in_between_are_left_alone(model: LlamaForCausalLM) -> None:
    plain = states(model)
    found: list[Tensor] = []
    with watching(model, [], [Changes((OUT, lambda x: x + 1))]):
        thread = threading.Thread(target=lambda: found.append(states(model)[-1]))
        thread.start()
        thread.join()
        with unwatched():
            found.append(states(model)[-1])
        found.append(states(model)[-1])
    assert [torch.allclose(value, plain[-1], atol=1e-5) for value in found] == [True, True, False]


def test_asking_a_module_in_the_middle_of_a_run_is_no_call(model: LlamaForCausalLM) -> None:
    def ask(x: Tensor) -> Tensor:
        with unwatched():
            model.model.layers[0].mlp(x)
        return x

    door = Site("model.layers.0.mlp", 0, "out", ()), lambda x: x + 1
    before = Site("model.layers.0", 0, "in", (0, 0)), ask
    with watching(model, [], [Changes(door)]):
        alone = states(model)[-1]
    with watching(model, [], [Changes(door, before)]):
        assert torch.equal(states(model)[-1], alone)
    assert float((states(model)[-1] - alone).abs().max()) > 1e-3


def test_gradients_pass_through_a_changed_value(model: LlamaForCausalLM) -> None:
    shift = torch.zeros(16, requires_grad=True)
    with watching(model, [], [Changes((OUT, lambda x: x + shift))]):
        model(IDS).logits.sum().backward()
    assert shift.grad is not None
    assert float(shift.grad.abs().max()) > 0


def test_a_module_called_in_another_form_is_an_error_that_says_so(model: LlamaForCausalLM) -> None:
    wrong = Site("model.layers.0", 0, "in", (1, "nothing"))
    with watching(model, [], [Changes((wrong, lambda x: x))]), pytest.raises(sg.AccountError, match="called in another form"):
        states(model)


def test_containers_are_made_anew() -> None:
    from transformers.modeling_outputs import BaseModelOutput

    old, new = torch.zeros(2), torch.ones(2)
    output = BaseModelOutput(last_hidden_state=old, hidden_states=(old, old))
    made = replaced(output, ("hidden_states", 1), new)
    assert isinstance(made, BaseModelOutput)
    assert made.hidden_states[1] is new is made["hidden_states"][1]
    assert made.hidden_states[0] is old is output.hidden_states[1] is made.last_hidden_state
    assert replaced([old, {"x": old}], (1, "x"), new)[1]["x"] is new
    named = torch.return_types.max((old, old))
    assert replaced((named, 3), (1,), new)[0] is named
