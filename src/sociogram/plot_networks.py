"""Pictures of networks: statistics of heads, tests, effects; found under `sg.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import sociogram as sg

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def networks(nets: sg.Networks, statistic: str = "entropy", *, ax: Axes | None = None) -> Axes:
    """One statistic of every head (rows: layers), of networks by head.

    Args:
        nets: from `sg.networks(rec)`.
        statistic: a column of `nets.summary()`.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such statistic, or networks that are not by head.
        RecordingError: what is needed was not kept.
        MissingExtraError: matplotlib is not installed.

    Misleads: beside no null it is not to be seen what of it a causal mask gives any head; see `null_test`.
    """
    ax = _axes(ax, (5.0, 6.5))
    table = nets.summary()
    if statistic not in table or statistic in ("layer", "head"):
        raise sg.InputError(f"statistic={statistic!r}: choose one of {', '.join(table.columns[2:])}")
    _by_head(ax, table, statistic, "cividis", statistic)
    ax.set_title(f"{statistic} of {len(table)} networks of {nets.source.weight}", fontsize=10)
    return ax


def null_test(test: sg.NullTest, *, ax: Axes | None = None) -> Axes:
    """How far each head's statistic is from its null, in the null's deviations; a dot where it stands out over all heads.

    Args:
        test: from `nets.test(...)`, of networks by head.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: a test of networks that are not by head.
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (5.0, 6.5))
    limit = float(np.nanquantile(np.abs(test.table["z"].replace([np.inf, -np.inf], np.nan)), 0.98)) or 1.0
    _by_head(ax, test.table, "z", "PuOr_r", f"z, colours end at ±{limit:.1f}", -limit, limit)
    out = test.table[test.table["p_corrected"] <= 0.05]
    ax.plot(out["head"], out["layer"], "k.", markersize=3)
    title = f"{test.statistic} against {test.null!r}, {test.samples} samples"
    ax.set_title(f"{title}: {len(out)} of {len(test.table)} stand out (dots, p ≤ 0.05 over all)", fontsize=9)
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


def _by_head(
    ax: Axes, table: pd.DataFrame, column: str, colours: str, label: str, low: float | None = None, high: float | None = None
) -> None:
    """A column of a table with layers and heads as an image; layers without messages are white."""
    if (table["head"] < 0).any():
        raise sg.InputError('this picture has a cell for each head: make the networks with by="head"')
    values = np.full((int(table["layer"].max()) + 1, int(table["head"].max()) + 1), np.nan)
    values[table["layer"], table["head"]] = table[column].astype(float)
    image = ax.imshow(values, aspect="auto", cmap=colours, interpolation="nearest", vmin=low, vmax=high)
    ax.figure.colorbar(image, ax=ax, label=label)
    ax.set_xlabel("head")
    ax.set_ylabel("layer")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return sg.plot._axes(ax, size)
