"""Edits land, say so, and are what they claim to be: each against the same thing made another way."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, MistralConfig, MistralForCausalLM

import sociogram as sg
from sociogram import edits
from sociogram.steering.tally import Tally
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

IDS = [5, 9, 17, 3, 44, 21, 8, 30]


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


def masked(model: LlamaForCausalLM, *, layers: set[int], where: torch.Tensor) -> torch.Tensor:
    """The oracle: transformers' own eager path, the additive mask of some layers changed by a hook."""
    model.set_attn_implementation("eager")
    hooks = []
    for number, layer in enumerate(model.model.layers):
        if number in layers:

            def change(_: object, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[object, dict[str, object]]:
                mask = kwargs["attention_mask"]
                assert isinstance(mask, torch.Tensor)
                heads = model.config.num_attention_heads
                return args, kwargs | {"attention_mask": mask.expand(-1, heads, -1, -1).masked_fill(where, -torch.inf)}

            hooks.append(layer.self_attn.register_forward_pre_hook(change, with_kwargs=True))
    try:
        with torch.no_grad():
            return model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
    finally:
        for hook in hooks:
            hook.remove()
        model.set_attn_implementation("sdpa")


def test_a_cut_is_the_model_with_that_entry_of_its_mask_set(llama: sg.Model) -> None:
    where = torch.zeros(1, 4, 8, 8, dtype=torch.bool)
    where[0, 2, 5, 1] = where[0, 2, 7, 1] = True
    with sg.steer(llama, edits.cut(layer=1, head=2, query=[5, 7], key=1)) as steered:
        ours = steered.logits(IDS)
    torch.testing.assert_close(ours, masked(llama.hf, layers={1}, where=where), atol=1e-5, rtol=0)
    assert float((ours - llama.logits(IDS)).abs().max()) > 1e-4
    rows = steered.receipt.edits
    assert rows[["layer", "head", "addressed", "changed"]].to_numpy().tolist() == [[1, 2, 2, 2]]


def test_muting_a_head_is_a_zero_slice_of_the_output_projection(llama: sg.Model) -> None:
    with sg.steer(llama, edits.mute(layer=0, head=3)) as steered:
        ours = steered.logits(IDS)
    weight = llama.hf.model.layers[0].self_attn.o_proj.weight
    width = weight.shape[1] // 4
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[:, 3 * width :] = 0
        torch.testing.assert_close(ours, llama.logits(IDS), atol=1e-5, rtol=0)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_a_window_is_transformers_own_sliding_window() -> None:
    def mistral(window: int | None) -> sg.Model:
        torch.manual_seed(3)
        config = MistralConfig(
            vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, sliding_window=window, head_dim=8,
        )  # fmt: skip
        return sg.load(MistralForCausalLM(config).eval())

    with sg.steer(mistral(None), edits.window(width=3)) as steered:
        ours = steered.logits(IDS)
    torch.testing.assert_close(ours, mistral(3).logits(IDS), atol=1e-5, rtol=0)
    with sg.steer(mistral(3), edits.cut(query=6, key=1)) as steered, pytest.raises(sg.EditDidNotLand, match="mask hides all"):
        steered.logits(IDS)


@pytest.mark.parametrize(
    "name",
    ["llama", "gpt2", "bert", "gemma2", "olmo2", "gpt_neox", "deepseek_v3", "t5", "gpt_oss", "qwen3_next", "bitnet", "vit"],
)
def test_on_every_class_the_identity_changes_nothing_and_a_cut_does(name: str) -> None:
    made = specimen(name)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    plain = sg.record(model, inputs)
    closed = int(np.flatnonzero(plain.dataset["status"].values == "closed")[0])
    with sg.steer(model, edits.scale_edges(layer=closed, factor=1.0)) as steered:
        same = steered.record(inputs)
        assert int(steered.receipt.edits["changed"].sum()) == 0
        assert int(steered.receipt.edits["addressed"].sum()) > 0
    np.testing.assert_allclose(same.dataset["residual"], plain.dataset["residual"], atol=2e-5)
    with sg.steer(model, [edits.mute(layer=closed, head=0), edits.cut(layer=closed, head=1, key=slice(0, 2))]) as steered:
        changed = steered.record(inputs)
    assert np.nanmax(np.abs(changed.dataset["residual"].values[-1] - plain.dataset["residual"].values[-1])) > 1e-5
    assert float(changed.dataset["weights"].values[closed, 0].max()) == 0.0
    assert float(changed.dataset["weights"].values[closed, 1, :, :2].max()) == 0.0
    assert changed.audit().max_relative_error <= 1e-4
    assert changed.null_drift() <= 1e-5


def test_the_identity_on_the_same_path_is_exactly_nothing(llama: sg.Model) -> None:
    with sg.steer(llama, edits.scale_edges(factor=1.0)) as one, sg.steer(llama, edits.scale_head(factor=1.0)) as other:
        torch.testing.assert_close(one.logits(IDS), other.logits(IDS), atol=0, rtol=0)
        assert one.receipt.path == "explicit"
        assert one.receipt.null_drift <= 1e-5
    with sg.steer(llama, []) as nothing:
        torch.testing.assert_close(nothing.logits(IDS), llama.logits(IDS), atol=0, rtol=0)


@pytest.mark.parametrize(
    "edit",
    [
        edits.cut(layer=1, head=[0, 3], key=2),
        edits.cut(query=slice(9, None), key=slice(1, 3)),
        edits.scale_edges(layer=0, key=1, factor=3.0, policy="leave"),
        edits.set_weight(layer=1, key=0, value=0.4, query=slice(4, None)),
        edits.set_weight(layer=1, key=1, value=0.0, query=slice(4, None), policy="to_first"),
        edits.force(layer=1, key=(2, 3), share=0.8, query=slice(3, None)),
        edits.mute(layer=1, head=2),
        edits.scale_head(layer=0, head=1, factor=-2.0),
        edits.window(width=4, sinks=1),
        edits.strided(stride=3, local=2),
        edits.random(p=0.5, seed=3),
        edits.blocks(size=5),
        edits.bottleneck(council=(0, 4)),
        edits.isolate(layer=slice(1, None)),
    ],
    ids=str,
)
def test_cached_decoding_equals_prefill(llama: sg.Model, edit: edits.Edit) -> None:
    """Tokens written one by one under the edit are those that the edited model says of the whole text."""
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    inputs = llama.encode(IDS)
    with sg.steer(llama, edit) as steered:
        editors, _ = steered._editors(inputs, 8, Tally())
        from sociogram.models.seam import watching

        with watching(llama.hf, [], editors):
            out = llama.hf.generate(**inputs, **options, return_dict_in_generate=True, output_logits=True)
        text = out.sequences[0].tolist()
        whole = steered.logits(text)
    told = torch.stack(out.logits)[:, 0]
    torch.testing.assert_close(told, whole[len(IDS) - 1 : -1], atol=1e-4, rtol=0)
    assert float((whole - llama.logits(text)).abs().max()) > 1e-4


def test_sampling_and_beams_go_through_the_edit(smollm: sg.Model) -> None:
    prompt = "The Eiffel Tower is located in the city of"
    away = edits.cut(layer=23, key=[1, 2, 3])
    with sg.steer(smollm, away) as steered:
        assert not steered.generate(prompt, max_new_tokens=3).startswith(" Paris")
        assert not steered.generate(prompt, max_new_tokens=3, num_beams=3).startswith(" Paris")
        torch.manual_seed(0)
        one = steered.generate(prompt, max_new_tokens=6, do_sample=True)
        torch.manual_seed(0)
        assert steered.generate(prompt, max_new_tokens=6, do_sample=True) == one
    assert smollm.generate(prompt, max_new_tokens=3).startswith(" Paris")
    every = edits.cut(layer=23, key=lambda text: "iff" in text)
    with sg.steer(smollm, every) as steered:
        assert not steered.generate(prompt, max_new_tokens=2).startswith(" Paris")
        with pytest.raises(sg.InputError, match="one plainly generated sequence, not with num_beams"):
            steered.generate(prompt, num_beams=2)


def test_steered_views_nest_alternate_and_end(llama: sg.Model) -> None:
    a, b = edits.mute(layer=0, head=0), edits.cut(layer=1, key=1)
    plain = llama.logits(IDS)
    with sg.steer(llama, a) as first, sg.steer(llama, b) as second, sg.steer(first, b) as both:
        one, two = first.logits(IDS), second.logits(IDS)
        together = both.logits(IDS)
        assert torch.equal(first.logits(IDS), one)
        assert both.edits == (a, b)
        with sg.steer(llama, [a, b]) as listed:
            assert torch.equal(listed.logits(IDS), together)
    for x, y in ((one, plain), (two, plain), (one, two), (together, one), (together, two)):
        assert float((x - y).abs().max()) > 1e-5
    assert torch.equal(llama.logits(IDS), plain)
    with pytest.raises(sg.InputError, match=r"closed: its `with sg\.steer"):
        first.logits(IDS)


def test_the_model_is_restored_after_a_failure(llama: sg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    before = llama.hf.config._attn_implementation
    plain = llama.logits(IDS)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with sg.steer(llama, edits.mute(layer=0)) as steered:
        with monkeypatch.context() as patch:
            patch.setattr(edits.mute, "weigh", fail)
            with pytest.raises(KeyboardInterrupt):
                steered.logits(IDS)
        assert llama.hf.config._attn_implementation == before
    assert torch.equal(llama.logits(IDS), plain)


def test_threads_do_not_leak_into_each_other(llama: sg.Model) -> None:
    expected, found = {}, {}
    for head in range(4):
        with sg.steer(llama, edits.mute(layer=1, head=head)) as steered:
            expected[head] = steered.logits(IDS)

    def ask(head: int) -> None:
        with sg.steer(llama, edits.mute(layer=1, head=head)) as own:
            for _ in range(5):
                found[head] = own.logits(IDS)
                assert torch.equal(found[head], expected[head])

    threads = [threading.Thread(target=ask, args=(head,)) for head in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[head], expected[head]) for head in range(4))


def test_wrong_addresses_give_the_range(llama: sg.Model) -> None:
    def ask(edit: edits.Edit) -> None:
        with sg.steer(llama, edit) as steered:
            steered.logits(IDS)

    with pytest.raises(sg.InputError, match=r"no layer 9: there are 2, numbered 0 to 1 \(or -2 to -1\)"):
        ask(edits.cut(layer=9))
    with pytest.raises(sg.InputError, match="no head 4: there are 4, numbered 0 to 3"):
        ask(edits.cut(head=4))
    with pytest.raises(sg.InputError, match="position 8 is outside the 8 tokens"):
        ask(edits.cut(key=8))
    with pytest.raises(sg.InputError, match="key=8:12: no token is in it"):
        ask(edits.cut(key=slice(8, 12)))
    with pytest.raises(sg.InputError, match="layer='five': a layer is addressed by number"):
        ask(edits.cut(layer="five"))
    with pytest.raises(sg.InputError, match="no stack 'choir'; there are"):
        ask(edits.cut(stack="choir"))
    with pytest.raises(sg.InputError, match="has no sink; choose another policy"):
        ask(edits.set_weight(value=0.1, key=0, policy="to_sink"))
    with pytest.raises(sg.EditDidNotLand, match=r"`cut query=2 key=5` did not land: the model's own mask hides all"):
        ask(edits.cut(query=2, key=5))
    with pytest.raises(sg.EditDidNotLand, match="addresses no pair of tokens"):
        ask(edits.cut(key=lambda text: text == "nobody"))
    with sg.steer(llama, edits.cut(key=-1)) as steered, pytest.raises(sg.InputError, match="counts from the end, which moves"):
        steered.generate(IDS)
    with pytest.raises(sg.InputError, match=r"is no edit: take them from sociogram\.edits"), sg.steer(llama, ["cut"]):  # type: ignore[list-item]
        pass


def test_layers_without_a_matrix_are_named() -> None:
    made = specimen("qwen3_next")
    model = sg.load(made.model)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    opaque = int(np.flatnonzero(sg.record(model, inputs).dataset["status"].values != "closed")[0])
    with (
        sg.steer(model, edits.mute(layer=opaque)) as steered,
        pytest.raises(sg.EditDidNotLand, match="has no token-token matrix"),
    ):
        steered.logits(inputs)


@pytest.mark.real
def test_the_receipt_tells_what_changed(smollm: sg.Model) -> None:
    prompt = "The Eiffel Tower is located in the city of"
    with sg.steer(smollm, edits.cut(layer=23, key="iffel")) as steered:
        logits = steered.logits(prompt)
        receipt = steered.receipt
    change = receipt.output_change
    assert change["token"][0] == "␣Paris"
    assert change["plain"][0] == pytest.approx(0.7015, abs=1e-3)
    assert change["steered"][0] == pytest.approx(float(torch.softmax(logits[-1].double(), -1)[7042]), abs=1e-5)
    plain = torch.log_softmax(smollm.logits(prompt)[-1].double(), -1)
    ours = torch.log_softmax(logits[-1].double(), -1)
    assert change.attrs["kl"] == pytest.approx(float((plain.exp() * (plain - ours)).sum()), rel=1e-4)
    assert int(receipt.edits["addressed"].sum()) == 9 * 8
    weights = sg.record(smollm, prompt).dataset["weights"].values[23]
    lost = weights[:, 2:, 2].sum()
    assert float(receipt.edits["moved"].sum()) == pytest.approx(2 * lost, rel=1e-3)  # what is cut goes to others
    assert receipt.null_drift <= 1e-4
    assert str(receipt).startswith("cut layer=23 key='iffel': 72 entries in 1 layer, 72 changed")


def test_a_row_keeps_its_sum_where_the_policy_says_so(llama: sg.Model) -> None:
    for edit in (
        edits.scale_edges(layer=1, factor=3.0),
        edits.scale_edges(layer=1, key=0, factor=9.0),
        edits.set_weight(layer=1, key=[1, 2, 3], value=0.8),
        edits.force(layer=1, key=0, share=0.5),
    ):
        with sg.steer(llama, edit) as steered:
            rows = steered.record(IDS).dataset["weights"].values[1].sum(-1)
        np.testing.assert_allclose(rows, 1.0, atol=1e-5)


def test_what_cannot_go_to_the_first_token_is_refused(llama: sg.Model) -> None:
    def ask(*some: edits.Edit) -> None:
        with sg.steer(llama, some) as steered:
            steered.logits(IDS)

    with pytest.raises(sg.InputError, match="more would be taken from the first token's edge than it has"):
        ask(edits.set_weight(layer=1, key=5, value=0.95, policy="to_first"))
    with pytest.raises(sg.InputError, match="the first token is addressed itself"):
        ask(edits.set_weight(layer=1, key=0, value=0.0, policy="to_first"))
    with pytest.raises(sg.InputError, match="some readers in layer 0 cannot hear the first token"):
        ask(edits.cut(layer=0, key=0), edits.set_weight(layer=0, key=3, value=0.0, policy="to_first"))
    torch.manual_seed(3)
    config = MistralConfig(
        vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=4, head_dim=8,
    )  # fmt: skip
    windowed = sg.load(MistralForCausalLM(config).eval())
    narrow = edits.set_weight(layer=0, key=7, query=7, value=0.0, policy="to_first")
    with sg.steer(windowed, narrow) as steered, pytest.raises(sg.InputError, match="a sliding window, or cut before"):
        steered.logits(IDS)


def test_numbers_that_are_none_are_refused(llama: sg.Model) -> None:
    half = sg.load(tiny_llama().half())
    with sg.steer(half, edits.scale_head(layer=1, head=0, factor=1e39)) as steered:
        with pytest.raises(sg.InputError, match="no finite numbers in layer 1"):
            steered.logits(IDS)
        with pytest.raises(sg.InputError, match="no receipt yet"):
            _ = steered.receipt


def test_rules_that_keep_everybody_land_and_change_nothing(llama: sg.Model) -> None:
    for rule in (edits.window(width=100), edits.random(p=1.0)):
        with sg.steer(llama, rule) as steered:
            torch.testing.assert_close(steered.logits(IDS), llama.logits(IDS), atol=1e-5, rtol=0)
            assert int(steered.receipt.edits["addressed"].sum()) == 2 * 4 * 36
            assert int(steered.receipt.edits["changed"].sum()) == 0
    with sg.steer(llama, edits.bottleneck(council=(50,))) as steered, pytest.raises(sg.InputError, match="there are 8 tokens"):
        steered.logits(IDS)
    with pytest.raises(sg.InputError, match="holds in some places only"):
        edits.window(width=2, layer=0).pairs(8)


@pytest.mark.real
def test_every_future_token_can_be_addressed_and_the_receipt_reads(smollm: sg.Model) -> None:
    prompt = "The Eiffel Tower is located in the city of"
    with sg.steer(smollm, edits.mute(layer=slice(10, 20), query=slice(10, None))) as steered:
        written = steered.generate(prompt, max_new_tokens=6)
        assert str(steered.receipt).startswith("mute layer=10:20 query=10:")
        assert written.startswith(" Paris")  # the first new token was said before the silence
    assert written != smollm.generate(prompt, max_new_tokens=6)
    said = smollm.tokenizer.tokenize(smollm.generate(prompt, max_new_tokens=2))[0]
    later = edits.scale_edges(layer=3, head=0, key=lambda text: text == "␣Paris", factor=1.0)
    with sg.steer(smollm, later) as steered:
        steered.generate(prompt, max_new_tokens=4)
        assert int(steered.receipt.edits["addressed"].sum()) == 3, said  # the tokens after it hear it, itself included
        with pytest.raises(sg.InputError, match="not with cache_implementation"):
            steered.generate(prompt, max_new_tokens=4, cache_implementation="static")


def test_each_stack_has_its_own_tokens() -> None:
    made = specimen("t5")
    inputs = {"input_ids": torch.tensor([[4, 6, 17, 9]]), "decoder_input_ids": torch.tensor([[0, 4, 6]])}
    model = sg.load(made.model)
    with sg.steer(model, edits.cut(key=3, stack="encoder")) as steered:
        steered.logits(inputs)
        assert steered.receipt.edits["addressed"].sum() == 4 * steered.receipt.edits.shape[0]
    with sg.steer(model, edits.cut(key="#17", stack="encoder")) as steered:
        steered.logits(inputs)
    with sg.steer(model, edits.cut(key=3)) as steered, pytest.raises(sg.InputError, match="position 3 is outside the 3 tokens"):
        steered.logits(inputs)


def test_one_prompt_at_a_time_whatever_its_form(llama: sg.Model) -> None:
    with sg.steer(llama, edits.mute(layer=0)) as steered:
        for several in ([[1, 2, 3], [4, 5, 6]], {"inputs_embeds": torch.randn(2, 5, 16)}):
            with pytest.raises(sg.InputError, match="the tokens of one prompt, and 2 were given"):
                steered.logits(several)


def test_the_receipt_is_stored_with_the_recording(llama: sg.Model) -> None:
    with sg.steer(llama, edits.cut(layer=1, head=2, key=1)) as steered:
        receipt = json.loads(steered.record(IDS).tree.attrs["receipt"])
    assert receipt["edits"] == ["cut layer=1 head=2 key=1"]
    assert receipt["path"] == "sdpa"
    assert [row["addressed"] for row in receipt["landed"]] == [7]


def test_addresses_come_as_arrays_too() -> None:
    assert edits.cut(key=np.array([1, 2])) == edits.cut(key=torch.tensor([1, 2])) == edits.cut(key=(1, 2))
    assert edits.cut(key=np.int64(3)) == edits.cut(key=3)
    assert edits.scale_edges(factor=np.float32(2)).factor == 2
