"""The flock: where the tokens of a run are, stop by stop, in few numbers, with what those numbers leave out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from sociogram.core.errors import InputError
from sociogram.core.linear import Basis
from sociogram.watch.axes import given_axes
from sociogram.watch.crowd import Crowd
from sociogram.watch.projection import Projection, fit, joint, rotated
from sociogram.watch.shape import MEASURES
from sociogram.watch.views import Look, Stream, look_of, stream_of
from sociogram.watch.walks import walk_variance

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

Axes = Mapping[str, Any] | Sequence[tuple[str, Any]]

COMPARED = 3
"""So many components, what a picture can show, are compared with the null in one line."""

ROTATED = (
    'align="procrustes": each stop has axes of its own and is turned onto the stop before, so part of the motion is made up by '
    "the fit and part of the true motion is taken out; `residual` says how badly stops fit onto each other"
)


@dataclass(frozen=True, eq=False)
class Flock:
    """Where each token is at each stop in one linear basis, what that leaves out, and how the tokens stand to each other.

    Attributes:
        view: what was done to the stream before projecting: `plain`, `centred`, `sphere` or `normed`.
        positions: (stop, query, component), with `stop_layer`, `stop_part`, `query_token` and the components' labels.
        distance: (stop, query), from the projection's centre in the full space of the view.
        variance: per component, its share of the mean squared distance from the centre, sinks left out; for a basis
            fitted on this recording that is its share of the variance.
        null_variance: the same for matched random walks in a joint PCA of their own (mean over walks), or None.
        basis: `mean` [d_model] and orthonormal `directions` [component, d_model]; None where each stop has its own.
        axes: labels of the components that were given instead of found.
        fitted_without: positions of the tokens left out of the fit.
        residual: (stop), only with `align`: what is left of a stop's difference from the one before once it is turned, over the
            size of the one before.
        note: a caution to show with the picture, or None.
        crowd: the stream, and what is the same in every view: `moved`, `neighbours` and `measures`, computed when asked for.
    """

    view: str
    positions: xr.DataArray
    distance: xr.DataArray
    variance: np.ndarray
    null_variance: np.ndarray | None
    basis: Basis | None
    axes: tuple[str, ...]
    fitted_without: tuple[int, ...]
    residual: xr.DataArray | None
    note: str | None
    crowd: Crowd

    @property
    def moved(self) -> xr.DataArray:
        """(stop, query), how far the token moved in the full residual stream to get to the stop; 0 at the first.

        At a stop whose part is `input` that is a jump between layers.
        """
        return self.crowd.stream.labelled(self.crowd.moved.numpy(), ("stop", "query"))

    @property
    def neighbours(self) -> xr.DataArray:
        """(stop, query, neighbour), positions of each token's nearest others in the full residual stream, nearest first."""
        return self._near(0)

    @property
    def neighbour_distance(self) -> xr.DataArray:
        """(stop, query, neighbour), how far they are."""
        return self._near(1)

    def _near(self, which: int) -> xr.DataArray:
        values = self.crowd.near[which][..., : self.crowd.neighbours]
        return self.crowd.stream.labelled(values.numpy(), ("stop", "query", "neighbour"))

    @property
    def measures(self) -> xr.Dataset:
        """Per stop the flock measures of `watch.shape`, taken of the full residual stream.

        Each along `tokens` (`all`, `without_first`), NaN where it has no meaning; and `NAME_null` along `bound` (`low`,
        `high`): 5 % to 95 % of matched random walks without the first token, missing with `null=0`. Attributes `long_name` and
        `units` say what a measure is. Of more than 2,048 tokens the two measures that need all pairs are taken of a sample, which
        the attribute `sampled` and the name tell: `nearest` asks 1,024 tokens for the nearest of all others, `clusters` counts
        groups among them. Memory is linear in the tokens.
        """
        return self.crowd.measures

    @property
    def error(self) -> xr.DataArray:
        """(stop, query): what all components together leave out, |x - shown| / |x - centre|; NaN for a token at the centre."""
        return self.error_of(range(self.positions.sizes["component"]))

    def error_of(self, components: Sequence[int]) -> xr.DataArray:
        """The same for some of the components, such as the three that are drawn.

        Raises:
            InputError: a component that does not exist.
        """
        count = self.positions.sizes["component"]
        if any(not 0 <= c < count for c in components):
            raise InputError(f"components={list(components)}: there are {count}, numbered 0 to {count - 1}")
        shown = (self.positions.isel(component=sorted(set(components))) ** 2).sum("component")
        rest: xr.DataArray = (1 - shown / (self.distance**2).where(self.distance > 0)).clip(min=0) ** 0.5
        return rest.rename("error")

    def measures_table(self) -> pd.DataFrame:
        """The measures as rows: columns `stop, layer, part, measure, all, without_first, null_low, null_high`."""
        stops = {"stop": self.measures["stop"], "layer": self.measures["stop_layer"], "part": self.measures["stop_part"]}
        tables = []
        for name in MEASURES:
            value, null = self.measures[name], self.measures.get(f"{name}_null")
            columns = {t: value.sel(tokens=t).values for t in ("all", "without_first")}
            if null is not None:
                columns |= {f"null_{b}": null.sel(bound=b).values for b in ("low", "high")}
            tables.append(pd.DataFrame({**{k: v.values for k, v in stops.items()}, "measure": name, **columns}))
        return pd.concat(tables, ignore_index=True)

    def __repr__(self) -> str:
        """View, size, and what the first components keep beside what they would keep of a random walk."""
        sizes = self.positions.sizes
        first = min(COMPARED, sizes["component"])
        kept = f"first {first} of {sizes['component']} components keep {self.variance[:first].sum():.0%} of the variance"
        if self.null_variance is not None:
            kept += f" (matched random walk: {self.null_variance[:first].sum():.0%})"
        axes = f", axes {', '.join(self.axes)}" if self.axes else ""
        turned = "" if self.residual is None else ", each stop turned onto the one before"
        return f"Flock({self.view}{axes}: {sizes['query']} tokens, {sizes['stop']} stops{turned}; {kept})"


def flock(
    rec: Recording,
    view: str | None = None,
    *,
    components: int = 16,
    basis: Flock | None = None,
    axes: Axes | None = None,
    align: str | None = None,
    stack: str | None = None,
    null: int = 20,
    seed: int = 0,
    neighbours: int = 5,
) -> Flock:
    """The tokens of a run as points that move: one linear projection of all stops, and measures taken in the full space.

    One PCA is fitted to all tokens at all stops, in float64, without the first token and others as loud as sinks (one of them
    would take the first component for itself; `fitted_without` names them). As every stop is seen in the same basis, motion in
    the picture is motion of the stream.

    Args:
        view: `"plain"` (the residual stream; the default), `"centred"` (each stop's mean taken out), `"sphere"` (each vector
            divided by its norm), `"normed"` (after the model's final norm). See `watch.views`.
        components: how many; fewer where there are not as many points or dimensions.
        basis: another flock whose centre, directions and view are used as they are, so that two runs can be compared: what
            differs then differs in the stream and not in the fit. `components` is then its own.
        axes: directions to show instead of the first components: pairs (label, vector [d_model]), or a mapping. They are made
            orthonormal in the order given (Gram-Schmidt): the first keeps its direction, a later one loses what lies along
            those before it. Components of the remainder follow. See `rec.unembedding_axis`, `rec.head_axis`.
        align: `"procrustes"` fits each stop for itself and turns it onto the one before. Partly invents motion: see `note`.
        stack: which stack; the main one when left out.
        null: how many matched random walks to compare with: they start where the tokens start, and each step is as long as the
            token's own, in a random direction. 0 for none. With more than 128 tokens each walk takes a sample of 128 for the
            measures (those that depend on the number of tokens then have no null), and the variance comes from fewer walks, of
            2,048 tokens at most.
        seed: of the walks.
        neighbours: how many nearest others of each token to find.

    Raises:
        InputError: an unknown view or stack, several sequences, a basis of another width, view or kind, axes that do not fit,
            or a combination that has no meaning.
        RecordingError: the stream was not kept; the `normed` view without the model.

    Misleads: what is near in the picture need not be near (`error`, `neighbours`); a component that takes much variance may be
    one shared direction of all tokens.
    """
    name = stack or rec.main
    _refuse(components, null, neighbours, align, basis, axes)
    stream = stream_of(rec, name)
    view = _view(view, basis)
    look = look_of(rec, view, name)
    labels, given = given_axes(axes, stream.places.shape[2], components)
    if align is not None:
        shown = rotated(stream, look, components)
    elif basis is not None:
        shown, labels = joint(stream, look, _frozen(basis, stream)), basis.axes
    else:
        shown = joint(stream, look, fit(stream, look, components, given))
    crowd = Crowd(stream, null, seed, neighbours)
    component = [*labels, *(f"PC{i + 1}" for i in range(shown.positions.shape[2] - len(labels)))]
    return Flock(
        view=view,
        positions=stream.labelled(shown.positions, ("stop", "query", "component"), component=component),
        distance=stream.labelled(shown.distance, ("stop", "query")),
        variance=shown.variance(stream.fitted),
        null_variance=_null_variance(crowd, look, shown, len(labels)),
        basis=shown.basis,
        axes=labels,
        fitted_without=stream.left_out,
        residual=None if shown.residual is None else stream.labelled(shown.residual, ("stop",)),
        note=_note(stream, shown),
        crowd=crowd,
    )


def _refuse(components: int, null: int, neighbours: int, align: str | None, basis: Flock | None, axes: Axes | None) -> None:
    for name, value, least in (("components", components, 1), ("null", null, 0), ("neighbours", neighbours, 0)):
        if value < least:
            raise InputError(f"{name}={value}: at least {least}")
    if align not in (None, "procrustes"):
        raise InputError(f'align={align!r}: choose None (one basis for all stops) or "procrustes"')
    if align is not None and (basis is not None or axes is not None):
        raise InputError(f"align={align!r} gives each stop a basis of its own: it goes with neither basis= nor axes=")
    if basis is not None and axes is not None:
        raise InputError("basis= and axes= both say what the components are: give one of them")
    if basis is not None and not isinstance(basis, Flock):
        raise InputError(f"basis= takes another flock (rec.flock()), not {type(basis).__name__}")


def _view(view: str | None, basis: Flock | None) -> str:
    """The view asked for, else the basis's, else the plain one."""
    if basis is None:
        return view or "plain"
    if view not in (None, basis.view):
        raise InputError(
            f"view={view!r}, but the basis is a flock of the {basis.view!r} view: leave view= out to use the basis's"
        )
    return basis.view


def _frozen(basis: Flock, stream: Stream) -> Basis:
    if basis.basis is None:
        raise InputError('basis= is a flock made with align="procrustes", whose stops have a basis each: it has none to lend')
    width, own = len(basis.basis.mean), stream.places.shape[2]
    if width != own:
        raise InputError(f"basis= is a flock of d_model {width}, and this stream has {own}: only runs of one width share a basis")
    return basis.basis


def _null_variance(crowd: Crowd, look: Look, shown: Projection, axes: int) -> np.ndarray | None:
    if not crowd.null or shown.basis is None:
        return None
    count, given = shown.positions.shape[2], shown.basis.directions[:axes]
    return walk_variance(crowd.stream, look, crowd.moved.numpy(), count, given, crowd.null, crowd.seed)


def _note(stream: Stream, shown: Projection) -> str | None:
    notes = [ROTATED] if shown.residual is not None else []
    if not stream.left_out:
        notes.append("fitted with the first token: there is no other")
    return "; ".join(notes) or None
