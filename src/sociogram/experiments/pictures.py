"""What the experiments' pictures share: a figure with its panels, and colours that all eyes tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sociogram as sg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's colours."""


def panels(columns: int, rows: int = 1, *, size: tuple[float, float] = (5.0, 4.0), title: str = "") -> tuple[Figure, list[Axes]]:
    """A figure of panels of this size in inches, row by row, with a title above all.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise sg.MissingExtraError("pictures need matplotlib: pip install 'sociogram[plot]'") from error
    figure = Figure(figsize=(size[0] * columns, size[1] * rows), layout="constrained")
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    figure.suptitle(title, fontsize=11)
    return figure, list(axes.flat)


def label(ax: Axes, title: str, x: str, y: str, *, legend: bool = True) -> None:
    """Name a panel and its axes."""
    ax.set_title(title, fontsize=10)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if legend:
        ax.legend(frameon=False, fontsize=8)
