"""How far each token moved in each layer, and who moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from sociogram.watch.access import CROSS, OUTSIDE, listens, tensor
from sociogram.watch.audit import stream
from sociogram.watch.few import branch_out, entry_move, few_of, hears, is_rounded, is_streamed
from sociogram.watch.streamed import KINDS

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

BESIDE = {"from_source": CROSS, "from_outside": OUTSIDE}
"""Columns for messages from elsewhere than the stack's own tokens, and the nodes that hold them."""


def moves(rec: Recording) -> pd.DataFrame:
    """Norms of what moved each token in each layer of the main stack.

    Returns:
        One row per layer and token: `layer, query, token, moved` (the model's own move), `from_others` (sum of messages from
        other tokens), `from_itself` (its messages to itself), `from_source` (from another sequence, where the stack listens to
        one), `from_outside` (from what an edit let it hear besides), `mlp`, `edited` (what edits of the stream changed, in
        recordings of such runs), `rest` (biases, norms, opaque mixers), `attention` (the branch's output, without what came from
        outside) and `self_share`, the token's own share of the summed norms of all messages that it heard from its own sequence
        (NaN in layers without messages).
        `attrs["self_share_correlation"]` is Spearman's rank correlation, over tokens and layers, of `self_share` with the
        attention branch's move relative to the token's norm: `{"all": ..., "without_first": ...}`.

        Where places in the stream were rounded (`residual="bfloat16"`), what could only be told from two of them is NaN.

    Raises:
        RecordingError: what is needed was not kept.

    Misleads: norms do not add up (moves can cancel); vectors do, and the audit is about those.
    """
    tables = [_layer(rec, index) for index in range(rec.dataset.sizes["layer"])]
    table = pd.concat([t for t in tables if t is not None], ignore_index=True)
    table.attrs["self_share_correlation"] = {
        "all": _correlation(table),
        "without_first": _correlation(table[table["query"] > 0]),
    }
    return table.drop(columns="relative")


def _layer(rec: Recording, index: int) -> pd.DataFrame | None:
    dataset = rec.dataset.isel(layer=index)
    status = str(dataset["status"].values)
    if status == "unsupported":
        return None
    before, after = stream(rec, rec.main, index)
    parts: dict[str, Tensor | None] = dict.fromkeys(("from_others", "from_itself", *BESIDE, "attention", "self_share"))
    rest: list[Tensor] = []
    if status == "closed":
        parts |= _heard(rec, index, rest)
    rest += [t for name in ("rescaling", "opaque") if (t := _entry(rec, index, name)) is not None]
    mlp = _entry(rec, index, "mlp_out")
    share = parts.pop("self_share")
    columns = {name: _norm(value, before) for name, value in parts.items()}
    nothing = torch.full(before.shape[:1], float("nan"))
    table = pd.DataFrame(
        {
            "layer": index,
            "query": range(len(before)),
            "token": dataset["query_token"].values,
            "moved": (nothing if is_rounded(rec) else (after - before).norm(dim=-1)).numpy(),
            **{name: value.numpy() for name, value in columns.items()},
            "mlp": _norm(mlp, before).numpy(),
            **({"edited": _norm(_entry(rec, index, "edited"), before).numpy()} if "edited" in rec.dataset else {}),
            "rest": _norm(torch.stack(rest).sum(0) if rest else torch.zeros_like(before), before).numpy(),
            "self_share": (nothing if share is None else share).numpy(),
            "relative": (columns["attention"] / before.norm(dim=-1)).numpy(),
        }
    )
    return table.drop(columns=[column for column, suffix in BESIDE.items() if rec.main + suffix not in rec.stacks])


def _heard(rec: Recording, index: int, rest: list[Tensor]) -> dict[str, Tensor | None]:
    """The messages' side of a layer; biases are appended to `rest`."""
    if is_streamed(rec.dataset):
        return _heard_by_few(rec, index, rest)
    heard: dict[str, Tensor | None] = {}
    if listens(rec.dataset, index):
        messages = rec.messages(index)
        norms = messages.norms()
        own = torch.diagonal(norms, dim1=1, dim2=2).sum(0)
        rest.append(messages.bias)
        heard |= {
            "from_others": messages.from_others(),
            "from_itself": messages.from_itself(),
            "attention": messages.out,
            "self_share": own / norms.sum((0, 2)),
        }
    for column, suffix in BESIDE.items():
        name = rec.main + suffix
        if name in rec.stacks and listens(rec.stack(name), index):
            other = rec.messages(index, stack=name)
            heard[column] = other.mixed()
            rest.append(other.bias)
    return heard


def _heard_by_few(rec: Recording, index: int, rest: list[Tensor]) -> dict[str, Tensor | None]:
    """The same of a streamed recording, from its strongest messages and sums."""
    few = few_of(rec, index, rec.main)
    rest.append(few.bias)
    itself = few.rows("message")[KINDS.index("itself")].sum(0)
    heard: dict[str, Tensor | None] = {
        "from_others": few.from_others(),
        "from_itself": few.from_itself(),
        "attention": few.out,
        "self_share": itself / few.rows("message").sum((0, 1)),
    }
    for column, suffix in BESIDE.items():
        name = rec.main + suffix
        if name in rec.stacks and hears(rec, index, name):
            other = branch_out(rec, index, name)
            bias = tensor(rec.stack(name)["bias"].isel(layer=index)).nan_to_num() if "bias" in rec.stack(name) else 0 * other
            heard[column] = other - bias
            rest.append(bias)
    return heard


def _entry(rec: Recording, index: int, name: str) -> Tensor | None:
    if name not in rec.dataset:
        return entry_move(rec, index, name)
    value = tensor(rec.dataset[name].isel(layer=index))
    return entry_move(rec, index, name) if bool(value.isnan().all()) else value


def _norm(value: Tensor | None, like: Tensor) -> Tensor:
    """Norm per token; NaN where the layer has no such entry."""
    return torch.full(like.shape[:1], float("nan"), dtype=like.dtype) if value is None else value.norm(dim=-1)


def _correlation(table: pd.DataFrame) -> float:
    """Spearman's rank correlation of self share and relative attention move."""
    both = table[["self_share", "relative"]].dropna()
    return float(both["self_share"].rank().corr(both["relative"].rank())) if len(both) > 2 else float("nan")
