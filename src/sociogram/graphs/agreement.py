"""Are communities the same in all heads, and are they those of words: agreement of divisions, with a null of shuffled labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float, Int

from sociogram.core.errors import InputError
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.distances import names_of
from sociogram.graphs.information import TRIVIAL, all_information, entropy, expected_information

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

NULLS = ("permute", "shift")

Divisions = Int[np.ndarray, "graph token"]


@dataclass(frozen=True, eq=False)
class Agreement:
    """What `networks.agreement` found.

    Attributes:
        matrix: adjusted mutual information of the communities of every two graphs, `[graph, other]`, with layers and heads as
            coordinates; 1 the same, 0 as by chance, NaN where there is nothing to agree about.
        z: its distance from shuffled labels in their standard deviations. p: of each pair alone. p_corrected: that any pair of
            all were so far up, by the maximum statistic.
        labels: the communities, `[graph, token]`.
        null: `"permute"` or `"shift"`. samples: how many.
    """

    matrix: xr.DataArray
    z: xr.DataArray
    p: xr.DataArray
    p_corrected: xr.DataArray
    labels: xr.DataArray
    null: str
    samples: int

    def table(self, top: int | None = None) -> pd.DataFrame:
        """One row per pair of graphs, most alike first: `layer, head, other_layer, other_head, agreement, z, p, p_corrected`.

        Args:
            top: how many rows; all when left out. `attrs["pairs"]` is how many there are.
        """
        rows, columns = np.triu_indices(len(self.matrix), 1)
        layer, head = (self.labels[name].values for name in ("layer", "head"))
        parts = {"agreement": self.matrix, "z": self.z, "p": self.p, "p_corrected": self.p_corrected}
        table = pd.DataFrame(
            {"layer": layer[rows], "head": head[rows], "other_layer": layer[columns], "other_head": head[columns]}
            | {name: values.values[rows, columns] for name, values in parts.items()}
        )
        table = table.sort_values("agreement", ascending=False, kind="stable", ignore_index=True)
        shown = table if top is None else table.head(top)
        shown.attrs["pairs"] = len(table)
        return shown

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The matrix as a picture; see `sg.plot.agreement`."""
        return picture("agreement", self, ax=ax)

    def __repr__(self) -> str:
        """How many pairs agree more than shuffled labels do."""
        table = self.table()
        alone, corrected = (int((table[name] <= 0.05).sum()) for name in ("p", "p_corrected"))
        mean = table["agreement"].mean()
        return (
            f"Agreement({len(self.matrix)} graphs, mean {mean:.3f}; of {len(table)} pairs {alone} with p <= 0.05 alone, "
            f"{corrected} corrected, against {self.null!r} ({self.samples} samples))"
        )


def agreement(
    networks: Networks,
    *,
    resolution: float = 1.0,
    expected: str = "degrees",
    null: str = "permute",
    samples: int = 200,
    seed: int = 0,
) -> Agreement:
    """Adjusted mutual information between the communities of all graphs (Vinh et al. 2010), beside shuffled labels.

    Args:
        networks: the graphs.
        resolution, expected: of the communities, see `networks.communities`.
        null: `"permute"`: each graph's labels dealt out anew among tokens; `"shift"`: moved along the sequence, round its end, by
            as much as chance says, so that communities keep the shape of stretches of text.
        samples: how many times; p-values are never below 1 / (samples + 1). seed: of search and null.

    Raises:
        InputError: fewer than two graphs, or a bad setting.
        RecordingError: what is needed was not kept.

    Misleads: two heads whose communities are stretches of text agree because neighbours go together in both. `null="shift"`
    tells that apart, `"permute"` does not.
    """
    from sociogram.graphs.communities import partitions

    _check(null, samples)
    if len(networks) < 2:
        raise InputError(f"agreement() compares graphs, and there is {len(networks)}: make the networks by head or by layer")
    labels = partitions(networks, resolution=resolution, expected=expected, seed=seed)
    own = labels.values
    rng = np.random.default_rng([seed, 2])
    value, numbers = _over_chance(own, own), all_information(own, own)
    made = np.stack([all_information(own, shuffled(own, null, rng)) for _ in range(samples)])
    z, p, corrected = _judged(numbers, made, value, np.triu(np.ones(value.shape, bool), 1))
    beside = [_matrix(_mirrored(array), labels) for array in (z, p, corrected)]
    return Agreement(_matrix(value, labels), beside[0], beside[1], beside[2], labels, null, samples)


def class_agreement(
    networks: Networks,
    classes: Sequence[str] | None = None,
    *,
    resolution: float = 1.0,
    expected: str = "degrees",
    null: str = "permute",
    samples: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Do communities of tokens go by the kind of word: each graph's agreement with classes of tokens.

    Args:
        networks: the graphs.
        classes: one name per token, from a tagger or by hand; those of `graphs.classes.token_classes` when left out.
        resolution, expected, null, samples, seed: see `networks.agreement`; the communities are shuffled, not the classes.

    Returns:
        `layer, head, communities, agreement, z, p, p_corrected` (over all graphs).

    Raises:
        InputError: not one class for each token, all tokens in one class, or a bad setting.

    Misleads: classes that follow each other in the text (a list, say) agree with communities of neighbours.
    """
    from sociogram.graphs.classes import token_classes
    from sociogram.graphs.communities import partitions

    _check(null, samples)
    names = token_classes(networks.tokens) if classes is None else [str(one) for one in classes]
    if len(names) != len(networks.tokens):
        raise InputError(f"classes=: {len(names)} names for {len(networks.tokens)} tokens; give one for each")
    kinds = np.unique(names, return_inverse=True)[1][None].astype(np.int64)
    if not kinds.any():
        raise InputError(f"classes=: all {len(names)} tokens are {names[0]!r}, which leaves nothing to compare")
    own = partitions(networks, resolution=resolution, expected=expected, seed=seed).values
    rng = np.random.default_rng([seed, 2])
    value, numbers = _over_chance(own, kinds), all_information(own, kinds)
    made = np.stack([all_information(shuffled(own, null, rng), kinds) for _ in range(samples)])
    z, p, corrected = (found[:, 0] for found in _judged(numbers, made, value, np.ones(value.shape, bool)))
    count = own.max(1) + 1
    return networks.labels.assign(communities=count, agreement=value[:, 0], z=z, p=p, p_corrected=corrected)


def shuffled(labels: Divisions, null: str, rng: np.random.Generator) -> Divisions:
    """Each division's labels dealt out anew, or moved along round the end by 1 to all but one places."""
    if null == "permute":
        made: np.ndarray = rng.permuted(labels, axis=1)
        return made
    count = labels.shape[1]
    by = rng.integers(1, max(count, 2), len(labels))
    return np.take_along_axis(labels, (np.arange(count) + by[:, None]) % count, 1)


def _over_chance(one: Divisions, other: Int[np.ndarray, "other token"]) -> Float[np.ndarray, "graph other"]:
    """Adjusted mutual information of all pairs. What chance gives depends on sizes alone, and is found once for equal sizes."""
    sizes, others = ([tuple(sorted(np.bincount(row).tolist())) for row in rows] for rows in (one, other))
    chance: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
    for a in set(sizes):
        for b in set(others):
            chance[a, b] = chance[b, a] if (b, a) in chance else expected_information(np.array(a), np.array(b))
    by_chance = np.array([[chance[a, b] for b in others] for a in sizes])
    spread, spread_other = (np.array([entropy(np.array(s)) for s in rows]) for rows in (sizes, others))
    room = (spread[:, None] + spread_other) / 2 - by_chance
    beyond = all_information(one, other) - by_chance
    return np.divide(beyond, room, out=np.full(room.shape, np.nan), where=room > TRIVIAL)


def _judged(
    numbers: Float[np.ndarray, "graph other"],
    made: Float[np.ndarray, "sample graph other"],
    value: Float[np.ndarray, "graph other"],
    family: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """z, p and corrected p, upwards alone, of information against shuffled labels; sizes stay, so that chance does too.

    For the maximum each pair is measured in deviations of its samples and itself together, so that pairs count alike.
    """
    together = np.concatenate([numbers[None], made])
    spread = together.std(0, ddof=1)
    known = ~np.isnan(value) & (spread > 1e-12)
    far = np.divide(together - together.mean(0), spread, out=np.zeros_like(together), where=known)
    top = far[1:, known & family].max(1) if (known & family).any() else np.zeros(len(made))
    least = far[0] - 1e-9
    p = (1 + (far[1:] >= least).sum(0)) / (len(made) + 1)
    corrected = (1 + (top[:, None, None] >= least).sum(0)) / (len(made) + 1)
    deviation = made.std(0, ddof=1) if len(made) > 1 else np.zeros(numbers.shape)
    z = np.divide(numbers - made.mean(0), deviation, out=np.full(numbers.shape, np.nan), where=known & (deviation > 1e-12))
    return z, np.where(known, p, np.nan), np.where(known, corrected, np.nan)


def _mirrored(values: np.ndarray) -> np.ndarray:
    """A pair's number the same both ways; NaN of a graph with itself."""
    upper = np.triu(values, 1)
    both: np.ndarray = upper + upper.T
    np.fill_diagonal(both, np.nan)
    return both


def _matrix(values: np.ndarray, labels: xr.DataArray) -> xr.DataArray:
    names = names_of(pd.DataFrame({name: labels[name].values for name in ("layer", "head")}))
    return xr.DataArray(values, dims=("graph", "other"), coords={"graph": names, "other": names})


def _check(null: str, samples: int) -> None:
    if null not in NULLS:
        raise InputError(f"null={null!r}: choose one of {', '.join(NULLS)}")
    check_count("samples", samples)
