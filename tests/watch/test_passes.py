"""A run composed of several passes is the run in one pass: chunks on the model's own cache, and tokens as they are written."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

import sociogram as sg
from sociogram.models.chunked import _in_pieces, reads_in_pieces
from sociogram.watch.build import StackBuilder
from tests.models.conftest import tiny_llama
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
    """The structural classes that read a text and write on, and a family whose later layers have more heads."""
    return [*(name for name in CLASSES if name not in ("bert", "t5", "whisper", "vit")), "laguna"]


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
@pytest.mark.parametrize("keep", ["qkv", "stream", "default"])
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
    stop = max(i for i, token in enumerate(free[5:]) if token not in free[5 : 5 + i])  # the last token that is said a first time
    assert stop > 0
    rec = sg.record(model, prompt, generate={"max_new_tokens": 6, "eos_token_id": free[5 + stop]})
    assert rec.inputs["input_ids"][0].tolist() == free[: 5 + stop]
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


def test_several_prompts_are_not_written_on(smollm: sg.Model) -> None:
    with pytest.raises(sg.InputError, match="one prompt without padding"):
        sg.record(smollm, ["One.", "Two."], generate=2)


@pytest.mark.parametrize("name", ["gemma3", "idefics3", "llava"])
def test_what_is_seen_beside_a_text_does_not_come_in_its_pieces(name: str, tmp_path: Path) -> None:
    """A vision stack has tokens of its own: it is neither cut to the text's nor filled up to them."""
    made = specimen(name)
    model = sg.load(made.model)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    assert len(model.find_anatomy(inputs).stacks) > 1
    for settings in ({"generate": 2}, {"keep": "stream", "to": tmp_path / "a.zarr"}):
        with pytest.raises(sg.UnsupportedModelError, match="read by one stack of layers"):
            sg.record(model, inputs, **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "a.zarr").exists()
    text = {"input_ids": torch.arange(100, 106)[None]}
    assert sg.record(model, text, generate=2).dataset.sizes["query"] == 8


def rotating(kind: str) -> sg.Model:
    """A tiny model whose rotary frequencies depend on the length of the text from 16 tokens on."""
    settings: dict[str, object] = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind == "longrope":
        settings |= {"short_factor": [1.0, 1.0], "long_factor": [1.0, 8.0], "original_max_position_embeddings": 16}
    hf = tiny_llama(rope_parameters=settings, max_position_embeddings=64 if kind == "longrope" else 16)
    hf.config.max_position_embeddings = 64
    return sg.load(hf)


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_positions_that_depend_on_the_length_are_not_read_in_chunks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk's own frequencies would be those of a short text. Sixteen tokens do not show it."""
    monkeypatch.setattr("sociogram.watch.passes.CHUNK", 8)
    ids = torch.arange(3, 27)[None]
    assert reads_in_pieces(rotating(kind).hf)
    with pytest.raises(sg.UnsupportedModelError, match=r"chunk=8: .* 24 tokens are turned by frequencies for long texts"):
        sg.record(rotating(kind), ids, keep="stream", chunk=8)
    whole = sg.record(rotating(kind), ids)
    for settings in ({}, {"to": tmp_path / "a.zarr"}):
        rec = sg.record(rotating(kind), ids, keep="stream", **settings)  # type: ignore[arg-type]
        assert rec.tree.attrs["chunk"] == 0
        np.testing.assert_allclose(rec.dataset["residual"].values, whole.dataset["residual"].values, atol=1e-5)
    assert sg.record(rotating(kind), ids[:, :16], keep="stream").tree.attrs["chunk"] == 8
    equal(
        sg.record(rotating(kind), ids[:, :16], keep="stream"),
        sg.record(rotating(kind), ids[:, :16], keep="stream", chunk=5),
        1e-4,
    )
    grown = sg.record(rotating(kind), ids[:, :14], generate=4)
    assert not grown.tree.attrs["as_read_whole"]
    with pytest.raises(sg.RecordingError, match="does not decode from its cache what it reads at once"):
        grown.dense([3])
    assert sg.record(rotating(kind), ids[:, :12], generate=4).tree.attrs["as_read_whole"]


def test_half_precision_reads_in_pieces_up_to_its_own_rounding() -> None:
    """One step of bfloat16 near the largest logit is four times what single precision is allowed."""
    model = tiny_llama(num_hidden_layers=6, hidden_size=64, initializer_range=0.2).to(torch.bfloat16)
    ids = (torch.arange(16) * 7 + 1)[None]
    with torch.no_grad():
        whole, parts = model(ids).logits.float(), torch.cat(list(_in_pieces(model, ids)), 1)
    apart = float((whole - parts).abs().max() / whole.abs().max())
    assert 1e-3 < apart < 8 * torch.finfo(torch.bfloat16).eps
    assert reads_in_pieces(model)


def test_our_own_errors_are_not_laid_at_the_models_door(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(LlamaForCausalLM):
        """Its own code fails on its cache."""

        @wraps(LlamaForCausalLM.forward)
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            cache = kwargs.get("past_key_values")
            if cache is not None and cache.get_seq_length():
                raise IndexError("no such place")
            return super().forward(*args, **kwargs)

    ids = torch.arange(3, 9)[None]
    with pytest.raises(sg.UnsupportedModelError, match=r"Odd fails in its own code when it writes \(IndexError: no such place"):
        sg.record(sg.load(Odd(tiny_llama().config).eval()), ids, generate=2)

    def mistaken(*_: object) -> None:
        raise IndexError("a mistake of ours")

    model = sg.load(tiny_llama())
    model.find_anatomy(model.encode(ids))
    monkeypatch.setattr(StackBuilder, "take", mistaken)
    for how in ({"generate": 2}, {"chunk": 3}):
        with pytest.raises(IndexError, match="a mistake of ours"):
            sg.record(model, ids, **how)  # type: ignore[arg-type]


def test_types_of_tokens_that_are_written_are_the_last_one() -> None:
    """As transformers writes on; the recording can be read again."""
    made = specimen("gpt2")
    model, ids = sg.load(made.model), made.inputs["input_ids"][:1, :5]
    grown = sg.record(model, {"input_ids": ids, "token_type_ids": torch.tensor([[3, 3, 3, 7, 7]])}, generate=3)
    if grown.inputs["input_ids"].shape[1] == 8:
        assert grown.inputs["token_type_ids"].tolist() == [[3, 3, 3, 7, 7, 7, 7, 7]]
    equal(grown, sg.record(model, dict(grown.inputs)), 1e-4)
