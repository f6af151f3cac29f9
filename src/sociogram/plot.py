"""Pictures without a browser, by matplotlib (`pip install 'sociogram[plot]'`): each function draws one and returns its axes.

They use the public face alone. What they leave out they say in the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sociogram as sg
from sociogram.plot_groups import (
    agreement,
    blocks,
    change,
    common,
    communities,
    community_series,
    difference,
    distances,
)
from sociogram.plot_layers import linear_view, routes
from sociogram.plot_networks import causal_test, embedding, networks, null_test, spectrum
from sociogram.plot_pairs import matching, position_test

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "agreement",
    "blocks",
    "causal_test",
    "change",
    "common",
    "communities",
    "community_series",
    "difference",
    "distances",
    "embedding",
    "flock",
    "heads",
    "inertia",
    "linear_view",
    "matching",
    "moves",
    "networks",
    "null_test",
    "position_test",
    "routes",
    "spectrum",
    "weights",
]

_PARTS = {
    "moved": ("the whole move", "#000000", "-"),
    "from_others": ("from others", "#0072B2", "-"),
    "from_itself": ("from itself", "#56B4E9", "--"),
    "from_source": ("from the other sequence", "#009E73", "-."),
    "from_outside": ("from what an edit let it hear", "#CC79A7", "-."),
    "mlp": ("MLP", "#E69F00", "-"),
    "edited": ("changed by edits", "#D55E00", "--"),
    "rest": ("biases, norms, the rest", "#999999", ":"),
}
_NAMED = 40
"""More tokens than this are not named one by one."""


def flock(
    rec: sg.Recording,
    *,
    layer: int | None = None,
    view: str = "plain",
    components: tuple[int, int] = (0, 1),
    arrows: int = 10,
    first: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Where the tokens stand after a layer's attention, the way they came, and the strongest messages as arrows.

    Args:
        rec: one sequence.
        layer: which layer; the one in which others told the last token most when left out.
        view: the projection, see `rec.flock`.
        components: which two components are drawn.
        arrows: how many of the layer's strongest messages (by norm) between different tokens.
        first: also show the first token, which in trained decoders stands far away.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: an unknown layer, view or component.
        RecordingError: what is needed was not kept.
        MissingExtraError: matplotlib is not installed.

    Misleads: two components show some of the variance; the axes say how much.
    """
    ax = _axes(ax, (7.5, 6.0))
    chosen = _most_told(rec) if layer is None else rec.layer(layer)
    placed = rec.flock(view)
    count = len(placed.positions["component"])
    if len(components) != 2 or not all(0 <= c < count for c in components):
        raise sg.InputError(f"components={components!r}: two of 0 to {count - 1}")
    xy = placed.positions.values[:, :, list(components)]
    stop = _after_attention(rec, chosen)
    shown = list(range(0 if first else 1, xy.shape[1])) or [0]
    last = xy.shape[1] - 1
    for token in shown:
        colour, width = ("#D55E00", 1.6) if token == last else ("#999999", 0.5)
        ax.plot(xy[: stop + 1, token, 0], xy[: stop + 1, token, 1], color=colour, linewidth=width, alpha=0.6, zorder=1)
    ax.scatter(xy[stop, shown, 0], xy[stop, shown, 1], s=26, color="#0072B2", zorder=3)
    if len(shown) <= _NAMED:
        for token in shown:
            ax.annotate(rec.tokens[token], xy[stop, token], xytext=(5, 4), textcoords="offset points", fontsize=8, zorder=4)
    edges = rec.edges(layer=chosen, top=None, drop_first=not first)
    strongest = edges[edges["query"] != edges["key"]].head(arrows)
    for edge in strongest.itertuples():
        _arrow(ax, xy[stop], edge)
    share = float(strongest["message"].sum()) / float(edges.attrs["total"]) if len(strongest) else 0.0
    _name_axes(ax, placed, components)
    title = f"{rec.tree.attrs['model']}, after attention in layer {chosen}"
    count = edges.attrs["edges"]  # of a streamed recording more than it lists
    of = f"{len(strongest)} of {count:,} messages" if count == count else f"{len(strongest)} messages"
    ax.set_title(f"{title}: {of}, {share:.0%} of their summed norm", fontsize=10)
    return ax


def heads(rec: sg.Recording, weight: str = "message", *, first: bool = False, ax: Axes | None = None) -> Axes:
    """How much each head of each layer told tokens about other tokens, by summed size of `weight`.

    Args:
        rec: one sequence.
        weight: `"message"`, `"attention"` or `"contribution"`; see `rec.edges`.
        first: also count what the first token told, which in trained decoders soaks up attention.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: an unknown weight.
        RecordingError: what is needed was not kept.
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (5.0, 6.5))
    totals = rec.select((weight,)).totals[f"total_{weight}"]
    table = totals.sel(kind="between" if not first else ["between", "first"])
    table = table.sum("kind") if first else table
    missing = rec.dataset["status"].values != "closed"
    values = np.where(missing[:, None], np.nan, table.values)
    image = ax.imshow(values, aspect="auto", cmap="cividis", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=f"{weight}, summed over pairs of different tokens")
    ax.set_xlabel("head")
    ax.set_ylabel("layer")
    ax.set_title(f"{rec.tree.attrs['model']}: what the heads told{'' if first else ', first token left out'}", fontsize=10)
    return ax


def inertia(result: sg.Inertia, *, ax: Axes | None = None) -> Axes:
    """How much is still owed to the old prompt at each token after a swap, and how far the run is from the new one's.

    Args:
        result: of `sg.inertia`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.

    Misleads: where the old and the new prompt agree there is no share, and the line has a gap.
    """
    ax = _axes(ax, (7.5, 4.0))
    table = result.table
    ax.axhline(0, color="#999999", linewidth=0.8)
    ax.axhline(1, color="#999999", linewidth=0.8)
    ax.plot(table["step"], table["share"], "o-", color="#0072B2", markersize=4, label="share owed to the old prompt")
    ax.plot(table["step"], table["kl_from_b"], "--", color="#D55E00", label="KL from the new prompt's run, nats")
    if len(table) <= _NAMED:
        ax.set_xticks(table["step"], table["token"], rotation=90, fontsize=8)
    ax.set_xlabel("token written after the swap")
    ax.legend(frameon=False, fontsize=8)
    missing = int(table["share"].isna().sum())
    ax.set_title(f"{len(result.written)} tokens written before the swap; no share for {missing} of {len(table)}", fontsize=10)
    return ax


def moves(rec: sg.Recording, token: int | str = -1, *, ax: Axes | None = None) -> Axes:
    """How far one token moved in each layer, and the norms of the parts of its move.

    Args:
        rec: one sequence.
        token: by position or text; the last one when left out.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such token.
        RecordingError: what is needed was not kept.
        MissingExtraError: matplotlib is not installed.

    Misleads: norms do not add up, since parts can cancel.
    """
    ax = _axes(ax, (7.5, 4.0))
    place = rec.find("query", token)
    table: pd.DataFrame = rec.moves()
    own = table[table["query"] == place]
    for name, (label, colour, line) in _PARTS.items():
        if name in own and not own[name].isna().all():
            ax.plot(own["layer"], own[name], line, color=colour, label=label, linewidth=2.2 if name == "moved" else 1.4)
    ax.set_xlabel("layer")
    ax.set_ylabel("norm")
    ax.set_yscale("log")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(f"{rec.tree.attrs['model']}: what moved {rec.tokens[place]} (token {place})", fontsize=10)
    return ax


def weights(rec: sg.Recording, layer: int, head: int, *, ax: Axes | None = None) -> Axes:
    """One head's attention weights, readers in rows, tokens read in columns; what may not be read is hatched.

    Args:
        rec: one sequence.
        layer, head: which.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such layer or head.
        RecordingError: the weights were not kept.
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (6.0, 5.5))
    array = rec.messages(layer).weights
    if not -len(array) <= head < len(array):
        raise sg.InputError(f"no head {head}: there are {len(array)}, numbered 0 to {len(array) - 1}")
    values = array[head].numpy()
    unread = values == 0
    ax.set_facecolor("#eeeeee")
    ax.patch.set(hatch="////", edgecolor="#cccccc")
    image = ax.imshow(np.where(unread, np.nan, values), cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="attention weight")
    if len(rec.tokens) <= _NAMED:
        ax.set_xticks(range(values.shape[1]), rec.tokens, rotation=90, fontsize=8)
        ax.set_yticks(range(values.shape[0]), rec.tokens, fontsize=8)
    ax.set_xlabel("key: who is read")
    ax.set_ylabel("query: who reads")
    ax.set_title(f"{rec.tree.attrs['model']}, layer {rec.layer(layer)}, head {head % len(array)}", fontsize=10)
    return ax


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise sg.MissingExtraError("pictures need matplotlib: pip install 'sociogram[plot]'") from error
    return Figure(figsize=size, layout="constrained").add_subplot()


def _most_told(rec: sg.Recording) -> int:
    """The layer in which others (the first token left out) told the last token most."""
    closed = np.flatnonzero(rec.dataset["status"].values == "closed")
    if not len(closed):
        raise sg.RecordingError("no layer of this recording has messages to draw: all are opaque or unsupported")
    totals = rec.select(("message",), budget=rec.dataset.sizes["layer"]).totals["reader_message"]
    told = totals.sel(kind="between").isel(query=-1).values[closed]
    return int(closed[np.nan_to_num(told).argmax()])


def _after_attention(rec: sg.Recording, layer: int) -> int:
    parts, layers = rec.dataset["stop_part"].values, rec.dataset["stop_layer"].values
    own = [i for i in range(len(parts)) if layers[i] == layer and "attention" in str(parts[i])]
    if not own:
        raise sg.InputError(f"layer {layer} has no stop after attention: it is {rec.dataset['status'].values[layer]}")
    return own[0]


def _arrow(ax: Axes, xy: np.ndarray, edge: Any) -> None:
    from matplotlib import colormaps

    colour = "#777777" if edge.pull != edge.pull else colormaps["PuOr_r"](0.5 + 0.5 * np.clip(4 * edge.pull, -1, 1))
    ax.annotate(
        "",
        xy[edge.query],
        xytext=xy[edge.key],
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "connectionstyle": "arc3,rad=0.15",
            "linewidth": 1.4,
            "shrinkA": 4,
            "shrinkB": 4,
        },
        zorder=2,
    )


def _name_axes(ax: Axes, placed: sg.Flock, components: tuple[int, int]) -> None:
    labels = placed.positions["component"].values
    for axis, component in zip((ax.xaxis, ax.yaxis), components, strict=True):
        null = "" if placed.null_variance is None else f", a random walk: {placed.null_variance[component]:.0%}"
        axis.set_label_text(f"{labels[component]} ({placed.variance[component]:.0%} of the variance{null})")
    ax.margins(0.12)
