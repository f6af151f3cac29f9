"""Representatives: which few of many points stand for the others."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROUNDS = 50


def medoids(points: Float[Tensor, "point width"], count: int) -> tuple[Int[Tensor, " medoid"], Int[Tensor, " point"]]:
    """The points that represent all others best, and whose cluster each point is in (k-medoids, Euclidean distance).

    Begins greedily (each new medoid shortens the summed distances most, as BUILD of Kaufman & Rousseeuw 1990), then alternates
    between joining the nearest medoid and moving each medoid to its cluster's middle, until nothing changes. No chance is
    involved; ties go to the earlier point. A local optimum, not the best of all.

    Returns:
        The medoids' indices, in order, and for each point the number of its cluster. At most as many as there are points.
    """
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    chosen = _build(distances, min(count, len(points)))
    for _ in range(ROUNDS):
        labels = distances[:, chosen].argmin(1)
        moved = _middles(distances, chosen, labels)
        if torch.equal(moved, chosen):
            break
        chosen = moved
    chosen = chosen.sort().values
    return chosen, _joined(distances, chosen)


def _build(distances: Tensor, count: int) -> Tensor:
    first = int(distances.sum(0).argmin())
    chosen, nearest = [first], distances[:, first].clone()
    while len(chosen) < count:
        gain = (nearest[:, None] - distances).clamp_min(0).sum(0)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        nearest = torch.minimum(nearest, distances[:, chosen[-1]])
    return torch.tensor(chosen, device=distances.device)


def _middles(distances: Tensor, chosen: Tensor, labels: Tensor) -> Tensor:
    middles = chosen.clone()
    for number in range(len(chosen)):
        members = torch.nonzero(labels == number)[:, 0]
        if len(members):
            middles[number] = members[distances[members[:, None], members[None]].sum(0).argmin()]
    return middles


def _joined(distances: Tensor, chosen: Tensor) -> Tensor:
    """Each point's nearest medoid; a medoid's own cluster is its own, also where points coincide."""
    labels = distances[:, chosen].argmin(1)
    labels[chosen] = torch.arange(len(chosen), device=chosen.device)
    return labels
