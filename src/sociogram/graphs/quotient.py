"""The graph of communities: what groups of tokens tell each other, layer by layer, and who goes where between layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from sociogram.core.errors import InputError
from sociogram.graphs.asked import picture
from sociogram.graphs.information import adjusted
from sociogram.graphs.measures import without_self

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks


def quotient(
    weights: Float[np.ndarray, "query key"], allowed: Bool[np.ndarray, "query key"], labels: Int[np.ndarray, " token"]
) -> xr.Dataset:
    """What communities tell each other, `[reader, sender]`.

    Returns:
        `sum` (of the weights), `pairs` (how many the mask leaves) and `mean` (weight of a pair; NaN where the mask leaves none),
        with the coordinate `tokens` (size of each reader's community). Sums over all pairs of communities are the graph's total.
    """
    member = np.eye(int(labels.max()) + 1)[labels]
    total, pairs = (member.T @ numbers @ member for numbers in (weights, allowed.astype(np.float64)))
    mean = np.divide(total, pairs, out=np.full(total.shape, np.nan), where=pairs > 0)
    names = np.arange(len(total))
    parts = {"sum": total, "pairs": np.rint(pairs).astype(np.int64), "mean": mean}
    return xr.Dataset(
        {name: (("reader", "sender"), values) for name, values in parts.items()},
        {"reader": names, "sender": names, "tokens": ("reader", member.sum(0).astype(np.int64))},
    )


@dataclass(frozen=True, eq=False)
class CommunitySeries:
    """Communities of the same tokens in one layer after the other.

    Attributes:
        labels: the community of each token, `[layer, token]`; numbers mean something within a layer alone.
        quotients: the graphs of communities: `layer, reader, sender, sum, pairs, mean`.
        flows: who goes where: `layer, next_layer, community, next_community, tokens` (how many of a layer's community are in that
            of the next layer), `share` (of the former), `next_share` (of the latter), `jaccard` (over the tokens of either).
        changes: one row per step: `layer, next_layer, communities, next_communities, agreement` (adjusted mutual information: 1
            the same, 0 as by chance), `stayed` (share of tokens in their community's largest part in the next layer).
        head: which head, -1 for all heads together.
    """

    labels: xr.DataArray
    quotients: pd.DataFrame
    flows: pd.DataFrame
    changes: pd.DataFrame
    head: int

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Tokens by layers, coloured by community; see `sg.plot.community_series`."""
        return picture("community_series", self, ax=ax)

    def __repr__(self) -> str:
        """How many layers, and how much communities of one layer are those of the next."""
        mean = self.changes["agreement"].mean()
        return f"CommunitySeries({len(self.labels)} layers of {self.labels.sizes['token']} tokens; mean agreement {mean:.2f})"


def community_series(
    networks: Networks, head: int | None = None, *, resolution: float = 1.0, expected: str = "degrees", seed: int = 0
) -> CommunitySeries:
    """Communities of every layer, what they tell each other, and how they change from layer to layer.

    Args:
        networks: the graphs, by layer; or by head, for one head's number in every layer.
        head: which head, of networks by head.
        resolution, expected, seed: see `networks.communities`.

    Raises:
        InputError: networks of all layers together, a head that some layer does not have, or a bad setting.
        RecordingError: what is needed was not kept.

    Misleads: head 3 of one layer has nothing to do with head 3 of the next; layers (`by="layer"`) can be followed.
    """
    from sociogram.graphs.communities import check_division, divided

    check_division(resolution, expected)
    rows = _rows(networks, head)
    layers = [int(layer) for layer in networks.labels["layer"].to_numpy()[rows]]
    found, quotients = [], []
    for layer, row in zip(layers, rows, strict=True):
        batch = networks.source.graph(int(row))
        labels, _ = divided(batch.weights[0], batch.allowed[0], expected, resolution, seed)
        found.append(labels)
        quotients.append(_quotient_rows(layer, without_self(batch.weights[0]), without_self(batch.allowed[0]), labels))
    return _series(networks, layers, found, pd.concat(quotients, ignore_index=True), -1 if head is None else head)


def _series(
    networks: Networks, layers: list[int], found: list[np.ndarray], quotients: pd.DataFrame, head: int
) -> CommunitySeries:
    place = np.arange(len(networks.tokens)) + int(networks.source.drop_first)
    coords = {"layer": layers, "token": place, "text": ("token", networks.tokens)}
    labels = xr.DataArray(np.stack(found), dims=("layer", "token"), name="community", coords=coords)
    steps = list(zip(layers, layers[1:], found, found[1:], strict=False))
    flows = [overlaps(one, two).assign(layer=a, next_layer=b) for a, b, one, two in steps]
    order = ["layer", "next_layer", "community", "next_community", "tokens", "share", "next_share", "jaccard"]
    changes = pd.DataFrame([_change(*step) for step in steps], columns=_CHANGE)
    return CommunitySeries(labels, quotients, pd.concat(flows, ignore_index=True)[order], changes, head)


_CHANGE = ["layer", "next_layer", "communities", "next_communities", "agreement", "stayed"]


def overlaps(one: Int[np.ndarray, " token"], other: Int[np.ndarray, " token"]) -> pd.DataFrame:
    """How many tokens two divisions' communities share: `community, next_community, tokens, share, next_share, jaccard`."""
    pairs, counts = np.unique(np.stack([one, other], 1), axis=0, return_counts=True)
    sizes, others = np.bincount(one), np.bincount(other)
    before, after = sizes[pairs[:, 0]], others[pairs[:, 1]]
    return pd.DataFrame(
        {
            "community": pairs[:, 0],
            "next_community": pairs[:, 1],
            "tokens": counts,
            "share": counts / before,
            "next_share": counts / after,
            "jaccard": counts / (before + after - counts),
        }
    )


def _change(layer: int, after: int, one: np.ndarray, other: np.ndarray) -> tuple[int, int, int, int, float, float]:
    stayed = overlaps(one, other).groupby("community")["tokens"].max().sum() / len(one)
    return layer, after, int(one.max()) + 1, int(other.max()) + 1, adjusted(one, other), float(stayed)


def _quotient_rows(layer: int, weights: np.ndarray, allowed: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    frame = quotient(weights, allowed, labels).drop_vars("tokens").to_dataframe().reset_index()
    return frame.assign(layer=layer)[["layer", "reader", "sender", "sum", "pairs", "mean"]]


def _rows(networks: Networks, head: int | None) -> np.ndarray:
    """The numbers of the graphs in question, one per layer."""
    by, names = networks.source.by, networks.labels
    if by == "all":
        raise InputError('community_series() follows layers: make the networks with by="layer", or by="head" and name a head')
    if (by == "head") != (head is not None):
        raise InputError(f'by="{by}": community_series() takes {"a head" if by == "head" else "no head"}, got head={head!r}')
    if names["layer"].nunique() < 2:
        raise InputError("community_series() follows layers, and these networks have one")
    if head is None:
        return np.arange(len(names))
    rows = np.flatnonzero(names["head"] == head)
    if len(rows) < names["layer"].nunique():
        raise InputError(f"head={head}: not every layer has one; the layer with the fewest has {_fewest(names)}")
    return rows


def _fewest(names: pd.DataFrame) -> int:
    return int(names.groupby("layer")["head"].count().min())
