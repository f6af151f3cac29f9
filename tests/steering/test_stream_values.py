"""Stream edits as values: vectors, text and JSON forms, and what is refused, with what the message says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import DynamicCache

import sociogram as sg
from sociogram import edits
from sociogram.models.seam import watching
from sociogram.steering.tally import Tally
from tests.models.conftest import tiny_llama
from tests.steering.test_residual import IDS, direction, inputs_of

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
VECTORS = hnp.arrays(np.float32, st.integers(1, 8), elements=FLOATS)
LONE = st.one_of(
    st.builds(edits.add, VECTORS, layer=st.integers(0, 3), at=st.sampled_from(["output", "mlp"]), scale=st.floats(-9, 9)),
    st.builds(
        edits.patch, st.sampled_from(["a.zarr", "my folder/b.zarr", "5"]), source_query=st.lists(st.integers(0, 9), min_size=1)
    ),
    st.builds(edits.cut_skip, at=st.sampled_from(["both", "attention", "mlp"]), query=st.integers(0, 9)),
    st.builds(edits.skip_layer, layer=st.integers(0, 9)),
)


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@given(st.lists(LONE, max_size=3))
def test_edits_go_to_json_and_back_to_the_last_bit(some: list[edits.Edit]) -> None:
    again = edits.from_json(edits.to_json(some))
    assert again == some
    assert [hash(edit) for edit in again] == [hash(edit) for edit in some]


@given(LONE.filter(lambda edit: not isinstance(edit, edits.add)))
def test_edits_without_vectors_print_as_the_command_line_takes_them(edit: edits.Edit) -> None:
    assert edits.parse(str(edit)) == edit


@given(VECTORS, VECTORS)
def test_vectors_are_equal_by_their_numbers(one: np.ndarray, other: np.ndarray) -> None:
    same = len(one) == len(other) and bool((one == other).all())
    both = edits.add(one), edits.add(torch.tensor(other))
    if np.array_equal(np.signbit(one), np.signbit(other)) or not same:  # -0 and 0 are not told apart by ==
        assert (both[0] == both[1]) == same
    assert edits.add(one.tolist()) == both[0]


def test_vectors_are_printed_short_and_come_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "direction.npy", np.full(576, 3.21 / 24, dtype=np.float32))
    edit = edits.parse(f"add layer=3 vector={tmp_path}/direction.npy scale=2")
    assert str(edit) == "add layer=3 vector=<576 numbers, norm 3.21> scale=2"
    assert edits.parse("project_out vector=[[1,0],[0,2]]") == edits.project_out([[1, 0], [0, 2]])
    assert str(edits.project_out(np.eye(3))) == "project_out vector=<3 vectors of 3 numbers>"
    assert edits.add([1.0, 2.0]) != edits.add([1.0, 2.5])
    np.save(tmp_path / "code.npy", np.array([object()]), allow_pickle=True)
    for file in ("code.npy", "nothing.npy"):
        with pytest.raises(sg.InputError, match=r"cannot be read as a \.npy file of numbers"):
            edits.add(tmp_path / file)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: edits.add([1.0, float("nan")]), "1 of its 2 numbers are not finite"),
        (lambda: edits.add("direction"), "cannot be read as a"),
        (lambda: edits.add(["a"]), "add vector= is no vector"),
        (lambda: edits.add([True, False]), "add vector= is no vector"),
        (lambda: edits.add([[1.0], [2.0, 3.0]]), "add vector= is no vector"),
        (lambda: edits.add([]), r"of shape \[0\]: one vector is a list of numbers"),
        (lambda: edits.add(torch.eye(2)), "add takes one vector; several edits add several"),
        (lambda: edits.add([1.0], scale=float("inf")), "add scale=inf: a finite number is needed"),
        (lambda: edits.add([1.0], at="head"), "add at='head': choose one of output, input, attention, mlp"),
        (lambda: edits.add([1.0], head=2), "add takes no head=: it takes layer, query"),
        (lambda: edits.skip_layer(key=2), "skip_layer takes no key=: it takes layer, query"),
        (lambda: edits.project_out([[1.0, 0.0], [0.0, 0.0]]), "a vector of zeros has no direction"),
        (lambda: edits.cut_skip(at="output"), "cut_skip at='output': choose one of both, attention, mlp"),
        (lambda: edits.patch(3), r"patch source=3: a recording \(sg\.record, steered\.record\) or the path"),
        (lambda: edits.patch("a", source_layer="b"), "patch source_layer='b': one layer, by number"),
        (lambda: edits.parse("add layer=1"), "add needs vector="),
        (lambda: edits.parse("skip_layer at=input"), "skip_layer takes no at; it takes layer, query, stack"),
        (lambda: edits.parse("cut_skip key=1"), "cut_skip takes no key="),
    ],
)
def test_values_that_mean_nothing_are_refused(make: Any, words: str) -> None:
    with pytest.raises(sg.InputError, match=words):
        make()


def ask(model: sg.Model, edit: edits.Edit) -> None:
    with sg.steer(model, edit) as steered:
        steered.logits(IDS)


def test_what_does_not_fit_the_model_is_refused(llama: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="the vector has 5 numbers, and the stream of this model is 16 wide"):
        ask(llama, edits.add(torch.ones(5)))
    with pytest.raises(sg.InputError, match=r"no layer 9: there are 2, numbered 0 to 1 \(or -2 to -1\)"):
        ask(llama, edits.skip_layer(layer=9))
    with pytest.raises(sg.InputError, match="position 8 is outside the 8 tokens"):
        ask(llama, edits.skip_layer(query=8))
    with pytest.raises(sg.EditDidNotLand, match="did not land: it addresses no token of this run"):
        ask(llama, edits.skip_layer(query=lambda text: text == "nobody"))
    with pytest.raises(sg.InputError, match="makes numbers that are not finite in layer 0: choose a smaller scale"):
        ask(sg.load(tiny_llama().half()), edits.add(torch.ones(16), scale=1e6))
    model, inputs = inputs_of("qwen3_next")
    with sg.steer(model, edits.skip_layer(layer=0)) as steered:  # an opaque layer has a stream like any other
        assert steered.record(inputs).audit().max_relative_error <= 1e-4
    with (
        sg.steer(model, edits.add(torch.ones(64), layer=[0, 1], at="attention")) as steered,
        pytest.raises(sg.EditDidNotLand, match=r"layer 0 has no self-attention branch; layers where this edit can act: 1$"),
    ):
        steered.logits(inputs)
    model, inputs = inputs_of("embedding_gemma2_text")
    with (
        sg.steer(model, edits.add(torch.ones(64), at="mlp")) as steered,
        pytest.raises(sg.EditDidNotLand, match="layer 0 has 2 branches that are an MLP; layers where this edit can act: none"),
    ):
        steered.logits(inputs)


def test_layers_that_cannot_be_read_are_named() -> None:
    model, inputs = inputs_of("kosmos-2")
    with (
        sg.steer(model, edits.skip_layer(stack="vision")) as steered,
        pytest.raises(sg.EditDidNotLand, match=r"layer 0 cannot be read \(the layer's input does not reach its output by sums\)"),
    ):
        steered.logits(inputs)


def test_a_patch_says_what_does_not_fit(llama: sg.Model, tmp_path: Path) -> None:
    source = sg.record(llama, IDS[:5])

    def refused(words: str, what: Any = source, error: type[Exception] = sg.InputError, **given: Any) -> None:
        with pytest.raises(error, match=words):
            ask(llama, edits.patch(what, **given))

    refused("the prompt has 8 tokens and the source 5, so it is not clear who takes from whom")
    refused("the source has 5 tokens, numbered 0 to 4, and none at position 6", query=[1, 6])
    refused("2 tokens are patched and source_query names 3: give as many", query=[1, 2], source_query=[0, 1, 2])
    refused("8 tokens are patched and source_query names 1", source_query=1)
    refused("position 7 is outside the 5 tokens", query=1, source_query=7)
    refused("query=1,1 names position 1 twice", query=[1, 1], source_query=[0, 1])
    refused(r"no layer 4 in the source: it has 2, numbered 0 to 1\. Give source_layer=", query=1, source_layer=4)
    refused("mlp_out was not kept: record again", sg.record(llama, IDS, keep=("residual",)), sg.RecordingError, at="mlp")
    refused("residual was not kept: record again", sg.record(llama, IDS, keep=("mlp_out",)), sg.RecordingError)
    refused("the source holds several sequences: give one", sg.record(llama, [IDS, IDS]))
    refused("no recording at .*gone: nothing is there", tmp_path / "gone", sg.RecordingError)
    wide = sg.record(sg.load(tiny_llama(hidden_size=32)), IDS)
    refused("the source's stream is 32 wide and this model's 16: they must be equal", wide)
    with pytest.raises(sg.InputError, match=r"holds a recording in memory, which cannot be stored .* save it .* give the path"):
        edits.to_json([edits.patch(source)])
    with (
        sg.steer(llama, edits.patch(source, query=slice(2, None))) as steered,
        pytest.raises(sg.InputError, match="query=2: has no fixed tokens while the model writes: give positions"),
    ):
        steered.generate(IDS[:5])
    both, given = inputs_of("t5")
    with (
        sg.steer(both, edits.patch(source, query=1, stack="encoder")) as steered,
        pytest.raises(sg.InputError, match="the source has no stack 'encoder'; it has decoder"),
    ):
        steered.logits(given)
    mixed, inputs = inputs_of("qwen3_next")
    with (
        sg.steer(mixed, edits.patch(sg.record(mixed, inputs), at="attention", layer=1, source_layer=0)) as steered,
        pytest.raises(sg.InputError, match="layer 0 of the source has no attention_out"),
    ):
        steered.logits(inputs)


def test_positions_are_those_after_the_cache(llama: sg.Model) -> None:
    edit = edits.add(direction(), layer=0, query=[2, 6])
    with sg.steer(llama, edit) as steered:
        whole = steered.logits(IDS)
        editors, _ = steered._editors(llama.encode(IDS), 0, Tally())
        cache = DynamicCache(config=llama.hf.config)
        with torch.no_grad(), watching(llama.hf, [], editors):
            parts = [llama.hf(torch.tensor([part]), past_key_values=cache).logits[0] for part in (IDS[:5], IDS[5:7], IDS[7:])]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=0)


def test_a_cache_that_does_not_tell_its_length_is_refused(llama: sg.Model) -> None:
    with sg.steer(llama, edits.skip_layer(layer=1)) as steered:
        editors, _ = steered._editors(llama.encode(IDS), 0, Tally())
        with (
            watching(llama.hf, [], editors),
            pytest.raises(sg.InputError, match="type tuple does not say how many tokens it holds"),
        ):
            llama.hf(torch.tensor([IDS]), past_key_values=((),))


def test_an_encoder_run_beside_a_full_cache_is_refused() -> None:
    model, inputs = inputs_of("t5")
    with sg.steer(model, edits.add(direction(64), layer=0, query=1, stack="encoder")) as steered:
        editors, _ = steered._editors(inputs, 0, Tally())
        with torch.no_grad(), watching(model.hf, [], editors):
            cache = model.hf(**inputs, use_cache=True).past_key_values
            with pytest.raises(sg.InputError, match=r"reads tokens from position 0 on, and the cache given to the model says"):
                model.hf(**inputs, past_key_values=cache)


@pytest.mark.real
def test_on_a_real_model_the_account_closes_and_the_edits_print(smollm: sg.Model, minilm: sg.Model) -> None:
    prompt = "The Eiffel Tower is located in the city of"
    clean, other = sg.record(smollm, prompt), "The Brandenburg Gate is located in the city of"
    ids = smollm.encode(other)["input_ids"][0].tolist()[-11:]
    v = direction(576)
    for some in (
        [edits.add(v, layer=10, at=at, scale=5.0) for at in ("output", "input", "attention", "mlp")],
        [edits.project_out(v), edits.skip_layer(layer=20), edits.cut_skip(layer=25)],
    ):
        with sg.steer(smollm, some) as steered:
            rec = steered.record(prompt)
            assert rec.audit().max_relative_error <= 1e-4
            assert steered.receipt.null_drift <= 1e-4
    assert "tokens in 30 layers" in str(steered.receipt)
    assert "changed, moved by" in str(steered.receipt)
    with sg.steer(smollm, edits.patch(clean, layer=29, query=len(ids) - 1, source_query=-1)) as steered:
        assert torch.allclose(steered.logits(ids)[-1], smollm.logits(prompt)[-1], atol=1e-3)
        assert steered.receipt.output_change["steered"][0] == pytest.approx(0.7015, abs=1e-3)
    with sg.steer(
        minilm, [edits.add(direction(384), layer=2, at="mlp"), edits.cut_skip(layer=4), edits.skip_layer(layer=5)]
    ) as e:
        assert e.record(prompt).audit().max_relative_error <= 1e-4


@pytest.mark.real
def test_a_model_writes_under_edits_of_its_stream(smollm: sg.Model) -> None:
    prompt = "The Eiffel Tower is located in the city of"
    plain = smollm.generate(prompt, max_new_tokens=4)
    table = smollm.hf.get_output_embeddings().weight.detach()
    rome, paris = (table[smollm.tokenizer.encode(word)[0]] for word in (" Rome", " Paris"))
    with sg.steer(smollm, edits.add(rome - paris, layer=28, scale=30.0, query=slice(9, None))) as steered:
        written = steered.generate(prompt, max_new_tokens=4)
        assert int(steered.receipt.edits["addressed"].iloc[0]) == len(smollm.encode(prompt)["input_ids"][0]) - 9 + 3
    assert plain.startswith(" Paris")
    assert not written.startswith(" Paris")
