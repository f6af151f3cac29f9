"""Groups of tokens that listen to each other more than expected: nested communities, their modularity, and a null beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from sociogram.core.errors import InputError
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.leiden import best_groups, merged, ordered, within
from sociogram.graphs.measures import without_self
from sociogram.graphs.nulls import NULLS, degrees, even, positional, sampler
from sociogram.graphs.quotient import quotient
from sociogram.graphs.testing import judged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

Weights = Float[np.ndarray, "query key"]
Allowed = Bool[np.ndarray, "query key"]
Labels = Int[np.ndarray, " token"]

LEAST_RESOLUTION = 1 / 64
"""Communities that do not merge when this little is expected between them are not connected."""
RESTARTS = 4


def sums(weights: Weights, allowed: Allowed) -> Weights:
    """A reader's sum times a sender's sum over all weight, masks ignored (Leicht & Newman 2008): the classical modularity."""
    del allowed
    return np.outer(weights.sum(1), weights.sum(0)) / weights.sum()


EXPECTED: dict[str, Callable[[Weights, Allowed], Weights]] = {
    "degrees": degrees,
    "positional": positional,
    "uniform": even,
    "sums": sums,
}
"""What is expected of each pair of tokens; all but `sums` respect the mask. See `graphs.nulls`."""


@dataclass(frozen=True, eq=False)
class Communities:
    """What `networks.communities` found.

    Attributes:
        tokens: one row per token: `token, text`, and its community at each level: `level_1`, `level_2` ... Communities are
            numbered by size, largest first, ties by their first token.
        levels: one row per level: `level, resolution, communities, largest` (tokens), `alone` (communities of one token),
            `modularity` (share of the weight within communities, less `resolution` times the expected share; at most 1), and,
            where a null was asked for, `null, null_sd, z, z_low, z_high, p, p_corrected` (over levels) as in `networks.test`.
        weights: what was divided: the graph without what tokens tell themselves. allowed: its mask.
        layer, head: which graph. expected: what was expected. null: the null model, or None. samples: how many random graphs.
        self_share: the share of the whole weight that tokens give themselves, which is left out.
    """

    tokens: pd.DataFrame
    levels: pd.DataFrame
    weights: Weights
    allowed: Allowed
    layer: int
    head: int
    expected: str
    null: str | None
    samples: int
    self_share: float

    def labels(self, level: int = 1) -> Labels:
        """The community of each token at one level.

        Raises:
            InputError: no such level.
        """
        if isinstance(level, bool) or not isinstance(level, int) or not 1 <= level <= len(self.levels):
            raise InputError(f"level={level!r}: these communities have levels 1 to {len(self.levels)}")
        return self.tokens[f"level_{level}"].to_numpy(np.int64)

    def members(self, level: int = 1) -> pd.DataFrame:
        """One row per community: `community, tokens` (how many), `first` (the first one's number), `texts`."""
        own = self.tokens.assign(community=self.labels(level)).groupby("community")
        table = own.agg(tokens=("token", "size"), first=("token", "min"), texts=("text", " ".join))
        return table.reset_index()

    def quotient(self, level: int = 1) -> xr.Dataset:
        """The graph of communities, `[reader, sender]`; see `graphs.quotient.quotient`."""
        return quotient(self.weights, self.allowed, self.labels(level))

    def plot(self, level: int = 1, *, ax: Axes | None = None) -> Axes:
        """The weights with tokens ordered by community; see `sg.plot.communities`."""
        return picture("communities", self, level, ax=ax)

    def __repr__(self) -> str:
        """How many communities at each level, and how far the first is from its null."""
        counts = ", ".join(map(str, self.levels["communities"]))
        best = self.levels.iloc[0]
        z = "no null" if self.null is None else f"z {best['z']:.1f} against {self.null!r}, p {best['p']:.2g}"
        return f"Communities({len(self.tokens)} tokens in {counts}; modularity {best['modularity']:.3f}, {z})"


def communities(
    networks: Networks,
    layer: int | None = None,
    head: int | None = None,
    *,
    resolution: float = 1.0,
    levels: int | None = None,
    expected: str = "degrees",
    null: str | None = "positional",
    samples: int = 50,
    seed: int = 0,
) -> Communities:
    """Nested communities of one graph: tokens, communities, communities of communities, until nothing merges.

    The first level is Leiden's best division of the surplus, weight less `resolution` times the expected weight. Each next level
    divides the graph of communities with half the resolution (and half again, until something merges).

    Args:
        networks: the graphs.
        layer, head: which one, as `networks.labels` names it.
        resolution: of the first level; above 1 finer, below 1 coarser.
        levels: at most so many; all when left out.
        expected: `"degrees"` (what each token hears and tells in all, on the pairs that the mask leaves), `"positional"` (the
            head's own fall-off with distance: communities beyond closeness), `"uniform"` (each reader hears all equally) or
            `"sums"` (the classical directed modularity, masks ignored: Leicht & Newman 2008).
        null: random graphs to compare the modularity with, see `graphs.nulls`; each is divided in the same way at the same
            resolution. None for none.
        samples: how many. seed: of the search and the random graphs; the same seed gives the same answer.

    Raises:
        InputError: no such graph, no weight between different tokens, or a setting that cannot be.
        RecordingError: what is needed was not kept.

    Misleads: an algorithm that looks for communities finds some in any graph; whether there are any is what `z` says. A fall-off
    with distance gives communities of neighbours: they are real, and all that they say is the fall-off. What tokens tell
    themselves is left out (`self_share`).
    """
    check_division(resolution, expected)
    _check(levels, null, samples)
    batch = networks.graph(layer, head)
    weights, allowed = without_self(batch.weights[0]), without_self(batch.allowed[0])
    if not weights.any():
        raise InputError("communities(): in this graph no token hears another, so there is nothing to divide")
    found = nested(weights, allowed, expected, resolution, levels, seed)
    table = _levels(weights, allowed, expected, found)
    if null is not None:
        table = _judged(table, weights, allowed, expected, found, null, samples, seed)
    tokens = {"token": np.arange(len(weights)) + int(networks.source.drop_first), "text": networks.tokens}
    own = {f"level_{i + 1}": labels for i, (_, labels) in enumerate(found)}
    row = networks.labels.iloc[batch.first]
    return Communities(
        pd.DataFrame(tokens | own), table, weights, allowed, int(row["layer"]), int(row["head"]), expected, null,
        0 if null is None else samples, 1 - float(weights.sum() / batch.weights[0].sum()),
    )  # fmt: skip


def nested(
    weights: Weights, allowed: Allowed, expected: str, resolution: float, levels: int | None, seed: int
) -> list[tuple[float, Labels]]:
    """Each level's resolution and labels; `weights` and `allowed` without the diagonal."""
    even_out = EXPECTED[expected](weights, allowed)
    np.fill_diagonal(even_out, 0.0)
    labels = best_groups(weights - resolution * even_out, seed=seed, restarts=RESTARTS)
    found = [(resolution, labels)]
    at = resolution
    while labels.any() and (levels is None or len(found) < levels) and at > resolution * LEAST_RESOLUTION:
        at /= 2
        above = best_groups(merged(weights - at * even_out, labels), seed=seed, restarts=RESTARTS)
        if above.max() < labels.max():
            labels = ordered(above[labels])
            found.append((at, labels))
    return found


def divided(weights: Weights, allowed: Allowed, expected: str, resolution: float, seed: int) -> tuple[Labels, float]:
    """The best division of one graph and its modularity; diagonal left out here."""
    weights, allowed = without_self(weights), without_self(allowed)
    if not weights.any():
        return np.zeros(len(weights), np.int64), float("nan")
    labels = nested(weights, allowed, expected, resolution, 1, seed)[0][1]
    return labels, modularity_of(weights, allowed, labels, expected, resolution)


def modularity_of(
    weights: Weights, allowed: Allowed, labels: Labels, expected: str = "degrees", resolution: float = 1.0
) -> float:
    """Share of the weight within communities less `resolution` times what is expected there.

    With `expected="sums"` this is the directed modularity of Leicht & Newman (2008), self-pairs expected too as they have it.
    """
    surplus = weights - resolution * EXPECTED[expected](weights, allowed)
    return within(surplus, labels) / float(weights.sum())


def modularity(
    weights: Float[np.ndarray, "*graph query key"], allowed: Bool[np.ndarray, "*more query key"]
) -> Float[np.ndarray, "*graph"]:
    """The best modularity that Leiden finds, without the diagonal, beyond what readers' and senders' sums give on the mask.

    A statistic for `networks.test`: NaN where no token hears another.
    """
    graphs = weights.reshape(-1, *weights.shape[-2:])
    masks = np.broadcast_to(allowed, weights.shape).reshape(graphs.shape)
    found = [divided(one, mask, "degrees", 1.0, 0)[1] for one, mask in zip(graphs, masks, strict=True)]
    return np.array(found, np.float64).reshape(weights.shape[:-2])


def blocks_of(weights: Weights, allowed: Allowed, *, seed: int = 0) -> Labels:
    """The communities that the null `"sbm"` keeps the weight between: beyond what tokens hear and tell in all, on the mask."""
    return divided(weights, allowed, "degrees", 1.0, seed)[0]


def partitions(networks: Networks, *, resolution: float = 1.0, expected: str = "degrees", seed: int = 0) -> xr.DataArray:
    """The communities of every graph (first level): `[graph, token]`, with the coordinates `layer`, `head` and `text`.

    A graph in which no token hears another is one community.

    Raises:
        InputError: a setting that cannot be.
        RecordingError: what is needed was not kept.
    """
    check_division(resolution, expected)
    rows = [
        divided(weights, allowed, expected, resolution, seed)[0]
        for batch in networks.source.batches()
        for weights, allowed in zip(batch.weights, batch.allowed, strict=True)
    ]
    names = networks.labels
    coords = {
        "layer": ("graph", names["layer"].to_numpy()),
        "head": ("graph", names["head"].to_numpy()),
        "token": np.arange(rows[0].size) + int(networks.source.drop_first),
        "text": ("token", networks.tokens),
    }
    return xr.DataArray(np.stack(rows), dims=("graph", "token"), coords=coords, name="community")


def _levels(weights: Weights, allowed: Allowed, expected: str, found: list[tuple[float, Labels]]) -> pd.DataFrame:
    rows = []
    for number, (resolution, labels) in enumerate(found, 1):
        sizes = np.bincount(labels)
        quality = modularity_of(weights, allowed, labels, expected, resolution)
        rows.append((number, resolution, len(sizes), int(sizes.max()), int((sizes == 1).sum()), quality))
    return pd.DataFrame(rows, columns=["level", "resolution", "communities", "largest", "alone", "modularity"])


def _judged(
    table: pd.DataFrame, weights: Weights, allowed: Allowed, expected: str, found: list[tuple[float, Labels]], null: str,
    samples: int, seed: int,
) -> pd.DataFrame:  # fmt: skip
    """The levels with what random graphs have, divided anew at each level's resolution."""
    draw = sampler(null, weights, allowed, blocks=found[0][1] if null == "sbm" else None)
    made = draw(samples, np.random.default_rng([seed, 1]))
    numbers = np.array([[divided(one, allowed, expected, at, seed)[1] for one in made] for at, _ in found])
    with np.errstate(invalid="ignore"):  # where all random graphs are one community, z is infinite and has no interval
        found_table, _ = judged(table, table["modularity"].to_numpy(np.float64), numbers)
    return found_table.drop(columns="value")


def _check(levels: int | None, null: str | None, samples: int) -> None:
    if levels is not None and (isinstance(levels, bool) or not isinstance(levels, int) or levels < 1):
        raise InputError(f"levels={levels!r}: a whole number from 1 up, or None for all")
    known = [name for name in NULLS if name != "rdpg"]
    if null is not None and null not in known:
        raise InputError(f"null={null!r}: choose one of {', '.join(known)}, or None for none")
    check_count("samples", samples)


def check_division(resolution: float, expected: str) -> None:
    """Refuse what no division can be made with."""
    if isinstance(resolution, bool) or not isinstance(resolution, int | float) or not 0 < resolution < np.inf:
        raise InputError(f"resolution={resolution!r}: a number above 0; above 1 gives smaller communities")
    if expected not in EXPECTED:
        raise InputError(f"expected={expected!r}: choose one of {', '.join(EXPECTED)}")
