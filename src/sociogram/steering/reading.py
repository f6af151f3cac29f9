"""How a model is run on from a past: fresh caches, and the position of every token said outright."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.continuing import first_position
from sociogram.models.inputs import check_length, takes

if TYPE_CHECKING:
    from sociogram.steering.past import Past


def tokens_and_mask(hf: Any, ids: Int[Tensor, " token"]) -> dict[str, Tensor]:
    """`input_ids` `[1, token]` and, where the model takes it, the mask of ones: without it a model may guess at packed texts."""
    given = {"input_ids": ids[None]}
    return given | ({"attention_mask": torch.ones_like(ids[None])} if takes(hf, "attention_mask") else {})


def one_pass(past: Past, whole: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of one pass over what follows a past in `whole`; `Past.arguments` says more."""
    base, positions = _base(past, whole)
    fresh: dict[str, Any] = {"input_ids": whole["input_ids"][:, len(base) :], "use_cache": True}
    if len(base):
        fresh["past_key_values"] = base.cache()
    return {**whole, **fresh, **given_positions(past, positions[len(base) :])}


def many_passes(past: Past, whole: Mapping[str, Tensor], new: int, copies: int) -> dict[str, Any]:
    """Arguments of `generate` beside the tokens; `Past.generation` says more."""
    base, positions = _base(past, whole)
    check_length(past.model.hf, int(positions[-1]) + 1, new)
    given: dict[str, Any] = {"past_key_values": base.cache(copies)} if len(base) else {}
    return given | given_positions(past, positions)


def given_positions(past: Past, positions: Int[Tensor, " token"]) -> dict[str, Tensor]:
    """`position_ids` `[1, token]` to read on from a past; none where its tokens stand as they lie and the model counts by itself.

    Some models count from behind their padding row (RoBERTa): positions said outright are moved there.
    """
    if _is_plain(past) or not takes(past.model.hf, "position_ids"):
        return {}
    return {"position_ids": positions[None] + first_position(past.model.hf)}


def _is_plain(past: Past) -> bool:
    count = len(past)
    return past.next_position == count and bool((past.positions == torch.arange(count, device=past.ids.device)).all())


def _base(past: Past, whole: Mapping[str, Tensor]) -> tuple[Past, Tensor]:
    """What of a past is not run again, and the positions of all tokens. Where nothing follows, the last token is."""
    readable(past)
    count = whole["input_ids"].shape[1] - len(past)
    check_length(past.model.hf, past.next_position + count)
    fresh = torch.arange(past.next_position, past.next_position + count, device=past.ids.device)
    return (past if count else first_of(past, len(past) - 1)), torch.cat([past.positions, fresh])


def first_of(past: Past, count: int) -> Past:
    """The first so many tokens of a past: also none. The next position is that of the first token left out."""
    keys, values = (tuple(t[:, :count] for t in tensors) for tensors in (past.keys, past.values))
    end = int(past.positions[count]) if count < len(past) else past.next_position
    return replace(
        past,
        ids=past.ids[:count],
        texts=past.texts[:count],
        positions=past.positions[:count],
        next_position=end,
        keys=keys,
        values=values,
    )


def readable(past: Past) -> Past:
    """The past itself, if its model can read on from where its tokens stand.

    Raises:
        InputError: tokens that do not stand where they lie, in a model that does not take positions.
    """
    if _is_plain(past):
        return past
    rotation = past.rotation
    if rotation.by_index or not (rotation.given or rotation.kind == "free"):
        why = "measures distances by the place in the cache" if rotation.by_index else "counts positions by itself"
        raise InputError(
            f"the tokens of this past would stand at {shown_positions(past)}, and {type(past.model.hf).__name__} {why}: it can "
            f"read on only from tokens at 0 to {len(past) - 1}. Where keys can be moved, erase(..., close=True) leaves no hole"
        )
    return past


def shown_positions(past: Past) -> str:
    """The positions of a past, and the next one where it does not follow."""
    if not len(past):
        return "no position"
    follows = past.next_position == int(past.positions[-1]) + 1
    plural = "s" if len(past) > 1 else ""
    return f"position{plural} {listed(past.positions)}" + ("" if follows else f" (next: {past.next_position})")


def listed(positions: Int[Tensor, " token"]) -> str:
    """Positions as people list them: `0 to 3, 7`; of many runs the first and the last."""
    runs: list[list[int]] = []
    for position in positions.tolist():
        if runs and runs[-1][1] == position - 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    words = [str(a) if a == b else f"{a} to {b}" for a, b in runs]
    return ", ".join(words if len(words) <= 6 else [*words[:3], "...", *words[-2:]])
