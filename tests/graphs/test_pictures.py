"""Pictures of groups, comparisons and changes: what is drawn is what was found, and what is left out is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sociogram as sg
from tests.graphs.making import mask, of_one, planted, softmaxed, with_weights

BLOCKS = np.repeat([0, 1, 2], [10, 8, 6])


def weights(seed: int, layers: int = 2, tokens: int = 12) -> np.ndarray:
    return softmaxed(np.random.default_rng(seed).standard_normal((layers, 4, tokens, tokens)), mask(tokens, "causal"))


def written(ax: object, folder: Path) -> None:
    ax.figure.savefig(folder / "picture.png")  # type: ignore[attr-defined]
    assert (folder / "picture.png").stat().st_size > 5_000


def test_groups(tmp_path: Path) -> None:
    nets = of_one(planted(np.random.default_rng(0).permutation(BLOCKS), mask(24, "full"), 3.0, 0))
    found = nets.communities(0, samples=5)
    ax = found.plot()
    order = np.argsort(found.labels(), kind="stable")
    np.testing.assert_allclose(ax.images[0].get_array().filled(0), np.sqrt(found.weights)[np.ix_(order, order)])
    assert "layer 0: 3 communities, modularity" in ax.get_title()
    assert f"without what tokens tell themselves ({found.self_share:.0%})" in ax.get_title()
    assert sorted(patch.get_width() for patch in ax.patches) == [6, 8, 10]
    written(ax, tmp_path)
    model = nets.blocks(0, blocks=3)
    ax = model.plot()
    assert "3 blocks, base 'even'" in ax.get_title()
    written(ax, tmp_path)


def test_series_agreement_and_distances(tmp_path: Path) -> None:
    full = mask(24, "full")
    later = np.repeat([0, 2, 1, 2], [6, 4, 8, 6])  # the smallest community becomes the largest
    series = of_one(np.stack([planted(BLOCKS, full, 3, 0), planted(later, full, 3, 1)])).community_series()
    ax = series.plot()
    drawn = ax.images[0].get_array()
    assert series.labels.values[:, 23].tolist() == [2, 0]
    assert drawn[:, [0, 12, 23]].tolist() == [[0, 1, 2], [0, 1, 2]]  # communities keep their colours, whatever their numbers
    assert "grey: the others (0 of 48)" in ax.get_title()
    written(ax, tmp_path)
    nets = sg.networks(with_weights(weights(0)))
    found = nets.agreement(samples=20)
    ax = found.plot()
    np.testing.assert_allclose(ax.images[0].get_array(), found.matrix.values)
    assert "of 28 pairs beyond 'permute'" in ax.get_title()
    written(ax, tmp_path)
    apart = nets.distances()
    ax = apart.plot()
    np.testing.assert_allclose(ax.images[0].get_array(), apart.matrix.values)
    assert "mean over 11 readers" in ax.get_title()
    written(ax, tmp_path)


def test_differences_common_and_change(tmp_path: Path) -> None:
    one, other = (sg.networks(with_weights(weights(seed))) for seed in (0, 1))
    found = one.diff(other)
    ax = found.plot()
    np.testing.assert_allclose(ax.images[0].get_array().ravel(), found.graphs["moved"])
    assert "edges changed" in ax.get_title()
    written(ax, tmp_path)
    shared = one.common([other])
    ax = shared.plot()
    heights = np.array([[bar.get_height() for bar in bars] for bars in ax.containers])
    np.testing.assert_allclose(heights.sum(0), 1)
    np.testing.assert_allclose(heights[0], shared.table.groupby("layer")["offset"].mean())
    assert "2 prompts, 12 tokens of each (0 cut)" in ax.get_title()
    written(ax, tmp_path)
    moved = sg.networks(with_weights(weights(0, layers=5)), by="layer").change(samples=20)
    ax = moved.plot()
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), moved.table["change"])
    assert "4 steps" in ax.get_title()
    written(ax, tmp_path)


def test_it_draws_where_it_is_told_and_says_what_it_cannot() -> None:
    from matplotlib.figure import Figure

    one, other = sg.networks(with_weights(weights(0))), sg.networks(with_weights(weights(0, layers=1)))
    ax = Figure().add_subplot()
    assert one.distances().plot(ax=ax) is ax
    with pytest.raises(sg.InputError, match="nothing to draw by head: 2 layers and 8 graphs here"):
        one.diff(other).plot()
