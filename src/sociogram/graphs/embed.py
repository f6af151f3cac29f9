"""How tokens of graphs become points: each graph for itself, or several in one space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.asked import check_room
from sociogram.graphs.embedding import Embedding
from sociogram.graphs.joint import common, omnibus
from sociogram.graphs.matrices import Name, chosen, matrices, streamed
from sociogram.graphs.positions import LOOSE, Degrees, Positions, adjacency, degrees_of, laplacian
from sociogram.graphs.spectrum import dimension_of, few

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks

METHODS = ("ase", "lse", "omni", "mase")
PART = ("graph", "token", "component")


def embed(
    networks: Networks,
    method: str = "ase",
    *,
    dimension: int | None = None,
    graphs: Sequence[Name] | None = None,
    scaled: bool = True,
    memory_limit: int | None = None,
) -> Embedding:
    """The tokens as points: as readers and as senders, as a weight from reader to sender is about the product of the two.

    Args:
        networks: the graphs.
        method: `"ase"`: each graph for itself, by its singular vectors times the roots of its singular values (Sussman et al.
            2012); `"lse"`: the same of the directed regularised Laplacian (Rohe, Qin & Yu 2016), which takes out how much a token
            hears and tells altogether; `"omni"`: one space for all graphs, positions of its own for each (Levin et al. 2017);
            `"mase"`: one position of each token for all graphs, and a small matrix of scores for each (Arroyo et al. 2021).
        dimension: how many components; when left out the largest of what the graphs need, each by its second elbow among its
            first log2(tokens) singular values.
        graphs: which, as `(layer, head)` or as layers; all when left out.
        scaled: for `"mase"`: whether a graph's singular vectors count by the root of their values, or alike (as in the paper).
        memory_limit: bytes that the weights of all graphs together may take for `"omni"`; half of the free memory when left out.

    Returns:
        The embedding; signs are such that each component's largest number by size is positive among the senders.

    Raises:
        InputError: an unknown method, graph or dimension; or components that cannot be told apart.
        MemoryLimitError: too many graphs for `"omni"`.
        RecordingError: `"omni"` of a streamed recording, or what is needed was not kept.

    Misleads: the first component is usually the sink or how much a token is heard at all (`drop_first=True`, or `"lse"`).
    Positions of one graph are known up to a rotation: distances and angles within a graph mean something, single components only
    where singular values are well apart. With `"ase"` and `"lse"` two graphs are not to be compared.
    """
    tokens = len(networks.tokens)
    if method not in METHODS:
        raise InputError(f"method={method!r}: choose one of {', '.join(METHODS)}")
    if dimension is not None and (isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= tokens):
        raise InputError(f"dimension={dimension!r}: a whole number from 1 to {tokens}, the number of tokens")
    numbers = chosen(networks, graphs)
    if method == "omni":
        data = _omni(networks, numbers, dimension, memory_limit)
    elif method == "mase":
        data = _mase(networks, numbers, dimension, scaled)
    else:
        data = _apart(networks, numbers, method, dimension)
    return Embedding(_named(networks, numbers, data), method)


def _apart(networks: Networks, numbers: list[int], method: str, dimension: int | None) -> xr.Dataset:
    """Each graph for itself."""
    tokens = len(networks.tokens)
    found: dict[int, Positions] = {}
    degrees: dict[int, Degrees] = {}
    for number, matrix in matrices(networks, numbers):
        if method == "lse":
            degrees[number] = degrees_of(matrix)
        scaled = laplacian(matrix) if method == "lse" else matrix
        found[number] = adjacency(scaled, dimension or few(tokens))
    count = dimension or max(dimension_of(one.values, tokens) for one in found.values())
    for number in numbers:
        _check_apart(found[number].residual[:count], _name(networks, number))
    each = [found[number] for number in numbers]
    data = xr.Dataset(
        {
            "reader": (PART, np.stack([one.reader[:, :count] for one in each])),
            "sender": (PART, np.stack([one.sender[:, :count] for one in each])),
            "singular_value": (("graph", "component"), np.stack([one.values[:count] for one in each])),
            "residual": (("graph", "component"), np.stack([one.residual[:count] for one in each])),
        }
    )
    if not degrees:
        return data
    return data.assign(
        reader_scale=(("graph", "token"), np.stack([degrees[number].reader for number in numbers])),
        sender_scale=(("graph", "token"), np.stack([degrees[number].sender for number in numbers])),
        mean_strength=("graph", [degrees[number].mean for number in numbers]),
    )


def _omni(networks: Networks, numbers: list[int], dimension: int | None, memory_limit: int | None) -> xr.Dataset:
    """All graphs in one space."""
    if streamed(networks):
        raise RecordingError(
            'method="omni" goes over the weights of all graphs again and again, and a streamed recording has none: use "mase", '
            'or record with keep="default"'
        )
    tokens = len(networks.tokens)
    advice = (
        'choose fewer (graphs=[(layer, head), ...]), take method="mase", which holds one layer at a time, or raise memory_limit '
        "(bytes)"
    )
    check_room('embed("omni")', len(numbers), tokens, advice, memory_limit)
    weights = np.empty((len(numbers), tokens, tokens))
    place = {number: i for i, number in enumerate(numbers)}
    for number, matrix in matrices(networks, numbers):
        weights[place[number]] = matrix
    count = dimension or max(dimension_of(np.linalg.svd(one, compute_uv=False), tokens) for one in weights)
    found = omnibus(weights, count)
    _check_apart(found.residual, "the omnibus matrix")
    return xr.Dataset(
        {
            "reader": (PART, found.reader),
            "sender": (PART, found.sender),
            "singular_value": ("component", found.values),
            "residual": ("component", found.residual),
        }
    )


def _mase(networks: Networks, numbers: list[int], dimension: int | None, scaled: bool) -> xr.Dataset:
    """One position for all graphs, and the graphs as scores."""
    tokens = len(networks.tokens)
    if dimension is None:
        screes = (adjacency(matrix, few(tokens)).values for _, matrix in matrices(networks, numbers))
        dimension = max(dimension_of(values, tokens) for values in screes)
    found = common(lambda: matrices(networks, numbers), dimension, scaled=scaled)
    _check_apart(found.residual, "the graphs")
    scores = np.stack([found.scores[number] for number in numbers])
    return xr.Dataset(
        {
            "reader": (PART[1:], found.reader),
            "sender": (PART[1:], found.sender),
            "score": (("graph", "component", "other"), scores),
            "reader_value": ("component", found.reader_values),
            "sender_value": ("component", found.sender_values),
            "residual": ("component", found.residual),
        },
        coords={"other": np.arange(1, dimension + 1)},
    )


def _named(networks: Networks, numbers: list[int], data: xr.Dataset) -> xr.Dataset:
    labels = networks.labels.iloc[numbers]
    count, first = len(networks.tokens), int(networks.source.drop_first)
    return data.assign_coords(
        layer=("graph", labels["layer"].to_numpy()),
        head=("graph", labels["head"].to_numpy()),
        token=np.arange(count) + first,
        text=("token", networks.tokens),
        component=np.arange(1, data.sizes["component"] + 1),
    )


def _name(networks: Networks, number: int) -> str:
    label = networks.labels.iloc[number]
    return f"layer {label['layer']}, head {label['head']}"


def _check_apart(residual: np.ndarray, which: str) -> None:
    """Refuse vectors that were not found."""
    off = np.flatnonzero(residual > LOOSE)
    if len(off):
        place = int(off[0])
        raise InputError(
            f"dimension={len(residual)}: component {place + 1} of {which} was not found by products (off by "
            f"{residual[place]:.1e} of the largest singular value): it lies too close to its neighbours to have "
            "positions of its own. Take a smaller dimension; networks.spectrum shows the values"
        )
