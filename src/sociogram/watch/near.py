"""Who stands next to whom: nearest neighbours in the full space, exact, with memory linear in the number of tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

PAIRS = 2**22
"""Pairs of tokens held at once."""

NUMBERS = 2**19
"""Numbers of differences held at once: what stays in the cache of one core."""

SPARE = 3
"""Candidates looked at beyond those asked for, before it is known how many are needed."""


def nearest_others(
    places: Float[Tensor, "token d_model"], count: int, asked: Int[Tensor, " asked"] | None = None
) -> tuple[Int[Tensor, "asked neighbour"], Float[Tensor, "asked neighbour"]]:
    """Each token's `count` nearest others (all there are, if fewer) by Euclidean distance, nearest first; ties by position.

    Of all tokens, or of those asked for (positions), whose neighbours are still looked for among all.

    Candidates come from inner products, with the rounding of these as margin; distances are then taken of differences, so that
    copies of one vector are at 0 exactly.
    """
    total = len(places)
    count = min(count, total - 1)
    who = torch.arange(total) if asked is None else asked
    if count < 1 or not len(who):
        return torch.zeros(len(who), max(count, 0), dtype=torch.long), torch.zeros(len(who), max(count, 0), dtype=torch.float64)
    middle = places - places[1:].mean(0)
    blocks = [_block(places, middle, rows, count) for rows in who.split(max(1, PAIRS // total))]
    index, distance = (torch.cat(column) for column in zip(*blocks, strict=True))
    return index, distance


def _block(places: Tensor, middle: Tensor, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Neighbours of some of the tokens. `low` is a lower bound of each squared distance, `reach` an upper one of the last."""
    total, width = places.shape
    slack = (width + 8) * torch.finfo(places.dtype).eps
    squares = middle.square().sum(-1)
    readers = middle if torch.equal(rows, torch.arange(total)) else middle[rows]  # numpy halves a product with its own transpose
    low = torch.from_numpy(readers.numpy() @ middle.numpy().T)
    low.mul_(-2).add_((1 - slack) * squares).add_((1 - slack) * squares[rows, None])
    low[torch.arange(len(rows)), rows] = torch.inf
    few = low.topk(min(count + SPARE, total - 1), largest=False)
    index, distance = _exact(places, rows, few.indices, count)
    margin = 2 * slack * (squares[rows, None] + squares[few.indices[:, :count]])
    reach = (few.values[:, :count] + margin).amax(1)
    unsettled = (few.values[:, -1] <= reach).nonzero()[:, 0] if few.indices.shape[1] < total - 1 else rows[:0]
    needed = (low[unsettled] <= reach[unsettled, None]).sum(1)
    for some in needed.argsort().split(64) if len(needed) else ():
        row, most = unsettled[some], int(needed[some].max())
        more = low[row].topk(most, largest=False).indices
        index[row], distance[row] = _exact(places, rows[row], more, count)
    return index, distance


def _exact(places: Tensor, rows: Tensor, candidates: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest of each row's candidates, by distances taken of differences."""
    candidates = candidates.sort(1).values
    chunk = max(1, NUMBERS // (candidates.shape[1] * places.shape[1]))
    parts = [
        torch.linalg.vector_norm(places[r, None] - places[c], dim=-1).double()
        for r, c in zip(rows.split(chunk), candidates.split(chunk), strict=True)
    ]
    distances, order = torch.cat(parts).sort(dim=1, stable=True)
    return candidates.gather(1, order[:, :count]), distances[:, :count]
