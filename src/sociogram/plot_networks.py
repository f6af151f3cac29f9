"""Pictures of networks: statistics of heads, tests, effects; found under `sg.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sociogram as sg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NAMED = 40
"""More tokens than this are not named one by one."""


def networks(nets: sg.Networks, statistic: str = "entropy", *, ax: Axes | None = None) -> Axes:
    """One statistic of every head (rows: layers), of networks by head.

    Args:
        nets: from `sg.networks(rec)`, by head or by layer.
        statistic: a column of `nets.summary()`.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such statistic, or networks of all layers together.
        RecordingError: what is needed was not kept.
        MissingExtraError: matplotlib is not installed.

    Misleads: beside no null it is not to be seen what of it a causal mask gives any head; see `null_test`.
    """
    ax = _axes(ax, (5.0, 6.5))
    table = nets.summary()
    if statistic not in table or statistic in ("layer", "head"):
        raise sg.InputError(f"statistic={statistic!r}: choose one of {', '.join(table.columns[2:])}")
    by_head(ax, table, statistic, "cividis", statistic)
    ax.set_title(f"{statistic} of {len(table)} networks of {nets.source.weight}", fontsize=10)
    return ax


def null_test(test: sg.NullTest, *, ax: Axes | None = None) -> Axes:
    """How far each head's statistic is from its null, in the null's deviations; a dot where it stands out over all heads.

    Args:
        test: from `nets.test(...)`.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: a test of networks of all layers together.
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (5.0, 6.5))
    known = test.table["z"].replace([np.inf, -np.inf], np.nan).dropna().abs()
    limit = float(known.quantile(0.9)) if len(known) and known.max() > 0 else 1.0
    by_head(ax, test.table, "z", "PuOr_r", f"z, colours end at ±{limit:.3g}", -limit, limit)
    out = test.table[test.table["p_corrected"] <= 0.05]
    ax.plot(out["head"].clip(lower=0), out["layer"], "k.", markersize=3)
    title = f"{test.statistic} against {test.null!r}, {test.samples} samples"
    ax.set_title(f"{title}\n{len(out)} of {len(test.table)} stand out (dots, p ≤ 0.05 over all)", fontsize=9)
    return ax


def causal_test(test: sg.CausalTest, *, ax: Axes | None = None) -> Axes:
    """The effects of muting controls as a histogram, and that of the chosen parts as a line.

    Args:
        test: from `nets.causal_test(...)`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (6.0, 3.5))
    ax.hist(test.controls, bins=min(30, max(5, len(test.controls) // 3)), color="#999999", label=f"{test.control} controls")
    ax.axvline(test.effect, color="#D55E00", linewidth=2, label=f"the chosen {test.what}")
    ax.set_xlabel(f"effect of muting on the output at token {test.query} ({test.unit})")
    ax.set_ylabel("sets of controls")
    ax.legend(frameon=False, fontsize=8)
    low, high = test.interval
    ax.set_title(f"difference {test.difference:.3g} [{low:.3g}, {high:.3g}], p {test.p:.2g}", fontsize=10)
    return ax


def spectrum(result: sg.Spectrum, layer: int | None = None, head: int | None = None, *, ax: Axes | None = None) -> Axes:
    """The singular values of one graph with its first token and without it, the null's band, and the elbows as marks.

    Args:
        result: of `networks.spectrum`.
        layer, head: which graph; where left out, the first that fits.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such graph.
        MissingExtraError: matplotlib is not installed.

    Misleads: an elbow is marked whether or not the scree bends there more than its null does.
    """
    ax = _axes(ax, (7.0, 4.2))
    place, name = _graph_of(result.data, layer, head)
    data = result.data.isel(graph=place)
    for side, colour in zip(data["first_token"].values, ("#0072B2", "#D55E00"), strict=False):
        one = data.sel(first_token=side)
        number, values = one["value"].values, one["singular_value"].values
        ax.plot(number, values, "o-", color=colour, markersize=3, linewidth=1, label=f"{side} the first token")
        if "null_low" in one:
            ax.fill_between(number, one["null_low"].values, one["null_high"].values, color=colour, alpha=0.2, linewidth=0)
        row = result.table.iloc[place * len(data["first_token"]) + list(data["first_token"].values).index(side)]
        marks = [int(i) - 1 for i in row["elbows"]]
        ax.plot(number[marks], values[marks], "o", color="none", markeredgecolor=colour, markersize=9)
    ax.set_xlabel("number of the singular value (rings: elbows)")
    ax.set_ylabel("singular value")
    ax.legend(frameon=False, fontsize=8)
    null = f"band: null {result.null!r}, 5 to 95 % of {result.samples} samples" if result.null else "no null"
    ax.set_title(f"{name}; {null}", fontsize=10)
    return ax


def embedding(
    result: sg.Embedding,
    layer: int | None = None,
    head: int | None = None,
    *,
    side: str = "sender",
    components: tuple[int, int] = (1, 2),
    ax: Axes | None = None,
) -> Axes:
    """The tokens of one graph as points, by two components of their positions.

    Args:
        result: of `networks.embed`.
        layer, head: which graph; where left out, the first that fits.
        side: `"reader"` or `"sender"`.
        components: which two, numbered from 1.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such graph, side or component.
        MissingExtraError: matplotlib is not installed.

    Misleads: single components mean little where singular values are close; distances over all components do.
    """
    if side not in ("reader", "sender"):
        raise sg.InputError(f'side={side!r}: "reader" or "sender"')
    if len(components) != 2 or not all(1 <= c <= result.dimension for c in components):
        raise sg.InputError(f"components={components!r}: two of 1 to {result.dimension}")
    ax = _axes(ax, (6.0, 5.5))
    place, name = _graph_of(result.data, layer, head)
    positions = result.data[side] if "graph" not in result.data[side].dims else result.data[side].isel(graph=place)
    xy = positions.sel(component=list(components)).values
    ax.scatter(xy[:, 0], xy[:, 1], s=20, color="#0072B2")
    if len(xy) <= _NAMED:
        for point, text in zip(xy, result.data["text"].values, strict=True):
            ax.annotate(str(text), point, xytext=(4, 3), textcoords="offset points", fontsize=8)
    ax.set_xlabel(f"component {components[0]}")
    ax.set_ylabel(f"component {components[1]}")
    ax.margins(0.12)
    which = "all graphs" if "graph" not in result.data[side].dims else name
    ax.set_title(f"{result.method}, {which}: tokens as {side}s, 2 of {result.dimension} components", fontsize=10)
    return ax


def _graph_of(data: Any, layer: int | None, head: int | None) -> tuple[int, str]:
    """The place of a graph among those of a result, and what it is called."""
    layers, heads = data["layer"].values, data["head"].values
    fits = np.flatnonzero(
        [(layer is None or a == layer) and (head is None or b == head) for a, b in zip(layers, heads, strict=True)]
    )
    if not len(fits):
        raise sg.InputError(f"layer={layer}, head={head}: no such graph in this result")
    place = int(fits[0])
    names = [f"{what} {number}" for what, number in (("layer", layers[place]), ("head", heads[place])) if number >= 0]
    return place, ", ".join(names) or "all layers"


def by_head(
    ax: Axes, table: pd.DataFrame, column: str, colours: str, label: str, low: float | None = None, high: float | None = None
) -> None:
    """A column of a table with layers and heads as an image; white where there is none, one column where heads are together."""
    if (table["layer"] < 0).any():
        raise sg.InputError('this picture has a row for each layer: make the networks with by="head" or by="layer"')
    together = bool((table["head"] < 0).all())
    heads = table["head"] * 0 if together else table["head"]
    values = np.full((int(table["layer"].max()) + 1, int(heads.max()) + 1), np.nan)
    values[table["layer"], heads] = table[column].astype(float)
    image = ax.imshow(values, aspect="auto", cmap=colours, interpolation="nearest", vmin=low, vmax=high)
    ax.figure.colorbar(image, ax=ax, label=label)
    ax.set_xlabel("head")
    if together:
        ax.set_xticks([0], ["all"])
    ax.set_ylabel("layer")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return sg.plot._axes(ax, size)
