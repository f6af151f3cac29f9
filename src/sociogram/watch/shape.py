"""The shape of a flock: how close its tokens are, how much together they move. Each measure is one function.

Functions take the tokens of one stop, `[token, d_model]`, or of several at once, and answer in float64, one number a stop.

The first token of a trained decoder is far away and large (a sink), and most measures speak of it alone where it is counted: so
each is asked of all tokens and of all but the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sociogram.core import linear
from sociogram.watch.near import nearest_others

JOINED = 0.9
"""Tokens whose cosine is at least this are taken to be in one cluster."""

NAN = float("nan")

CHUNK = 1024
"""So many tokens of a stop at a time are widened to float64."""


@dataclass(frozen=True)
class Measure:
    """A measure's words: what it says, in which unit, and whether it changes with the number of tokens alone."""

    label: str
    unit: str
    counts: bool


MEASURES = {
    "cohesion": Measure("mean cosine of two tokens", "cosine", False),
    "alignment": Measure("how far the tokens move the same way", "0 to 1", True),
    "dispersion": Measure("distance to the centre of all", "norm of the stream", False),
    "nearest": Measure("distance to the nearest other token", "norm of the stream", True),
    "effective_rank": Measure("how many directions the tokens take up", "directions", True),
    "clusters": Measure(f"groups of tokens joined by a cosine of {JOINED} or more", "clusters", True),
}


def cohesion(places: Float[Tensor, "*stop token d_model"]) -> Float[Tensor, "*stop"]:
    """Mean cosine of all pairs of different tokens: 1 where all point the same way, 0 where they are orthogonal.

    Never below -1 / (n - 1) for n tokens. NaN for fewer than two. Tokens at exactly zero have no direction and are left out.

    Misleads: trained models put a shared direction into every token, so that cohesion is high without any meeting (Ethayarajh
    2019); the `centred` view and `effective_rank` say what is beside it. The quantity of Geshkovski et al. (2023).
    """
    total, count = _directions(places)
    return ((total.square().sum(-1) - count) / (count * (count - 1))).where(count > 1, NAN)


def alignment(
    before: Float[Tensor, "*stop token d_model"], after: Float[Tensor, "*stop token d_model"]
) -> Float[Tensor, "*stop"]:
    """Order parameter of Vicsek et al. (1995): norm of the mean of the tokens' moves, each made a unit vector.

    1 where all move the same way, 0 where the moves cancel; n random moves give about 1 / sqrt(n), so compare with the null and
    never across prompts of other lengths. Tokens that do not move are left out; NaN where fewer than two move.

    Misleads: a bias vector moves all tokens the same way, and that is counted; how *far* they move is not.
    """
    total, count = _directions(after, before)
    return (total.norm(dim=-1) / count).where(count > 1, NAN)


def dispersion(places: Float[Tensor, "*stop token d_model"]) -> Float[Tensor, "*stop"]:
    """Root mean square distance of the tokens to their centroid, in the stream's own unit; NaN where there are none.

    Misleads: the stream grows from layer to layer in pre-norm models, and dispersion with it; one far token can make all of it.
    """
    middle = places.mean(-2, keepdim=True, dtype=torch.float64)
    parts = [(some.double() - middle).square().sum((-2, -1)) for some in places.split(CHUNK, -2)]
    return (torch.stack(parts).sum(0) / places.shape[-2]).sqrt()


def nearest(places: Float[Tensor, "token d_model"]) -> Float[Tensor, ""]:
    """Mean over tokens of the distance to the nearest other, in the stream's own unit; NaN for fewer than two tokens.

    Falls with the number of tokens alone; a repeated token is at 0 of its copy wherever no position is added to the embedding.
    """
    return nearest_others(places, 1)[1].mean()


def effective_rank(places: Float[Tensor, "*stop token d_model"]) -> Float[Tensor, "*stop"]:
    """exp of the entropy of the normalised singular values of the token matrix (Roy & Vetterli 2007), the mean not removed.

    From 1 (all on one line through the origin) to min(tokens, d_model). NaN for no tokens, or all at zero.

    Misleads: one large token or shared direction brings it down however the others spread; it cannot exceed the number of
    tokens, so never compare it across prompts of other lengths. Entropy of squared singular values gives smaller numbers.
    """
    return torch.from_numpy(linear.effective_rank(places.numpy()))


def effective_ranks(places: Float[Tensor, "*stop token d_model"]) -> tuple[Float[Tensor, "*stop"], Float[Tensor, "*stop"]]:
    """`effective_rank` of all tokens, and of all but the first; of many tokens for the price of one."""
    others = places[..., 1:, :]
    if others.shape[-2] < places.shape[-1]:
        return effective_rank(places), effective_rank(others)
    wide, first = others.double().numpy(), places[..., 0, :].double().numpy()
    products = linear.gram(wide.swapaxes(-1, -2))
    both = (linear.rank_of_products(p) for p in (products + first[..., :, None] * first[..., None, :], products))
    everybody, rest = (torch.from_numpy(np.asarray(rank)) for rank in both)
    return everybody, rest


def clusters(places: Float[Tensor, "*stop token d_model"], threshold: float = JOINED) -> Float[Tensor, "*stop"]:
    """How many groups remain when every two tokens whose cosine is at least `threshold` are joined; NaN for no tokens.

    From 1 to the number of tokens. Tokens at exactly zero stand alone.

    Misleads: joins are chained, so that two ends of one cluster may be far apart; and it depends on the threshold.
    """
    return groups(joined(places, threshold))


def joined(places: Float[Tensor, "*stop token d_model"], threshold: float = JOINED) -> Bool[Tensor, "*stop token token"]:
    """Which tokens have at least this cosine."""
    ways = places / places.norm(dim=-1, keepdim=True)
    return torch.from_numpy(linear.gram(ways.numpy()) >= threshold)


def groups(together: Bool[Tensor, "*stop token token"]) -> Float[Tensor, "*stop"]:
    """How many groups tokens fall into when those that are joined are together, directly or through others."""
    stops, count = together.shape[:-2], together.shape[-1]
    if not count:
        return torch.full(stops, NAN, dtype=torch.float64)
    stop, one, other = together.reshape(-1, count, count).triu(1).nonzero(as_tuple=True)
    total = stops.numel() * count  # every token of every stop is a node of one graph
    links = coo_array((np.ones(len(stop), bool), (stop * count + one, stop * count + other)), (total, total))
    _, labels = connected_components(links, directed=False)
    founders = np.unique(labels, return_index=True)[1] // count
    return torch.from_numpy(np.bincount(founders, minlength=stops.numel()).astype(np.float64)).reshape(stops)


def _directions(after: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum of unit vectors (of places, or of moves), and how many have a direction."""
    total, count = torch.zeros(*after.shape[:-2], after.shape[-1], dtype=torch.float64), torch.zeros(after.shape[:-2]).long()
    for start in range(0, after.shape[-2], CHUNK):
        some = slice(start, start + CHUNK)
        wide = after[..., some, :].double()
        if before is not None:
            wide = wide - before[..., some, :].double()
        sizes = wide.norm(dim=-1)
        count += (sizes > 0).sum(-1)
        total += (sizes.where(sizes > 0, torch.inf).reciprocal()[..., None, :] @ wide)[..., 0, :]
    return total, count


def measured(
    places: Float[Tensor, "*stop token d_model"],
    before: Float[Tensor, "*stop token d_model"],
    far: Float[Tensor, "*stop asked"],
    together: Bool[Tensor, "*stop asked asked"],
    rank: Float[Tensor, "*stop"],
) -> dict[str, Float[Tensor, "*stop"]]:
    """Every measure.

    Args:
        places: where the tokens are.
        before: where they were at the stop before.
        far: how far the nearest other is, and `together`: who is joined, both of all tokens or of some. They are given since
            they take tokens x tokens, and what is known of all tokens is known of all but the first; so is `rank`, the
            effective rank.
    """
    return {
        "cohesion": cohesion(places),
        "alignment": alignment(before, places),
        "dispersion": dispersion(places),
        "nearest": far.mean(-1),
        "effective_rank": rank,
        "clusters": groups(together),
    }
