"""Recording: what goes in, what is kept, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.models.conftest import tiny_llama
from tests.watch.conftest import CLASSES, specimen, tiny


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama())


def test_dims_are_named_and_one_prompt_has_no_batch(llama: sg.Model) -> None:
    data = sg.record(llama, torch.arange(1, 8)).dataset
    assert data.weights.dims == ("layer", "head", "query", "key")
    assert data.residual.dims == ("stop", "query", "d_model")
    assert data.value_norm.dims == ("layer", "head", "key")
    assert data.mlp_out.dims == data.attention_out.dims == ("layer", "query", "d_model")
    assert data.token_id.dims == ("query",)
    assert list(data.token_id.values) == list(range(1, 8))
    assert data.sizes["stop"] == 5
    several = sg.record(llama, torch.arange(1, 15).view(2, 7)).dataset
    assert several.weights.dims == ("sequence", "layer", "head", "query", "key")
    assert several.query_token.dims == ("sequence", "query")


def test_query_reads_and_key_is_read(llama: sg.Model) -> None:
    weights = sg.record(llama, torch.arange(1, 8)).dataset.weights
    assert float(weights.sel(query=1, key=5).max()) == 0.0
    assert float(weights.sel(query=5, key=1).min()) > 0.0


def test_a_batch_is_its_sequences(llama: sg.Model) -> None:
    rows = torch.arange(1, 15).view(2, 7)
    both = sg.record(llama, rows, keep="qkv")
    for number in (0, 1):
        alone = sg.record(llama, rows[number], keep="qkv")
        one = both.sequence(number)
        for name in alone.dataset.data_vars:
            np.testing.assert_allclose(one.dataset[name], alone.dataset[name], atol=1e-5)
        assert one.audit().max_relative_error < 1e-5
    assert both.audit().layers["sequence"].nunique() == 2
    with pytest.raises(sg.InputError, match=r"choose one with rec.sequence\(0\)"):
        both.edges()
    with pytest.raises(sg.InputError, match="holds 2, numbered 0 to 1"):
        both.sequence(2)


@pytest.mark.real
def test_texts_of_unequal_length_are_padded_and_padding_is_not_a_token(smollm: sg.Model) -> None:
    texts = ["The Eiffel Tower is in", "Hi 🙂"]
    both = sg.record(smollm, texts)
    for number, text in enumerate(texts):
        alone = sg.record(smollm, text)
        one = both.sequence(number)
        assert one.tokens == alone.tokens
        np.testing.assert_allclose(one.dataset.weights, alone.dataset.weights, atol=1e-4)
        assert one.predictions(1)["token"][0] == alone.predictions(1)["token"][0]
        assert one.audit().max_relative_error < 2e-4


@pytest.mark.real
@pytest.mark.parametrize("text", ["a", "🙂🏳️‍🌈", "שלום עולם", "e\u0301\u200d", " ", "\n\n\t"])
def test_any_text_can_be_recorded(smollm: sg.Model, text: str) -> None:
    rec = sg.record(smollm, text)
    assert rec.audit().closed == 30
    assert len(rec.edges()) > 0
    assert len(rec.tokens) == rec.dataset.sizes["query"]


@pytest.mark.real
def test_chats_go_through_the_models_own_template(smollm: sg.Model) -> None:
    rec = sg.record(smollm, [{"role": "user", "content": "Where is the Eiffel Tower?"}])
    assert "⟨|im_start|⟩" in rec.tokens
    assert "".join(rec.tokens).endswith("assistant↵")


@pytest.mark.parametrize("name", CLASSES)
def test_being_watched_changes_nothing(name: str) -> None:
    assert tiny(name).null_drift() <= 1e-5


def test_keep_takes_names_and_only_those(llama: sg.Model) -> None:
    rec = sg.record(llama, torch.arange(1, 5), keep=("weights", "residual"))
    assert set(rec.dataset.data_vars) == {"weights", "residual"}
    with pytest.raises(sg.RecordingError, match="attention_out was not kept"):
        rec.edges()
    with pytest.raises(sg.RecordingError, match=r"the audit needs attention_out, mlp_out, value_vector"):
        rec.audit()
    with pytest.raises(sg.InputError, match=r"'everything' is nothing to keep. Choose \"default\""):
        sg.record(llama, torch.arange(1, 5), keep="everything")


def test_qkv_keeps_what_worksheets_need(llama: sg.Model) -> None:
    data = sg.record(llama, torch.arange(1, 6), keep="qkv").dataset
    assert data.query_vector.dims == ("layer", "head", "query", "d_head")
    assert data.key_vector.dims == data.value_vector.dims == ("layer", "head", "key", "d_head")
    scores = (data.query_vector * data.key_vector).sum("d_head") * data.score_scale
    expected = np.exp(scores - data.lse)
    where = data.weights.values > 0
    np.testing.assert_allclose(expected.transpose(*data.weights.dims).values[where], data.weights.values[where], rtol=1e-4)
    np.testing.assert_allclose(data.key_vector[:, 0], data.key_vector[:, 1])  # heads 0 and 1 share key head 0
    assert not np.allclose(data.key_vector[:, 1], data.key_vector[:, 2])


def test_too_large_a_recording_is_refused_before_it_runs() -> None:
    llama = sg.load(tiny_llama())
    llama.find_anatomy(llama.encode(torch.arange(1, 5)))
    llama.hf.register_forward_pre_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(sg.MemoryLimitError, match=r"would take .* \(.*weights .*more than the 1 kB allowed.*Record fewer tokens"):
        sg.record(llama, torch.arange(1, 33), memory_limit=1000)


def test_pictures_are_estimated_too() -> None:
    made = specimen("vit")
    with pytest.raises(sg.MemoryLimitError, match="would take"):
        sg.record(sg.load(made.model), made.inputs, memory_limit=10_000)


@pytest.mark.real
def test_the_estimate_is_what_the_arrays_take(smollm: sg.Model) -> None:
    rec = sg.record(smollm, list(range(1, 65)))
    taken = rec.dataset.nbytes
    with pytest.raises(sg.MemoryLimitError) as error:
        sg.record(smollm, list(range(1, 65)), memory_limit=1)
    said = str(error.value).split("would take ")[1].split(" ")[0]
    assert float(said) * 1e6 == pytest.approx(taken, rel=0.1)


@pytest.mark.real
def test_bad_prompts_get_clear_errors(smollm: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="empty"):
        sg.record(smollm, "")
    with pytest.raises(sg.InputError, match="positions"):
        sg.record(smollm, torch.ones(9000, dtype=torch.long))


def test_several_layers_in_one_module_are_told_apart() -> None:
    made = specimen("longcat_flash")
    anatomy = sg.load(made.model).find_anatomy({n: v for n, v in made.inputs.items() if n != "use_cache"})
    assert {layer.part for layer in anatomy.layers} == {0, 1}
    assert all(len([h for h in layer.heard if not h.cross]) == 1 for layer in anatomy.layers)


def test_attention_heard_by_a_shared_module_is_told_apart_by_call() -> None:
    rec = tiny("albert")
    assert rec.dataset.sizes["layer"] == 2
    assert len({layer.path for layer in rec.anatomy.layers}) == 1
    assert not np.allclose(rec.dataset.weights[0], rec.dataset.weights[1])


def test_vision_models_are_recorded_from_their_own_inputs() -> None:
    rec = tiny("vit")
    assert rec.main == "vision" or rec.main == "encoder"
    assert rec.dataset.sizes["query"] > 1
    assert rec.dataset.query_token.values[0].endswith(" 0")


def test_repr_says_what_is_there(llama: sg.Model) -> None:
    text = repr(sg.record(llama, torch.arange(1, 5)))
    assert "4 tokens, 2 layers in 'decoder'" in text
    assert "residual" in text


@pytest.mark.parametrize("name", ["vitpose_backbone", "phi4_multimodal_audio"])
def test_models_that_give_out_tuples_or_bare_tensors(name: str) -> None:
    rec = tiny(name, keep="default")
    assert rec.audit().max_relative_error < 1e-5
    assert rec.null_drift() < 1e-4
