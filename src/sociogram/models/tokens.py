"""Tokens as people read them, the words they form, and the token that a user means.

How a token is written:

| in the token | shown as |
| --- | --- |
| a space, a newline, a carriage return, a tab | `␣`, `↵`, `␍`, `⇥`: "␣hammered" |
| a special token | in angle brackets, its own taken off: `⟨|im_start|⟩`, `⟨CLS⟩`, `⟨/s⟩` |
| the first of 3 tokens that share the bytes of one character | the character: `🙂` |
| the second and the third of them | a dot, the character, which piece of how many: `·🙂2/3`, `·🙂3/3` |
| bytes that form no character | `\\xF0` |
| a character that has no shape (zero width, direction marks, controls) | its number: `\\u200d` |
| a combining mark with nothing before it to sit on | on a dotted circle: `◌́` |
| a piece that continues a word, where the tokenizer marks those (WordPiece) | `##ing` |
| the end of a word, where the tokenizer marks that (`</w>`) | `photo␣` |
| an id without text, or no tokenizer | `#17` |

Text that runs from right to left is left as it is: whoever draws it must isolate it (`dir="auto"`).
"""

from __future__ import annotations

import json
import operator
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, SupportsIndex, TypeAlias

from sociogram.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Scheme: TypeAlias = Literal["byte-level", "metaspace", "wordpiece", "bytes"]

_SHOWN = {" ": "␣", "\n": "↵", "\r": "␍", "\t": "⇥"}
_BLANK = frozenset(_SHOWN.values())
_SHAPELESS = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_END = "</w>"
_LISTED = 80

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = (byte for byte in range(256) if byte not in _PRINTABLE)
_BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + number): byte for number, byte in enumerate(_OTHERS)}
"""The alphabet of byte-level BPE: printable bytes stand for themselves, the others are numbered from 256 on."""


def token_texts(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> list[str]:
    """Each token as people read it; the table above says how.

    Args:
        tokenizer: the model's tokenizer, or None for "#17".
        ids: the ids of one sequence, in order (characters that several tokens share are found by their neighbours).

    Returns:
        One text per id, never empty.

    Misleads when texts are joined and read as the input: `"".join` of these is not what the model was given.
    """
    if tokenizer is None:
        return [f"#{int(id_)}" for id_ in ids]
    added, special = _added(tokenizer)
    scheme = _scheme(tokenizer)
    texts: list[str] = []
    neighbours: list[bytes] = []
    for id_ in ids:
        piece = _piece(tokenizer, int(id_), scheme, added, special)
        if isinstance(piece, bytes):
            neighbours.append(piece)
            continue
        texts += [*_spell(neighbours), piece]
        neighbours = []
    return texts + _spell(neighbours)


def words(source: PreTrainedTokenizerBase | Sequence[str] | None, ids: Sequence[int] | None = None) -> list[list[int]]:
    """Positions grouped into words, in order; every position is in exactly one group.

    Args:
        source: the tokenizer, with `ids`; or the texts that `token_texts` gave.
        ids: the ids of one sequence.

    Words are what stands between white space (so "Paris." is one); for WordPiece a piece and its "##" pieces (so "."
    is one). A special token is a word of its own, and so is a token that is all white space, except a lone "␣", which
    opens the word after it.

    Misleads when the language puts no spaces between words (Chinese, Japanese, Thai): a whole clause is one word.
    """
    if ids is not None and not isinstance(source, Sequence):
        texts = token_texts(source, ids)
        wordpiece = source is not None and _scheme(source) == "wordpiece"
    else:
        texts = [str(text) for text in source or ()]
        wordpiece = any(re.match(r"##\w", text) for text in texts) and not any("␣" in text for text in texts)
    groups: list[list[int]] = []
    for position, text in enumerate(texts):
        if position and _joins(texts[position - 1], text, wordpiece):
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def find_token(texts: Sequence[str], spec: SupportsIndex | str) -> int:
    """The position of the token that a user means.

    Args:
        texts: the tokens of one sequence, as `token_texts` gives them.
        spec: a position (negative ones count from the end), or a token's text, as displayed or plain: for "␣Paris"
            also " Paris" and, if no token is "Paris" itself, "Paris"; for "##ing" also "ing"; for "⟨s⟩" also "<s>".

    Returns:
        The position, from 0 to len(texts) - 1.

    Raises:
        InputError: no such token, or several; the message lists them with their positions.
    """
    if not isinstance(spec, str):
        return _position(texts, spec)
    for form in (_as_written, _trimmed, _without_mark):
        found = [position for position, text in enumerate(texts) if spec and form(text, spec)]
        if len(found) == 1:
            return found[0]
        if found:
            places = ", ".join(map(str, found[:-1])) + f" and {found[-1]}"
            raise InputError(f"the token {spec!r} occurs {len(found)} times, at positions {places}: give the position")
    number = " (a position is a number, without quotes)" if spec.lstrip("-").isdigit() else ""
    raise InputError(f"no token {spec!r}{number}; the tokens are: {_listed(texts)}")


def _position(texts: Sequence[str], spec: SupportsIndex) -> int:
    try:
        position = operator.index(spec)
    except TypeError:
        position = None
    if position is None or isinstance(spec, bool):
        raise InputError(f"a token is addressed by its position or its text, not by {spec!r}")
    if not -len(texts) <= position < len(texts):
        raise InputError(f"position {position} is outside the {len(texts)} tokens: {_listed(texts)}")
    return position % len(texts)


def _listed(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(f"{position} {text!r}" for position, text in enumerate(texts[:_LISTED])) + more


def _as_written(text: str, spec: str) -> bool:
    return spec in (text, _plain(text)) or (_is_special(text) and _bracketed(spec) == text)


def _trimmed(text: str, spec: str) -> bool:
    return bool(spec.strip()) and _plain(text).strip() == spec.strip()


def _without_mark(text: str, spec: str) -> bool:
    return text.removeprefix("##").removeprefix("◌") == spec.strip()


def _plain(text: str) -> str:
    for char, shown in _SHOWN.items():
        text = text.replace(shown, char)
    return text


def _joins(before: str, text: str, wordpiece: bool) -> bool:
    """Whether `text` goes on with the word that `before` belongs to."""
    if any(_is_special(each) or re.fullmatch(r"#\d+", each) for each in (before, text)):
        return False
    if wordpiece:
        return text.startswith("##")
    if text[:1] in _BLANK:
        return False
    return before[-1:] not in _BLANK or before == "␣"


def _is_special(text: str) -> bool:
    return text.startswith("⟨") and text.endswith("⟩")


def _bracketed(content: str) -> str:
    outer = content[:1] + content[-1:]
    return f"⟨{content[1:-1] if outer in ('<>', '[]') and len(content) > 2 else content}⟩"


def _added(tokenizer: PreTrainedTokenizerBase) -> tuple[Mapping[int, str], frozenset[int]]:
    """The tokens added to the vocabulary as whole texts, and the ids of the special ones."""
    added = tokenizer.added_tokens_decoder
    special = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    return {id_: token.content for id_, token in added.items()}, frozenset(special)


def _scheme(tokenizer: PreTrainedTokenizerBase) -> Scheme:
    """How the tokenizer writes text into its tokens, by its own decoder."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        if getattr(tokenizer, "_utf_vocab_size", None) == 256:
            return "bytes"  # ByT5, Perceiver: a token is a byte, written as the character of that number
        return "byte-level" if hasattr(tokenizer, "byte_decoder") else "metaspace"
    decoder = json.loads(backend.decoder.__getstate__())
    kinds = {part["type"] for part in decoder.get("decoders", [decoder])}
    return "byte-level" if "ByteLevel" in kinds else "wordpiece" if "WordPiece" in kinds else "metaspace"


def _piece(
    tokenizer: PreTrainedTokenizerBase,
    id_: int,
    scheme: Scheme,
    added: Mapping[int, str],
    special: frozenset[int],
) -> bytes | str:
    """The bytes that a token stands for; or its finished text, if it is special or has none."""
    token = added.get(id_) or _raw(tokenizer, id_)
    if not token:
        return f"#{id_}"
    if id_ in special:
        return _bracketed(token)
    return token.encode() if id_ in added else _bytes(token, scheme)


def _raw(tokenizer: PreTrainedTokenizerBase, id_: int) -> str | None:
    try:
        token: str | None = tokenizer.convert_ids_to_tokens(id_)
    except (IndexError, KeyError, OverflowError, ValueError):
        return None
    return token


def _bytes(token: str, scheme: Scheme) -> bytes:
    text = token.removesuffix(_WORD_END) + " " if token.endswith(_WORD_END) and token != _WORD_END else token
    if scheme == "byte-level":
        return b"".join(bytes([_BYTE_OF[char]]) if char in _BYTE_OF else char.encode() for char in text)
    if scheme == "bytes":
        return text.encode("latin-1", errors="replace")
    if scheme == "wordpiece":
        return text.encode()
    byte = _BYTE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace("▁", " ").encode()


def _spell(pieces: Sequence[bytes]) -> list[str]:
    """Texts of neighbouring tokens, each character shown where its first byte is."""
    whole = b"".join(pieces)
    owner = [number for number, piece in enumerate(pieces) for _ in piece]
    texts = [""] * len(pieces)
    start = 0
    while start < len(whole):
        char, end = _character(whole, start)
        sharing = sorted(set(owner[start:end]))
        texts[sharing[0]] += char
        for number, piece in enumerate(sharing[1:], start=2):
            texts[piece] += f"·{_seated(char)}{number}/{len(sharing)}"
        start = end
    return [_seated(text) for text in texts]


def _seated(text: str) -> str:
    """The text, a combining mark at its front given something to sit on."""
    return f"◌{text}" if text and unicodedata.category(text[0]).startswith("M") else text


def _character(whole: bytes, start: int) -> tuple[str, int]:
    """The character that begins at a byte, as it is shown, and where it ends."""
    for end in range(start + 1, min(start + 4, len(whole)) + 1):
        try:
            char = whole[start:end].decode()
        except UnicodeDecodeError:
            continue
        if char not in _SHOWN and unicodedata.category(char) in _SHAPELESS:
            return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}", end
        return _SHOWN.get(char, char), end
    return f"\\x{whole[start]:02X}", start + 1
