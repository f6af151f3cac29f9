"""Who hears whom, bit by bit; caches, padding, routing, pauses, files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sociogram as sg
from sociogram.grow import Society, hears, reach, register
from sociogram.grow.layers import RoutedLayer
from sociogram.grow.routing import places

from .making import SPECIES, config, ids, society

CACHED = ["isolated", "flock", "neighbourhood", "window", "attention_only", "learned", "sinusoidal", "nowhere"]


def logits(model: Society, tokens: Tensor, **more: object) -> Tensor:
    with torch.no_grad():
        return model(tokens, use_cache=False, **more).logits


@pytest.mark.parametrize("name", SPECIES)
@settings(deadline=None, max_examples=8, database=None)
@given(st.data())
def test_a_change_reaches_those_who_can_hear_it_and_nobody_else(name: str, data: st.DataObject) -> None:
    """Outside of `reach` bit-identical; within it, noticed."""
    model, count = society(name), data.draw(st.integers(4, 12))
    changed = data.draw(st.integers(0, count - 1))
    tokens = ids(count, seed=data.draw(st.integers(0, 99)))
    other = tokens.clone()
    other[0, changed] = (tokens[0, changed] + 1 + data.draw(st.integers(0, 16))) % 19
    moved = (logits(model, tokens) != logits(model, other))[0].any(-1)
    heard = reach(model.config, count)[:, changed]
    assert not bool(moved[~heard].any())
    if model.config.kind != "routed":  # a chosen few, of whom the changed token need not be one
        assert torch.equal(moved, heard)


def test_whom_a_token_hears_by_hand() -> None:
    rows = ["x.......", "xx......", "xxx.....", "x.xx....", "x..xx...", "xx..xx..", "x.x..xx.", "x..x..xx"]
    assert torch.equal(hears(config("neighbourhood"), 8), torch.tensor([[c == "x" for c in row] for row in rows]))
    rows = ["xxxx", "xxx.", "xxxx", "x.xx"]
    assert torch.equal(hears(config("village"), 4), torch.tensor([[c == "x" for c in row] for row in rows]))
    rows = ["x.....", "xx....", "xxx...", "xxxx..", ".xxxx.", "..xxxx"]
    assert torch.equal(hears(config("convolved"), 6), torch.tensor([[c == "x" for c in row] for row in rows]))
    assert torch.equal(hears(config("isolated"), 3), torch.eye(3).bool())
    assert torch.equal(hears(config("messenger"), 3), torch.ones(3, 3).tril().bool())


def test_a_convolution_sums_a_token_and_those_before_it() -> None:
    model = society("convolved")
    sums, hidden = model.layers[0].sums, torch.randn(2, 5, 16, dtype=torch.float64)
    weight, wanted = sums.weight, torch.zeros(2, 5, 16, dtype=torch.float64)
    for token in range(5):
        for back in range(min(3, token + 1)):
            wanted[:, token] += weight[back] * hidden[:, token - back]
    with torch.no_grad():
        assert (sums(hidden) - wanted).abs().max() <= 1e-12
        heard = []
        hook = model.layers[0].mixer.q_proj.register_forward_hook(lambda module, args, output: heard.append(args[0]))
        model(ids(5), use_cache=False)
        hook.remove()
        assert torch.equal(heard[0], sums(model.layers[0].mixer_norm(model.embed_tokens(ids(5)))))
    assert society("flock", convolution=2)(ids(4)).past_key_values is None
    assert society("council", convolution=2).council.gather[0].sums.weight.shape == (2, 16)


def test_windows_reach_as_far_as_the_formula_says() -> None:
    """After L layers of width w: L (w - 1) + 1 tokens."""
    wide = reach(config("window", num_hidden_layers=4), 20)[-1]
    assert int(wide.sum()) == 4 * (3 - 1) + 1


def test_an_isolated_token_says_what_it_would_say_alone() -> None:
    model, tokens = society("isolated", positions="none"), ids(6)
    alone = torch.cat([logits(model, tokens[:, [i]]) for i in range(6)], 1)
    assert (logits(model, tokens) - alone).abs().max() <= 1e-12


@pytest.mark.parametrize("name", CACHED)
def test_reading_on_from_a_cache_is_reading_it_whole(name: str) -> None:
    model, tokens = society(name), ids(12)
    whole, cache, said = logits(model, tokens), None, []
    with torch.no_grad():
        for piece in tokens.split((5, 4, 1, 2), dim=1):
            output = model(piece, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            said.append(output.logits)
    assert (torch.cat(said, 1) - whole).abs().max() <= 1e-12


@pytest.mark.parametrize("name", ["messenger", "council", "routed", "pausing", "feedforward", "linear_attention", "all around"])
def test_a_cache_that_would_be_ignored_is_refused(name: str) -> None:
    with pytest.raises(sg.InputError, match=r"reads every token anew and would ignore a cache. Leave it out"):
        society(name)(ids(4), use_cache=True)


@pytest.mark.parametrize("name", ["flock", "messenger", "pausing", "xlstm"])
def test_written_text_is_the_likeliest_next_token_each_time(name: str) -> None:
    model, tokens = society(name), ids(5)
    written = model.generate(tokens, max_new_tokens=4, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(tokens))
    for _ in range(4):
        tokens = torch.cat((tokens, logits(model, tokens)[:, -1:].argmax(-1)), 1)
    assert torch.equal(written, tokens)


@pytest.mark.parametrize(
    "name", ["isolated", "flock", "neighbourhood", "attention_only", "council", "routed", "pausing", "village"]
)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_padding_is_not_heard(name: str, implementation: str) -> None:
    model, tokens = society(name), ids(9)
    model.set_attn_implementation(implementation)
    mask = (torch.arange(9) < 6).long()[None]
    other = torch.where(mask.bool(), tokens, (tokens + 3) % 19)
    if name != "routed":  # who is chosen depends on all
        assert torch.equal(logits(model, tokens, attention_mask=mask)[:, :6], logits(model, other, attention_mask=mask)[:, :6])
    assert bool(logits(model, tokens, attention_mask=mask).isfinite().all())


@pytest.mark.parametrize("name", ["messenger", "feedforward", "linear_attention", "convolved"])
def test_padding_that_would_be_heard_is_refused(name: str) -> None:
    with pytest.raises(sg.InputError, match="some tokens are padding, which this society cannot but hear"):
        society(name)(ids(4), attention_mask=torch.tensor([[1, 1, 1, 0]]))


@pytest.mark.parametrize(
    "name", ["isolated", "flock", "neighbourhood", "routed", "pausing", "attention_only", "all around", "council"]
)
def test_both_of_transformers_own_ways_agree(name: str) -> None:
    model, tokens = society(name), ids(9, count=2)
    model.set_attn_implementation("eager")
    eager = logits(model, tokens)
    model.set_attn_implementation("sdpa")
    assert (logits(model, tokens) - eager).abs().max() <= 1e-10


@settings(deadline=None, max_examples=20, database=None)
@given(st.integers(1, 30), st.sampled_from([0.125, 0.4, 0.5, 1.0]), st.sampled_from(["learned", "random"]), st.booleans())
def test_exactly_so_many_take_part_and_the_others_keep_their_bits(count: int, share: float, routing: str, training: bool) -> None:
    torch.manual_seed(count)
    layer = RoutedLayer(config("routed", routed_share=share, routing=routing), 1).double().train(training)
    layer.config._attn_implementation = "sdpa"
    hidden = torch.randn(2, count, 16, dtype=torch.float64)
    with torch.no_grad():
        moved = (layer(hidden) != hidden).any(-1)
    assert bool((moved.sum(-1) == places(share, count)).all())
    assert places(share, count) == max(1, int(share * count))


def test_random_routing_is_drawn_anew_in_training_alone() -> None:
    torch.manual_seed(0)
    router = next(layer for layer in society("random routing").layers if isinstance(layer, RoutedLayer)).router
    hidden = torch.zeros(1, 16, 16, dtype=torch.float64)
    assert torch.equal(router(hidden)[1], router(hidden)[1])
    router.train()
    assert any(not torch.equal(router(hidden)[1], router(hidden)[1]) for _ in range(5))


def test_the_router_learns_from_what_it_lets_through() -> None:
    model = society("routed").train()
    model(ids(8), labels=ids(8, 1)).loss.backward()
    assert float(model.layers[1].router.score.weight.grad.abs().sum()) > 0


def test_without_pauses_a_pausing_society_is_a_flock() -> None:
    pausing, flock = society("pausing", pauses=0), society("flock")
    flock.load_state_dict(pausing.state_dict())
    assert torch.equal(logits(pausing, ids(7)), logits(flock, ids(7)))
    assert not torch.equal(logits(society("pausing"), ids(7)), logits(flock, ids(7)))


def test_order_is_lost_without_positions_or_mask() -> None:
    model, tokens, order = society("nowhere", causal=False), ids(7), torch.tensor([3, 1, 6, 0, 2, 5, 4])
    assert (logits(model, tokens)[:, order] - logits(model, tokens[:, order])).abs().max() <= 1e-12
    for positions in ("rotary", "learned", "sinusoidal"):
        placed = society("nowhere", causal=False, positions=positions)
        assert (logits(placed, tokens)[:, order] - logits(placed, tokens[:, order])).abs().max() > 1e-3


def test_rotary_positions_are_those_of_llama() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    from sociogram.grow import attending

    theirs = LlamaRotaryEmbedding(LlamaConfig(hidden_size=16, num_attention_heads=4, num_key_value_heads=4))
    where, (query, key) = torch.arange(9)[None], torch.randn(2, 1, 4, 9, 4)
    tables = attending.Rotary(config("flock"))(query, where)
    for one, other in zip(
        attending.apply_rotary_pos_emb(query, key, *tables), apply_rotary_pos_emb(query, key, *theirs(query, where)), strict=True
    ):
        assert (one - other).abs().max() <= 1e-5


def test_linear_weights_are_what_the_layer_did() -> None:
    model = society("linear_attention")
    mixer, hidden = model.layers[0].mixer, torch.randn(1, 6, 16, dtype=torch.float64)
    with torch.no_grad():
        weights = mixer.weights(hidden)
        heard = torch.einsum("bhqk,bkhd->bqhd", weights, mixer.v_proj(hidden).unflatten(-1, (4, 4))).flatten(2)
        assert (mixer.o_proj(heard) - mixer(hidden)).abs().max() <= 1e-12
    assert bool((weights < 0).any())
    assert not bool(weights.triu(1).any())


def test_the_xlstm_memory_is_transformers_own() -> None:
    """One step at a time, on the state handed on, is the whole text at once."""
    cell = society("xlstm").layers[0].mixer.cell.float()
    hidden, state, said = torch.randn(1, 5, 16), None, []
    with torch.no_grad():
        for i in range(5):
            step, state = cell(hidden[:, [i]], state)
            said.append(step)
        assert (torch.cat(said, 1) - cell(hidden)[0]).abs().max() <= 1e-5


@pytest.mark.parametrize("name", SPECIES)
def test_a_society_survives_its_folder(name: str, tmp_path: Path) -> None:
    model = society(name).float()
    model.save_pretrained(tmp_path)
    opened = Society.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(opened, ids(8)), logits(model, ids(8)))


def test_registered_societies_are_opened_by_load(tmp_path: Path) -> None:
    society("flock").float().save_pretrained(tmp_path)
    with pytest.raises(sg.ModelNotFoundError, match="society"):
        sg.load(tmp_path)
    register()
    register()
    try:
        assert isinstance(sg.load(tmp_path).hf, Society)
    finally:
        _forget()


def _forget() -> None:
    from transformers.models.auto import configuration_auto, modeling_auto

    configuration_auto.CONFIG_MAPPING._extra_content.pop("society")
    for mapping in (modeling_auto.MODEL_MAPPING, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING):
        mapping._extra_content.pop(type(config("flock")))


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("flock", {"colour": 1}, r"Society\(...\)\(colour=...\): a society's forward takes no colour"),
        ("flock", {"labels": torch.full((1, 8), -100)}, "labels have the shape .1, 8. with something asked.*0 asked"),
        (
            "flock",
            {"labels": torch.ones(1, 7).long()},
            "these are .1, 7., 7 asked. They are aligned with the answers, not shifted",
        ),
        ("flock", {"inputs_embeds": torch.zeros(1, 8, 16)}, "this society reads input_ids .or inputs_embeds., one of them"),
    ],
)
def test_what_a_society_cannot_take_is_refused(name: str, more: dict[str, object], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        society(name)(ids(8), **more)


def test_more_places_than_there_are() -> None:
    with pytest.raises(sg.InputError, match=r"33 places are needed .pauses included. and there are 32"):
        society("learned")(ids(33))
    with pytest.raises(sg.InputError, match="33 places are needed"):
        society("pausing", positions="learned")(ids(11))


def test_places_of_tokens_with_pauses_count_tokens() -> None:
    model, tokens = society("pausing", positions="learned"), ids(6)
    assert torch.equal(logits(model, tokens, position_ids=torch.arange(6)[None]), logits(model, tokens))
    assert not torch.equal(logits(model, tokens, position_ids=torch.arange(2, 8)[None]), logits(model, tokens))
