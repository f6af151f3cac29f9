"""One prompt twice, plain and steered: what the model says, where the stream departs, which messages changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch

from sociogram.core.errors import InputError
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.steering.base import Edit
from sociogram.steering.departure import departure, first_departure
from sociogram.steering.receipt import Receipt, change_of_output
from sociogram.steering.steer import Steered, steer
from sociogram.watch.keep import Keep
from sociogram.watch.record import record
from sociogram.watch.recording import Recording

_PLACE = ["layer", "head", "query", "key"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The same prompt with and without edits.

    Attributes:
        plain, steered: the two recordings; of a steered model, `plain` is the run under its own edits.
        receipt: what the edits did.
    """

    plain: Recording
    steered: Recording
    receipt: Receipt

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The next token on both sides, in the form of `Receipt.output_change`. `attrs["kl"]` in nats.

        Raises:
            InputError: a model without logits per token.
        """
        if "final_logits" not in self.plain.outputs:
            raise InputError(
                f"{self.plain.tree.attrs['model']} gives no logits per token, so there are no next tokens to compare"
            )
        one, two = (torch.from_numpy(rec.outputs["final_logits"][0]) for rec in (self.plain, self.steered))
        return change_of_output(self.receipt.steered.model, one, two)

    @cached_property
    def departure(self) -> pd.DataFrame:
        """How far the stream of each token is from the plain one at each stop of the main stack.

        Columns `stop, layer, part, query, token, distance` (norm of the difference) and `relative` (over the plain norm). Where
        an edit changed what enters a layer, the steered stream has one more stop there, which is left out.
        """
        return departure(self.plain, self.steered)

    @property
    def first_departure(self) -> int | None:
        """The first layer after which some token's stream has departed from the plain one; None where none has."""
        return first_departure(self.departure)

    def messages(self, top: int | None = 20) -> pd.DataFrame:
        """The messages that changed most, by norm.

        Columns `layer, head, query, key, query_token, key_token, plain, steered, change`. A message that is gone counts as 0.
        Changes below the first edited layer are rounding; later ones are consequences.
        """
        both = [rec.edges(top=None)[[*_PLACE, "query_token", "key_token", "message"]] for rec in (self.plain, self.steered)]
        merged = both[0].merge(both[1], on=[*_PLACE, "query_token", "key_token"], how="outer", suffixes=("_plain", "_steered"))
        merged = merged.rename(columns={"message_plain": "plain", "message_steered": "steered"})
        merged = merged.fillna({"plain": 0.0, "steered": 0.0})
        merged["change"] = merged["steered"] - merged["plain"]
        order = merged["change"].abs().sort_values(ascending=False, kind="stable").index
        table = merged.loc[order].reset_index(drop=True)
        return table if top is None else table.head(top)


def compare(model: Model | Steered, what: Promptable, edits: Sequence[Edit] | Edit, *, keep: Keep = "default") -> Comparison:
    """Run one prompt twice, plain and with the edits (of a steered model: with its edits, and with more).

    Raises:
        InputError, EditDidNotLand, MemoryLimitError: see `steer` and `record`.
    """
    plain = model.record(what, keep=keep) if isinstance(model, Steered) else record(model, what, keep=keep)
    with steer(model, edits) as steered:
        rec = steered.record(what, keep=keep)
        return Comparison(plain, rec, steered.receipt)
