from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from transformers.utils import logging as hf_logging

from sociogram.core.errors import InputError
from sociogram.models.loading import load
from sociogram.models.model import Model
from sociogram.models.quiet import quiet
from tests.models.conftest import byte_level_tokenizer, tiny_llama

BERT_SIZES = {
    "vocab_size": 300,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def tiny_gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=2, n_head=2)).eval()


def tiny_t5() -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=7)).eval()


@pytest.fixture
def model(llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Model:
    return load(llama, tokenizer=tokenizer)


@pytest.fixture
def bare(llama: LlamaForCausalLM) -> Model:
    return load(llama)


def test_ids_text_and_the_models_own_inputs_say_the_same(model: Model, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("the nail").input_ids
    expected = model.logits("the nail")
    assert expected.shape == (len(ids), 300)
    assert not expected.requires_grad
    row = torch.tensor(ids)
    for what in (
        ids,
        row,
        row[None],
        row.int(),
        [ids],
        {"input_ids": [ids]},
        tokenizer("the nail", return_tensors="pt"),
    ):
        assert torch.equal(model.logits(what), expected)
    assert not torch.equal(model.logits("the ship"), expected)
    encoded = model.encode(ids)
    assert {name: value.tolist() for name, value in encoded.items()} == {
        "input_ids": [ids],
        "attention_mask": [[1] * len(ids)],
    }


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_texts_of_unequal_length_give_the_logits_of_each_alone(make: type[PreTrainedModel], side: str) -> None:
    tokenizer = byte_level_tokenizer(unk_token="<unk>", eos_token="<end>")
    tokenizer.padding_side = side
    model = load(make(), tokenizer=tokenizer)
    texts = ["the nail is in the ship", "one", "the ship"]
    encoded = model.encode(texts)
    mask = encoded["attention_mask"].bool()
    logits = model.logits(texts)
    assert logits.shape == (3, *mask.shape[1:], 300)
    for text, row, real in zip(texts, logits, mask, strict=True):
        torch.testing.assert_close(row[real], model.logits(text), rtol=0, atol=1e-5)
    assert bool(mask[1, 0]) is (side == "right")
    assert tokenizer.pad_token is None
    assert tokenizer.eos_token_id == 1
    assert (encoded["input_ids"][~mask] == tokenizer.eos_token_id).all()


def test_padding_uses_the_tokenizers_own_token_and_zero_where_there_is_no_other(llama: LlamaForCausalLM) -> None:
    padded = byte_level_tokenizer(eos_token="<end>", pad_token="<pad>")
    encoded = load(llama, tokenizer=padded).encode(["one", "the ship is leaking"])
    assert encoded["input_ids"][0, -1] == padded.pad_token_id != padded.eos_token_id
    encoded = load(llama, tokenizer=byte_level_tokenizer()).encode(["one", "the ship is leaking"])
    assert encoded["input_ids"][0, -1] == 0 == encoded["attention_mask"][0, -1]


def test_a_chat_is_laid_out_by_the_tokenizers_template_up_to_the_answer(llama: LlamaForCausalLM) -> None:
    tokenizer = byte_level_tokenizer(eos_token="<end>")
    said = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    tokenizer.chat_template = said + "{% if add_generation_prompt %}[answer]{% endif %}"
    model = load(llama, tokenizer=tokenizer)
    encoded = model.encode([{"role": "user", "content": "the nail"}])
    assert tokenizer.decode(encoded["input_ids"][0]) == "[user]the nail[answer]"
    with pytest.raises(InputError, match="a chat message has 'role' and 'content'; this one has 'role', 'text'"):
        model.encode([{"role": "user", "text": "the nail"}])


def test_a_chat_without_a_template(model: Model) -> None:
    with pytest.raises(InputError, match="the tokenizer has no chat template"):
        model.encode([{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("", "the prompt is empty: its tokenizer makes no tokens of it"),
        (["the", ""], r"the prompt \(number 1 of the list\) is empty"),
        ([], "the prompt is empty: no token ids were given"),
        (torch.zeros(1, 0, dtype=torch.long), "the prompt is empty"),
        ({}, "the mapping of the model's inputs is empty"),
        ([300], "token id 300 is outside the vocabulary of LlamaForCausalLM: 0 to 299"),
        ([-1], "token id -1 is outside"),
        ([[1, 2], [3]], "this list cannot be read as token ids: lists of ids must be of equal length"),
        ([0.5], "token ids are whole numbers, and these are float32"),
        (torch.tensor([True]), "token ids are whole numbers, and these are bool"),
        (
            torch.zeros(1, 1, 1, dtype=torch.long),
            r"the shape \[query\] or \[sequence, query\], and these have \[1, 1, 1\]",
        ),
        (torch.tensor(3), r"these have \[\]"),
        ({"input_ids": [1, 2]}, r"input_ids must be \[sequence, query\] with at least one token, and is \[2\]"),
        ({"input_ids": None}, "the model's input 'input_ids' is a NoneType, which is no tensor"),
        ({"input_ids": 3}, "the model's input 'input_ids' is a single value"),
        (["the", 3], r"this list cannot be read as token ids. A prompt is a text, a list of texts, a chat"),
        (None, "this NoneType cannot be read as token ids"),
        ([0] * 65, r"65 tokens are too many: LlamaForCausalLM has 64 positions. Shorten the input, or raise "),
    ],
)
def test_what_is_no_prompt_is_refused_with_the_reason(model: Model, what: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.encode(what)  # type: ignore[arg-type]


def test_text_without_a_tokenizer(bare: Model) -> None:
    for what in ("hi", ["hi"], [{"role": "user", "content": "hi"}]):
        with pytest.raises(InputError, match=r"needs a tokenizer and the model has none: give token ids, or load\(..., tok"):
            bare.encode(what)
    assert bare.logits([1, 2]).shape == (2, 300)


def test_positions_end_where_the_model_ends_and_rotary_ones_can_be_stretched_on_purpose() -> None:
    model = load(tiny_gpt2())
    assert model.logits([1] * 32).shape == (32, 300)
    with pytest.raises(InputError, match=r"^33 tokens are too many: GPT2LMHeadModel has 32 positions. Shorten the input\.$"):
        model.encode([1] * 33)
    rotary = load(tiny_llama())
    with pytest.raises(InputError, match=r"raise model\.hf\.config\.max_position_embeddings"):
        rotary.encode([1] * 65)
    rotary.hf.config.max_position_embeddings = 65
    assert rotary.logits([1] * 65).shape == (65, 300)


def test_positions_that_count_from_behind_the_padding_row() -> None:
    config = RobertaConfig(**BERT_SIZES, max_position_embeddings=20, pad_token_id=1)
    model = load(RobertaForMaskedLM(config).eval())
    assert model.logits([5] * 18).shape == (18, 300)
    with pytest.raises(InputError, match="19 tokens are too many: RobertaForMaskedLM has 18 positions"):
        model.encode([5] * 19)


def test_relative_positions_have_no_end() -> None:
    assert load(tiny_t5()).encode([1] * 600)["input_ids"].shape == (1, 600)


def test_an_encoder_decoder_starts_its_decoder_unless_told_otherwise(tokenizer: PreTrainedTokenizerFast) -> None:
    model = load(tiny_t5(), tokenizer=tokenizer)
    encoded = model.encode(["the ship", "one"])
    assert encoded["decoder_input_ids"].tolist() == [[7], [7]]
    assert model.logits("the ship").shape == (1, 300)
    given = {"input_ids": [[1, 2]], "decoder_input_ids": [[7, 3, 4]]}
    assert model.encode(given)["decoder_input_ids"].tolist() == [[7, 3, 4]]
    assert model.logits(given).shape == (3, 300)
    with pytest.raises(InputError, match="token id 300 is outside"):
        model.encode({"input_ids": [[1]], "decoder_input_ids": [[300]]})


def test_an_encoder_decoder_without_a_start_token() -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(vocab_size=300, d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, **sizes)
    hf = BartForConditionalGeneration(config).eval()
    for each in (hf.config, hf.generation_config):
        each.decoder_start_token_id = each.bos_token_id = None
    with pytest.raises(InputError, match="BartForConditionalGeneration names no start token for its decoder: give decoder_"):
        load(hf).encode([1, 2])


def test_inputs_that_are_no_tokens_are_cast_to_the_models_type() -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    widths = {"vocab_size": 300, "d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_mel_bins": 4}
    config = WhisperConfig(**sizes, **widths, **ends, max_source_positions=10, max_target_positions=8)
    model = load(WhisperForConditionalGeneration(config).eval(), dtype="float64")
    encoded = model.encode({"input_features": torch.randn(1, 4, 20)})
    assert encoded["input_features"].dtype == torch.float64
    assert encoded["decoder_input_ids"].tolist() == [[3]]
    assert model.logits({"input_features": torch.randn(1, 4, 20)}).shape == (1, 300)


def test_a_model_without_logits_says_what_it_has() -> None:
    model = load(BertModel(BertConfig(**BERT_SIZES)).eval())
    message = r"BertModel gives no logits per token; it gives last_hidden_state \[1, 2, 16\], pooler_output \[1, 16\]"
    with pytest.raises(InputError, match=message):
        model.logits([1, 2])
    with pytest.raises(InputError, match=r"gives no logits per token; it gives logits \[1, 2\]"):
        load(BertForSequenceClassification(BertConfig(**BERT_SIZES)).eval()).logits([1, 2])


def test_generation_is_the_plain_models_greedy_choice(model: Model, tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("the ship").input_ids
    start = len(ids)
    for _ in range(6):
        ids.append(int(model.logits(ids)[-1].argmax()))
    expected = tokenizer.decode(ids[start:], skip_special_tokens=True)
    assert model.generate("the ship", max_new_tokens=6) == expected
    assert model.generate(ids[:start], max_new_tokens=6) == expected
    assert len(expected) > 0
    model.hf.generation_config.do_sample = True
    assert model.generate("the ship", max_new_tokens=6) == expected
    model.hf.generation_config.do_sample = False
    torch.manual_seed(0)
    drawn = [model.generate("the ship", max_new_tokens=6, do_sample=True, temperature=5.0) for _ in range(4)]
    assert len(set(drawn)) > 1


def test_generation_from_an_encoder_decoder_returns_only_what_is_new(tokenizer: PreTrainedTokenizerFast) -> None:
    model = load(tiny_t5(), tokenizer=tokenizer)
    given = dict(model.encode("the ship"))
    ids = [7]
    for _ in range(3):
        ids.append(int(model.logits(given | {"decoder_input_ids": torch.tensor([ids])})[-1].argmax()))
    expected = tokenizer.decode(ids[1:], skip_special_tokens=True)
    assert model.generate("the ship", max_new_tokens=3) == expected


def test_generation_that_cannot_be(model: Model, bare: Model, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match="one prompt at a time, and several were given"):
        model.generate(["one", "two"])
    with pytest.raises(InputError, match=r"has no tokenizer to spell what it generates; load it with tokenizer="):
        bare.generate([1, 2])
    with pytest.raises(InputError, match="BertModel cannot generate"):
        load(BertModel(BertConfig(**BERT_SIZES)).eval(), tokenizer=tokenizer).generate("one")
    with pytest.raises(InputError, match="2 tokens and 63 new ones are too many: LlamaForCausalLM has 64 positions"):
        model.generate([1, 2], max_new_tokens=63)


def test_generation_prints_nothing(model: Model, capfd: pytest.CaptureFixture[str]) -> None:
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    logging.getLogger("transformers").addHandler(handler)
    try:
        model.generate("the ship", max_new_tokens=2, temperature=0.3)
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert said == []
    assert capfd.readouterr() == ("", "")


def test_quiet_holds_everything_back_and_leaves_settings_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.WARNING)
    hf_logging.enable_progress_bar()
    with contextlib.suppress(KeyboardInterrupt), quiet(stderr=True):
        logger.warning("a line")
        logging.getLogger("huggingface_hub").warning("another")
        warnings.warn("a warning", stacklevel=1)
        list(hf_logging.tqdm(range(2)))
        sys.stderr.write("a bar")
        raise KeyboardInterrupt
    assert capfd.readouterr() == ("", "")
    assert hf_logging.is_progress_bar_enabled()
    assert logger.level == logging.WARNING
    hf_logging.disable_progress_bar()
    with quiet():
        sys.stderr.write("not held back")
    assert capfd.readouterr().err == "not held back"
    assert not hf_logging.is_progress_bar_enabled()
    hf_logging.enable_progress_bar()
    logger.setLevel(level)


def test_the_repr_names_what_matters(model: Model, bare: Model) -> None:
    number = sum(parameter.numel() for parameter in model.hf.parameters())
    assert re.fullmatch(rf"Model\('\w+': LlamaForCausalLM, {number:,} parameters, float32 on cpu\)", repr(model))
    assert "no tokenizer" in repr(bare)
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)


@pytest.mark.real
def test_smollm2_knows_where_the_eiffel_tower_is() -> None:
    model = load("smollm2-135m", device="cpu")
    probability, best = model.logits("The Eiffel Tower is located in the city of")[-1].softmax(-1).max(-1)
    assert model.tokenizer.decode([int(best)]) == " Paris"
    assert float(probability) == pytest.approx(0.70, abs=0.01)
    assert model.generate("The Eiffel Tower is located in the city of", max_new_tokens=1) == " Paris"
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    assert model.tokenizer.decode(model.encode(chat)["input_ids"][0]).endswith("<|im_start|>assistant\n")
    assert "Paris" in model.generate(chat, max_new_tokens=10)


@pytest.mark.real
def test_minilm_encodes_pairs_of_texts_with_its_own_padding() -> None:
    model = load("minilm-l6", device="cpu")
    encoded = model.encode(["hi", "hello there"])
    assert encoded["input_ids"].tolist() == [[101, 7632, 102, 0], [101, 7592, 2045, 102]]
    assert encoded["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert encoded["token_type_ids"].shape == (2, 4)
    with pytest.raises(InputError, match="BertModel gives no logits per token; it gives last_hidden_state"):
        model.logits("hi")
    with pytest.raises(InputError, match="BertModel has 512 positions"):
        model.encode("hi " * 600)
