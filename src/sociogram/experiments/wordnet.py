"""WordNet's database files (Fellbaum 1998), which Debian's `wordnet-base` installs: words, senses, definitions, examples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import sociogram as sg

FOLDER = "/usr/share/wordnet"
"""Where Debian puts it."""
VARIABLE = "SOCIOGRAM_WORDNET"
"""The environment variable that names another folder."""
KINDS = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
"""Parts of speech, as indexes and as files call them."""
_NUMBERED = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
"""Parts of speech in sense keys; 5 are satellites of adjectives."""
_ENDINGS = {
    "n": (("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    "v": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}
"""WordNet's own rules of detachment: an ending, and what stands in its place in the form that is listed."""


@dataclass(frozen=True)
class Synset:
    """One meaning, and the words that have it.

    Attributes:
        kind: `n`, `v`, `a` or `r`.
        offset: where it stands in its file; with `kind` it names the meaning.
        words: those that have it, as written, with underscores between the parts of a collocation.
        definition: without the examples.
        examples: sentences (or parts of them) that use one of the words.
    """

    kind: str
    offset: int
    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Sense:
    """One meaning of one word: `number` from 1 by frequency among those of its kind, `count` in texts with marked senses."""

    lemma: str
    kind: str
    number: int
    count: int
    synset: Synset


class WordNet:
    """The database in one folder; files are read when they are first needed."""

    def __init__(self, folder: str | os.PathLike[str] = "") -> None:
        """Of a folder, of the one that `SOCIOGRAM_WORDNET` names, or of Debian's.

        Raises:
            InputError: WordNet's files are not there.
        """
        self.folder = Path(folder or os.environ.get(VARIABLE, "") or FOLDER)
        wanted = ["cntlist.rev", *(f"{part}.{name}" for name in KINDS.values() for part in ("index", "data"))]
        wanted += [f"{name}.exc" for name in KINDS.values()]
        missing = [name for name in wanted if not (self.folder / name).is_file()]
        if missing:
            raise sg.InputError(
                f"WordNet({str(self.folder)!r}): {missing[0]} is not there ({len(missing)} of {len(wanted)} files missing). "
                f"Install it (Debian, Ubuntu: apt-get install wordnet-base), or name the folder of WordNet 3.0's database files: "
                f"--set wordnet=FOLDER, or {VARIABLE}=FOLDER."
            )

    @cached_property
    def synsets(self) -> dict[tuple[str, int], Synset]:
        """All meanings by kind and offset, in the order of the files."""
        return {(one.kind, one.offset): one for kind in KINDS for one in self._read(kind)}

    def senses(self, word: str) -> list[Sense]:
        """The meanings of a word in any of its forms, those met most often in marked texts first; none where it is not listed.

        Misleads: words are looked up one by one; of a collocation (`look up`) it knows what its parts mean.
        """
        found = {
            (one.kind, one.synset.offset): one
            for kind in KINDS
            for lemma in self.lemmas(word, kind)
            for one in self._of(lemma, kind)
        }
        return sorted(found.values(), key=lambda one: (-one.count, one.number))

    def lemmas(self, word: str, kind: str) -> list[str]:
        """The listed forms of a word: itself, what the list of exceptions has for it, else what the rules of endings make."""
        word = word.lower()
        forms = [word, *self._exceptions[kind].get(word, ())]
        if len(forms) == 1:
            forms += [word[: len(word) - len(old)] + new for old, new in _ENDINGS[kind] if word.endswith(old)]
        return list(dict.fromkeys(form for form in forms if form in self._index[kind]))

    def _of(self, lemma: str, kind: str) -> list[Sense]:
        offsets = self._index[kind][lemma]
        counts = [self._counts.get((lemma, kind, number), 0) for number in range(1, len(offsets) + 1)]
        return [Sense(lemma, kind, n, counts[n - 1], self.synsets[kind, offset]) for n, offset in enumerate(offsets, 1)]

    @cached_property
    def _index(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The offsets of each lemma's meanings, by kind."""
        return {kind: dict(map(_listed, self._lines(f"index.{name}"))) for kind, name in KINDS.items()}

    @cached_property
    def _exceptions(self) -> dict[str, dict[str, tuple[str, ...]]]:
        pairs = {kind: (line.split() for line in self._lines(f"{name}.exc")) for kind, name in KINDS.items()}
        return {kind: {form: tuple(lemmas) for form, *lemmas in lines} for kind, lines in pairs.items()}

    @cached_property
    def _counts(self) -> dict[tuple[str, str, int], int]:
        """How often each sense was met, by lemma, kind and number."""
        found = {}
        for line in self._lines("cntlist.rev"):
            key, number, count = line.split()
            lemma, _, rest = key.partition("%")
            found[lemma, _NUMBERED[rest[0]], int(number)] = int(count)
        return found

    def _read(self, kind: str) -> Iterator[Synset]:
        return (_synset(kind, line) for line in self._lines(f"data.{KINDS[kind]}"))

    def _lines(self, name: str) -> Iterator[str]:
        """A file's lines but those of its licence, which begin with a space."""
        with (self.folder / name).open(encoding="utf-8") as file:
            yield from (line for line in file if not line.startswith(" "))


def _listed(line: str) -> tuple[str, tuple[int, ...]]:
    """A line of an index: the lemma and the offsets, which are as many as the third number says, at its end."""
    fields = line.split()
    return fields[0], tuple(map(int, fields[-int(fields[2]) :]))


def _synset(kind: str, line: str) -> Synset:
    """A line of data: offset, file, kind, the number of words (hexadecimal), each with its number, then what it points to."""
    told, _, gloss = line.partition(" | ")
    fields = told.split()
    words = tuple(re.sub(r"\(\w+\)$", "", word) for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2])
    definition = re.split(r';?\s*"', gloss, maxsplit=1)[0].strip().rstrip(";")
    return Synset(kind, int(fields[0]), words, definition, tuple(one.strip() for one in re.findall(r'"([^"]+)"', gloss)))


@cache
def open_wordnet(folder: str = "") -> WordNet:
    """The database, opened once for each folder.

    Raises:
        InputError: WordNet's files are not there.
    """
    return WordNet(folder)
