"""What is kept of an attention call whose weights never exist as a whole: numbers of each row, strongest keys, column sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

NUMBERS = ("lse", "entropy", "distance", "attention_sum", "message_sum", "self_share", "first_share", "sink_weight")
"""What is known of each row, in this order."""
KINDS = ("between", "first", "itself")
"""Kinds of edges: between different tokens; from the first token (which soaks up attention) to others; from a token to itself."""
BANDS = (0, 1, 16, 256, 4096)
"""The smallest distance between reader and sender of each band that column sums are kept for: itself, near, ..., far."""


@dataclass(frozen=True)
class Wanted:
    """What of each call shall be kept.

    Attributes:
        top: how many strongest keys of each reader; 0 for none.
        by: what makes a key strong: `"message"` (weight times value norm) or `"attention"`.
        columns: whether to sum what each key is given, by distance.
    """

    top: int = 8
    by: str = "message"
    columns: bool = True


@dataclass(frozen=True, eq=False)
class Streamed:
    """One call, as it was read in blocks of readers.

    Attributes:
        numbers: as `NUMBERS` names them.
        keys: the strongest keys of each reader, strongest first; -1 where it has fewer.
        attention, messages: their weights, and these times value norms.
        columns: attention that each key was given, by band of distance.
        edges: how many weights above zero there are of each kind.
        sizes: value norms, without the scale of each reader.
        outside: weights of keys that an edit appended.
        by: how keys were ranked.
        again: column sums once more, each reader times a factor that is known only after the layer is complete.
    """

    numbers: Float[Tensor, "batch head number query"]
    keys: Int[Tensor, "batch head query rank"]
    attention: Float[Tensor, "batch head query rank"]
    messages: Float[Tensor, "batch head query rank"]
    columns: Float[Tensor, "batch head band key"]
    edges: Int[Tensor, "batch head kind"]
    sizes: Float[Tensor, "batch head key"]
    outside: Float[Tensor, "batch head query outside"] | None
    by: str
    again: Callable[[Tensor], Tensor]

    def number(self, name: str) -> Float[Tensor, "batch head query"]:
        """One number of every row."""
        return self.numbers[:, :, NUMBERS.index(name)]


def bands_for(tokens: int, *, own: bool) -> tuple[int, ...]:
    """The bands that occur among so many tokens; one for all where readers and keys are not of one sequence."""
    return tuple(band for band in BANDS if band < max(tokens, 1)) if own else (0,)
