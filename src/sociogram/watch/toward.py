"""Direct logit attribution: what each entry of the account adds to one token's logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.models.head import logit_direction
from sociogram.watch.access import CROSS, OUTSIDE, listens, tensor

if TYPE_CHECKING:
    from sociogram.models.model import Model
    from sociogram.watch.arrays import Address
    from sociogram.watch.recording import Recording


@dataclass(frozen=True, eq=False)
class Toward:
    """The direction of one token's logit at every reader of the main stack."""

    token: int
    text: str
    directions: Float[Tensor, "query d_model"]
    constant: float
    capped: bool


def logit_directions(rec: Recording, token: str | int) -> Toward:
    """The direction in which a token's logit grows, at each reader, with the final norm's scale of this run frozen.

    Raises:
        InputError: a text that is not exactly one token, an id outside the vocabulary, or a model whose logits are no linear
            function of the stream.
        RecordingError: the model is not at hand, or the stream where it ends was not kept.
    """
    if rec.model is None:
        raise RecordingError("toward= needs the model's unembedding: open the recording with sg.open_recording(path, model=...)")
    head = rec.anatomy.head
    if head.problem:
        raise InputError(f"toward= cannot be had of {rec.model.name}: {head.problem}")
    number = token_id(rec.model, token)
    residual = rec.need(rec.dataset, "residual")
    if int(rec.dataset["stop_layer"].values[-1]) != rec.dataset.sizes["layer"] - 1:
        raise RecordingError(
            "toward= needs the stream at its end, where the final norm meets it: record with residual_layers=[..., -1], or leave "
            "residual_layers out"
        )
    last = tensor(residual.isel(stop=-1))
    direction = logit_direction(rec.model.hf, head, last.to(rec.model.device), number)
    text = rec.model.spell([number])[0]
    directions = direction.directions.to(last).cpu()
    return Toward(number, text, directions, direction.constant, head.capped)


def token_id(model: Model, token: str | int, call: str = "toward") -> int:
    """The id of a token given as text or number; `call` is the name of the user's argument, for messages.

    Raises:
        InputError: no such id, or a text of several tokens (lists them).
    """
    size = model.hf.get_output_embeddings().weight.shape[0]
    if isinstance(token, str):
        if model.tokenizer is None:
            raise InputError(f"{call}={token!r}: the model has no tokenizer, give the token's id")
        ids = model.tokenizer.encode(token, add_special_tokens=False)
        if len(ids) != 1:
            pieces = ", ".join(repr(piece) for piece in model.spell(ids)) or "nothing"
            hint = f" Did you mean {' ' + token!r}?" if not token.startswith(" ") and _single(model, " " + token) else ""
            raise InputError(f"{call}={token!r} is not one token but {len(ids)} ({pieces}); choose one of them.{hint}")
        token = ids[0]
    number = int(token)
    if not 0 <= number < size:
        raise InputError(f"{call}={token}: no such token id; the vocabulary has {size}")
    return number


def _single(model: Model, text: str) -> bool:
    return model.tokenizer is not None and len(model.tokenizer.encode(text, add_special_tokens=False)) == 1


def attribution(rec: Recording, token: str | int, *, query: Address = -1) -> pd.DataFrame:
    """What each entry adds to the logit of `token` at one reader; the rows sum to that logit.

    Args:
        token: the token whose logit is taken apart, as text (one token; mind the leading space) or id.
        query: the reader, by position or text; the last one when left out.

    Returns:
        Columns `layer, entry, toward`: `start` (the stream before the first layer), per layer `messages`, `bias`, `mlp`,
        `rescaling`, `opaque`, `edited` (by edits of the stream; where they changed a layer's input, that is `between layers`),
        and `constant` (the final norm's and the unembedding's bias). `attrs["logit"]` is the sum;
        `attrs["capped"]` says that the model squashes its logits afterwards (the sum is the logit before that).

    Raises:
        InputError, RecordingError: as `edges(toward=...)`.

    Misleads: direct effects only; a message that changes what later layers say counts with them, not with itself.
    """
    toward = logit_directions(rec, token)
    place = rec.find("query", query)
    along = toward.directions[place].double()
    residual = tensor(rec.dataset["residual"].isel(query=place)).double()
    rows: list[dict[str, object]] = [{"layer": -1, "entry": "start", "toward": float(residual[0] @ along)}]
    for stop in range(1, len(residual)):
        if str(rec.dataset["stop_part"].values[stop]) == "input":
            jump = residual[stop] - residual[stop - 1]
            rows.append(
                {
                    "layer": int(rec.dataset["stop_layer"][stop]),
                    "entry": "between layers",
                    "toward": float(jump @ along),
                }
            )
    for index in range(rec.dataset.sizes["layer"]):
        rows += [{"layer": index, "entry": n, "toward": float(v.double() @ along)} for n, v in _entries(rec, index, place)]
    rows.append({"layer": rec.dataset.sizes["layer"], "entry": "constant", "toward": toward.constant})
    table = pd.DataFrame(rows)
    table.attrs |= {"token": toward.text, "logit": float(table["toward"].sum()), "capped": toward.capped}
    return table


def _entries(rec: Recording, index: int, place: int) -> list[tuple[str, Tensor]]:
    dataset = rec.dataset.isel(layer=index)
    found: list[tuple[str, Tensor]] = []
    for stack in (rec.main, rec.main + CROSS, rec.main + OUTSIDE):
        if stack in rec.stacks and listens(rec.stack(stack), index):
            messages = rec.messages(index, stack=stack)
            found += [("messages", messages.mixed()[place]), ("bias", messages.bias[place])]
    for name in ("mlp_out", "rescaling", "opaque", "edited"):
        if name in dataset and not bool(dataset[name].isel(query=place).isnull().all()):
            found.append((name.removesuffix("_out"), tensor(dataset[name])[place]))
    return [(name, value) for name, value in found if bool(torch.any(value != 0))]
