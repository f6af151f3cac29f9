"""Two recordings side by side: nothing, one edited edge, another model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.graphs.making import mask, softmaxed, with_weights
from tests.models.conftest import tiny_llama

IDS = [5, 9, 17, 3, 44, 21]


def made(seed: int, layers: int = 2, tokens: int = 6) -> np.ndarray:
    return softmaxed(np.random.default_rng(seed).standard_normal((layers, 4, tokens, tokens)), mask(tokens, "causal"))


def test_the_same_is_no_difference() -> None:
    rec = with_weights(made(0))
    found = sg.networks(rec).diff(sg.networks(rec))
    assert found.edges.empty
    assert found.edges.attrs == {"pairs": 8 * 21, "changed": 0, "total": 0.0, "share": 1.0}
    assert (found.graphs["moved"] == 0).all()
    assert found.largest().empty
    assert "0 of 168 edges changed" in repr(found)


def test_one_moved_weight_by_hand() -> None:
    weights = made(0)
    other = weights.copy()
    other[1, 2, 5, [1, 3]] += [-0.05, 0.05]
    found = sg.networks(with_weights(weights)).diff(sg.networks(with_weights(other)), top=1)
    assert found.edges.attrs["changed"] == 2
    assert found.edges.attrs["total"] == pytest.approx(0.1, abs=1e-6)
    assert found.edges.attrs["share"] == pytest.approx(0.5, abs=1e-5)
    row = found.edges.iloc[0]
    assert (row["layer"], row["head"], row["query"]) == (1, 2, 5)
    assert row["key"] in (1, 3)
    assert abs(row["change"]) == pytest.approx(0.05, abs=1e-6)
    assert row["other"] - row["one"] == row["change"]
    graphs = found.graphs.set_index(["layer", "head"])
    assert graphs.loc[(1, 2), "moved"] == pytest.approx(0.1 / 12, abs=1e-6)
    assert graphs["changed"].sum() == 2
    changed = found.statistics[found.statistics["change"].fillna(0).abs() > 1e-9]
    assert set(zip(changed["layer"], changed["head"], strict=True)) == {(1, 2)}
    assert (found.largest()[["layer", "head"]] == [1, 2]).all(axis=None)


def test_every_edge_is_found_by_trying_all() -> None:
    a, b = made(0), made(1)
    found = sg.networks(with_weights(a), drop_first=True).diff(sg.networks(with_weights(b), drop_first=True), top=7)
    change = np.abs(b.astype(np.float32).astype(float) - a.astype(np.float32))[:, :, 1:, 1:]
    np.testing.assert_allclose(found.edges["change"].abs(), np.sort(change.ravel())[::-1][:7], rtol=1e-12)
    assert found.edges.attrs["total"] == pytest.approx(change.sum())
    for row in found.edges.to_dict("records"):
        assert abs(row["change"]) == pytest.approx(change[row["layer"], row["head"], row["query"] - 1, row["key"] - 1])


def test_a_cut_edge_is_the_largest_change_of_its_head() -> None:
    model = sg.load(tiny_llama())
    plain = sg.record(model, IDS)
    with sg.steer(model, sg.edits.cut(layer=1, head=2, query=5, key=3)) as steered:
        rec = steered.record(IDS)
    found = sg.networks(plain).diff(sg.networks(rec), top=1)
    assert found.edges.loc[0, ["layer", "head", "query", "key", "other"]].tolist() == [1, 2, 5, 3, 0]
    assert (found.graphs.query("layer == 0")["moved"] < 1e-6).all()
    messages = sg.networks(plain, "message").diff(sg.networks(rec, "message"), top=1)
    assert messages.edges.loc[0, ["layer", "head", "query", "key", "other"]].tolist() == [1, 2, 5, 3, 0]


def test_precisions_differ_by_rounding() -> None:
    full, half = (sg.record(sg.load(tiny_llama().to(dtype)), IDS) for dtype in (torch.float32, torch.bfloat16))
    found = sg.networks(full).diff(sg.networks(half))
    assert 0 < found.graphs["moved"].max() < 0.05
    assert found.graphs["largest"].max() < 0.05


def test_other_heads_are_compared_statistic_by_statistic() -> None:
    small, large = (sg.networks(with_weights(made(0, layers))) for layers in (1, 2))
    found = small.diff(large)
    assert found.edges.empty
    assert found.graphs.empty
    assert "1 layers and 4 graphs here, 2 layers and 8 graphs there" in str(found.why)
    means = found.statistics.set_index("statistic")
    assert means.loc["entropy", "one"] == pytest.approx(small.summary()["entropy"].mean())
    assert means.loc["entropy", "other"] == pytest.approx(large.summary()["entropy"].mean())
    assert "no edges:" in repr(found)


def test_streamed_recordings_are_compared_by_what_they_hold() -> None:
    model = sg.load(tiny_llama())
    streamed = sg.record(model, IDS, keep="stream")
    found = sg.networks(streamed).diff(sg.networks(streamed))
    assert "a streamed recording has no edges but the strongest" in str(found.why)
    assert len(found.statistics) == 8 * (len(found.statistics["statistic"].unique()))
    assert (found.statistics["change"].dropna() == 0).all()


def test_what_cannot_be_compared_is_said() -> None:
    nets = sg.networks(with_weights(made(0)))
    with pytest.raises(sg.InputError, match=r"weight='attention' here and 'message' there; ask both the same question"):
        nets.diff(sg.networks(with_weights(made(0)), "message"))
    with pytest.raises(
        sg.InputError, match=r"the tokens differ from number 5 on: '#10' here \(6 tokens\) and the end there \(5\)"
    ):
        nets.diff(sg.networks(with_weights(made(0, tokens=5))))
    other = sg.networks(with_weights(made(0), texts=["#5", "#6", "x", "#8", "#9", "#10"]))
    with pytest.raises(sg.InputError, match=r"the tokens differ from number 2 on: '#7' here \(6 tokens\) and 'x' there \(6\)"):
        nets.diff(other)
    with pytest.raises(sg.InputError, match=r"top=0: a whole number from 1 up"):
        nets.diff(nets, top=0)
