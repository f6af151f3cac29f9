"""A limited budget of attention spent on diverse representatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.core.medoids import medoids
from sociogram.models.attention import AttentionCall
from sociogram.steering.base import Edit, Scene, check_whole


@dataclass(frozen=True, kw_only=True)
class Clusters(Edit):
    """Each token hears its cluster and the representatives of all clusters, in every head on its own.

    In each head the tokens are grouped into `count` clusters by their keys (k-medoids: a representative is one of the tokens; see
    `core.medoids`); a reader hears those of its own cluster and every representative. What the model masks stays masked.

    Misleads: the clusters are made of the whole prompt, later tokens included, so that what an early reader may hear depends on
    what comes after it; hence prefill only.
    """

    name: ClassVar[str] = "clusters"
    signs: ClassVar[bool] = True
    takes: ClassVar[frozenset[str]] = frozenset(("layer", "head", "query"))
    by_place: ClassVar[bool] = False
    count: int

    @property
    def decodes(self) -> bool:
        """Never."""
        return False

    def check(self) -> None:
        """At least one cluster."""
        check_whole("clusters", "count", self.count, 1)

    def refuse(self, tokens: int) -> None:
        """No more clusters than tokens."""
        if self.count > tokens:
            raise InputError(f"`{self}`: there are {tokens} tokens, too few for {self.count} clusters")

    def asks_positions(self) -> bool:
        """Always."""
        return True

    def cuts(self, scene: Scene) -> Bool[Tensor, "head query key"]:
        """The pairs wanted that are of different clusters, the sender no representative."""
        return scene.wanted & ~self.keeps(scene.call)

    def addresses(self, cut: Tensor, scene: Scene) -> Tensor:
        """All pairs wanted."""
        return scene.wanted

    def keeps(self, call: AttentionCall) -> Bool[Tensor, "head query key"]:
        """Which pairs may talk in a call, by query head."""
        queries, keys = call.query.shape[2], call.keys
        if queries != keys:
            raise InputError(f"`{self}` needs the whole prompt at once, and {queries} readers met {keys} senders")
        kept = torch.stack([_within(points.float(), self.count) for points in call.key[0, :, :keys]])
        return kept.repeat_interleave(call.group, dim=0)


def _within(points: Tensor, count: int) -> Bool[Tensor, "query key"]:
    chosen, labels = medoids(points, count)
    kept = labels[:, None] == labels[None]
    kept[:, chosen] = True
    return kept
