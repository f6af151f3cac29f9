from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from sociogram.core.errors import InputError
from sociogram.models import catalog, store
from sociogram.models.tokens import find_token, token_texts, words
from tests.models.conftest import byte_level_tokenizer

BYTE_LEVEL = byte_level_tokenizer(eos_token="<end>", bos_token="<|start|>")


def shown(text: str, tokenizer: PreTrainedTokenizerFast = BYTE_LEVEL) -> list[str]:
    return token_texts(tokenizer, tokenizer(text).input_ids)


def metaspace() -> PreTrainedTokenizerFast:
    """A SentencePiece-like vocabulary with bytes to fall back on, as Llama 2 and Gemma have."""
    vocab = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "▁ship", "s", "fo", "o"]
    backend = Tokenizer(models.BPE({token: id_ for id_, token in enumerate(vocab)}, [], unk_token="<unk>"))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def wordpiece() -> PreTrainedTokenizerFast:
    vocab = {token: id_ for id_, token in enumerate(["[UNK]", "[CLS]", "hammer", "##ing", "the", "ing", "."])}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the ship", ["the", "␣ship"]),
        ("x\n\ty", ["x", "↵", "⇥", "y"]),
        ("🙂", ["🙂", "·🙂2/4", "·🙂3/4", "·🙂4/4"]),
        ("í", ["í", "·í2/2"]),
        (" é!", ["␣", "é", "·é2/2", "!"]),
        ("שם", ["ש", "·ש2/2", "ם", "·ם2/2"]),
        ("x\u0301", ["x", "◌\u0301", "·◌\u03012/2"]),
        ("\u200d", ["\\u200d", "·\\u200d2/3", "·\\u200d3/3"]),
        ("\u202e", ["\\u202e", "·\\u202e2/3", "·\\u202e3/3"]),
        ("\x07", ["\\u0007"]),
        ("a\u00a0b", ["a", "\\u00a0", "·\\u00a02/2", "b"]),
        ("<end>the", ["⟨end⟩", "the"]),
        ("<|start|>x", ["⟨|start|⟩", "x"]),
        ("x", ["x"]),
        ("", []),
    ],
)
def test_byte_level_tokens_are_shown_as_people_read_them(text: str, expected: list[str]) -> None:
    assert shown(text) == expected


def test_bytes_that_form_no_character_are_numbers_and_a_special_token_ends_a_character() -> None:
    ids = BYTE_LEVEL("🙂").input_ids
    assert token_texts(BYTE_LEVEL, ids[:2]) == ["\\xF0", "\\x9F"]
    end = BYTE_LEVEL.eos_token_id
    assert token_texts(BYTE_LEVEL, [*ids[:3], end, ids[3]]) == ["\\xF0", "\\x9F", "\\x99", "⟨end⟩", "\\x82"]
    assert token_texts(BYTE_LEVEL, [*ids[:2], *BYTE_LEVEL("a").input_ids]) == ["\\xF0", "\\x9F", "a"]


def test_an_id_without_text_and_no_tokenizer() -> None:
    assert token_texts(BYTE_LEVEL, [99_999]) == ["#99999"]
    assert token_texts(None, [17, 4]) == ["#17", "#4"]


def test_an_added_token_that_is_not_special_is_its_text() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["Ġplain é"])
    assert shown("Ġplain é", tokenizer) == ["Ġplain␣é"]


def test_metaspace_tokens() -> None:
    tokenizer = metaspace()
    texts = ["<s>", "▁the", "▁", "fo", "o", "<0xC3>", "<0xA9>", "s", "<0x0A>", "</s>"]
    ids = tokenizer.convert_tokens_to_ids(texts)
    expected = ["⟨s⟩", "␣the", "␣", "fo", "o", "é", "·é2/2", "s", "↵", "⟨/s⟩"]
    assert token_texts(tokenizer, ids) == expected
    assert words(tokenizer, ids) == words(expected) == [[0], [1], [2, 3, 4, 5, 6, 7], [8], [9]]


def test_wordpiece_tokens_keep_their_marks() -> None:
    tokenizer = wordpiece()
    texts = shown("[CLS] the hammering.", tokenizer)
    assert texts == ["⟨CLS⟩", "the", "hammer", "##ing", "."]
    assert words(texts) == words(tokenizer, tokenizer("[CLS] the hammering.").input_ids) == [[0], [1], [2, 3], [4]]


def test_words_of_bytes_and_of_a_vocabulary_with_word_ends() -> None:
    tokenizer = ByT5Tokenizer()
    assert token_texts(tokenizer, tokenizer("é a").input_ids) == ["é", "·é2/2", "␣", "a", "⟨/s⟩"]
    backend = Tokenizer(models.BPE({"pho": 0, "to</w>": 1, "a</w>": 2}, []))
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    clip = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert token_texts(clip, [2, 0, 1, 2]) == ["a␣", "pho", "to␣", "a␣"]
    assert words(clip, [2, 0, 1, 2]) == [[0], [1, 2], [3]]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["I", "␣hamm", "ered", "␣it", "."], [[0], [1, 2], [3, 4]]),
        (["🙂", "·🙂2/2", "x", "␣y"], [[0, 1, 2], [3]]),
        (["a", "↵", "b"], [[0], [1], [2]]),
        (["⟨s⟩", "a", "b", "⟨/s⟩"], [[0], [1, 2], [3]]),
        (["#1", "#2"], [[0], [1]]),
        (["a", "b", "##x", "␣y"], [[0, 1, 2], [3]]),
        (["a", "b", "##x", "y"], [[0], [1, 2], [3]]),
        ([], []),
        (["a"], [[0]]),
    ],
)
def test_words_from_texts(texts: list[str], expected: list[list[int]]) -> None:
    assert words(texts) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_no_text_breaks_the_spelling_and_each_token_is_in_one_word(text: str) -> None:
    ids = BYTE_LEVEL(text).input_ids
    texts = token_texts(BYTE_LEVEL, ids)
    assert len(texts) == len(ids)
    assert all(texts)
    assert [position for word in words(texts) for position in word] == list(range(len(ids)))
    assert not any(char in piece for piece in texts for char in " \n\r\t\u202e\u200b")


TOKENS = ["⟨s⟩", "I", "␣hammer", "ed", "␣the", "␣nail", "␣the", "·🙂2/2", "◌\u0301", "↵", "the"]


@pytest.mark.parametrize(
    ("spec", "position"),
    [
        (0, 0),
        (-1, 10),
        (-11, 0),
        ("I", 1),
        ("␣nail", 5),
        (" nail", 5),
        ("nail", 5),
        ("<s>", 0),
        ("⟨s⟩", 0),
        ("the", 10),
        ("\n", 9),
        ("\u0301", 8),
        ("·🙂2/2", 7),
    ],
)
def test_a_token_is_found_by_position_and_text(spec: int | str, position: int) -> None:
    assert find_token(TOKENS, spec) == position


def test_a_wordpiece_is_found_without_its_mark_unless_that_is_another_token() -> None:
    assert find_token(["hammer", "##ing"], "ing") == 1
    assert find_token(["ing", "##ing"], "ing") == 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (" the", r"the token ' the' occurs 2 times, at positions 4 and 6: give the position"),
        ("ship", r"no token 'ship'; the tokens are: 0 '⟨s⟩', 1 'I', 2 '␣hammer', 3 'ed', "),
        ("3", r"no token '3' \(a position is a number, without quotes\)"),
        ("", r"no token ''"),
        (" ", r"no token ' '"),
        (11, r"position 11 is outside the 11 tokens: 0 '⟨s⟩', 1 'I'"),
        (-12, r"position -12 is outside the 11 tokens"),
        (1.0, r"a token is addressed by its position or its text, not by 1.0"),
        (True, r"a token is addressed by its position or its text, not by True"),
    ],
)
def test_a_token_that_is_not_to_be_found(spec: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_token(TOKENS, spec)  # type: ignore[arg-type]


def test_long_lists_of_tokens_are_cut_and_counted() -> None:
    with pytest.raises(InputError, match=r"79 'x', and 20 more$"):
        find_token(["x"] * 100, "y")


@pytest.mark.real
def test_smollm2_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(store.fetch(catalog.SMOLLM2_135M))
    text = "I hammered the nail"
    assert shown(text, tokenizer) == ["I", "␣hamm", "ered", "␣the", "␣nail"]
    assert words(tokenizer, tokenizer(text).input_ids) == [[0], [1, 2], [3], [4]]
    assert shown("🙂 👨", tokenizer) == ["🙂", "·🙂2/2", "␣👨", "·👨2/3", "·👨3/3"]
    assert shown("<|im_start|>user\n", tokenizer) == ["⟨|im_start|⟩", "user", "↵"]
    assert shown("שלם", tokenizer) == ["ש", "ל", "ם", "·ם2/2"]


@pytest.mark.real
def test_minilm_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(store.fetch(catalog.MINILM_L6))
    assert shown("Unhammerable é 🙂", tokenizer) == ["⟨CLS⟩", "un", "##hammer", "##able", "e", "⟨UNK⟩", "⟨SEP⟩"]
    assert words(tokenizer, tokenizer("Unhammerable é").input_ids) == [[0], [1, 2, 3], [4], [5]]
