"""How the tokens of a run stand to each other in the full space, whatever is drawn of it: moves, neighbours, measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.watch.near import NUMBERS, nearest_others
from sociogram.watch.shape import MEASURES, NAN, effective_ranks, joined, measured
from sociogram.watch.views import Stream
from sociogram.watch.walks import bands

PAIRED = 2048
"""Of more tokens than this the measures that need all pairs are taken of a sample: all would take minutes."""

SAMPLED = 1024
"""So many tokens besides the first are drawn then."""

PAIRWISE = ("nearest", "clusters")
"""The measures that need all pairs. Those drawn are asked for their nearest among *all* others, and clusters are theirs alone."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """One stream's tokens; each answer is computed when it is first asked for, and kept.

    Attributes:
        stream: where the tokens are.
        null: how many matched random walks to compare the measures with, and `seed` theirs.
        neighbours: how many nearest others of each token.
    """

    stream: Stream
    null: int
    seed: int
    neighbours: int

    @cached_property
    def moved(self) -> Float[Tensor, "stop token"]:
        """How far each token moved to get to each stop; 0 at the first."""
        places = self.stream.places
        still = torch.zeros(places.shape[1], dtype=torch.float64)
        steps = (torch.linalg.vector_norm(after - before, dim=-1, dtype=torch.float64) for before, after in pairwise(places))
        return torch.stack([still, *steps])

    @cached_property
    def near(self) -> tuple[Int[Tensor, "stop token neighbour"], Float[Tensor, "stop token neighbour"]]:
        """Who is nearest and how far; two at least, so that what is near besides the first token is known too."""
        return self._nearest(max(self.neighbours, 2), None)

    def _nearest(self, count: int, asked: Tensor | None) -> tuple[Tensor, Tensor]:
        found = [nearest_others(places, count, asked) for places in self.stream.places]
        index, distance = (torch.stack(column) for column in zip(*found, strict=True))
        return index, distance

    @cached_property
    def drawn(self) -> Int[Tensor, " drawn"]:
        """The tokens whose pairs are measured: all, or the first and a sample of the others."""
        tokens = self.stream.places.shape[1]
        if tokens <= PAIRED:
            return torch.arange(tokens)
        others = np.random.default_rng(self.seed).permutation(tokens - 1)[:SAMPLED]
        return torch.from_numpy(np.concatenate([[0], 1 + np.sort(others)]))

    @cached_property
    def measures(self) -> xr.Dataset:
        """Each measure along `tokens` and `stop`, and its null along `bound` and `stop`."""
        values = [np.concatenate(column, 1) for column in zip(*self._blocks(), strict=True)]
        variables = {
            name: self.stream.labelled(value, ("tokens", "stop"), tokens=["all", "without_first"]).assign_attrs(
                long_name=measure.label, units=measure.unit
            )
            for (name, measure), value in zip(MEASURES.items(), values, strict=True)
        }
        self._say_what_was_drawn(variables)
        if self.null:
            for name, band in bands(self.stream, self.moved.numpy(), self.null, self.seed).items():
                variables[f"{name}_null"] = self.stream.labelled(band, ("bound", "stop"), bound=["low", "high"])
        return xr.Dataset(variables)

    def _say_what_was_drawn(self, variables: dict[str, xr.DataArray]) -> None:
        tokens, drawn = self.stream.places.shape[1], len(self.drawn) - 1
        if drawn + 1 < tokens:
            for name in PAIRWISE:
                label = f"{MEASURES[name].label} ({drawn:,} of {tokens:,} tokens)"
                variables[name].attrs |= {"long_name": label, "sampled": drawn}

    def _blocks(self) -> Iterator[list[Float[np.ndarray, "tokens stop"]]]:
        """Every measure, a few stops at a time, of all tokens and of all but the first."""
        places, drawn = self.stream.places, self.drawn
        stops, tokens, width = places.shape
        first, second = self._nearest_distances()
        for some in torch.arange(stops).split(max(1, NUMBERS // (tokens * max(len(drawn), width)))):
            here, before, together = places[some], places[(some - 1).clamp(min=0)], joined(places[some][:, drawn])
            ranks = effective_ranks(here)
            everybody = measured(here, before, first[some], together, ranks[0])
            others = measured(here[:, 1:], before[:, 1:], second[some], together[:, 1:, 1:], ranks[1])
            if len(drawn) < tokens:  # the first token is one of all, not one of those drawn
                everybody["nearest"] = (first[some, 0] + (tokens - 1) * first[some, 1:].mean(-1)) / tokens
            no_step = torch.tensor([stop == 0 or self.stream.parts[stop] == "input" for stop in some.tolist()])
            for values in (everybody, others):
                values["alignment"] = values["alignment"].masked_fill(no_step, NAN)
            yield [torch.stack([everybody[name], others[name]]).numpy() for name in MEASURES]

    def _nearest_distances(self) -> tuple[Float[Tensor, "stop drawn"], Float[Tensor, "stop other"]]:
        """How far the nearest other is, of the tokens drawn, and of those but the first among all others; NaN where none is."""
        index, distance = self.near if len(self.drawn) == self.stream.places.shape[1] else self._nearest(2, self.drawn)
        none = torch.full((*distance.shape[:2], 2 - min(2, distance.shape[2])), NAN, dtype=distance.dtype)
        closest = torch.cat([distance, none], 2)
        is_first = index[:, 1:, 0] == 0 if index.shape[2] else torch.zeros(index.shape[0], 0, dtype=torch.bool)
        return closest[..., 0], torch.where(is_first, closest[:, 1:, 1], closest[:, 1:, 0])
