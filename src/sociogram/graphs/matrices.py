"""Chosen graphs one by one: their weights where they were kept, else what gives their products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sociogram.core.errors import InputError
from sociogram.graphs.matrixfree import AttentionOperator, operators
from sociogram.models.tokens import find_token
from sociogram.watch.few import is_streamed

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks
    from sociogram.watch.arrays import Address

Name: TypeAlias = int | tuple[int, int]
"""A layer's number, or layer and head."""
Matrix: TypeAlias = np.ndarray | AttentionOperator


def chosen(networks: Networks, graphs: Sequence[Name] | None) -> list[int]:
    """The numbers of the graphs that are meant, in the order given, each once.

    Args:
        networks: the graphs.
        graphs: `(layer, head)`, or a layer's number for all its graphs; all of them when left out.

    Raises:
        InputError: no such graph, or none at all.
    """
    if graphs is None:
        return list(range(len(networks)))
    labels = networks.labels
    found: list[int] = []
    for name in graphs:
        if isinstance(name, tuple):
            found.append(networks.number(*name))
        else:
            layer = networks.source.rec.layer(name, stack=networks.source.stack)
            found += [int(i) for i in np.flatnonzero(labels["layer"] == layer)]
            if layer not in set(labels["layer"]):
                raise InputError(f"graphs={list(graphs)}: layer {layer} has no graph of its own here (by={networks.source.by!r})")
    if not found:
        raise InputError("graphs=[]: name at least one, as (layer, head) or as a layer")
    return list(dict.fromkeys(found))


def streamed(networks: Networks) -> bool:
    """Whether the weights were never kept."""
    return is_streamed(networks.source.rec.stack(networks.source.stack))


def matrices(networks: Networks, numbers: Sequence[int]) -> Iterator[tuple[int, Matrix]]:
    """Each graph's number with its weights `[query, key]`, layer by layer, or with its operator where none were kept.

    Raises:
        RecordingError: what is needed was not kept.
    """
    if streamed(networks):
        labels = networks.source.labels
        pairs = {(int(labels["layer"][i]), int(labels["head"][i])): i for i in numbers}
        for layer, head, operator in operators(networks.source, list(pairs)):
            yield pairs[layer, head], operator
        return
    wanted = set(numbers)
    for first, count in _batches(networks):
        if wanted.isdisjoint(range(first, first + count)):
            continue
        batch = _weights(networks, first)
        for i in range(len(batch)):
            if first + i in wanted:
                yield first + i, batch[i]


def _batches(networks: Networks) -> Iterator[tuple[int, int]]:
    """First number and count of the graphs that are computed together."""
    layers = networks.source.labels["layer"].to_numpy()
    starts = [0, *(np.flatnonzero(np.diff(layers)) + 1).tolist()]
    yield from zip(starts, np.diff([*starts, len(layers)]).tolist(), strict=True)


def _weights(networks: Networks, first: int) -> np.ndarray:
    """The graphs that begin with this number and are computed together."""
    source = networks.source
    layer = int(source.labels["layer"][first])
    weights: np.ndarray = source.graph(0).weights if layer < 0 else source.layer(layer, first).weights
    return weights


def place_of(token: Address, texts: Sequence[str], first: int) -> int:
    """The row of a token given by its number in the text, of which `first` is the first that is there, or by its text.

    Raises:
        InputError: no such token.
    """
    if isinstance(token, int) and token >= 0:
        if not first <= token < first + len(texts):
            raise InputError(f"no token {token}: these graphs have {first} to {first + len(texts) - 1}")
        return token - first
    return find_token([str(text) for text in texts], token)
