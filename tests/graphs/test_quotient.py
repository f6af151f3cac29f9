"""The graph of communities, and who goes where from layer to layer."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.information import adjusted
from sociogram.graphs.quotient import overlaps, quotient
from tests.graphs.making import mask, of_one, planted, with_weights

EARLY, LATE = np.repeat([0, 1], 8), np.tile([0, 1], 8)


def test_the_quotient_by_hand() -> None:
    weights = np.array([[0, 0, 0], [4.0, 0, 0], [1, 2, 0]])
    found = quotient(weights, np.tril(np.ones((3, 3), bool), -1), np.array([0, 0, 1]))
    np.testing.assert_allclose(found["sum"], [[4, 0], [3, 0]])
    np.testing.assert_array_equal(found["pairs"], [[1, 0], [2, 0]])
    np.testing.assert_allclose(found["mean"], [[4, np.nan], [1.5, np.nan]])
    np.testing.assert_array_equal(found["tokens"], [2, 1])


def test_the_sums_are_the_weights() -> None:
    found = of_one(planted(EARLY, mask(16, "causal"), 2.0, 0)).communities(0, null=None)
    for level in range(1, len(found.levels) + 1):
        assert float(found.quotient(level)["sum"].sum()) == pytest.approx(found.weights.sum())
        assert int(found.quotient(level)["pairs"].sum()) == int(found.allowed.sum())


def test_overlaps_by_hand() -> None:
    table = overlaps(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    rows = table[["community", "next_community", "tokens", "share", "next_share", "jaccard"]].to_numpy().tolist()
    np.testing.assert_allclose(rows, [[0, 0, 2, 2 / 3, 1, 2 / 3], [0, 1, 1, 1 / 3, 1 / 2, 1 / 4], [1, 1, 1, 1, 1 / 2, 1 / 2]])


def test_layers_are_followed() -> None:
    full = mask(16, "full")
    series = of_one(
        np.stack([planted(EARLY, full, 3, 0), planted(EARLY, full, 3, 1), planted(LATE, full, 3, 2)])
    ).community_series()
    assert series.changes["agreement"].tolist() == pytest.approx([1, adjusted(EARLY, LATE)])
    assert series.changes["stayed"].tolist() == [1, 0.5]
    assert series.changes["communities"].tolist() == [2, 2]
    flows = series.flows
    assert (flows.groupby(["layer", "next_layer"])["tokens"].sum() == 16).all()
    assert flows[flows["layer"] == 0]["tokens"].tolist() == [8, 8]
    assert flows[flows["layer"] == 1]["tokens"].tolist() == [4, 4, 4, 4]
    sums = series.quotients.groupby("layer")["sum"].sum()
    np.testing.assert_allclose(
        sums,
        [16 - np.trace(w) for w in (planted(EARLY, full, 3, 0), planted(EARLY, full, 3, 1), planted(LATE, full, 3, 2))],
        rtol=1e-6,
    )
    assert "3 layers of 16 tokens" in repr(series)


def test_one_head_is_followed_by_its_number() -> None:
    full = mask(16, "full")
    heads = np.stack(
        [np.stack([planted(LATE if h == 2 else EARLY, full, 3, h + 4 * layer) for h in range(4)]) for layer in range(2)]
    )
    nets = sg.networks(with_weights(heads))
    assert nets.community_series(2).head == 2
    assert adjusted(nets.community_series(2).labels.values[1], LATE) == pytest.approx(1)
    assert adjusted(nets.community_series(1).labels.values[1], EARLY) == pytest.approx(1)


def test_what_is_no_series_is_refused() -> None:
    weights = np.stack([planted(EARLY, mask(16, "full"), 3, i) for i in range(2)])
    rec = with_weights(weights[:, None])
    with pytest.raises(sg.InputError, match=r'follows layers: make the networks with by="layer"'):
        sg.networks(rec, by="all").community_series()
    with pytest.raises(sg.InputError, match=r'by="head": community_series\(\) takes a head, got head=None'):
        sg.networks(rec).community_series()
    with pytest.raises(sg.InputError, match=r'by="layer": community_series\(\) takes no head, got head=1'):
        sg.networks(rec, by="layer").community_series(1)
    with pytest.raises(sg.InputError, match=r"head=7: not every layer has one; the layer with the fewest has 4"):
        sg.networks(rec).community_series(7)
    with pytest.raises(sg.InputError, match=r"these networks have one"):
        of_one(weights[0]).community_series()
