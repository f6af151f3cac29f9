"""Pictures of ways through the layers and of a layer as one operator; found under `sg.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import sociogram as sg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMED = 40
"""More tokens than this are not named one by one."""


def routes(layered: sg.Layered, query: int | str = -1, threshold: float = 0.01, *, ax: Axes | None = None) -> Axes:
    """The ways that lead to one token after the last layer: a line for each edge, as wide as the share that passes it.

    Args:
        layered: from `networks.layered`.
        query: the token they lead to.
        threshold: edges that carry less are left out.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such token, or a threshold that is none.
        MissingExtraError: matplotlib is not installed.

    Misleads: an upright line is a token's own stream together with what it tells itself.
    """
    found = layered.routes(query, threshold)
    ax = sg.plot._axes(ax, (8.0, 5.5))
    height = {layer: i for i, layer in enumerate(layered.layers)}
    for layer, reader, sender, share in found[["layer", "query", "key", "share"]].to_numpy():
        bottom, colour = height[int(layer)], "#999999" if reader == sender else "#0072B2"
        ax.plot([sender, reader], [bottom, bottom + 1], color=colour, linewidth=0.3 + 6 * share, alpha=0.8)
    tokens = list(layered.tokens)
    places = np.arange(len(tokens)) + layered.first
    ax.set_xlim(places[0] - 0.5, places[-1] + 0.5)
    ax.set_ylim(0, len(height))
    if len(tokens) <= _NAMED:
        ax.set_xticks(places, tokens, rotation=90, fontsize=8)
    step = max(1, len(height) // 15)
    ax.set_yticks(np.arange(0, len(height), step) + 0.5, [str(layer) for layer in list(height)[::step]])
    ax.set_xlabel("token (grey: its own stream)")
    ax.set_ylabel("layer")
    ax.set_title(f"ways to the end that carry {threshold:g} or more: {len(found)} edges", fontsize=9)
    return ax


def linear_view(view: sg.LinearView, *, ax: Axes | None = None) -> Axes:
    """The singular values of a layer's attention as a sum of products of one pattern and one map each.

    Args:
        view: from `networks.linear_view`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = sg.plot._axes(ax, (6.0, 4.0))
    values = view.head_spectrum
    places = np.arange(1, len(values) + 1)
    ax.bar(places, values, color="#0072B2", label="found")
    ax.axhline(view.norm / np.sqrt(len(values)), color="#E69F00", linestyle="--", label="if all counted alike")
    ax.set_xticks(places)
    ax.set_xlabel("component (one pattern, one map)")
    ax.set_ylabel("singular value")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(f"layer {view.layer}: {len(values)} heads amount to {view.effective_heads:.2f}", fontsize=9)
    return ax
