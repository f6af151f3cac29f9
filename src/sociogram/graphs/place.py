"""Questions to an embedding: where would a new token be, and who is like these tokens?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from sociogram.core.errors import InputError
from sociogram.graphs.positions import Degrees

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sociogram.graphs.embedding import Embedding
    from sociogram.watch.arrays import Address

PLACEABLE = ("ase", "lse")


def place(
    embedding: Embedding, row: ArrayLike | None, column: ArrayLike | None, layer: int | None = None, head: int | None = None
) -> xr.Dataset:
    """Where a token would be that was not in the graph, from its weights with those that were: by least squares.

    Args:
        embedding: by `"ase"` or `"lse"`.
        row: what the new token hears from each token of the graph, in order: gives its position as reader.
        column: what each token of the graph hears from the new one: gives its position as sender.
        layer, head: which graph, where several were embedded.

    Returns:
        `reader` and `sender` `[component]`, as far as they were asked for, and `reader_unexplained`, `sender_unexplained`: the
        share of the weights' norm that the position doesn't account for, 0 to 1. A token of the graph comes out at its own place.

    Raises:
        InputError: another method, neither row nor column, or numbers that are no weights of this graph's tokens.

    Misleads: what a new token hears from itself has no place in `row`; in attention the softmax shares it out, so that rows with
    and without it are not on one scale.
    """
    if embedding.method not in PLACEABLE:
        raise InputError(
            f'method="{embedding.method}": a token is placed by its weights in one graph, in that graph\'s own embedding: '
            'networks.embed("ase") or "lse"'
        )
    if row is None and column is None:
        raise InputError("place() needs the new token's row (what it hears), its column (who hears it), or both")
    one = embedding.graph(layer, head)
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for name, given, other in (("reader", row, "sender"), ("sender", column, "reader")):
        if given is None:
            continue
        weights = _weights(given, one.sizes["token"], "row" if name == "reader" else "column")
        if embedding.method == "lse":
            degrees = Degrees(one["reader_scale"].values, one["sender_scale"].values, float(one["mean_strength"]))
            weights = degrees.of_row(weights) if name == "reader" else degrees.of_column(weights)
        position = solved(weights, one[other].values)
        rest = np.linalg.norm(weights - one[other].values @ position)
        size = np.linalg.norm(weights)
        found[name] = (("component",), position)
        found[f"{name}_unexplained"] = ((), np.array(rest / size if size > 0 else 0.0))
    return xr.Dataset(found, coords={"component": one["component"].values})


def solved(weights: Float[np.ndarray, " token"], others: Float[np.ndarray, "token component"]) -> Float[np.ndarray, " component"]:
    """The position whose products with the others' come closest to the weights; 0 along components that the others don't have."""
    return np.asarray(np.linalg.lstsq(others, weights, rcond=1e-10)[0])


def _weights(given: ArrayLike, tokens: int, what: str) -> Float[np.ndarray, " token"]:
    weights = np.asarray(given, np.float64)
    if weights.shape != (tokens,):
        raise InputError(f"{what}: {tokens} weights, one for each token of the graph, and the shape given is {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError(f"{what}: weights are finite and not negative")
    return weights


def nominate(
    embedding: Embedding, tokens: Sequence[Address], layer: int | None = None, head: int | None = None, side: str = "both"
) -> pd.DataFrame:
    """The other tokens, those first that are nearest to one of the given ones (spectral vertex nomination, Fishkind et al. 2015).

    Args:
        embedding: where tokens are points.
        tokens: some of a community, by number or text.
        layer, head: which graph, where several were embedded each with positions of its own.
        side: `"reader"` (who reads alike), `"sender"` (who is read alike), or `"both"`.

    Returns:
        `rank` (1: the nearest), `token, text`, `distance` (to the nearest given one), `nearest, nearest_text` (that one), and
        `mean_distance` (to all given ones).

    Raises:
        InputError: no such token, none or all of them, an unknown side or graph.

    Misleads: distances hang on the scale of components, so that the first (the sink, or how loud a token is) says most.
    """
    sides = {"reader": ["reader"], "sender": ["sender"], "both": ["reader", "sender"]}
    if side not in sides:
        raise InputError(f"side={side!r}: choose one of {', '.join(sides)}")
    data = embedding.data if embedding.method == "mase" else embedding.graph(layer, head)
    points = np.concatenate([data[name].values for name in sides[side]], 1)
    given = sorted({embedding.find(token) for token in tokens})
    rest = [i for i in range(len(points)) if i not in given]
    if not given or not rest:
        raise InputError(f"nominate({list(tokens)!r}): give some of the {len(points)} tokens, not none and not all")
    apart = np.linalg.norm(points[rest][:, None] - points[given], axis=-1)
    nearest = np.array(given)[apart.argmin(1)]
    numbers, texts = data["token"].values, data["text"].values
    table = pd.DataFrame(
        {
            "token": numbers[rest],
            "text": texts[rest],
            "distance": apart.min(1),
            "nearest": numbers[nearest],
            "nearest_text": texts[nearest],
            "mean_distance": apart.mean(1),
        }
    ).sort_values("distance", kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
