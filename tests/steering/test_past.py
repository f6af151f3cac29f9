"""The editable past: each edit against the same thing made another way, by transformers alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM, RobertaConfig, RobertaForCausalLM

import sociogram as sg
from sociogram import edits
from tests.models.conftest import byte_level_tokenizer, tiny_llama
from tests.models.test_rotary import nope
from tests.watch.conftest import specimen

IDS = [5, 9, 17, 3, 44, 21, 8, 30]
MORE = [7, 12, 33]
ALL = IDS + MORE


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama(num_hidden_layers=3))


@pytest.fixture(scope="module")
def gpt2() -> sg.Model:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_embd=16, n_layer=2, n_head=4, n_positions=32, bos_token_id=None, eos_token_id=None)
    return sg.load(GPT2LMHeadModel(config).eval())


def close(one: Tensor, other: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, atol=atol, rtol=0)


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def unseen(model: sg.Model, ids: list[int], span: slice, since: int, positions: list[int] | None = None) -> Tensor:
    """The oracle of erasing: transformers' own eager path, `span` hidden from queries from `since` on by an additive mask."""
    hf = model.hf
    count = len(ids)
    mask = torch.full((count, count), torch.finfo(torch.float32).min).triu(1)
    mask[since:, span] = torch.finfo(torch.float32).min
    hf.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            at = None if positions is None else torch.tensor([positions])
            return hf(input_ids=torch.tensor([ids]), attention_mask=mask[None, None], position_ids=at, use_cache=False).logits[0]
    finally:
        hf.set_attn_implementation("sdpa")


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "cohere", "glm", "olmo2", "smollm3"])
@pytest.mark.filterwarnings("ignore")
def test_a_prefix_as_cached_keys_and_values_is_concatenation(name: str) -> None:
    model = sg.load(specimen(name).model)
    whole = model.logits(ALL)
    past = sg.Past.of(model, IDS)
    close(past.logits(MORE), whole[len(IDS) :], 1e-4)
    close(sg.Past.of(model, IDS[:3]).read(IDS[3:]).logits(MORE), whole[len(IDS) :], 1e-4)
    close(past.logits(), whole[[len(IDS) - 1]], 1e-4)
    assert apart(sg.Past.of(model, [*IDS[:-1], 31]).logits(MORE), whole[len(IDS) :]) > 1e-3


def test_silent_values_do_not_restore_the_baseline(llama: sg.Model) -> None:
    """A prefix whose values are 0 still takes its share of every softmax; what is erased takes none."""
    past = sg.Past.of(llama, ALL)
    silent, erased = past.scale(slice(0, 3), value=0.0).logits(), past.erase(slice(0, 3)).logits()
    assert apart(silent, past.logits()) > 1e-3
    assert apart(silent, erased) > 1e-3
    faint = past.scale(slice(0, 3), key=0.0, value=0.0)
    assert apart(faint.logits(), erased) > 1e-3


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_erasing_is_hiding_from_later_readers(name: str, request: pytest.FixtureRequest) -> None:
    model: sg.Model = request.getfixturevalue(name)
    since = len(IDS)
    hole = sg.Past.of(model, IDS).erase(slice(2, 5))
    assert hole.positions.tolist() == [0, 1, 5, 6, 7]
    assert hole.next_position == 8
    ours = hole.logits(MORE)
    close(ours, unseen(model, ALL, slice(2, 5), since)[since:])
    with sg.steer(model, edits.cut(query=slice(since, None), key=slice(2, 5))) as steered:
        close(ours, steered.logits(ALL)[since:])
    short = IDS[:2] + IDS[5:]
    assert apart(ours, sg.Past.of(model, short).logits(MORE)) > 1e-3  # a recomputation is something else


def test_a_closed_hole_is_hiding_with_the_later_tokens_moved(llama: sg.Model) -> None:
    """Under rotary positions only distances matter: hidden tokens leave no gap if all later ones stand three places earlier.

    What came before the hole and what was in it hear only each other, so that one run with shifted positions is the oracle where
    the erased tokens had been heard by nobody else: the later ones are read after the erasing.
    """
    past = sg.Past.of(llama, IDS[:5]).erase(slice(2, 5), close=True)
    assert past.positions.tolist() == [0, 1]
    assert past.next_position == 2
    close(past.logits(MORE), llama.logits(IDS[:2] + MORE)[2:])
    middle = sg.Past.of(llama, IDS).erase([2, 4], close=True)
    assert middle.positions.tolist() == [0, 1, 2, 3, 4, 5]
    hidden = llama.hf(input_ids=torch.tensor([IDS]), use_cache=True).past_key_values.layers[0].keys[0].detach()
    name = ("model.layers.0.self_attn", 0)
    close(middle.keys[0], middle.rotation.move(name, hidden[:, [0, 1, 3, 5, 6, 7]], [0, 1, 3, 5, 6, 7], range(6)))


def test_a_moved_span_is_the_text_read_there_only_without_earlier_context(llama: sg.Model) -> None:
    alone = sg.Past.of(llama, IDS[3:6])
    there = llama.hf(input_ids=torch.tensor([IDS[3:6]]), position_ids=torch.tensor([[3, 4, 5]]), use_cache=True).past_key_values
    placed = sg.Past.of(llama, IDS[:3]).insert(3, alone)
    for slot, layer in enumerate(there.layers):
        close(placed.keys[slot][:, 3:], layer.keys[0].detach(), 1e-6)
        close(placed.values[slot][:, 3:], layer.values[0].detach(), 1e-6)
    within = sg.Past.of(llama, IDS)[3:6]
    moved = sg.Past.of(llama, IDS[:1]).insert(1, within)
    again = llama.hf(input_ids=torch.tensor([IDS[3:6]]), position_ids=torch.tensor([[1, 2, 3]]), use_cache=True).past_key_values
    close(moved.keys[0][:, 1:], again.layers[0].keys[0].detach(), 1e-6)  # the first layer's keys have heard nobody yet
    assert apart(moved.keys[1][:, 1:], again.layers[1].keys[0].detach()) > 1e-3


def test_inserting_a_text_at_the_end_is_reading_on(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    one, other = past.insert(len(past), MORE), past.read(MORE)
    assert one.ids.tolist() == other.ids.tolist() == ALL
    assert one.positions.tolist() == list(range(11))
    close(one.logits([4]), llama.logits([*ALL, 4])[-1:])
    close(other.logits([4]), one.logits([4]))


def test_inserting_in_the_middle_moves_later_tokens(llama: sg.Model) -> None:
    """What is put in is heard only by later readers, and stands between: an additive mask and the full text say the same."""
    past = sg.Past.of(llama, IDS).insert(4, MORE)
    assert past.ids.tolist() == IDS[:4] + MORE + IDS[4:]
    assert past.positions.tolist() == list(range(11))
    whole = [*IDS[:4], *MORE, *IDS[4:], 2]
    count = len(whole)
    mask = torch.full((count, count), torch.finfo(torch.float32).min).triu(1)
    mask[7:11, 4:7] = torch.finfo(torch.float32).min  # the old later tokens never heard the new ones
    at = [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 11]  # and were read where they stood
    hf = llama.hf
    keys = hf(input_ids=torch.tensor([whole]), attention_mask=mask[None, None], position_ids=torch.tensor([at]), use_cache=True)
    for slot, layer in enumerate(keys.past_key_values.layers):
        close(past.values[slot], layer.values[0][:, :11].detach())
        close(past.keys[slot][:, :7], layer.keys[0][:, :7].detach())
        name = (f"model.layers.{slot}.self_attn", 0)
        later = past.rotation.move(name, layer.keys[0][:, 7:11].detach(), [4, 5, 6, 7], [7, 8, 9, 10])
        close(past.keys[slot][:, 7:], later)
    first = sg.Past.of(llama, IDS).insert(0, MORE)
    assert first.positions.tolist() == list(range(11))
    close(first.values[2][:, :3], sg.Past.of(llama, MORE).values[2])


def test_replacing_by_another_length_shifts_what_follows(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    shorter = past.replace(slice(2, 6), [50])
    assert shorter.ids.tolist() == [5, 9, 50, 8, 30]
    assert shorter.positions.tolist() == [0, 1, 2, 3, 4]
    assert shorter.next_position == 5
    same = past.replace(slice(2, 6), past[2:6])
    for slot in range(3):
        assert torch.equal(same.keys[slot], past.keys[slot])
    close(past.replace(slice(6, 8), [1, 2]).logits(MORE), llama.logits([*IDS[:6], 1, 2, *MORE])[-3:])
    assert past.transplant(past, slice(1, 3), at=0).ids.tolist() == [9, 17, *IDS]
    assert past.transplant(past, slice(1, 3), at=0).positions.tolist() == list(range(10))


def test_a_hole_in_what_is_put_in_stays_a_hole(llama: sg.Model) -> None:
    piece = sg.Past.of(llama, IDS).erase(slice(1, 3))[0:3]
    assert piece.positions.tolist() == [0, 3, 4]
    put = sg.Past.of(llama, MORE).insert(1, piece)
    assert put.positions.tolist() == [0, 1, 4, 5, 6, 7]
    assert put.next_position == 8


@pytest.mark.parametrize(
    ("settings", "layers", "heads"),
    [({}, (0, 1, 2), (0, 1)), ({"layer": 1}, (1,), (0, 1)), ({"layer": [0, 2], "head": 1}, (0, 2), (1,))],
)
def test_scaling_touches_what_is_addressed(
    llama: sg.Model, settings: dict[str, Any], layers: tuple[int, ...], heads: tuple[int, ...]
) -> None:
    past = sg.Past.of(llama, IDS)
    scaled = past.scale([1, 4], key=2.0, value=-0.5, **settings)
    for slot in range(3):
        for head in range(2):
            here = slot in layers and head in heads
            expected = torch.ones(8, 1)
            expected[[1, 4]] = 2.0 if here else 1.0
            close(scaled.keys[slot][head], past.keys[slot][head] * expected, 0.0)
            expected[[1, 4]] = -0.5 if here else 1.0
            close(scaled.values[slot][head], past.values[slot][head] * expected, 0.0)
    assert apart(scaled.logits(MORE), past.logits(MORE)) > 1e-4


def test_nothing_is_changed_in_place_and_forks_do_not_meet(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    before = [tensor.clone() for tensor in (*past.keys, *past.values)]
    plain = past.logits(MORE)
    fork, other = past.fork(), past.fork()
    longer, else_ = fork.read([1, 2]), other.read([3])
    past.erase(1).scale(0, key=3.0).insert(2, MORE)
    past.logits(MORE)
    llama.hf.generate(torch.tensor([ALL]), past_key_values=past.cache(), max_new_tokens=3, do_sample=False, pad_token_id=0)
    close(past.logits(MORE), plain, 0.0)
    close(fork.logits(MORE), plain, 0.0)
    for tensor, kept in zip((*past.keys, *past.values), before, strict=True):
        assert torch.equal(tensor, kept)
    with torch.no_grad():
        for tensor in (*other.keys, *other.values):
            tensor.zero_()
    close(past.logits(MORE), plain, 0.0)
    close(fork.logits(MORE), plain, 0.0)
    assert (len(fork), len(longer), len(else_)) == (8, 10, 9)
    with pytest.raises(dataclasses.FrozenInstanceError):
        past.next_position = 3  # type: ignore[misc]


@pytest.fixture(scope="module")
def writer() -> sg.Model:
    """With a tokenizer, and weights so large that what it writes depends on where it stands."""
    torch.manual_seed(4)
    hf = tiny_llama(num_hidden_layers=3)
    with torch.no_grad():
        for parameter in hf.parameters():
            parameter.mul_(20.0 if parameter.ndim > 1 else 1.0)
    return sg.load(hf, tokenizer=byte_level_tokenizer(eos_token="<end>"))


WRITE = {"max_new_tokens": 12, "eos_token_id": None, "pad_token_id": 0}


def by_hand(model: sg.Model, cache: Any, place: int) -> str:
    """Token by token, each at the position after the last, on a cache of transformers' own."""
    written, new = [], torch.tensor([MORE])
    for _ in range(12):
        at = torch.arange(place, place + new.shape[1])[None]
        with torch.no_grad():
            logits = model.hf(input_ids=new, past_key_values=cache, position_ids=at, use_cache=True).logits[0, -1]
        place += new.shape[1]
        new = logits.argmax()[None, None]
        written.append(int(new))
    assert model.tokenizer is not None
    return str(model.tokenizer.decode(written, skip_special_tokens=True))


def test_generation_after_a_hole_goes_on_at_the_next_position(writer: sg.Model) -> None:
    hole = sg.Past.of(writer, IDS).erase(slice(1, 7))
    text = by_hand(writer, hole.cache(), 8)
    assert hole.generate(MORE, **WRITE) == text
    assert writer.generate(MORE, past=hole, **WRITE) == text
    with sg.steer(writer, []) as steered:
        assert steered.generate(MORE, past=hole, **WRITE) == text
    assert by_hand(writer, hole.cache(), 2) != text  # at the cache's length it would write something else


def test_generation_from_a_past_is_that_from_the_whole_text(writer: sg.Model) -> None:
    past = sg.Past.of(writer, IDS)
    assert past.generate(MORE, **WRITE) == writer.generate(ALL, **WRITE) != past.generate([5, 6], **WRITE)
    assert sg.Past.of(writer, ALL).generate(**WRITE) == writer.generate(ALL, **WRITE)
    beams = {**WRITE, "num_beams": 3}
    assert past.generate(MORE, **beams) == writer.generate(ALL, **beams)
    sampled = {**WRITE, "do_sample": True, "num_return_sequences": 2, "temperature": 30.0}
    texts = []
    for seed, run in (
        (5, lambda: past.generate(MORE, **sampled)),
        (5, lambda: writer.generate(ALL, **sampled)),
        (6, lambda: writer.generate(ALL, **sampled)),
    ):
        torch.manual_seed(seed)
        texts.append(run())
    assert texts[0] == texts[1] != texts[2]


def test_edits_act_while_a_past_is_read(llama: sg.Model) -> None:
    """Tokens are numbered from the past's first one, and what is cut is as in one whole text."""
    past = sg.Past.of(llama, IDS)
    change = [
        edits.cut(layer=1, query=slice(8, None), key=3),
        edits.scale_head(layer=2, head=1, query=slice(9, None), factor=2.0),
    ]
    with sg.steer(llama, change) as steered:
        ours = steered.logits(MORE, past=past)
        assert steered.receipt.edits.groupby("edit")["addressed"].sum().tolist() == [4 * 3, (10 + 11)]
        assert steered.receipt.null_drift <= 1e-5
        assert steered.receipt.output_change.attrs["kl"] > 0
        close(ours, steered.logits(ALL)[8:])
    assert apart(ours, past.logits(MORE)) > 1e-4
    hole = past.erase(slice(4, 7))
    with sg.steer(llama, edits.mute(layer=0, head=1)) as steered:
        changed = torch.softmax(steered.logits(MORE, past=hole)[-1], -1)
        table = steered.receipt.output_change
    for side, says in (("plain", torch.softmax(hole.logits(MORE)[-1], -1)), ("steered", changed)):
        assert table[side].tolist() == pytest.approx(says[table["token_id"].tolist()].tolist(), rel=1e-4)
    with sg.steer(llama, edits.cut(query=3, key=1)) as steered, pytest.raises(sg.EditDidNotLand, match="no pair of tokens"):
        steered.logits(MORE, past=past)  # token 3 reads nothing any more


def test_what_calls_are_told(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    assert past.names == [f"#{i}" for i in IDS]
    told = past.told(("model.layers.2.self_attn", 0))
    assert told is not None
    cache = llama.hf(input_ids=torch.tensor([IDS]), use_cache=True).past_key_values
    close(told[0], cache.layers[2].keys[0].detach())
    close(told[1], cache.layers[2].values[0].detach())
    assert past.told(("model.layers.3.self_attn", 0)) is None
    assert [past.told(name) is not None for name in llama.anatomy.heads] == [True] * 3


def test_spans_and_how_it_prints(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    assert past[2:4].ids.tolist() == [17, 3]
    assert past["#44"].positions.tolist() == [4]
    assert past[[1, -1]].next_position == 8
    assert past[lambda text: text in ("#9", "#30")].ids.tolist() == [9, 30]
    assert repr(past.erase([2, 3])) == f"Past(6 tokens of {llama.name!r} at positions 0 to 1, 4 to 7, 3 layers)"
    assert repr(past.erase(7)).endswith("at positions 0 to 6 (next: 8), 3 layers)")
    assert str(past[4:6]).splitlines()[1:] == ["0  at 4  #44", "1  at 5  #21"]


def test_learned_positions_stay_where_they_are(gpt2: sg.Model) -> None:
    past, other = sg.Past.of(gpt2, IDS), sg.Past.of(gpt2, [*reversed(IDS)])
    swapped = past.replace(slice(2, 5), other[2:5])
    assert swapped.ids.tolist() == [5, 9, 21, 44, 3, 21, 8, 30]
    for slot in range(2):
        assert torch.equal(swapped.keys[slot][:, 2:5], other.keys[slot][:, 2:5])
    close(past.insert(8, MORE).logits([1]), gpt2.logits([*ALL, 1])[-1:])
    for attempt in (
        lambda: past.replace(slice(2, 5), other[3:6]),
        lambda: past.insert(2, MORE),
        lambda: past.insert(2, other[2:4]),
        lambda: past.erase(2, close=True),
    ):
        with pytest.raises(
            sg.InputError, match=r"would have to move to .* cannot be moved: in transformer.h.0.attn .*read a text at the end"
        ):
            attempt()


def test_a_past_of_another_model_of_the_same_shape(llama: sg.Model) -> None:
    """Keys are stripped by their own model's rotation and placed by the reader's."""
    other = tiny_llama(num_hidden_layers=3, rope_parameters={"rope_type": "default", "rope_theta": 50.0})
    theirs = sg.Past.of(sg.load(other), MORE)
    put = sg.Past.of(llama, IDS).insert(2, theirs)
    name = ("model.layers.0.self_attn", 0)
    bare = [past.rotation.strip(name, keys, at) for past, keys, at in (
        (theirs, theirs.keys[0], [0, 1, 2]), (put, put.keys[0][:, 2:5], [2, 3, 4]))]  # fmt: skip
    close(bare[0], bare[1])
    assert put.logits([1]).isfinite().all()
    narrow = sg.Past.of(sg.load(tiny_llama(num_hidden_layers=3, num_key_value_heads=4)), MORE)
    with pytest.raises(sg.InputError, match=r"layer 0 of .* has 4 key/value heads of 4 .*that of .* 2 of 4"):
        sg.Past.of(llama, IDS).insert(2, narrow)
    with pytest.raises(sg.InputError, match=r"has 2 layers, one of .* 3: keys and values cannot be exchanged"):
        sg.Past.of(llama, IDS).insert(2, sg.Past.of(sg.load(tiny_llama()), MORE))
    spelled = sg.load(llama.hf, tokenizer=byte_level_tokenizer(eos_token="<end>"))
    with pytest.raises(sg.InputError, match="do not write the same tokens"):
        sg.Past.of(sg.load(other), MORE).insert(0, sg.Past.of(spelled, IDS))
    with pytest.raises(sg.InputError, match="another model was asked to read it"):
        sg.load(other).logits(MORE, past=sg.Past.of(llama, IDS))


def mistral() -> sg.Model:
    config = MistralConfig(
        vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
        sliding_window=6, head_dim=8,
    )  # fmt: skip
    return sg.load(MistralForCausalLM(config).eval())


def zoo(name: str) -> Callable[[], sg.Model]:
    return lambda: sg.load(specimen(name).model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (mistral, "keeps only a window of 6 tokens in layer 0"),
        (zoo("gemma2"), "keeps only a window"),
        (zoo("lfm2"), "keeps no plain keys and values in layer"),
        (zoo("deepseek_v3"), "caches something in layer 0 that its attention is not shown in this form"),
        (zoo("hrm_text"), r"fails in its own code when it is to keep a cache \(list index out of range\)"),
        (zoo("jetmoe"), "caches something in layer 0"),
        (zoo("bloom"), r"or its attention does not pass the seam"),
        (zoo("t5"), "is an encoder-decoder"),
        (zoo("vit"), "takes no cached keys and values"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_models_without_a_plain_past_are_refused(make: Callable[[], sg.Model], message: str) -> None:
    with pytest.raises(sg.UnsupportedModelError, match=message):
        sg.Past.of(make(), IDS)


def test_what_means_nothing_is_refused(llama: sg.Model) -> None:
    past = sg.Past.of(llama, IDS)
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: sg.Past.of(llama, [IDS, IDS]), "a past is of one prompt, and 2 were given"),
        (
            lambda: sg.Past.of(llama, {"input_ids": [IDS], "attention_mask": [[0] + [1] * 7]}),
            "the attention mask given hides some",
        ),
        (lambda: sg.Past.of(llama, {"input_ids": [IDS], "position_ids": [IDS]}), "position_ids came with it"),
        (lambda: past.erase(8), "position 8 is outside the 8 tokens"),
        (lambda: past.erase("#99"), "no token '#99'"),
        (lambda: past.erase(lambda _: False), "no token of this past is meant"),
        (lambda: past.erase(slice(0, 8)), "nothing would be left of this past"),
        (lambda: past.insert(9, MORE), "position 9 is outside"),
        (lambda: past.replace([1, 3], MORE), "replace needs tokens in one piece, and 1, 3 are not"),
        (lambda: past.scale(0, key=float("nan")), "scale key=nan: a finite number"),
        (lambda: past.scale(0, layer=3), "no layer 3"),
        (lambda: past.scale(0, head=2), "no head 2"),
        (lambda: past.read([]), "the prompt is empty"),
        (lambda: past.read([[1], [2]]), "a past is of one prompt, and 2 were given"),
        (lambda: past.logits([400]), "token id 400 is outside the vocabulary"),
        (lambda: past.read([1] * 57), "65 tokens are too many"),
        (lambda: past.generate([1], max_new_tokens=56), "tokenizer"),
        (lambda: llama.logits(None), "nothing to read"),
    ]
    for attempt, message in cases:
        with pytest.raises(sg.InputError, match=message):
            attempt()


def test_positions_run_out_where_a_hole_has_moved_them(llama: sg.Model) -> None:
    hole = sg.Past.of(llama, IDS).read([1] * 50).erase(slice(1, 50))
    assert (len(hole), hole.next_position) == (9, 58)
    assert hole.logits([1] * 6).shape == (6, 300)
    with pytest.raises(sg.InputError, match="65 tokens are too many: LlamaForCausalLM has 64 positions"):
        hole.logits([1] * 7)


def test_a_model_that_does_not_take_positions_reads_no_holes() -> None:
    hf = tiny_llama()
    hook = hf.register_forward_pre_hook(lambda _, args, kwargs: (args, kwargs | {"position_ids": None}), with_kwargs=True)
    past = sg.Past.of(sg.load(hf), IDS)
    with pytest.raises(
        sg.InputError, match="0 to 1, 4 to 7, and LlamaForCausalLM counts positions by itself: it can read on only from"
    ):
        past.erase([2, 3])
    with pytest.raises(sg.InputError, match=r"at positions 0 to 6 \(next: 8\)"):
        past.erase(7)
    assert past.erase(7, close=True).next_position == 7
    hook.remove()


def test_positions_that_count_from_behind_the_padding_row() -> None:
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, is_decoder=True,
        max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    model = sg.load(RobertaForCausalLM(config).eval())
    past = sg.Past.of(model, IDS)
    close(past.logits(MORE), model.logits(ALL)[8:])
    places = [i + 2 for i in range(len(ALL))]
    close(past.erase(slice(2, 5)).logits(MORE), unseen(model, ALL, slice(2, 5), 8, places)[8:])


def test_distances_by_the_place_in_the_cache_leave_no_holes() -> None:
    """Linear biases (ALiBi) made of a model without positions: spans move by relabelling, holes cannot be."""
    hf = nope(no_rope_layers=[0, 0])

    def biased(_: object, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        cache = kwargs.get("past_key_values")
        before = 0 if cache is None else cache.get_seq_length()
        new = kwargs["input_ids"].shape[1]
        distance = torch.arange(before, before + new)[:, None] - torch.arange(before + new)
        bias = torch.where(distance < 0, torch.finfo(torch.float32).min, -0.3 * distance)
        return args, kwargs | {"attention_mask": bias[None, None]}

    hf.register_forward_pre_hook(biased, with_kwargs=True)
    model = sg.load(hf)
    past = sg.Past.of(model, IDS)
    assert (past.rotation.kind, past.rotation.by_index) == ("free", True)
    with pytest.raises(sg.InputError, match="measures distances by the place in the cache"):
        past.erase(slice(2, 4))
    closed = past.erase(slice(2, 4), close=True)
    assert torch.equal(closed.keys[1], past.keys[1][:, [0, 1, 4, 5, 6, 7]])
    put = past[0:2].insert(2, sg.Past.of(model, MORE))
    assert torch.equal(put.keys[1][:, 2:], sg.Past.of(model, MORE).keys[1])


def test_without_positions_tokens_move_freely() -> None:
    past = sg.Past.of(sg.load(nope(no_rope_layers=[0, 0])), IDS)
    hole = past.erase(slice(2, 5))
    close(hole.logits(MORE), past.erase(slice(2, 5), close=True).logits(MORE))
    close(hole.logits(MORE), unseen(past.model, ALL, slice(2, 5), 8)[8:])


@pytest.mark.real
def test_on_the_real_model(smollm: sg.Model) -> None:
    first, then = "The Eiffel Tower is located in", " the city of"
    past = sg.Past.of(smollm, first)
    close(past.logits(then), smollm.logits(first + then)[-3:], 1e-4)
    assert past.generate(then, max_new_tokens=12) == smollm.generate(first + then, max_new_tokens=12)
    hole = past.erase("iffel")
    count = len(past)
    with sg.steer(smollm, edits.cut(query=slice(count, None), key=2)) as steered:
        close(hole.logits(then), steered.logits(first + then)[count:], 1e-4)
    alone = sg.Past.of(smollm, " Big Ben")
    placed = past.replace(slice(1, 4), alone)
    assert placed.positions.tolist() == [0, 1, 2, 3, 4, 5][: len(placed)]
    there = smollm.hf(input_ids=alone.ids[None], position_ids=torch.tensor([[1, 2]]), use_cache=True).past_key_values
    for slot, layer in enumerate(there.layers):
        size = float(layer.keys.detach().abs().max())
        close(placed.keys[slot][:, 1:3], layer.keys[0].detach(), 1e-5 * size)
