"""What `Networks` can be asked of dimensions, positions, products without weights, and matching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import pandas as pd

from sociogram.graphs.series import Series

if TYPE_CHECKING:
    from sociogram.graphs.embedding import Embedding
    from sociogram.graphs.latent_test import PositionTest
    from sociogram.graphs.matching import Matching
    from sociogram.graphs.matrixfree import AttentionOperator
    from sociogram.graphs.networks import Networks
    from sociogram.graphs.spectrum import Spectrum


class Spectral(Series):
    """A part of `Networks`, which is the one class made of it: spectra, embeddings, operators, tests of positions, matching."""

    @property
    def _all(self) -> Networks:
        return cast("Networks", self)

    def spectrum(
        self,
        *,
        null: str | None = "positional",
        samples: int = 20,
        seed: int = 0,
        among: int | None = None,
        leading: int = 32,
    ) -> Spectrum:
        """Singular values, elbows and effective rank of every graph, beside a null's; see `graphs.spectrum.spectrum`."""
        from sociogram.graphs.spectrum import spectrum

        return spectrum(self._all, null=null, samples=samples, seed=seed, among=among, leading=leading)

    def embed(
        self,
        method: str = "ase",
        *,
        dimension: int | None = None,
        graphs: Sequence[int | tuple[int, int]] | None = None,
        scaled: bool = True,
        memory_limit: int | None = None,
    ) -> Embedding:
        """The tokens as points, each graph for itself or several in one space; see `graphs.embed.embed`."""
        from sociogram.graphs.embed import embed

        return embed(self._all, method, dimension=dimension, graphs=graphs, scaled=scaled, memory_limit=memory_limit)

    def operator(self, layer: int, head: int) -> AttentionOperator:
        """One head's graph as a `scipy.sparse.linalg.LinearOperator`: products without weights, by running the model once more.

        Raises:
            InputError: no such graph.
            RecordingError: the graphs are not heads, or not their attention or messages; or the model is not at hand.
        """
        from sociogram.graphs.matrixfree import check, operators

        check(self.source)
        label = self.source.labels.iloc[self.number(layer, head)]
        return next(operators(self.source, [(int(label["layer"]), int(label["head"]))]))[2]

    def compare_positions(
        self,
        a: tuple[int, int] | int,
        b: tuple[int, int] | int,
        *,
        samples: int = 200,
        dimension: int | None = None,
        seed: int = 0,
    ) -> PositionTest:
        """Whether two graphs have the same latent positions; see `graphs.latent_test.compare_positions`."""
        from sociogram.graphs.latent_test import compare_positions

        return compare_positions(self._all, a, b, samples=samples, dimension=dimension, seed=seed)

    def match(
        self,
        a: tuple[int, int] | int,
        b: tuple[int, int] | int,
        *,
        seeds: Sequence[int | str] = (),
        restarts: int = 10,
        permutations: int = 1000,
        null: str | None = "positional",
        samples: int = 20,
        seed: int = 0,
    ) -> Matching:
        """Match the tokens of two graphs by weights alone; see `graphs.matching.match`."""
        from sociogram.graphs.matching import match

        return match(
            self._all, a, b, seeds=seeds, restarts=restarts, permutations=permutations, null=null, samples=samples, seed=seed
        )

    def match_layers(
        self, *, step: int = 1, restarts: int = 5, null: str | None = "positional", samples: int = 5, seed: int = 0
    ) -> pd.DataFrame:
        """Match every layer to a later one, as a table; see `graphs.matching.match_layers`."""
        from sociogram.graphs.matching import match_layers

        return match_layers(self._all, step=step, restarts=restarts, null=null, samples=samples, seed=seed)
