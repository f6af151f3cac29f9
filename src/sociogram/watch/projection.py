"""From a high-dimensional stream to few numbers per token: one linear basis for all stops, or (labelled) one per stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sociogram.core.errors import InputError
from sociogram.core.linear import Basis, Scatter, basis_of, rotation_onto
from sociogram.watch.views import Look, Stream


@dataclass(frozen=True, eq=False)
class Projection:
    """Where a view's tokens are in a basis.

    Attributes:
        positions: coordinates.
        distance: from the centre, in the view's full space.
        basis: the one basis of all stops, or None where each stop has its own.
        residual: how far each stop is from the one before after its rotation, relative to that one's size; only with rotations.
    """

    positions: Float[np.ndarray, "stop token component"]
    distance: Float[np.ndarray, "stop token"]
    basis: Basis | None
    residual: Float[np.ndarray, " stop"] | None = None

    def variance(self, fitted: Int[np.ndarray, " fitted"]) -> Float[np.ndarray, " component"]:
        """Share of the mean squared distance from the centre along each component, of these tokens."""
        total = np.square(self.distance[:, fitted]).sum()
        along: np.ndarray = np.square(self.positions[:, fitted]).sum((0, 1))
        return along / (total if total > 0 else np.nan)


def seen(stream: Stream, look: Look) -> Iterator[Float[np.ndarray, "token d_model"]]:
    """The tokens of each stop as the view sees them; one stop at a time, so that nothing is held twice."""
    for places in stream.places:
        yield look(places).numpy()


def scatter_of(stops: Iterable[Float[np.ndarray, "_token d_model"]], width: int) -> Scatter:
    """The scatter of all points of all stops; small stops are taken in together, which costs less."""
    scatter, waiting = Scatter(width), list[np.ndarray]()
    for places in stops:
        waiting.append(places)
        if sum(map(len, waiting)) >= width:
            scatter.add(np.concatenate(waiting))
            waiting.clear()
    if waiting:
        scatter.add(np.concatenate(waiting))
    return scatter


def fit(stream: Stream, look: Look, components: int, axes: Float[np.ndarray, "axis d_model"]) -> Basis:
    """The given axes, then the principal directions of what they leave, over all stops at once, sinks left out."""
    scatter = scatter_of((places[stream.fitted] for places in seen(stream, look)), stream.places.shape[2])
    most = min(len(scatter.mean), len(axes) + scatter.most())
    return Basis(scatter.mean, scatter.principal(max(len(axes), min(components, most)), axes))


def joint(stream: Stream, look: Look, basis: Basis) -> Projection:
    """All tokens at all stops in one basis: what moves in the picture has moved in the stream."""
    pairs = [(basis.project(places), np.linalg.norm(places - basis.mean, axis=1)) for places in seen(stream, look)]
    return Projection(np.stack([p for p, _ in pairs]), np.stack([d for _, d in pairs]), basis)


def rotated(stream: Stream, look: Look, components: int) -> Projection:
    """Principal components of each stop for itself, each stop turned onto the one before (orthogonal Procrustes).

    Raises:
        InputError: fewer than two tokens besides the first.
    """
    fitted = stream.fitted
    if len(fitted) < 2:
        raise InputError('align="procrustes" turns each stop onto the one before: it needs two tokens besides the first')
    positions: list[np.ndarray] = []
    distance, residual = [], [np.nan]
    for places in seen(stream, look):
        own = basis_of(places[fitted], min(components, len(fitted) - 1, places.shape[1]))
        place = own.project(places)
        if positions:
            place = place @ rotation_onto(place[fitted], positions[-1][fitted])
            apart, size = (np.linalg.norm(x[fitted]) for x in (place - positions[-1], positions[-1]))
            residual.append(float(apart / size) if size > 0 else np.nan)
        positions.append(place)
        distance.append(np.linalg.norm(places - own.mean, axis=1))
    return Projection(np.stack(positions), np.stack(distance), None, np.array(residual))
