"""Pictures of groups of tokens, comparisons and changes of networks; found under `sg.plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import sociogram as sg
from sociogram.plot_networks import by_head

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_NAMED = 40
"""More rows or columns than this are not named one by one."""
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's, told apart by all; more groups than these share grey."""
_REST = "#BBBBBB"


def communities(found: sg.Communities, level: int = 1, *, ax: Axes | None = None) -> Axes:
    """The weights with tokens ordered by community, a frame around each community of two tokens or more.

    Args:
        found: from `networks.communities`.
        level: which level.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: no such level.
        MissingExtraError: matplotlib is not installed.

    Misleads: colours are the root of the weight, so that weak edges can be seen at all.
    """
    labels = found.labels(level)
    ax = _in_order(ax, found.weights, found.allowed, labels, list(found.tokens["text"]))
    row = found.levels.iloc[level - 1]
    against = "no null" if found.null is None else f"z {row['z']:.1f} against {found.null!r}"
    alone = f", {int(row['alone'])} of one token" if row["alone"] else ""
    title = f"{_graph(found)}: {int(row['communities'])} communities{alone}, modularity {row['modularity']:.2f}, {against}"
    ax.set_title(f"{title}\nwithout what tokens tell themselves ({found.self_share:.0%})", fontsize=9)
    return ax


def blocks(found: sg.Blocks, *, ax: Axes | None = None) -> Axes:
    """The weights with tokens ordered by block, a frame around each block of two tokens or more.

    Args:
        found: from `networks.blocks`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _in_order(ax, found.weights, found.allowed, found.labels, list(found.tokens["text"]))
    best = found.table.iloc[int(found.table["icl"].argmax())]
    told = f"{_graph(found)}: {int(best['used'])} blocks, base {found.base!r}, {best['explained']:.0%} explained"
    ax.set_title(f"{told}\nwithout what tokens tell themselves", fontsize=9)
    return ax


def community_series(series: sg.CommunitySeries, *, ax: Axes | None = None) -> Axes:
    """The community of each token in each layer; a community takes the colour of the one before that it shares most tokens with.

    Args:
        series: from `networks.community_series`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    from matplotlib.colors import ListedColormap

    labels = series.labels
    shown = _followed(labels.values)
    ax = _axes(ax, (8.0, 5.0))
    count = len(_COLOURS)
    ax.imshow(
        np.minimum(shown, count), aspect="auto", cmap=ListedColormap([*_COLOURS, _REST]), vmin=-0.5, vmax=count + 0.5,
        interpolation="nearest",
    )  # fmt: skip
    _name(ax, [str(text) for text in labels["text"].values], None)
    ax.set_yticks(range(0, len(labels), max(1, len(labels) // 15)), labels["layer"].values[:: max(1, len(labels) // 15)])
    ax.set_xlabel("token")
    ax.set_ylabel("layer")
    grey = int((shown >= count).sum())
    head = "" if series.head < 0 else f", head {series.head}"
    mean = series.changes["agreement"].mean()
    ax.set_title(
        f"communities from layer to layer{head}: mean agreement {mean:.2f}; grey: the others ({grey} of {shown.size})", fontsize=9
    )
    return ax


def agreement(found: sg.Agreement, *, ax: Axes | None = None) -> Axes:
    """The matrix of adjusted mutual information; grey where there is nothing to agree about.

    Args:
        found: from `networks.agreement`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _matrix(ax, found.matrix, "adjusted mutual information", 0.0, 1.0)
    table = found.table()
    out = int((table["p_corrected"] <= 0.05).sum())
    below = int((table["agreement"] < 0).sum())
    ax.set_title(
        f"agreement of communities: {out} of {len(table)} pairs beyond {found.null!r} (p ≤ 0.05 over all)\n"
        f"{below} below 0 drawn as 0",
        fontsize=9,
    )
    return ax


def distances(found: sg.Distances, *, ax: Axes | None = None) -> Axes:
    """The matrix of distances.

    Args:
        found: from `networks.distances`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    top = float(np.nanmax(found.matrix.values)) if np.isfinite(found.matrix.values).any() else 1.0
    ax = _matrix(ax, found.matrix, f"{found.metric} distance", 0.0, top or 1.0)
    over = f"mean over {found.readers} readers" if found.readers else "of whole graphs"
    ax.set_title(f"{found.metric} distance, {over}", fontsize=9)
    return ax


def difference(found: sg.Difference, *, ax: Axes | None = None) -> Axes:
    """Layers by heads, coloured by the share of the weight that moved.

    Args:
        found: from `networks.diff`.
        ax: where to draw; a new figure when left out.

    Raises:
        InputError: edges could not be compared, so that nothing is known of single heads.
        MissingExtraError: matplotlib is not installed.
    """
    if found.why is not None:
        raise sg.InputError(f"nothing to draw by head: {found.why}")
    ax = _axes(ax, (5.0, 6.5))
    by_head(ax, found.graphs, "moved", "cividis", f"share of {found.weight} that moved", 0)
    about = found.edges.attrs
    ax.set_title(f"{about['changed']:,} of {about['pairs']:,} edges changed, by {about['total']:.3g} in all", fontsize=9)
    return ax


def common(found: sg.Common, *, ax: Axes | None = None) -> Axes:
    """Where the variance of weights lies, in the mean over a layer's heads: distance, place, content.

    Args:
        found: from `networks.common`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (7.5, 4.0))
    table: pd.DataFrame = found.table
    means = table.groupby("layer")[["offset", "place", "content"]].mean()
    bottom = np.zeros(len(means))
    styles = {"offset": ("#0072B2", "distance (first token apart)", ""), "place": ("#E69F00", "place, beyond distance", "//")}
    for name, (colour, label, hatch) in (styles | {"content": ("#999999", "content: differs between prompts", "..")}).items():
        ax.bar(
            np.arange(len(means)),
            means[name],
            bottom=bottom,
            color=colour,
            label=label,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
        bottom = bottom + np.nan_to_num(means[name].to_numpy())
    ax.set_xticks(range(0, len(means), max(1, len(means) // 15)), means.index[:: max(1, len(means) // 15)])
    ax.set_xlabel("layer")
    ax.set_ylabel("share of the variance of weights")
    ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.15), ncols=3)
    length, cut = found.average.sizes["query"], int((found.prompts["tokens"] > found.prompts["used"]).sum())
    missing = int(table["content"].isna().sum())
    left = f"; {missing} of {len(table)} graphs do not vary and are left out" if missing else ""
    ax.set_title(f"{len(found.prompts)} prompts, {length} tokens of each ({cut} cut), means over heads{left}", fontsize=9)
    return ax


def change(found: sg.Change, *, ax: Axes | None = None) -> Axes:
    """The change of every step, unusual ones marked.

    Args:
        found: from `networks.change`.
        ax: where to draw; a new figure when left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    ax = _axes(ax, (7.5, 4.0))
    table = found.table
    ax.plot(table["step"], table["change"], "-", color="#0072B2", label="from the one before")
    ax.plot(table["step"], table["nearest_before"], "--", color="#E69F00", label="from the nearest of all before")
    out = table[table["unusual"]]
    ax.plot(out["step"], out["change"], "D", color="#D55E00", label="unusual (score beyond 3.5)")
    if len(table) <= _NAMED:
        ax.set_xticks(
            table["step"], [f"{a} → {b}" for a, b in zip(table["before"], table["after"], strict=True)], rotation=90, fontsize=7
        )
    ax.set_ylim(bottom=0)
    ax.set_xlabel(f"step over {found.over}")
    ax.set_ylabel("share of what is heard that moved")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(f"{len(table)} steps, {len(out)} unusual", fontsize=9)
    return ax


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    return sg.plot._axes(ax, size)


def _graph(found: Any) -> str:
    head = f", head {found.head}" if found.head >= 0 else ""
    return "all layers" if found.layer < 0 else f"layer {found.layer}{head}"


def _in_order(ax: Axes | None, weights: np.ndarray, allowed: np.ndarray, labels: np.ndarray, texts: list[str]) -> Axes:
    """A graph's weights, tokens ordered by group; pairs that the mask rules out are hatched."""
    from matplotlib.patches import Rectangle

    ax = _axes(ax, (6.0, 5.5))
    order = np.argsort(labels, kind="stable")
    values = np.where(allowed, np.sqrt(weights), np.nan)[np.ix_(order, order)]
    ax.set_facecolor("#eeeeee")
    ax.patch.set(hatch="////", edgecolor="#cccccc")
    image = ax.imshow(values, cmap="cividis", vmin=0, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="root of the weight")
    start = 0
    for size in np.bincount(labels):
        if size > 1:
            ax.add_patch(Rectangle((start - 0.5, start - 0.5), size, size, fill=False, edgecolor="#D55E00", linewidth=1.5))
        start += size
    named = [texts[i] for i in order]
    _name(ax, named, named)
    ax.set_xlabel("key: who is read")
    ax.set_ylabel("query: who reads")
    return ax


def _matrix(ax: Axes | None, matrix: Any, label: str, low: float, high: float) -> Axes:
    ax = _axes(ax, (6.0, 5.5))
    ax.set_facecolor("#cccccc")
    image = ax.imshow(matrix.values, cmap="cividis", vmin=low, vmax=high, interpolation="nearest", aspect="auto")
    ax.figure.colorbar(image, ax=ax, label=label)
    _name(ax, list(matrix["other"].values), list(matrix["graph"].values))
    ax.set_xlabel("graph (layer.head)")
    ax.set_ylabel("graph (layer.head)")
    return ax


def _name(ax: Axes, columns: list[str], rows: list[str] | None) -> None:
    if len(columns) <= _NAMED:
        ax.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
    if rows is not None and len(rows) <= _NAMED:
        ax.set_yticks(range(len(rows)), rows, fontsize=7)


def _followed(labels: np.ndarray) -> np.ndarray:
    """Numbers that go on from layer to layer: the largest overlaps keep theirs, new communities get the next free."""
    shown = labels.copy()
    for i in range(1, len(labels)):
        before, own = shown[i - 1], labels[i]
        pairs, counts = np.unique(np.stack([own, before], 1), axis=0, return_counts=True)
        names: dict[int, int] = {}
        for new, old in pairs[np.argsort(-counts, kind="stable")]:
            if new not in names and old not in names.values():
                names[int(new)] = int(old)
        free = (n for n in range(labels.size) if n not in names.values())
        for new in np.unique(own):
            if int(new) not in names:
                names[int(new)] = next(free)
        shown[i] = [names[int(label)] for label in own]
    return shown
