"""A run composed of several passes is the run in one pass: chunks on the model's own cache, and tokens as they are written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.watch.conftest import CLASSES, specimen

PROMPT = "The Eiffel Tower is located in the city of"


def equal(one: sg.Recording, other: sg.Recording, close: float) -> None:
    """All arrays of two recordings, up to rounding."""
    assert one.stacks == other.stacks
    for node in one.stacks:
        data, like = one.stack(node), other.stack(node)
        assert dict(data.sizes) == dict(like.sizes)
        assert set(data.data_vars) == set(like.data_vars)
        for name in data.data_vars:
            size = max(float(np.nanmax(np.abs(like[name].values), initial=0)), 1.0)
            if name == "top_key":
                assert float((data[name].values != like[name].values).mean()) < 1e-3  # near ties may change places
                continue
            np.testing.assert_allclose(data[name].values, like[name].values, atol=close * size, err_msg=f"{node} {name}")


def decoders() -> list[str]:
    """The structural classes that read a text and write on."""
    return [name for name in CLASSES if name not in ("bert", "t5", "whisper", "vit")]


@pytest.mark.parametrize("name", decoders())
@pytest.mark.parametrize("keep", ["qkv", "stream"])
def test_writing_equals_the_finished_text(name: str, keep: str) -> None:
    """Recorded token by token from the cached decoding, and recorded once it is finished: the same, in every family."""
    made = specimen(name)
    model = sg.load(made.model)
    prompt = made.inputs["input_ids"][:1, :5]
    grown = sg.record(model, prompt, keep=keep, generate={"max_new_tokens": 4, "eos_token_id": None})
    assert grown.tree.attrs["prompt_tokens"] == 5
    ids = grown.inputs["input_ids"]
    assert ids.shape == (1, 9)
    with torch.no_grad():
        plain = made.model.generate(prompt, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert ids.tolist() == plain.tolist()
    equal(grown, sg.record(model, ids, keep=keep), 1e-4)


@pytest.mark.parametrize("name", decoders())
@pytest.mark.parametrize("keep", ["qkv", "stream"])
def test_chunks_equal_one_pass(name: str, keep: str) -> None:
    made = specimen(name)
    model = sg.load(made.model)
    ids = made.inputs["input_ids"][:1].repeat(1, 3)
    cut = sg.record(model, ids, keep=keep, chunk=5)
    equal(cut, sg.record(model, ids, keep=keep), 1e-4)
    assert cut.audit().max_relative_error < 1e-4 if keep == "qkv" else True


def test_writing_with_a_real_model(smollm: sg.Model) -> None:
    grown = sg.record(smollm, PROMPT, generate=6)
    assert (
        grown.tokens[-6:] == smollm.spell(smollm.encode(PROMPT + smollm.generate(PROMPT, max_new_tokens=6))["input_ids"][0])[-6:]
    )
    whole = sg.record(smollm, grown.inputs["input_ids"])
    equal(grown, whole, 1e-4)
    assert grown.audit().max_relative_error < 1e-3
    np.testing.assert_allclose(grown.outputs["final_logits"], whole.outputs["final_logits"], atol=1e-3)


def test_writing_stops_where_the_model_ends() -> None:
    """An end token ends the recording: it is said, and not read again."""
    made = specimen("llama")
    model = sg.load(made.model)
    prompt = made.inputs["input_ids"][:1, :5]
    free = sg.record(model, prompt, generate={"max_new_tokens": 6, "eos_token_id": None}).inputs["input_ids"][0].tolist()
    end = next(i for i, token in enumerate(free[5:]) if token not in free[5 : 5 + i])
    rec = sg.record(model, prompt, generate={"max_new_tokens": 6, "eos_token_id": free[5 + 2]})
    stop = free[5:].index(free[5 + 2])
    assert end == 0
    assert rec.dataset.sizes["query"] == 5 + stop
    assert rec.dataset["weights"].shape[-2:] == (5 + stop, 5 + stop)


def test_edits_act_while_a_recorded_model_writes(smollm: sg.Model) -> None:
    """A cut edge stays cut in every token written, as if the finished text were recorded under the same edit."""
    cut = sg.edits.cut(key="␣Tower")
    with sg.steer(smollm, cut) as steered:
        grown = steered.record(PROMPT, generate=4)
        text = steered.generate(PROMPT, max_new_tokens=4)
        whole = steered.record(grown.inputs["input_ids"])
    assert smollm.tokenizer is not None
    assert smollm.tokenizer.decode(grown.inputs["input_ids"][0, -4:]) == text
    tower = grown.find("key", "␣Tower")
    assert float(np.abs(grown.dataset["weights"].values[..., tower + 1 :, tower]).max()) == 0
    equal(grown, whole, 1e-4)


@pytest.mark.parametrize("how", [{"generate": 2}, {"chunk": 3}])
def test_what_cannot_be_composed_is_refused(how: dict[str, int], minilm: sg.Model) -> None:
    with pytest.raises(sg.UnsupportedModelError, match=r"generate=2: .* is no decoder|chunk=3: .* does not read"):
        sg.record(minilm, "A sentence.", **how)


def test_settings_without_meaning_are_refused(smollm: sg.Model) -> None:
    for settings, words in (
        ({"generate": -1}, "generate=-1: a number of tokens"),
        ({"generate": {"do_sample": True}}, "say how many tokens to write"),
        ({"generate": {"max_new_tokens": 2, "num_beams": 2}}, "num_beams would write several"),
        ({"chunk": 0}, "chunk=0: read at least one"),
        ({"keep": "stream", "top": 0}, "top=0: keep at least one"),
        ({"keep": "stream", "by": "size"}, "by='size': choose one of message, attention"),
    ):
        with pytest.raises(sg.InputError, match=words):
            sg.record(smollm, PROMPT, **settings)
    with pytest.raises(sg.InputError, match="one prompt without padding"):
        sg.record(smollm, ["One.", "Two."], generate=2)
