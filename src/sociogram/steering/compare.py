"""One prompt twice, plain and steered: what the model says, where the stream departs, which messages changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from sociogram.core.errors import InputError
from sociogram.models.inputs import Promptable
from sociogram.models.model import Model
from sociogram.steering.edits import Edit
from sociogram.steering.receipt import Receipt
from sociogram.steering.steer import Steered, steer
from sociogram.watch.keep import Keep
from sociogram.watch.record import record
from sociogram.watch.recording import Recording

DEPARTED = 1e-4
"""The stream has departed where it differs by more than this share of its norm: above the rounding of another path."""
_PLACE = ["layer", "head", "query", "key"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The same prompt with and without edits.

    Attributes:
        plain, steered: the two recordings.
        receipt: what the edits did.
    """

    plain: Recording
    steered: Recording
    receipt: Receipt

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The next token on both sides; see `Receipt.output_change`. `attrs["kl"]` in nats.

        Raises:
            InputError: a model without logits per token.
        """
        if "final_logits" not in self.plain.outputs:
            raise InputError(
                f"{self.plain.tree.attrs['model']} gives no logits per token, so there are no next tokens to compare"
            )
        return self.receipt.output_change

    @cached_property
    def departure(self) -> pd.DataFrame:
        """How far the stream of each token is from the plain one at each stop of the main stack.

        Columns `stop, layer, part, query, token, distance` (norm of the difference) and `relative` (over the plain norm). Where
        an edit changed what enters a layer, the steered stream has one more stop there, which is left out.
        """
        one = self.plain.dataset["residual"].values
        two = self.steered.dataset["residual"].values[_same_stops(self.plain, self.steered)]
        distance = np.linalg.norm(two - one, axis=-1)
        relative = distance / np.maximum(np.linalg.norm(one, axis=-1), np.finfo(one.dtype).tiny)
        stops, tokens = distance.shape
        dataset = self.plain.dataset
        return pd.DataFrame(
            {
                "stop": np.repeat(np.arange(stops), tokens),
                "layer": np.repeat(dataset["stop_layer"].values, tokens),
                "part": np.repeat(dataset["stop_part"].values, tokens),
                "query": np.tile(np.arange(tokens), stops),
                "token": np.tile(dataset["query_token"].values, stops),
                "distance": distance.flatten(),
                "relative": relative.flatten(),
            }
        )

    @property
    def first_departure(self) -> int | None:
        """The first layer after which some token's stream has departed from the plain one; None where none has."""
        away = self.departure[self.departure["relative"] > DEPARTED]
        return None if away.empty else int(away["layer"].iloc[0])

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


def _same_stops(plain: Recording, steered: Recording) -> np.ndarray:
    """The stops of a steered stream that the plain one has too."""
    names = [list(zip(r.dataset["stop_layer"].values, r.dataset["stop_part"].values, strict=True)) for r in (plain, steered)]
    return np.array([i for i, (layer, part) in enumerate(names[1]) if part != "input" or (layer, part) in names[0]])


def compare(model: Model | Steered, what: Promptable, edits: Sequence[Edit] | Edit, *, keep: Keep = "default") -> Comparison:
    """Run one prompt twice, plain and with the edits (of a steered model: with its edits, and with more).

    Raises:
        InputError, EditDidNotLand, MemoryLimitError: see `steer` and `record`.
    """
    plain = model.record(what, keep=keep) if isinstance(model, Steered) else record(model, what, keep=keep)
    with steer(model, edits) as steered:
        rec = steered.record(what, keep=keep)
        return Comparison(plain, rec, steered.receipt)
