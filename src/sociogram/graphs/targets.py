"""The parts of a conversation that a causal test mutes: heads, tokens or edges; the edits for them, and others like them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sociogram.core.errors import InputError
from sociogram.steering.base import Edit
from sociogram.steering.edits import Cut, Mute
from sociogram.watch.access import check_index

if TYPE_CHECKING:
    from sociogram.graphs.networks import Networks

AROUND = 8
"""A token's matched controls are the so many nearest to it."""
NEAREST = 5
"""An edge's matched controls are the so many of its head and reader that are nearest in weight."""

Part = tuple[int, ...]


class Targets(ABC):
    """Chosen parts of one kind, and who may stand for them."""

    kind: str

    def __init__(self, networks: Networks, chosen: list[Part], reader: int) -> None:
        """`chosen` are checked."""
        self.networks, self.chosen, self.reader = networks, chosen, reader

    @abstractmethod
    def edits(self, parts: list[Part]) -> list[Edit]:
        """What mutes these parts."""

    @abstractmethod
    def candidates(self, part: Part, control: str) -> list[Part]:
        """Who may stand for a part."""

    def spelled(self, parts: list[Part]) -> str:
        """The parts as people read them."""
        return ", ".join("·".join(map(str, part)) for part in parts)

    def controls(self, control: str, rng: np.random.Generator) -> list[Part]:
        """One set of controls: for each chosen part another one, none twice and none chosen."""
        taken: list[Part] = []
        for part in self.chosen:
            free = [one for one in self.candidates(part, control) if one not in taken and one not in self.chosen]
            if not free:
                raise InputError(
                    f"what={self.spelled(self.chosen)}: nobody is left to stand for {self.spelled([part])}; choose fewer parts"
                    + (', or control="random"' if control == "matched" else "")
                )
            taken.append(free[rng.integers(len(free))])
        return taken


class Heads(Targets):
    """Heads, muted."""

    kind = "heads"

    def edits(self, parts: list[Part]) -> list[Edit]:
        """One mute a head."""
        return [Mute(layer=layer, head=head, stack=self.networks.source.stack) for layer, head in parts]

    def candidates(self, part: Part, control: str) -> list[Part]:
        """Heads of the same layer, or all."""
        source = self.networks.source
        layers = [part[0]] if control == "matched" else source.layers
        return [(layer, head) for layer in layers for head in range(source.heads(layer))]


class Tokens(Targets):
    """Tokens, whose messages to others are cut."""

    kind = "tokens"

    def edits(self, parts: list[Part]) -> list[Edit]:
        """One cut a token, everywhere but to itself."""
        everyone = range(self._count())
        return [Cut(key=token, query=[q for q in everyone if q != token], stack=self.networks.source.stack) for (token,) in parts]

    def candidates(self, part: Part, control: str) -> list[Part]:
        """Tokens that somebody hears, the first one only if it was chosen for itself; nearest first where they are matched."""
        source = self.networks.source
        reader = self.reader if source.stack == source.rec.main else -1  # who is read is of the main stack
        free: list[Part] = [(k,) for k in range(self._count()) if k != reader and (k > 0 or (0,) in self.chosen)]
        if control == "random":
            return free
        others = [one for one in free if one not in self.chosen]
        return sorted(others, key=lambda one: abs(one[0] - part[0]))[:AROUND]

    def spelled(self, parts: list[Part]) -> str:
        """With their texts."""
        texts = self.networks.source.rec.stack(self.networks.source.stack)["query_token"].values
        return ", ".join(f"{token} {texts[token]}" for (token,) in parts)

    def _count(self) -> int:
        return int(self.networks.source.rec.stack(self.networks.source.stack).sizes["query"])


class Edges(Targets):
    """Edges, cut."""

    kind = "edges"

    def edits(self, parts: list[Part]) -> list[Edit]:
        """One cut an edge."""
        stack = self.networks.source.stack
        return [Cut(layer=layer, head=head, query=query, key=key, stack=stack) for layer, head, query, key in parts]

    def candidates(self, part: Part, control: str) -> list[Part]:
        """Edges of the same head and reader with the nearest weights, or any edges of its layer."""
        layer, head, query, key = part
        weights = self.networks.source.whole_layer(layer)
        if control == "random":
            return [(layer, int(h), int(q), int(k)) for h, q, k in zip(*np.nonzero(weights), strict=True)]
        row = weights[head, query]
        senders = [int(k) for k in np.flatnonzero(row) if k != key and (layer, head, query, int(k)) not in self.chosen]
        nearest = sorted(senders, key=lambda k: abs(row[k] - row[key]))[:NEAREST]
        return [(layer, head, query, k) for k in nearest]


def targets_of(networks: Networks, what: Sequence[Any], reader: int) -> Targets:
    """Check what shall be muted.

    Raises:
        InputError: see `causal.causal_test`.
    """
    listed = [what] if isinstance(what, int | str) else list(what)
    sizes = {len(one) if isinstance(one, tuple | list) else 1 for one in listed}
    if not listed or len(sizes) > 1 or not sizes <= {1, 2, 4}:
        raise InputError(
            f"what={what!r}: give heads as (layer, head), or tokens as numbers or texts, or edges as (layer, head, query, key), "
            "all of one kind"
        )
    kind = {1: _tokens, 2: _heads, 4: _edges}[sizes.pop()]
    targets = kind(networks, listed, reader)
    if len(set(targets.chosen)) < len(listed):
        raise InputError(f"what={what!r}: names a part twice")
    return targets


def _heads(networks: Networks, listed: list[Any], reader: int) -> Heads:
    source = networks.source
    pairs = [(_layer(networks, layer), head) for layer, head in listed]
    return Heads(networks, [(layer, check_index("head", head, source.heads(layer))) for layer, head in pairs], reader)


def _tokens(networks: Networks, listed: list[Any], reader: int) -> Tokens:
    source = networks.source
    return Tokens(networks, [(source.rec.find("key", one, stack=source.stack),) for one in listed], reader)


def _edges(networks: Networks, listed: list[Any], reader: int) -> Edges:
    source = networks.source
    chosen = []
    for layer, head, query, key in listed:
        layer = _layer(networks, layer)
        places = (source.rec.find(axis, one, stack=source.stack) for axis, one in (("query", query), ("key", key)))
        chosen.append((layer, check_index("head", head, source.heads(layer)), *places))
    return Edges(networks, chosen, reader)


def _layer(networks: Networks, layer: int) -> int:
    source = networks.source
    index = source.rec.layer(layer, stack=source.stack)
    if index not in source.layers:
        raise InputError(f"layer {index} of {source.stack!r} has no messages to mute")
    return index
