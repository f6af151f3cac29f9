"""Pictures of two graphs compared: their latent positions, and their tokens matched; found under `sg.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import sociogram as sg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def position_test(found: sg.PositionTest, *, ax: Axes | None = None) -> Axes:
    """The distance of two graphs' positions, and the distances of random pairs whose positions are the first's, or the second's.

    Args:
        found: from `networks.compare_positions` or `sg.latent_position_test`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = sg.plot._axes(ax, (6.5, 4.0))
    values = np.concatenate([found.null_a, found.null_b, [found.distance]])
    bins = np.linspace(values.min(), values.max() * 1.02, 40).tolist()
    styles = (("first", found.null_a, found.p_a, "#0072B2", ""), ("second", found.null_b, found.p_b, "#E69F00", "//"))
    for name, null, p, colour, hatch in styles:
        ax.hist(
            null, bins, color=colour, hatch=hatch, edgecolor="white", alpha=0.7, label=f"{name} graph's positions (p {p:.3g})"
        )
    ax.axvline(found.distance, color="#D55E00", linewidth=2, label="these two graphs")
    ax.set_xlabel(f"distance of positions in {found.dimension} dimensions, after the best rotation")
    ax.set_ylabel(f"pairs of random graphs, of {found.samples}")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(f"distance {found.distance:.3g}, p = {found.p:.3g}; noise in {found.noise}", fontsize=9)
    return ax


def matching(found: sg.Matching, *, ax: Axes | None = None) -> Axes:
    """Which token of the second graph each token of the first was matched to; on the line are those matched to themselves.

    Args:
        found: from `networks.match`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = sg.plot._axes(ax, (5.5, 5.0))
    table = found.table
    ends = [int(table["token"].min()), int(table["token"].max())]
    ax.plot(ends, ends, color="#999999", linewidth=1, zorder=1)
    kinds = (
        ("itself", table["itself"] & ~table["seed"], "#0072B2", "o"),
        ("another", ~table["itself"], "#D55E00", "x"),
        ("given (seed)", table["seed"], "#000000", "s"),
    )
    for label, rows, colour, marker in kinds:
        some = table[rows]
        if len(some):
            ax.scatter(some["token"], some["matched"], color=colour, marker=marker, s=24, zorder=2, label=f"{label}: {len(some)}")
    ax.set_xlabel("token of the first graph")
    ax.set_ylabel("token of the second it was matched to")
    ax.legend(frameon=False, fontsize=8)
    beside = f", {found.null_itself.mean():.0%} under {found.null!r} (p = {found.p:.3g})" if found.null else ""
    ax.set_title(f"{found.itself:.0%} matched to themselves{beside}", fontsize=9)
    return ax
