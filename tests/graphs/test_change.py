"""Series of graphs: how much they change, which tokens' edges do, and what stands out."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.change import pairwise, robust_scores
from tests.graphs.making import mask, of_one, softmaxed, with_weights
from tests.models.conftest import byte_level_tokenizer, tiny_llama


def alike(seed: int, times: int, tokens: int, noise: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((tokens, tokens)) + noise * rng.standard_normal((times, tokens, tokens))
    return softmaxed(scores, mask(tokens, "causal"))


def test_changes_by_hand() -> None:
    one = np.array([[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]])
    other = np.array([[[1.0, 0, 0], [0.1, 0.9, 0], [0.2, 0.3, 0.5]]])
    heard, told = pairwise(np.stack([one, other]))
    np.testing.assert_allclose(heard[0, 1], [0, 0.4, 0])
    np.testing.assert_allclose(told[1, 0], [0.2, 0.2, 0])


def test_scores_by_hand() -> None:
    scores = robust_scores(np.array([1.0, 2, 3, 4, 100]))
    np.testing.assert_allclose(scores, (np.array([1, 2, 3, 4, 100]) - 3) / 1.482602)
    mostly = robust_scores(np.array([1.0, 1, 1, 1, 6]))
    np.testing.assert_allclose(mostly, (np.array([1, 1, 1, 1, 6]) - 1) / 1.253314)
    assert np.isnan(robust_scores(np.ones(4))).all()
    normal = robust_scores(np.random.default_rng(0).standard_normal(10_000))
    assert normal.std() == pytest.approx(1, abs=0.03)


def test_a_break_is_found_where_it_is() -> None:
    series = np.concatenate([alike(0, 6, 10), alike(1, 6, 10)])
    found = of_one(series).change(samples=199)
    table = found.table
    assert int(table["change"].argmax()) == 5
    assert table.loc[5, ["before", "after"]].tolist() == ["5", "6"]
    assert table["unusual"][5]
    assert table["unusual"].sum() <= 2
    assert table["p_corrected"][5] == pytest.approx(1 / 200)
    assert (table["p"].drop(5) > 0.05).all()
    expected = np.abs(series[6, 1:] - series[5, 1:]).sum(-1).mean() / 2
    assert table["change"][5] == pytest.approx(expected, rel=1e-5)
    assert found.readers == 9
    assert "11 steps over layers; largest" in repr(found)
    back = of_one(np.concatenate([alike(0, 4, 10), alike(1, 4, 10), alike(0, 4, 10, 0.06)])).change().table
    assert back["change"][7] > 0.1
    assert back["nearest_before"][7] < 0.1  # the old pattern is back


def test_the_tokens_of_the_signal_are_those_that_changed() -> None:
    series = alike(0, 8, 12)
    moved = series.copy()
    moved[4:, 9] = softmaxed(3 * np.random.default_rng(5).standard_normal((12, 12)), mask(12, "causal"))[
        9
    ]  # one reader, from layer 4 on
    found = of_one(moved).change(samples=199)
    signal = found.signal(3)
    assert signal["token"][0] == 9
    assert signal["heard"][0] > 5 * signal["heard"][1:].max()
    row = found.tokens.query("step == 3 and token == 9").iloc[0]
    assert row["p"] == pytest.approx(1 / 7)
    assert row["score"] > 10
    assert found.tokens.query("token == 9")["p"].sum() == pytest.approx(sum(range(1, 8)) / 7)
    per_step = found.tokens.groupby("step")["change"].sum()
    np.testing.assert_allclose(per_step, found.table["change"] * found.readers)


def test_what_does_not_change() -> None:
    found = of_one(np.stack([alike(0, 1, 6)[0]] * 4)).change()
    assert (found.table["change"] == 0).all()
    assert found.table["score"].isna().all()
    assert not found.table["unusual"].any()
    assert (found.table["p"] == 1).all()


def test_steps_of_noise_do_not_stand_out_more_often_than_they_say() -> None:
    found = [of_one(alike(seed, 10, 8, 1.0)).change(samples=99, seed=seed).table for seed in range(20)]
    ps = np.concatenate([table["p"].to_numpy() for table in found])
    assert 0.02 < np.mean(ps <= 0.1) < 0.2
    assert np.mean([table["p_corrected"].min() <= 0.1 for table in found]) <= 0.3


def test_recordings_in_order() -> None:
    series = [alike(0, 5, 7)[i] for i in range(5)]
    series[3] = alike(9, 1, 7)[0]
    every = [sg.networks(with_weights(np.stack([np.stack([one] * 4)] * 2))) for one in series]
    found = every[0].change(every[1:])
    assert found.over == "recordings"
    assert found.table["before"].tolist() == ["0", "1", "2", "3"]
    assert found.table["change"].nlargest(2).index.sort_values().tolist() == [2, 3]


def test_written_tokens() -> None:
    model = sg.load(tiny_llama(), tokenizer=byte_level_tokenizer())
    rec = sg.record(model, "the nail in the ship", generate=6)
    begin = int(rec.tree.attrs["prompt_tokens"])
    nets = sg.networks(rec)
    found = nets.change(over="steps")
    count = len(rec.tokens)
    assert len(found.table) == count - begin - 1
    weights = rec.dataset["weights"].values.astype(float)
    after = begin + 2
    expected = np.abs(weights[:, :, after] - weights[:, :, after - 1]).sum(-1).mean() / 2
    assert found.table["change"][1] == pytest.approx(expected, rel=1e-5)
    assert found.table["after"][1] == f"{after} {rec.tokens[after]}"
    tokens = found.tokens.query("step == 1")
    assert tokens["token"].tolist() == list(range(after + 1))
    assert tokens["told"].sum() == pytest.approx(expected, rel=1e-5)
    assert tokens["heard"].isna().all()
    assert found.table["p"].between(1 / 201, 1).all()


def test_what_is_no_series_is_refused() -> None:
    nets = of_one(alike(0, 4, 6))
    with pytest.raises(sg.InputError, match=r'by="head": change\(\) follows layers'):
        sg.networks(nets.source.rec).change()
    with pytest.raises(sg.InputError, match=r"over='days': choose one of layers, steps"):
        nets.change(over="days")
    with pytest.raises(sg.InputError, match=r"samples=0: a whole number from 1 up"):
        nets.change(samples=0)
    with pytest.raises(sg.InputError, match=r"a series of 2 graphs has no step to compare with others"):
        nets.change([nets])
    with pytest.raises(sg.RecordingError, match=r"needs a recording of at least three written tokens, and this has 0"):
        nets.change(over="steps")
    with pytest.raises(sg.InputError, match=r"weight='attention' in recording 0 and 'message' in 1"):
        nets.change([sg.networks(nets.source.rec, "message", by="layer")] * 2)
    with pytest.raises(sg.InputError, match=r"recording 1: the tokens differ from number 5 on"):
        nets.change([of_one(alike(0, 4, 5))] * 2)
