"""One token at the moment at which it is read: what a predicate of a schedule is told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moment:
    """A token that is being read, and how sure the model was of it before.

    Attributes:
        position: where it stands, counted from the first token of the prompt (of the past, where one is read on from).
        token_id: its number in the vocabulary; None where tokens are no text (patches of an image).
        text: as people read it.
        step: how many tokens the model has written so far, this one included; 0 for those that it was given.
        probabilities: `[vocabulary]`, the distribution that the model gave for this place before it read the token: softmax of
            its own logits, before any temperature or choice among the most probable. None where there is none: for the first
            token, and in models that do not predict the next token.

    The numbers made of `probabilities` are NaN where there are none, so that no comparison with them holds.
    """

    position: int
    token_id: int | None
    text: str
    step: int
    probabilities: Float[Tensor, " vocabulary"] | None = field(default=None, repr=False)

    @property
    def entropy(self) -> float:
        """Of the distribution, in nats: 0 where one token was certain, log(vocabulary) where all were as probable."""
        return math.nan if self.probabilities is None else float(torch.special.entr(self.probabilities).sum())

    @property
    def top(self) -> float:
        """The largest probability: that of the token which the model expected."""
        return math.nan if self.probabilities is None else float(self.probabilities.max())

    @property
    def probability(self) -> float:
        """The probability that the token which came had."""
        known = self.probabilities is not None and self.token_id is not None and self.token_id < len(self.probabilities)
        return float(self.probabilities[self.token_id]) if known else math.nan  # type: ignore[index]
