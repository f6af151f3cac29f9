"""What a model needs of a past that it reads on from; who makes such pasts is no matter of this room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models import inputs
from sociogram.models.inputs import Promptable


@runtime_checkable
class Readable(Protocol):
    """Cached keys and values of tokens `ids` `[token]`, where they stand (`positions` `[token]`), and how to run on from them."""

    @property
    def ids(self) -> Tensor:
        """`[token]`."""

    @property
    def positions(self) -> Tensor:
        """`[token]`."""

    @property
    def next_position(self) -> int:
        """Where the next token will stand."""

    def cache(self) -> Any:
        """A fresh cache for transformers, which a run may write on."""

    def whole(self, what: Promptable | None) -> dict[str, Tensor]:
        """`input_ids` `[1, token]` of the past and of what follows it, and the mask that goes with them."""

    def arguments(self, whole: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of one forward pass over what follows the past: a fresh cache and positions."""

    def generation(self, whole: Mapping[str, Tensor], new: int, copies: int) -> dict[str, Any]:
        """Arguments of `generate` beside the tokens, after a check of room: a cache for so many sequences, and positions."""

    def check_model(self, hf: Any) -> None:
        """Refuse another model than the past's own, with an InputError."""


def copies(hf: Any, settings: Mapping[str, Any]) -> int:
    """How many sequences a generation carries at once: beams, or several samples."""
    named = (
        settings.get(name) or getattr(hf.generation_config, name, None) or 1 for name in ("num_beams", "num_return_sequences")
    )
    return max(map(int, named))


def following(hf: Any, tokenizer: Any, what: Promptable) -> Tensor:
    """Ids `[token]` of what is read on: of a text without the special tokens that would begin or end one.

    Raises:
        InputError: as `inputs.encode`; several prompts; inputs that are no text.
    """
    if isinstance(what, str):
        tokenizer = inputs._needed(tokenizer, "a text")
        what = tokenizer(what, add_special_tokens=False)["input_ids"]
    given = inputs.encode(hf, tokenizer, what)
    return one_text(given)


def one_text(given: Mapping[str, Tensor]) -> Tensor:
    """The ids `[token]` of one prompt that is a text alone.

    Raises:
        InputError: anything else.
    """
    if extra := sorted(set(given) - {"input_ids", "attention_mask", "token_type_ids"}):
        raise InputError(f"a past is of one text alone, and {', '.join(extra)} came with it")
    ids = given["input_ids"]
    if len(ids) != 1:
        raise InputError(f"a past is of one prompt, and {len(ids)} were given: make one past of each")
    if "attention_mask" in given and not bool(given["attention_mask"].all()):
        raise InputError("a past is of tokens that are read, and the attention mask given hides some: leave them out")
    return ids[0]


def first_position(hf: Any) -> int:
    """What a model calls its first position: 0, or what lies behind the padding row of its table (RoBERTa)."""
    return inputs._reserved_positions(hf)
