"""Kinds of tokens that can be told without a tagger: punctuation, numbers, function words, other words; beginnings and rests."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sociogram.models.tokens import words

_FUNCTION_WORDS = """
    a an the this that these those some any no every each either neither both all many much few several another such
    i me my mine myself you your yours yourself he him his himself she her hers herself it its itself we us our ours ourselves
    they them their theirs themselves who whom whose which what one
    and or but nor so yet for if then than because although though while whereas unless until since when where why how whether as
    of in on at by to from with without within into onto out over under above below between among through across against about
    around before after during behind beside besides beyond near off up down along toward towards upon per via
    am is are was were be been being do does did done have has had having will would shall should can could may might must ought
    not n't there here also only just very too again ever never
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English words of closed classes: articles, pronouns, conjunctions, prepositions, auxiliaries, a few particles."""

_SIGNS = str.maketrans("", "", "␣↵⇥␍◌")


def token_classes(tokens: Sequence[str]) -> list[str]:
    """The kind of each token, read off the texts alone.

    Returns:
        `"special"` (⟨s⟩ and its like), `"space"` (white space alone), `"punctuation"`, `"number"` (its word begins with a digit,
        the token has digits alone), `"function"` (the whole word is one of `FUNCTION_WORDS`, punctuation at its edges apart),
        `"begins"` (another word, or its first part) and `"continues"` (a later part of a word).

    Misleads: the list of function words is English and closed; "like" and "that" have many uses, and each has one class here.
    """
    kinds = [""] * len(tokens)
    for group in words(list(tokens)):
        parts = [_bare(tokens[i]) for i in group]
        whole = "".join(part for part in parts if _kind(part) is None).lower()
        begun = False
        for i, part in zip(group, parts, strict=True):
            kinds[i] = _kind(part, tokens[i]) or _of_word(whole, begun)
            begun = begun or kinds[i] in ("begins", "continues")
    return kinds


def _of_word(whole: str, begun: bool) -> str:
    if whole in FUNCTION_WORDS:
        return "function"
    return "continues" if begun else "begins"


def _kind(part: str, shown: str = "") -> str | None:
    """The kind of a token that is one by itself; None for a part of a word."""
    if shown.startswith("⟨") and shown.endswith("⟩"):
        return "special"
    if not part:
        return "space"
    if all(unicodedata.category(char)[0] in "PS" for char in part):
        return "punctuation"
    return "number" if re.fullmatch(r"\d[\d.,]*", part) else None


def _bare(shown: str) -> str:
    """The token's text without the signs for white space and pieces."""
    return shown.removeprefix("##").translate(_SIGNS)
