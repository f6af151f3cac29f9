"""How far apart graphs of the same tokens are: heads, layers, two recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from sociogram.core.errors import InputError
from sociogram.graphs.asked import check_room, picture, shares_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

Graphs = Float[np.ndarray, "graph query key"]
Others = Float[np.ndarray, "other query key"]
Matrix = Float[np.ndarray, "graph other"]
Rows = Float[np.ndarray, "*reader key"]
OtherRows = Float[np.ndarray, "*others key"]


def jensen_shannon(one: Rows, other: OtherRows) -> Float[np.ndarray, "*many"]:
    """Root of the Jensen-Shannon divergence, in bits, of what two readers hear: 0 to 1 (Endres & Schindelin 2003)."""
    middle = (one + other) / 2
    bits = sum(
        (part * np.log2(np.divide(part, middle, out=np.ones(middle.shape), where=(part > 0) & (middle > 0)))).sum(-1)
        for part in (one, other)
    )
    return np.asarray(np.sqrt(np.maximum(np.asarray(bits), 0.0) / 2))


def hellinger(one: Rows, other: OtherRows) -> Float[np.ndarray, "*many"]:
    """Root of 1 less the sum of sqrt(p q): 0 to 1."""
    return np.asarray(np.sqrt(np.square(np.sqrt(one) - np.sqrt(other)).sum(-1) / 2))


def total_variation(one: Rows, other: OtherRows) -> Float[np.ndarray, "*many"]:
    """Half the summed difference: the share of what is heard that would have to move, 0 to 1."""
    return np.asarray(np.abs(one - other).sum(-1) / 2)


BY_READER: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "jensen-shannon": jensen_shannon,
    "hellinger": hellinger,
    "total-variation": total_variation,
}
"""Distances between what one reader hears in two graphs, as shares of all that it hears."""
WHOLE = ("frobenius", "spectral")
METRICS = (*BY_READER, *WHOLE)


@dataclass(frozen=True, eq=False)
class Distances:
    """What `networks.distances` found.

    Attributes:
        matrix: `[graph, other]`, layers and heads in the names ("5.3" is head 3 of layer 5, "5" all of layer 5).
        labels: layer and head of each graph. other_labels: of the graphs in the columns.
        metric: which. readers: how many readers it is averaged over; 0 where it is about whole graphs.
    """

    matrix: xr.DataArray
    labels: pd.DataFrame
    other_labels: pd.DataFrame
    metric: str
    readers: int

    def nearest(self, top: int = 1) -> pd.DataFrame:
        """The `top` nearest others of each graph, not itself: `layer, head, other_layer, other_head, distance`."""
        values = self.matrix.values.copy()
        if self.labels is self.other_labels:
            np.fill_diagonal(values, np.inf)
        order = np.argsort(values, 1, kind="stable")[:, :top]
        rows = np.repeat(np.arange(len(values)), order.shape[1])
        mine, others = self.labels.iloc[rows].reset_index(drop=True), self.other_labels.iloc[order.ravel()].reset_index(drop=True)
        table = mine.assign(other_layer=others["layer"], other_head=others["head"], distance=values[rows, order.ravel()])
        return table[np.isfinite(table["distance"])].reset_index(drop=True)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The matrix as a picture; see `sg.plot.distances`."""
        return picture("distances", self, ax=ax)

    def __repr__(self) -> str:
        """How many graphs, and what the distance is."""
        rows, columns = self.matrix.shape
        over = f"mean over {self.readers} readers" if self.readers else "of whole graphs"
        return f"Distances({rows} x {columns}, {self.metric}, {over})"


def distances(networks: Networks, metric: str = "jensen-shannon", other: Networks | None = None) -> Distances:
    """How far every graph is from every other, or from every graph of another recording of as many tokens.

    Args:
        networks: the graphs.
        metric: `"jensen-shannon"`, `"hellinger"`, `"total-variation"`: between what a reader hears in both graphs, as shares of
            all it hears, averaged over the readers that have a choice in one of the graphs (0 to 1); `"frobenius"`: norm of the
            difference of weights; `"spectral"`: distance of the singular values (Wilson & Zhu 2008).
        other: the graphs to compare with; the same graphs when left out.

    Raises:
        InputError: an unknown metric, or graphs of another number of tokens.
        RecordingError: what is needed was not kept.
        MemoryLimitError: all graphs do not fit into half of the free memory.

    Misleads: a reader that hears nothing in one graph (after a threshold) and something in the other counts as 1, and as 0 if it
    hears nothing in both. `"spectral"` does not know which token is which: graphs that only swap tokens have distance 0. In
    decoders most of all weight is on the first token, and graphs are alike for that reason: see `drop_first`.
    """
    if metric not in METRICS:
        raise InputError(f"metric={metric!r}: choose one of {', '.join(METRICS)}")
    if other is not None and len(other.tokens) != len(networks.tokens):
        raise InputError(
            f"distances(): {len(networks.tokens)} tokens here and {len(other.tokens)} there; readers are compared one by one, so "
            "make both of texts with as many tokens, or compare networks.summary() of both"
        )
    weights, allowed = everything(networks, "distances()")
    others, others_allowed = (weights, allowed) if other is None else everything(other, "distances()")
    choice = readers_with_choice(allowed) | readers_with_choice(others_allowed)
    matrix = between(weights, others, metric, choice)
    labels = networks.labels
    columns = labels if other is None else other.labels
    named = xr.DataArray(
        matrix, dims=("graph", "other"), coords={"graph": names_of(labels), "other": names_of(columns)}, name=metric
    )
    return Distances(named, labels, columns, metric, int(choice.sum()) if metric in BY_READER else 0)


def everything(networks: Networks, call: str) -> tuple[Graphs, Bool[np.ndarray, "graph query key"]]:
    """All graphs and masks at once.

    Raises:
        MemoryLimitError: they do not fit beside each other.
    """
    advice = 'make the networks by="layer" or by="all", or of a shorter text'
    check_room(call, len(networks), len(networks.tokens), advice, copies=3)
    batches = list(networks.source.batches())
    return np.concatenate([one.weights for one in batches]), np.concatenate([one.allowed for one in batches])


def readers_with_choice(allowed: Bool[np.ndarray, "graph query key"]) -> Bool[np.ndarray, " query"]:
    """Readers that may hear more than one token in some graph; the others are always alike."""
    found: np.ndarray = (allowed.sum(-1) > 1).any(0)
    return found


def between(weights: Graphs, others: Others, metric: str, choice: Bool[np.ndarray, " query"]) -> Matrix:
    """The distance of every graph to every other."""
    if metric == "spectral":
        one, two = (np.linalg.svd(graphs, compute_uv=False) for graphs in (weights, others))
        return np.linalg.norm(one[:, None] - two, axis=-1)
    if metric == "frobenius":
        return np.stack([np.linalg.norm(others - one, axis=(-2, -1)) for one in weights])
    if not choice.any():
        return np.full((len(weights), len(others)), np.nan)
    one, two = shares_of(weights[:, choice]), shares_of(others[:, choice])
    return np.stack([by_reader(each, two, metric).mean(-1) for each in one])


def by_reader(one: Rows, other: OtherRows, metric: str) -> Float[np.ndarray, "*many"]:
    """The distance of each reader; of one that hears nothing on one side 1, on both 0. Rows sum to 1 or 0."""
    hears, hears_there = one.any(-1), other.any(-1)
    found = BY_READER[metric](one, other)
    return np.asarray(np.where(hears & hears_there, found, np.where(hears | hears_there, 1.0, 0.0)))


def names_of(labels: pd.DataFrame) -> list[str]:
    """ "5.3" for head 3 of layer 5, "5" for all of layer 5, "all" for all."""
    pairs = zip(labels["layer"], labels["head"], strict=True)
    return ["all" if layer < 0 else f"{layer}" if head < 0 else f"{layer}.{head}" for layer, head in pairs]
