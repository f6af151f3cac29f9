"""The seam in whole models: invisible when nobody watches, restored whatever happens, one session's eyes only."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModel, BertConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

import sociogram as sg
from sociogram.models.attention import AttentionCall
from sociogram.models.seam import unwatched, watching
from sociogram.models.switching import IMPLEMENTATION
from tests.models.conftest import tiny_llama


class Eyes:
    """Sees everything, keeps the weights by call."""

    def __init__(self) -> None:
        self.weights: dict[tuple[str, int], Tensor] = {}
        self.seen: list[tuple[str, int]] = []

    def wants_weights(self, call: AttentionCall) -> bool:
        return True

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        assert weights is not None
        self.weights[call.name] = weights
        self.seen.append(call.name)


@pytest.fixture
def llama() -> LlamaForCausalLM:
    return tiny_llama()


def ids(*shape: int) -> Tensor:
    return torch.randint(1, 300, shape, generator=torch.Generator().manual_seed(1))


def logits(model: Any, **inputs: Any) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def test_nothing_changes_while_nobody_watches(llama: LlamaForCausalLM) -> None:
    plain = logits(llama, input_ids=ids(2, 9))
    with watching(llama, []):
        assert torch.equal(logits(llama, input_ids=ids(2, 9)), plain)
    assert torch.equal(logits(llama, input_ids=ids(2, 9)), plain)


def test_weights_are_those_of_the_models_own_eager_path(llama: LlamaForCausalLM) -> None:
    eyes = Eyes()
    with watching(llama, [eyes]):
        watched = logits(llama, input_ids=ids(2, 9))
    llama.set_attn_implementation("eager")
    with torch.no_grad():
        eager = llama(input_ids=ids(2, 9), output_attentions=True)
    assert len(eyes.weights) == 2
    for weights, own in zip(eyes.weights.values(), eager.attentions, strict=True):
        torch.testing.assert_close(weights, own, atol=1e-6, rtol=0)
    torch.testing.assert_close(watched, eager.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_itself_again_after_a_failure(llama: LlamaForCausalLM, stop: type[BaseException]) -> None:
    before = llama.config._attn_implementation
    with pytest.raises(stop), watching(llama, [Eyes()]) as session:
        session.on_output("model.layers.0", lambda _: None)
        assert llama.config._attn_implementation == IMPLEMENTATION
        raise stop
    assert llama.config._attn_implementation == before
    assert not llama.model.layers[0]._forward_hooks


def test_sessions_nest_and_each_sees_its_own(llama: LlamaForCausalLM) -> None:
    outer, inner = Eyes(), Eyes()
    with watching(llama, [outer]):
        with watching(llama, [inner]):
            logits(llama, input_ids=ids(1, 4))
        assert llama.config._attn_implementation == IMPLEMENTATION
        assert len(inner.weights) == 2
        assert not outer.weights
        logits(llama, input_ids=ids(1, 4))
    assert len(outer.weights) == 2
    with watching(llama, [outer := Eyes()]), unwatched():
        logits(llama, input_ids=ids(1, 4))
    assert not outer.weights


def test_two_threads_record_one_model_at_once(llama: LlamaForCausalLM) -> None:
    model, other = sg.load(llama), sg.load(tiny_llama())
    alone = {n: sg.record(other, ids(1, n)) for n in (5, 8)}  # the shared model's anatomy is found by the threads themselves
    found: dict[tuple[int, int], sg.Recording] = {}
    start = threading.Barrier(2)

    def work(tokens: int) -> None:
        start.wait()
        for turn in range(10):
            found[tokens, turn] = sg.record(model, ids(1, tokens))

    threads = [threading.Thread(target=work, args=(n,)) for n in (5, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    for (tokens, _), rec in found.items():
        assert rec.dataset.weights.equals(alone[tokens].dataset.weights)
        assert rec.dataset.residual.equals(alone[tokens].dataset.residual)
    assert llama.config._attn_implementation == "sdpa"


def test_gradients_flow_through_the_seam(llama: LlamaForCausalLM) -> None:
    embedded = llama.get_input_embeddings()(ids(1, 6)).detach()
    grads = []
    for observers in ([], [Eyes()], None):
        leaf = embedded.clone().requires_grad_()
        if observers is None:
            llama(inputs_embeds=leaf).logits[0, -1].square().sum().backward()
        else:
            with watching(llama, observers):
                llama(inputs_embeds=leaf).logits[0, -1].square().sum().backward()
        grads.append(leaf.grad)
    assert grads[2] is not None
    assert float(grads[2].abs().max()) > 0
    for grad in grads[:2]:
        torch.testing.assert_close(grad, grads[2], rtol=1e-4, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(side=st.sampled_from(["left", "right"]), lengths=st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_padding_on_either_side_changes_no_real_token(side: str, lengths: list[int]) -> None:
    llama, longest = tiny_llama(), max(lengths)
    rows = [ids(1, n)[0] for n in lengths]
    whole, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        whole[i, place], mask[i, place] = row, 1
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    eyes = Eyes()
    with watching(llama, [eyes]):
        together = logits(llama, input_ids=whole, attention_mask=mask, position_ids=positions)
    for i, row in enumerate(rows):
        torch.testing.assert_close(together[i][mask[i].bool()], logits(llama, input_ids=row[None])[0], atol=1e-5, rtol=0)
    for weights in eyes.weights.values():
        hidden = weights * (1 - mask)[:, None, None, :]
        assert float(hidden.abs().max()) == 0.0


@pytest.mark.parametrize("window", [None, 4])
def test_cached_decoding_goes_through_the_seam(window: int | None) -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=300, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=window, head_dim=8,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    kwargs = {"max_new_tokens": 10, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    plain = model.generate(ids(1, 6), **kwargs)
    eyes = Eyes()
    with watching(model, [eyes]):
        watched = model.generate(ids(1, 6), **kwargs)
    assert torch.equal(plain, watched)
    assert next(reversed(eyes.weights.values())).shape[-2] == 1
    assert {number for _, number in eyes.seen} == {0}  # counted anew in each pass
    assert len(eyes.seen) == 2 * 10  # one pass for the prompt, one for each token but the last


def test_no_mask_means_everything_whatever_a_flag_says() -> None:
    """Encoders whose modules still say is_causal=True must not turn causal."""
    config = BertConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    model = AutoModel.from_config(config).eval()
    for module in model.modules():
        module.is_causal = True
    eyes = Eyes()
    with watching(model, [eyes]), torch.no_grad():
        model(input_ids=ids(1, 5) % 100)
    assert bool((next(iter(eyes.weights.values()))[0, :, 0, 1:] > 0).all())


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch.compile imports it
def test_a_compiled_model_is_refused_with_the_reason(llama: LlamaForCausalLM) -> None:
    compiled = torch.compile(llama)
    with pytest.raises(sg.UnsupportedModelError, match="compiled"), watching(compiled, []):
        pass


def test_attention_that_never_passes_the_seam_says_so() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    model = sg.load(BloomForCausalLM(BloomConfig(vocab_size=100, hidden_size=16, n_layer=2, n_head=2)).eval())
    with pytest.raises(sg.UnsupportedModelError, match="nothing of its conversation can be seen"):
        sg.record(model, ids(1, 5) % 100)
