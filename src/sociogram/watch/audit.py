"""The proof that a recording's account adds up to the model's own residual stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from sociogram.core.errors import AccountError, RecordingError
from sociogram.models.verify import TOLERANCE, move_size, relative_error, within
from sociogram.watch.access import CROSS, OUTSIDE, is_own, listens, tensor
from sociogram.watch.recording import Recording

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Audit:
    """How well an account closes.

    Attributes:
        max_absolute_error: largest norm of (account - model's move) over all tokens and closed layers (opaque ones where no
            layer attends).
        max_relative_error: the same, each token's error over the norm of its own move.
        layers: a table with one row per layer and sequence: `stack, sequence, layer, status, absolute_error, relative_error,
            branch_error` (the messages against the attention branch's own output, relative) and `opaque_share` (norm of the
            opaque entry over the summed norms of all entries; 0 where there is none, 1 where there is nothing else).
    """

    max_absolute_error: float
    max_relative_error: float
    layers: pd.DataFrame

    @property
    def closed(self) -> int:
        """How many layers close at message level."""
        return int((self.layers.drop_duplicates(["stack", "layer"])["status"] == "closed").sum())

    def __str__(self) -> str:
        """One line: the worst relative error, and what is not covered."""
        statuses = self.layers.drop_duplicates(["stack", "layer"])["status"].value_counts()
        rest = "".join(f", {statuses[name]} layers {name}" for name in ("opaque", "unsupported") if name in statuses)
        return f"account closed: {self.max_relative_error:.1e}{rest}"


def audit(rec: Recording) -> Audit:
    """Add every entry up and compare with the stream, layer by layer.

    Messages are recomputed from the stored weights and values and the output projection; the MLP, norms and biases are as read
    from their own modules; the stream is what the model computed. Relative error = worst token's |account - move| / |move|.

    Raises:
        AccountError: a layer does not close; names it and the part.
        RecordingError: weights, values, stream or entries were not kept, or the projections need the model.
    """
    missing = {"residual", "weights", "value_vector", "attention_out", "mlp_out"} - set(rec.tree.attrs["kept"])
    if missing:
        raise RecordingError(f'the audit needs {", ".join(sorted(missing))}, not kept here: record with keep="default"')
    rows = []
    for name in rec.stacks:
        if not is_own(name):
            continue
        for number in range(rec.stack(name).sizes.get("sequence", 1)):
            one = rec.sequence(number) if "sequence" in rec.stack(name).dims else rec
            rows += [{"stack": name, "sequence": number, **_layer(one, name, i)} for i in range(one.stack(name).sizes["layer"])]
    table = pd.DataFrame(rows)
    closed = table[table["status"] == "closed"]
    if closed.empty:  # nobody attends: what can be told is whether the opaque entries make up the moves
        closed = table[table["status"] == "opaque"]
    if closed.empty:
        raise RecordingError("no layer of this recording has an account to audit: all are unsupported")
    return Audit(float(closed["absolute_error"].max()), float(closed["relative_error"].max()), table)


def _layer(rec: Recording, stack: str, index: int) -> dict[str, object]:
    dataset = rec.stack(stack).isel(layer=index)
    status = str(dataset["status"].values)
    if status == "unsupported":
        nothing = dict.fromkeys(("absolute_error", "relative_error", "branch_error"), float("nan"))
        return {"layer": index, "status": status, **nothing, "opaque_share": float("nan")}
    before, after = stream(rec, stack, index)
    heard, branch = _messages(rec, stack, index, status)
    parts = {name: tensor(dataset[name]) for name in ("mlp_out", "rescaling", "opaque", "edited") if name in dataset}
    parts = {name: part for name, part in parts.items() if not bool(part.isnan().all())}
    account = torch.stack([*heard, *parts.values()]).sum(0, dtype=torch.float64)
    move = after.double() - before.double()
    error = (account - move).norm(dim=-1)
    size = move_size(move, parts.get("edited"))
    relative = relative_error(error, size)
    dtype = getattr(torch, str(rec.tree.attrs["dtype"]))
    if not within(error, size, after.double().norm(dim=-1), dtype) or not branch <= TOLERANCE[dtype]:
        raise _gap(stack, index, relative, branch, float(error.max()))
    return {
        "layer": index,
        "status": status,
        "absolute_error": float(error.max()),
        "relative_error": relative,
        "branch_error": branch,
        "opaque_share": _share(parts.get("opaque"), [*heard, *parts.values()]),
    }


def stream(rec: Recording, stack: str, index: int) -> tuple[Float[Tensor, "query d_model"], Float[Tensor, "query d_model"]]:
    """Where the tokens stood before and after a layer."""
    dataset = rec.stack(stack)
    residual = rec.need(dataset, "residual")
    start = int(dataset["layer_start"].isel(layer=index))
    if start < 0:
        kept = sorted({int(i) for i in dataset["stop_layer"].values})
        raise RecordingError(f"the stream of layer {index} was not kept, only that of layers {', '.join(map(str, kept))}")
    own = (dataset["stop_layer"].values == index) & (dataset["stop_part"].values != "input")
    return tensor(residual.isel(stop=start)), tensor(residual.isel(stop=int(own.nonzero()[0].max())))


def _messages(rec: Recording, stack: str, index: int, status: str) -> tuple[list[Tensor], float]:
    """Summed messages and biases of the layer's branches, and how far the worst branch is from its own output."""
    parts: list[Tensor] = []
    worst = 0.0
    if status != "closed":
        return parts, worst
    for name in (stack, stack + CROSS, stack + OUTSIDE):
        if name not in rec.stacks or not listens(rec.stack(name), index):
            continue
        messages = rec.messages(index, stack=name)
        total = messages.mixed() + messages.bias
        worst = max(worst, relative_error((total - messages.out).norm(dim=-1), messages.branch.norm(dim=-1)))
        parts.append(total)
    return parts, worst


def _gap(stack: str, index: int, relative: float, branch: float, absolute: float) -> AccountError:
    heard = branch > relative / 10
    part = "the messages and bias do not sum to the attention branch's output" if heard else "an entry other than attention"
    return AccountError(
        f"the account of layer {index} in {stack!r} does not add up: {part} (relative error {relative:.1e}, branch {branch:.1e}, "
        f"absolute {absolute:.1e}). Either the recording was changed, or it is opened with another model's projections."
    )


def _share(opaque: Tensor | None, parts: list[Tensor]) -> float:
    if opaque is None:
        return 0.0
    return float(opaque.norm() / sum(part.norm() for part in parts))
