"""Texts pressed into few vectors: identities, oracles made by transformers alone, controls that differ, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import sociogram as sg
from sociogram import edits
from sociogram.memory import distil
from sociogram.memory.quality import random, shuffled
from sociogram.memory.spans import spans
from sociogram.memory.together import divergence, padded, predictions, sampled
from tests.models.conftest import byte_level_tokenizer, tiny_llama
from tests.models.test_rotary import nope

TEXT = [5, 9, 17, 3, 44, 21, 8, 30, 12, 7]
MORE = [33, 2, 50, 6]
PROMPTS = [MORE, [11, 40], [1, 2, 3]]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    """Three layers, whose weights are large enough that a text matters to what follows."""
    hf = tiny_llama(num_hidden_layers=3)
    with torch.no_grad():
        for weight in hf.parameters():
            weight.mul_(4.0 if weight.ndim > 1 else 1.0)
    return sg.load(hf)


def gpt2() -> sg.Model:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=None)
    return sg.load(GPT2LMHeadModel(config).eval())


def close(one: Tensor, other: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, atol=atol, rtol=0)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@given(st.integers(1, 60), st.data(), st.booleans())
def test_spans_are_all_tokens_in_order_and_of_even_length(tokens: int, data: st.DataObject, keep_first: bool) -> None:
    vectors = data.draw(st.integers(1, tokens))
    found = spans(tokens, vectors, keep_first=keep_first)
    assert [token for span in found for token in span] == list(range(tokens))
    assert len(found) == vectors
    rest = found[1:] if keep_first and vectors > 1 else found
    lengths = {len(span) for span in rest}
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1
    if keep_first and vectors > 1:
        assert found[0] == [0]


def test_as_many_means_as_tokens_are_the_past_itself(llama: sg.Model) -> None:
    full, dense = sg.Past.of(llama, TEXT), sg.densify(llama, TEXT, len(TEXT))
    for one, other in zip((*dense.past.keys, *dense.past.values), (*full.keys, *full.values), strict=True):
        assert torch.equal(one, other)
    assert dense.edits == ()
    close(dense.logits(MORE), llama.logits(TEXT + MORE)[len(TEXT) :])
    close(dense.past.logits(), full.logits())
    found = dense.quality(PROMPTS, controls=False).set_index("reading")
    assert found.loc["mean", "kl"] == pytest.approx(0, abs=1e-6)
    assert found.loc["mean", "closed"] == pytest.approx(1, abs=1e-4)


def test_where_all_keys_of_a_span_are_equal_the_means_are_exact_and_without_the_odds_they_are_not() -> None:
    """One token repeated in a model without positions: keys and values of all places agree, so that only their number counts."""
    model = sg.load(nope(no_rope_layers=[0, 0]))
    text = [9] * 11
    for vectors in (1, 3):
        dense = sg.densify(model, text, vectors)
        assert sum(dense.counts) == 11
        close(dense.logits(MORE), model.logits(text + MORE)[11:])
        assert apart(dense.past.logits(MORE), model.logits(text + MORE)[11:]) > 1e-4
    assert {edit.factor for edit in dense.edits} == {5.0}  # the first alone, ten tokens in two


@pytest.mark.parametrize(("place", "positions"), [("middle", [0, 2, 5, 8]), ("last", [0, 3, 6, 9])])
def test_keys_are_averaged_without_their_positions_and_placed(llama: sg.Model, place: Any, positions: list[int]) -> None:
    """The oracle for the first layer, whose keys hear nobody: the text with all tokens at the span's place, by transformers."""
    dense = sg.densify(llama, TEXT, 4, place=place)
    assert dense.counts == (1, 3, 3, 3)
    assert dense.past.positions.tolist() == positions
    assert dense.past.next_position == len(TEXT)
    assert dense.past.names == ["<dense 1>", "<dense 2>", "<dense 3>", "<dense 4>"]
    for vector, span in ((1, slice(1, 4)), (3, slice(7, 10))):
        there = torch.full((1, len(TEXT)), int(dense.past.positions[vector]))
        cache = llama.hf(input_ids=torch.tensor([TEXT]), position_ids=there, use_cache=True).past_key_values
        close(dense.past.keys[0][:, vector], cache.layers[0].keys[0][:, span].mean(1).detach())
        close(dense.past.values[0][:, vector], cache.layers[0].values[0][:, span].mean(1).detach())
    turned = sg.Past.of(llama, TEXT).keys[0][:, 7:10].mean(1)
    assert apart(turned, dense.past.keys[0][:, 3]) > 1e-2, "a mean of keys as they stand is another"


def hidden(hf: Any, ids: list[int], since: int, gone: slice) -> Tensor:
    """Logits by transformers' eager path, some tokens hidden from those from `since` on."""
    mask = torch.full((len(ids), len(ids)), torch.finfo(torch.float32).min).triu(1)
    mask[since:, gone] = torch.finfo(torch.float32).min
    hf.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            return hf(input_ids=torch.tensor([ids]), attention_mask=mask[None, None], use_cache=False).logits[0]
    finally:
        hf.set_attn_implementation("sdpa")


@pytest.mark.parametrize("keep_first", [False, True])
@pytest.mark.parametrize("learned", [False, True], ids=["rotary", "learned positions"])
def test_gists_are_placeholders_that_alone_are_heard(llama: sg.Model, keep_first: bool, learned: bool) -> None:
    model = gpt2() if learned else llama
    dense = sg.densify(model, TEXT, 3, "gist", placeholder=2, keep_first=keep_first)
    placeholders = [2] * (3 - keep_first)
    ids = TEXT + placeholders + MORE
    since = len(ids) - len(MORE)
    close(dense.logits(MORE), hidden(model.hf, ids, since, slice(int(keep_first), len(TEXT)))[since:], 1e-4)
    assert len(dense) == 3
    assert dense.past.next_position == since
    assert dense.counts == (1, 1, 1)
    assert apart(dense.logits(MORE), sg.densify(model, TEXT, 3, "gist", placeholder=7).logits(MORE)) > 1e-4


def test_the_loss_falls_and_is_what_it_says(llama: sg.Model) -> None:
    dense = sg.densify(llama, TEXT, 2, "trained", examples=PROMPTS, steps=25, learning_rate=0.1, patience=25)
    losses = dense.losses["loss"]
    assert losses.min() < 0.5 * losses[0]
    assert dense.stopped == "all 25 steps taken"
    start, full = sg.densify(llama, TEXT, 2).past, sg.Past.of(llama, TEXT)

    def loss(past: sg.Past) -> float:
        """One example after the other, by the plain model."""
        told = [divergence(*(p.logits(e).log_softmax(-1) for p in (full, past))) for e in PROMPTS]
        return float(torch.cat(told).mean())

    assert losses[0] == pytest.approx(loss(start), rel=1e-4)
    assert losses.min() == pytest.approx(loss(dense.past), rel=1e-4)
    assert all(weight.grad is None for weight in llama.hf.parameters())


def test_with_as_many_vectors_as_tokens_there_is_nothing_to_learn(llama: sg.Model) -> None:
    dense = sg.densify(llama, TEXT, len(TEXT), "trained", examples=PROMPTS, steps=3)
    assert abs(dense.losses["loss"][0]) < 1e-6
    close(dense.logits(MORE), llama.logits(TEXT + MORE)[len(TEXT) :], 1e-3)


def test_fitting_ends_without_progress_and_at_an_interruption_with_the_best(llama: sg.Model, monkeypatch: Any) -> None:
    dense = sg.densify(llama, TEXT, 2, "trained", examples=PROMPTS, steps=50, learning_rate=1e-9, patience=4)
    assert dense.stopped == "no progress for 4 steps, after 4 of 50"
    assert len(dense.losses) == 5
    calls = iter(range(100))

    def predict(*given: Any) -> Tensor:
        if next(calls) == 6:  # one pass for what is told, then one a step
            raise KeyboardInterrupt
        return predictions(*given)

    monkeypatch.setattr(distil, "predictions", predict)
    stopped = sg.densify(llama, TEXT, 2, "trained", examples=PROMPTS, steps=50)
    assert stopped.stopped == "interrupted after 4 of 50 steps"
    assert "interrupted" in repr(stopped)
    monkeypatch.undo()
    whole = sg.densify(llama, TEXT, 2, "trained", examples=PROMPTS, steps=4)
    close(stopped.past.keys[0], whole.past.keys[0])


def test_examples_are_drawn_by_the_seed_alone(llama: sg.Model) -> None:
    full = sg.Past.of(llama, TEXT)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (sampled(full, 3, 6, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert [e.tolist() for e in one] == [e.tolist() for e in two] != [e.tolist() for e in other]
    assert [len(e) for e in one] == [6, 6, 6]
    few = [sg.densify(llama, TEXT, 2, "trained", examples=3, length=6, steps=2, seed=seed) for seed in (0, 0, 1)]
    assert few[0].losses.equals(few[1].losses)
    assert not few[0].losses.equals(few[2].losses)


def test_texts_read_together_are_those_read_alone(llama: sg.Model) -> None:
    past = sg.densify(llama, TEXT, 3).past  # with holes
    rows, real = padded([torch.tensor(prompt) for prompt in PROMPTS])
    with torch.no_grad():
        found = predictions(past, rows, past.keys, past.values)
    for row, kept, prompt in zip(found, real, PROMPTS, strict=True):
        close(row[kept], past.logits(prompt).log_softmax(-1))


def test_under_the_additions_the_mean_stream_is_that_after_the_text(llama: sg.Model) -> None:
    """Layer by layer, over all tokens of all examples but the first of each; read off recordings."""
    examples = [[33, 2, 50, 6, 7], [11, 40, 4]]
    dense = sg.densify(llama, TEXT, 2, examples=examples)
    assert [edit.layer for edit in dense.additions] == [0, 1, 2]

    def means(model: Any, ids: list[list[int]], skip: int) -> Tensor:
        streams = [model.record(one) if model is not llama else sg.record(llama, one) for one in ids]
        rows = [rec.dataset["residual"].sel(stop=slice(2, None, 2)).values[:, skip:] for rec in streams]
        return torch.cat([torch.from_numpy(row) for row in rows], 1).mean(1)

    wanted = means(llama, [TEXT + one for one in examples], len(TEXT) + 1)
    with sg.steer(llama, dense.additions) as steered:
        found = means(steered, examples, 1)
    close(found, wanted, 1e-4)
    assert apart(means(llama, examples, 1), wanted) > 1e-2
    with pytest.raises(sg.InputError, match="give one of two tokens or more"):
        sg.densify(llama, TEXT, 2, examples=[[4]]).additions  # noqa: B018 - made when it is asked for


def test_quality_stands_beside_controls_that_differ(llama: sg.Model) -> None:
    dense = sg.densify(llama, TEXT, 4, examples=PROMPTS)
    found = dense.quality(PROMPTS).set_index("reading")
    assert found.loc["whole text", ["kl", "closed", "agree", "kl_last"]].tolist() == [0, 1, 1, 0]
    assert found.loc["no text", ["closed", "closed_last", "tokens_saved"]].tolist() == [0, 0, len(TEXT)]
    assert set(found.index) == {
        "whole text", "no text", "mean", "mean, each as one token", "additions", "last n tokens, read alone",
        "last n of the past", "first n of the past", "first and last n-1 of the past", "another text",
        "vectors in another order", "random vectors",
    }  # fmt: skip
    assert len(set(found["kl"].round(6))) == len(found), "each way of reading is another"
    per_token = 3 * 2 * 2 * 4 * 4
    assert found.loc["mean", ["vectors", "tokens_saved", "bytes", "bytes_saved"]].tolist() == [4, 6, 4 * per_token, 6 * per_token]
    assert found.attrs == {"prompts": 3, "tokens": 9, "text_tokens": 10}
    expected = divergence(*(p.logits(MORE).log_softmax(-1) for p in (sg.Past.of(llama, TEXT), dense)))
    alone = dense.quality([MORE], controls=False).set_index("reading")
    assert alone.loc["mean", "kl"] == pytest.approx(float(expected.mean()), rel=1e-4)
    assert alone.loc["mean", "kl_last"] == pytest.approx(float(expected[-1]), rel=1e-4)


def test_controls_are_what_they_are_called(llama: sg.Model) -> None:
    dense, other = sg.densify(llama, TEXT, 3), sg.densify(llama, TEXT[::-1], 3)
    found = dense.quality([MORE], other=other).set_index("reading")["kl"]
    whole = sg.Past.of(llama, TEXT).logits(MORE).log_softmax(-1)

    def kl(logits: Tensor) -> Any:
        return pytest.approx(float(divergence(whole, logits.log_softmax(-1)).mean()), rel=1e-3, abs=1e-6)

    assert found["another text"] == kl(other.logits(MORE))
    assert found["no text"] == kl(llama.logits(MORE))
    assert found["last n tokens, read alone"] == kl(llama.logits(TEXT[-3:] + MORE)[3:])
    since = len(TEXT)
    assert found["last n of the past"] == kl(hidden(llama.hf, TEXT + MORE, since, slice(0, 7))[since:])
    assert found["first n of the past"] == kl(hidden(llama.hf, TEXT + MORE, since, slice(3, 10))[since:])
    assert found["first and last n-1 of the past"] == kl(hidden(llama.hf, TEXT + MORE, since, slice(1, 8))[since:])
    again = dense.quality([MORE], other=TEXT[::-1]).set_index("reading")["kl"]
    assert again["another text"] == pytest.approx(found["another text"])


def test_the_nulls_are_the_same_vectors_elsewhere_and_others_as_long(llama: sg.Model) -> None:
    dense = sg.densify(llama, TEXT, 4)
    past, name = dense.past, ("model.layers.1.self_attn", 0)
    mixed = shuffled(dense, torch.Generator().manual_seed(0))
    assert mixed is not None
    assert torch.equal(mixed.positions, past.positions)
    order = [past.values[1][0].tolist().index(row) for row in mixed.values[1][0].tolist()]
    assert sorted(order) == [0, 1, 2, 3] != order
    assert order[0] == 0, "the first token stays the first"
    there = past.rotation.move(name, past.keys[1][:, order], past.positions[order], past.positions)
    close(mixed.keys[1], there)
    drawn = random(past, torch.Generator().manual_seed(0))
    for new, old in zip((*drawn.keys, *drawn.values), (*past.keys, *past.values), strict=True):
        close(new.norm(dim=-1), old.norm(dim=-1), 1e-4)
        assert apart(new, old) > 1e-2


def test_one_vector_and_one_token_have_fewer_controls(llama: sg.Model) -> None:
    found = set(sg.densify(llama, TEXT, 1).quality([[7]])["reading"])
    assert "random vectors" in found
    assert not found & {"vectors in another order", "first and last n-1 of the past"}
    learned = sg.densify(gpt2(), TEXT, 3, "gist", placeholder=2).quality([MORE])
    assert "vectors in another order" not in set(learned["reading"])


def test_the_vectors_are_a_past_like_any_other(llama: sg.Model, tmp_path: Path) -> None:
    dense = sg.densify(llama, TEXT, 3)
    dense.past.save(tmp_path / "short")
    again = sg.Past.load(tmp_path / "short", llama)
    assert torch.equal(again.logits(MORE), dense.past.logits(MORE))
    assert again.names == dense.past.names
    with sg.steer(llama, dense.edits) as steered:
        close(steered.logits(MORE, past=again), dense.logits(MORE))
    with sg.steer(llama, edits.attend(source=dense.past)) as steered:
        heard = steered.record(MORE)
    assert "<dense 2>" in heard.stack("decoder_outside")["key_token"].values
    grown = replace(dense.past).read(MORE)
    assert len(grown) == 7


def test_it_writes_on(llama: sg.Model) -> None:
    model = sg.load(llama.hf, tokenizer=byte_level_tokenizer())
    text = "the nail in the ship is leaking"
    count = len(sg.Past.of(model, text))
    said = model.generate(f"{text} and", max_new_tokens=5)
    assert sg.densify(model, text, count).generate(" and", max_new_tokens=5) == said
    few = sg.densify(model, text, 2, keep_first=False)
    assert few.edits
    assert few.generate(" and", max_new_tokens=5) != said
    found = few.quality([" is", " and one"])
    assert found.attrs["prompts"] == 2
    assert "another text" in set(found["reading"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"vectors": 0}, "densify vectors=0: a whole number of at least 1 is needed"),
        ({"vectors": True}, "densify vectors=True: a whole number"),
        ({"vectors": 11}, "the text has 10 tokens; press it into at most as many vectors"),
        ({"method": "function_vector"}, "densify method='function_vector': choose one of mean, gist, trained"),
        ({"place": "first"}, "densify place='first': choose one of middle, last"),
        ({"text": []}, "the prompt is empty"),
        ({"text": "a text"}, "tokenizer"),
        ({"method": "gist"}, "placeholder='\\\\n': the model has no tokenizer, give the token's id"),
        ({"method": "gist", "placeholder": 999}, "placeholder=999: no such token id"),
        ({"examples": []}, "give a list of prompts, or how many"),
        ({"examples": "a text"}, "give a list of prompts, or how many"),
        ({"examples": 0}, "densify examples=0: a whole number of at least 1"),
        ({"method": "trained", "examples": [[]]}, "the prompt is empty"),
        ({"method": "trained", "examples": [[1] * 60]}, "positions"),
        ({"steps": 0}, "densify steps=0"),
        ({"learning_rate": 0.0}, "densify learning_rate=0.0: a number above 0"),
        ({"seed": 0.5}, "densify seed=0.5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_pressed_is_refused(llama: sg.Model, given: dict[str, Any], words: str) -> None:
    arguments = {"text": TEXT, "vectors": 2, **given}
    with pytest.raises(sg.InputError, match=words):
        sg.densify(llama, **arguments)


def test_models_that_cannot_are_refused(llama: sg.Model, minilm: sg.Model) -> None:
    with pytest.raises(sg.InputError, match=r"cannot be freed from their positions.*method=\"gist\" averages nothing"):
        sg.densify(gpt2(), TEXT, 2)
    with sg.steer(llama, edits.mute(layer=0, head=0)) as steered, pytest.raises(sg.InputError, match="not a steered view"):
        sg.densify(steered, TEXT, 2)  # type: ignore[arg-type]
    with pytest.raises(sg.UnsupportedModelError, match="past"):
        sg.densify(minilm, "a text of some length", 2)


def test_quality_refuses_what_it_cannot_compare(llama: sg.Model) -> None:
    dense = sg.densify(llama, TEXT, 3)
    for prompts in ([], "one text"):
        with pytest.raises(sg.InputError, match="give a list of prompts that were not seen"):
            dense.quality(prompts)
    with pytest.raises(sg.InputError, match="pressed into 3 vectors"):
        dense.quality([MORE], other=sg.densify(llama, TEXT, 2))
    with pytest.raises(sg.InputError, match="it has 2 tokens, and 3 are needed"):
        dense.quality([MORE], other=[4, 5])
