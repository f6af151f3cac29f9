"""Notes that are near in meaning to a question, and how near they are to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from sociogram.core.linear import basis_of

FEWEST = 4
"""Fewer notes have no map: three points lie in one plane anyway."""
TOO_NEAR = 1e-9
"""Summed squared distances from the mean, below which there is nothing to map."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Some notes, nearest to the query first.

    Attributes:
        query: what they are near to.
        notes: `id, text, made, sources, cosine`.
        vectors: what each note means, of length 1.
        top, least: its bounds: at most so many notes, each with at least this cosine to the query.
        beyond: notes that are near enough and left out, since `top` are there.
        total: notes there are in all.
    """

    query: str
    notes: pd.DataFrame
    vectors: Float[np.ndarray, "note width"] = field(repr=False)
    top: int
    least: float
    beyond: int
    total: int

    def nearest(self, place: int) -> tuple[int, float] | None:
        """Which other note of the cluster is nearest to the one at this place, and its cosine; None if it is alone."""
        if len(self) < 2:
            return None
        row = self.vectors @ self.vectors[place]
        row[place] = -np.inf
        return int(row.argmax()), float(row.max())

    def map(self) -> tuple[Float[np.ndarray, "note 2"], float] | None:
        """Places of the notes on their two principal directions, and the share of their variance that is seen there.

        None for fewer than four notes, and where all mean the same.

        Misleads: what is near on the map may be far in the directions that it leaves out; the share says how much is left out.
        """
        points = self.vectors.astype(np.float64)
        spread = float(np.square(points - points.mean(0)).sum())
        if len(points) < FEWEST or spread < TOO_NEAR:
            return None
        places = basis_of(points, 2).project(points)
        return places, float(np.square(places).sum()) / spread

    def __len__(self) -> int:
        """How many notes."""
        return len(self.notes)
