"""The receipt of a steered run: proof that each edit landed, and what it did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import EditDidNotLand, InputError
from sociogram.models.continuing import Readable
from sociogram.models.examine import forward_arguments
from sociogram.models.seam import Editor, watching
from sociogram.steering.base import Edit, Scene
from sociogram.steering.clock import schedule_of
from sociogram.steering.departure import departure, first_departure
from sociogram.steering.edits import ScaleEdges
from sociogram.steering.output import OutputEdit, Unsaid
from sociogram.steering.residual import Still, StreamEdit
from sociogram.steering.tally import Tally
from sociogram.steering.worded import by_head, opened, words
from sociogram.watch.predictions import shown
from sociogram.watch.record import record_under
from sociogram.watch.request import Request

if TYPE_CHECKING:
    from sociogram.models.model import Model
    from sociogram.steering.steer import Steered

COLUMNS = ["edit", "layer", "head", "addressed", "changed", "moved"]


@dataclass(frozen=True, eq=False, repr=False)
class Receipt:
    """What the edits did in one run. Counts are exact; what needs further runs is computed when it is read."""

    steered: Steered
    inputs: Mapping[str, Tensor]
    tally: Tally
    to_come: int = 0
    past: Readable | None = None

    @property
    def path(self) -> str:
        """How edited attention calls were computed: `sdpa` (torch's own, with a mask), `explicit` (weights in the open); `hooks`
        where the residual stream was edited.
        """
        return " and ".join(sorted(self.tally.paths)) or "none"

    @property
    def speaks(self) -> bool:
        """Whether the model has next tokens to compare."""
        return not self.steered.model.find_anatomy(self.inputs).head.problem

    @cached_property
    def edits(self) -> pd.DataFrame:
        """One row per edit, layer and head reached.

        Columns `edit` (as text), `layer, head, addressed` (entries addressed that exist), `changed` (entries whose weight is
        another), `moved` (sum of absolute changes of weights over readers; NaN where a long pass was not measured). Over all
        passes of a generation, but what cuts and sources move is measured for the prompt only. Of a source the entries are the
        pairs of readers and its tokens, and `moved` is the weight that they got.

        Edits of the stream have no `head`: one row per edit and layer, `addressed` and `changed` count tokens, and `moved` is
        the sum of the norms of their changes. Edits of the output have no `layer` either: `addressed` and `changed` count
        predictions, and `moved` is the probability that went to other tokens, summed.
        """
        rows = []
        for (number, layer), count in sorted(self.tally.counts.items()):
            edit = self.steered.edits[number]
            for head in torch.nonzero(count.addressed)[:, 0].tolist():
                numbers = int(count.addressed[head]), int(count.changed[head]), float(count.moved[head])
                where = pd.NA if isinstance(edit, OutputEdit) else layer
                rows.append((str(edit), where, head if by_head(edit) else pd.NA, *numbers))
        whole = "Int64" if any(isinstance(edit, OutputEdit) for edit in self.steered.edits) else "int64"
        return pd.DataFrame(rows, columns=COLUMNS).astype({"head": "Int64", "layer": whole})

    @property
    def openings(self) -> pd.DataFrame:
        """When schedules over tokens were open: one row per edit that has one and reader addressed, in all passes.

        Columns `edit` (as text), `position, token, step` (tokens written so far, 0 in the prompt), `entropy` (nats, of the
        distribution that the moment had; NaN where none was asked for) and `open`. Schedules over layers have no rows: the
        layers that listened are in `edits`.
        """
        rows = [
            (str(edit), *self._moment(edit, position), said)
            for number, edit in enumerate(self.steered.edits)
            for position, said in sorted(self.tally.openings.get(number, {}).items())
        ]
        return pd.DataFrame(rows, columns=["edit", "position", "token", "step", "entropy", "open"])

    def _moment(self, edit: Edit, position: int) -> tuple[int, str, int, float]:
        clock = self.tally.clock
        assert clock is not None
        stack = edit.stack or clock.main
        own, texts = stack == clock.main, clock.texts[stack]
        text = texts[position] if position < len(texts) else ""
        return position, text, clock.step(position) if own else 0, clock.entropies.get(position, nan) if own else nan

    @cached_property
    def null_drift(self) -> float:
        """Largest |difference| of the prompt's logits (or last hidden state) between the plain model and the same path with edits
        that change nothing.
        """
        idle = type(self.steered)(self.steered.model, tuple(map(_nothing, self.steered.edits)))
        editors, _ = idle._editors(self.inputs, self.to_come, Tally(), self.past)
        return float((self._shown(editors) - self._plain).abs().max())

    @cached_property
    def output_change(self) -> pd.DataFrame:
        """The token after the prompt, plain and steered: columns `token, token_id, plain, steered` (probabilities), the most
        probable of either side first; `attrs["kl"]` is KL(plain || steered) in nats there. Of a generation it says nothing of
        edits that act on later tokens only.
        """
        return change_of_output(self.steered.model, self._plain[0, -1], self._steered[0, -1])

    @cached_property
    def first_departure(self) -> int | None:
        """The first layer after which some token's stream has left the plain one (by more than 1e-4 of its norm); None where none
        has. Of the prompt only, by two runs more.

        Raises:
            InputError: a run that read on from a past, which is not recorded.
            AccountError, UnsupportedModelError: the model's layers cannot be read.
        """
        if self.past is not None:
            raise InputError("where the stream departs is told by recordings, and runs that read on from a past are not recorded")

        def editors(given: Mapping[str, Tensor]) -> list[Editor]:
            return self.steered._editors(given, self.to_come, Tally())[0]

        both = [
            record_under(self.steered.model, dict(self.inputs), Request(keep=("residual",)), editors=made)
            for made in (None, editors)
        ]
        return first_departure(departure(*both))

    @cached_property
    def _plain(self) -> Tensor:
        return self._shown([])

    @cached_property
    def _steered(self) -> Tensor:
        return self._shown(self.steered._editors(self.inputs, self.to_come, Tally(), self.past)[0])

    def _shown(self, editors: Sequence[Editor]) -> Tensor:
        hf = self.steered.model.hf
        arguments = forward_arguments(hf, dict(self.inputs)) if self.past is None else self.past.arguments(self.inputs)
        with torch.no_grad():
            if not editors:
                return shown(hf(**arguments))
            with watching(hf, [], editors):
                return shown(hf(**arguments))

    def as_json(self) -> str:
        """Edits, path and counts as JSON, to be stored with a recording."""
        rows = json.loads(self.edits.to_json(orient="records", double_precision=15, force_ascii=False))
        return json.dumps(
            {"edits": [str(edit) for edit in self.steered.edits], "path": self.path, "landed": rows, "open_at": self._open_at()},
            ensure_ascii=False,
        )

    def _open_at(self) -> dict[str, list[int]]:
        """Per edit with a schedule over tokens, by its number, the positions at which it was open."""
        return {str(number): [p for p, said in sorted(known.items()) if said] for number, known in self.tally.openings.items()}

    def __str__(self) -> str:
        """One line per edit."""
        return "\n".join([*self._lines(), f"path: {self.path}, null drift {self.null_drift:.1e}"])

    def __repr__(self) -> str:
        """What landed, without running anything."""
        return "\n".join([*self._lines(), f"path: {self.path}"])

    def _lines(self) -> list[str]:
        lines = []
        for number, edit in enumerate(self.steered.edits):
            counts = {layer: count for (own, layer), count in self.tally.counts.items() if own == number}
            addressed, changed, moved = (sum(float(c.total(i).sum()) for c in counts.values()) for i in range(3))
            what, moving = words(edit, len(counts))
            moving = moving.format(moved)
            lines.append(
                f"{edit}: {int(addressed):,} {what}, "
                f"{int(changed):,} changed{'' if moved != moved else f', {moving}'}{opened(self.tally.openings.get(number))}"
            )
        return lines


@dataclass(frozen=True, kw_only=True)
class _Idle(Edit):
    """Takes the path of a cut, and cuts nothing."""

    name: ClassVar[str] = "idle"
    signs: ClassVar[bool] = True

    def cuts(self, scene: Scene) -> Tensor:
        """None of what is wanted."""
        return torch.zeros_like(scene.wanted)


def _nothing(edit: Edit) -> Edit:
    """An edit of the same layers and path that changes nothing."""
    if isinstance(edit, OutputEdit):
        return Unsaid(query=edit.query)
    if isinstance(edit, StreamEdit):
        return Still(layer=edit.layer, stack=edit.stack, like=edit)
    if edit.reweighs() or getattr(edit, "apart", False):
        return ScaleEdges(layer=edit.layer, stack=edit.stack, factor=1.0)
    return _Idle(layer=edit.layer, stack=edit.stack)


def change_of_output(model: Model, plain: Float[Tensor, " vocabulary"], steered: Float[Tensor, " vocabulary"]) -> pd.DataFrame:
    """The most probable next tokens of two runs side by side, from their logits; see `Receipt.output_change`."""
    one, two = (torch.log_softmax(x.double(), -1) for x in (plain, steered))
    ids = torch.unique(torch.cat([one.topk(5).indices, two.topk(5).indices]))
    table = pd.DataFrame(
        {
            "token": model.spell(ids.tolist()),
            "token_id": ids.tolist(),
            "plain": one[ids].exp().tolist(),
            "steered": two[ids].exp().tolist(),
        }
    )
    order = table[["plain", "steered"]].max(axis=1).sort_values(ascending=False, kind="stable").index
    table = table.loc[order].reset_index(drop=True)
    table.attrs["kl"] = float((one.exp() * (one - two)).nan_to_num().sum())
    return table


def check_landing(edits: Sequence[Edit], tally: Tally) -> None:
    """Refuse a run in which an edit met no entry that exists.

    Raises:
        EditDidNotLand: names the edit and the reason.
    """
    for number, edit in enumerate(edits):
        met = sum(int(count.addressed.sum()) for (own, _), count in tally.counts.items() if own == number)
        if met:
            continue
        hidden, gone = tally.hidden.get(number, 0), tally.gone.get(number, 0)
        if (closed := _closed(edit, tally, number)) is not None:
            raise EditDidNotLand(f"`{edit}` did not land: {closed}. Nothing was given out.")
        nobody = "no token of this run" if not by_head(edit) else "no pair of tokens of this run"
        reason = (
            f"the model's own mask hides all {hidden:,} entries that it addresses (no token hears later ones, nor what lies "
            "outside a sliding window)" + (f", and another edit cut {gone:,}" if gone else "")
            if hidden
            else f"another edit cut all {gone:,} entries that it addresses (cuts come first)"
            if gone
            else f"it addresses {nobody}"
        )
        raise EditDidNotLand(f"`{edit}` did not land: {reason}. Nothing was given out.")


def _closed(edit: Edit, tally: Tally, number: int) -> str | None:
    """Why nobody heard a source, where its schedule is the reason."""
    schedule, known = schedule_of(edit), tally.openings.get(number, {})
    if schedule is None or any(known.values()):
        return None
    if schedule.over == "layers":
        listened = any(own == number for own, _ in tally.counts)
        return None if listened else f"its schedule ({schedule}) opens none of the layers addressed"
    if not known or tally.clock is None:
        return None
    nothing = schedule.over == "generated" and not tally.clock.step(max(known))
    more = ", of which the model wrote none: let it write (steered.generate, record(generate=))" if nothing else ""
    return f"its schedule ({schedule}) was closed at all {len(known):,} positions that were read{more}"
