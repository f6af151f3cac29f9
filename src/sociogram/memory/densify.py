"""A long instruction or block of examples pressed into a few vectors, to be listened to in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.memory.dense import METHODS, Dense, Method
from sociogram.memory.distil import fitted
from sociogram.memory.spans import PLACES, Place, averaged, named, spans
from sociogram.memory.together import sampled
from sociogram.models.continuing import following
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.steering.base import check_number
from sociogram.steering.past import Past
from sociogram.watch.toward import token_id

PLACEHOLDER = "\n"


@dataclass(frozen=True, eq=False, kw_only=True)
class Pressing:
    """How a text is pressed: the arguments of `densify` beside model, text and number of vectors."""

    method: Method
    keep_first: bool
    place: Place
    placeholder: str | int
    examples: int | Sequence[Promptable]
    length: int
    steps: int
    learning_rate: float
    patience: int
    seed: int

    def examples_of(self, full: Past) -> list[Tensor]:
        """Ids `[token]` of the examples that were given, or of continuations sampled from the model under the text."""
        if isinstance(self.examples, int):
            return sampled(full, self.examples, self.length, self.seed)
        return [following(full.model.hf, full.model.tokenizer, one) for one in self.examples]


def densify(
    model: Model,
    text: Promptable,
    vectors: int,
    method: Method = "mean",
    *,
    keep_first: bool = True,
    place: Place = "middle",
    placeholder: str | int = PLACEHOLDER,
    examples: int | Sequence[Promptable] = 8,
    length: int = 24,
    steps: int = 60,
    learning_rate: float = 0.05,
    patience: int = 10,
    seed: int = 0,
) -> Dense:
    """Press a text into n vectors: n keys and n values in each layer and head, put back as a past.

    The text's own T tokens are read once. Then

    - `"mean"`: they are cut into n consecutive spans. Of each span, per layer and head, the keys (freed from their positions)
      and the values `[kv_head, token, d_head]` are averaged to one; the key is placed at the position of the span's middle
      token. A vector that stands for m tokens has its odds multiplied by m (`Dense.edits`): exact where all keys of the span
      are equal. Where they differ, its readers hear all tokens of the span alike, and hear the span less than before:
      m exp(q . mean k) is at most the sum of exp(q . k) (Jensen). With n = T it is the past itself. Compare the mean pooling of
      old memories in Rae et al. 2020 (1911.05507), which is trained with the model.
    - `"gist"`: n placeholder tokens are read after the text, and only *their* keys and values are kept, at their positions, so
      that what follows hears the text only through them (the mask of Mu et al. 2023, 2304.08467). There the model is trained
      to fill its gist tokens; here it is not: this is what a model leaves with tokens that it was never told to use so.
    - `"trained"`: keys and values are parameters (prefix tuning, Li & Liang 2021, 2101.00190), begun at `"mean"` and fitted by
      Adam so that the frozen model's next-token distributions on examples match those under the text: the mean over tokens of
      KL(with text || with vectors), distilling a context (Askell et al. 2021, 2112.00861; Snell et al. 2022, 2209.15189). Vectors
      may become anything, and each counts as one token.

    Args:
        model: from `sg.load`, with a cache of plain keys and values of all tokens.
        text: what is to be pressed.
        vectors: n, from 1 to the number of its tokens.
        method: as above.
        keep_first: with two vectors or more, the text's first token is one of them, with its own key and value: it is the sink
            that soaks up attention, and pressed together with others it is lost.
        place: whether a mean stands at the span's `"middle"` or `"last"` token.
        placeholder: of `"gist"`, a token by its text or id.
        examples: of `"trained"` (and of `Dense.additions`), what is read after the text: a list of prompts, or how many
            continuations of the text are sampled from the model itself.
        length: tokens of each sampled example.
        steps, learning_rate: of Adam; the rate in units of each layer's root mean square.
        patience: steps without 1 % of progress after which fitting ends.
        seed: of the sampling.

    Returns:
        A `Dense`. Fitting shows a bar on a terminal; Ctrl-C ends it there, and what was best until then is returned, its
        `stopped` beginning with "interrupted".

    Raises:
        InputError: numbers out of range, an unknown method, no text, examples of no tokens, keys that cannot be freed from their
            positions (`"mean"`, `"trained"`), positions that the model does not take; as `model.encode` (a text without a
            tokenizer).
        UnsupportedModelError: as `Past.of`.

    Misleads: the vectors keep what the examples (or the means) asked of the text. A low KL on prompts of one kind says nothing
    about others: measure on your own (`Dense.quality`), and beside it keep the text's own last tokens as the control.
    """
    if not isinstance(model, Model):
        raise InputError(f"densify model={model!r}: give the model itself, from sg.load, not a steered view of it")
    if method not in METHODS:
        raise InputError(f"densify method={method!r}: choose one of {', '.join(METHODS)}")
    if place not in PLACES:
        raise InputError(f"densify place={place!r}: choose one of {', '.join(PLACES)}")
    pressing = Pressing(
        method=method, keep_first=keep_first, place=place, placeholder=placeholder, examples=examples, length=length, steps=steps,
        learning_rate=learning_rate, patience=patience, seed=seed,
    )  # fmt: skip
    _check(pressing, vectors)
    full = Past.of(model, text)
    if vectors > len(full):
        raise InputError(f"densify vectors={vectors}: the text has {len(full)} tokens; press it into at most as many vectors")
    return pressed(full, vectors, pressing)


def pressed(full: Past, vectors: int, pressing: Pressing) -> Dense:
    """A past that was read, pressed; see `densify`."""
    groups = spans(len(full), vectors, keep_first=pressing.keep_first)
    counts, losses, stopped = (1,) * vectors, pd.DataFrame({"step": [], "loss": []}), ""
    past = _gist(full, vectors, pressing) if pressing.method == "gist" else averaged(full, groups, pressing.place)
    if pressing.method == "mean":
        counts = tuple(len(group) for group in groups)
    if pressing.method == "trained":
        fit = fitted(
            past,
            full,
            pressing.examples_of(full),
            steps=pressing.steps,
            learning_rate=pressing.learning_rate,
            patience=pressing.patience,
        )
        past, losses, stopped = fit.past, fit.losses, fit.stopped
    return Dense(
        method=pressing.method, ids=full.ids, past=past, counts=counts, losses=losses, stopped=stopped, pressing=pressing
    )


def _gist(full: Past, vectors: int, pressing: Pressing) -> Past:
    """The keys and values of placeholders that were read after a text, and of its first token."""
    token = token_id(full.model, pressing.placeholder, "placeholder")
    first = [0] if pressing.keep_first and vectors > 1 else []
    read = full.read([token] * (vectors - len(first)))
    return named(read[[*first, *range(len(full), len(read))]])


def _check(pressing: Pressing, vectors: Any) -> None:
    """Refuse numbers that mean nothing."""
    whole = {"vectors": vectors, "length": pressing.length, "patience": pressing.patience, "steps": pressing.steps}
    if isinstance(pressing.examples, int):
        whole["examples"] = pressing.examples
    for name, value in whole.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"densify {name}={value!r}: a whole number of at least 1 is needed")
    if isinstance(pressing.examples, str) or (not isinstance(pressing.examples, int) and not len(pressing.examples)):
        raise InputError(
            f"densify examples={pressing.examples!r}: give a list of prompts, or how many are to be sampled from the model"
        )
    check_number("densify", "learning_rate", pressing.learning_rate)
    if pressing.learning_rate <= 0:
        raise InputError(f"densify learning_rate={pressing.learning_rate!r}: a number above 0 is needed")
    if not isinstance(pressing.seed, int):
        raise InputError(f"densify seed={pressing.seed!r}: a whole number is needed")
