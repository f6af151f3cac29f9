"""What `Networks` can be asked of groups of tokens, of other networks, and of change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import pandas as pd

from sociogram.graphs.series import Series

if TYPE_CHECKING:
    from xarray import DataArray

    from sociogram.graphs.agreement import Agreement
    from sociogram.graphs.blocks import Blocks
    from sociogram.graphs.change import Change
    from sociogram.graphs.common import Common
    from sociogram.graphs.communities import Communities
    from sociogram.graphs.diff import Difference
    from sociogram.graphs.distances import Distances
    from sociogram.graphs.networks import Networks
    from sociogram.graphs.quotient import CommunitySeries


class Grouped(Series):
    """A part of `Networks`, which is the one class made of it: communities, block models, comparisons, change."""

    @property
    def _all(self) -> Networks:
        return cast("Networks", self)

    def communities(
        self,
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
        """Nested communities of one graph, with a null; see `graphs.communities.communities`."""
        from sociogram.graphs.communities import communities

        return communities(
            self._all, layer, head, resolution=resolution, levels=levels, expected=expected, null=null, samples=samples, seed=seed
        )

    def partitions(self, *, resolution: float = 1.0, expected: str = "degrees", seed: int = 0) -> DataArray:
        """The communities of every graph, `[graph, token]`; see `graphs.communities.partitions`."""
        from sociogram.graphs.communities import partitions

        return partitions(self._all, resolution=resolution, expected=expected, seed=seed)

    def community_series(
        self, head: int | None = None, *, resolution: float = 1.0, expected: str = "degrees", seed: int = 0
    ) -> CommunitySeries:
        """Communities of every layer and who goes where in the next; see `graphs.quotient.community_series`."""
        from sociogram.graphs.quotient import community_series

        return community_series(self._all, head, resolution=resolution, expected=expected, seed=seed)

    def blocks(
        self,
        layer: int | None = None,
        head: int | None = None,
        *,
        blocks: int | Sequence[int] | None = None,
        base: str = "even",
        likelihood: str = "normal",
        restarts: int = 5,
        seed: int = 0,
    ) -> Blocks:
        """Stochastic block models of one graph and how good they are; see `graphs.blocks.blocks`."""
        from sociogram.graphs.blocks import blocks as fit

        return fit(self._all, layer, head, blocks=blocks, base=base, likelihood=likelihood, restarts=restarts, seed=seed)

    def agreement(
        self, *, resolution: float = 1.0, expected: str = "degrees", null: str = "permute", samples: int = 200, seed: int = 0
    ) -> Agreement:
        """Whether communities are the same in all graphs; see `graphs.agreement.agreement`."""
        from sociogram.graphs.agreement import agreement

        return agreement(self._all, resolution=resolution, expected=expected, null=null, samples=samples, seed=seed)

    def class_agreement(
        self,
        classes: Sequence[str] | None = None,
        *,
        resolution: float = 1.0,
        expected: str = "degrees",
        null: str = "permute",
        samples: int = 200,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Whether communities go by the kind of word; see `graphs.agreement.class_agreement`."""
        from sociogram.graphs.agreement import class_agreement

        return class_agreement(
            self._all, classes, resolution=resolution, expected=expected, null=null, samples=samples, seed=seed
        )

    def distances(self, metric: str = "jensen-shannon", other: Networks | None = None) -> Distances:
        """How far graphs are from each other, or from another recording's; see `graphs.distances.distances`."""
        from sociogram.graphs.distances import distances

        return distances(self._all, metric, other)

    def diff(self, other: Networks, *, top: int = 20) -> Difference:
        """Which edges and statistics differ between two recordings of the same tokens; see `graphs.diff.diff`."""
        from sociogram.graphs.diff import diff

        return diff(self._all, other, top=top)

    def common(self, others: Sequence[Networks]) -> Common:
        """What this prompt has in common with others, head by head; see `graphs.common.common`."""
        from sociogram.graphs.common import common

        return common(self._all, others)

    def change(
        self, others: Sequence[Networks] | None = None, *, over: str | None = None, samples: int = 200, seed: int = 0
    ) -> Change:
        """How graphs change over layers, generation steps or recordings; see `graphs.change.change`."""
        from sociogram.graphs.change import change

        return change(self._all, others, over=over, samples=samples, seed=seed)
