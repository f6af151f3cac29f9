"""Graphs for other tools: networkx, igraph, GraphML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sociogram.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import networkx as nx

    from sociogram.graphs.networks import Networks


def to_networkx(networks: Networks, layer: int | None = None, head: int | None = None) -> nx.DiGraph:
    """One graph for networkx: nodes are the tokens' numbers (`text` their spelling), edges lead from sender to reader (`weight`).

    `graph.graph` holds what the graph is of: `weight, layer, head, model`.
    """
    import networkx as nx

    source, weights = networks.source, networks.weights(layer, head)
    first = int(source.drop_first)
    graph = nx.DiGraph(
        weight=source.weight,
        layer=-1 if layer is None else layer,
        head=-1 if head is None else head,
        model=str(source.rec.tree.attrs.get("model", "model")),
    )
    graph.add_nodes_from((i + first, {"text": text}) for i, text in enumerate(source.tokens))
    readers, senders = np.nonzero(weights)
    graph.add_weighted_edges_from(
        (int(k) + first, int(q) + first, float(weights[q, k])) for q, k in zip(readers, senders, strict=True)
    )
    return graph


def to_igraph(networks: Networks, layer: int | None = None, head: int | None = None) -> Any:
    """One graph for igraph (GPL, so that it comes with no installation of ours): edges from sender to reader, `weight`; `text`.

    Raises:
        MissingExtraError: igraph is not installed.
    """
    try:
        import igraph
    except ImportError:
        raise MissingExtraError(
            "to_igraph() needs igraph, which is GPL and not installed with sociogram: pip install igraph"
        ) from None
    return igraph.Graph.from_networkx(to_networkx(networks, layer, head))


def to_graphml(
    networks: Networks,
    path: str | os.PathLike[str],
    layer: int | None = None,
    head: int | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write one graph as GraphML.

    Raises:
        InputError: the file is there already and `overwrite` is False, or its folder does not exist.
    """
    import networkx as nx

    target = Path(path)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists; overwrite=True writes over it")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is no folder that exists")
    graph = to_networkx(networks, layer, head)
    for _, data in graph.nodes(data=True):
        data["text"] = printable(data["text"])
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        nx.write_graphml(graph, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def printable(text: str) -> str:
    """The text without characters that XML has no way to write."""
    return "".join(c if _in_xml(c) else "\ufffd" for c in text)


def _in_xml(sign: str) -> bool:
    """Whether XML 1.0 has a way to write a character."""
    code = ord(sign)
    return sign in "\t\n\r" or (code >= 32 and not 0xD800 <= code <= 0xDFFF and code not in (0xFFFE, 0xFFFF))
