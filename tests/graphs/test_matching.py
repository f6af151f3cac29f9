"""Graph matching: the best of all matchings of few tokens, hidden orders found again, chance where there is nothing to find."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.matching import faq
from sociogram.graphs.networks import networks
from tests.graphs.given import given_networks, heads_of_chance
from tests.models.conftest import tiny_llama


def test_of_few_tokens_the_best_of_all_matchings_is_found() -> None:
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        one, other = rng.random((6, 6)), rng.random((6, 6))
        best = max((one * other[np.ix_(p, p)]).sum() for p in permutations(range(6)))
        result = faq(one, other, restarts=100, rng=rng)
        assert result.objective == pytest.approx((one * other[np.ix_(result.permutation, result.permutation)]).sum())
        assert result.objective <= best + 1e-9
        found.append(result.objective == pytest.approx(best))
    assert sum(found) >= 7


def test_a_hidden_order_is_found_again() -> None:
    rng = np.random.default_rng(0)
    one = heads_of_chance(rng, (30, 30), causal=False)
    order = rng.permutation(30)
    hidden = np.empty_like(one)
    hidden[np.ix_(order, order)] = one
    assert (faq(one, hidden, restarts=5, rng=rng).permutation == order).all()


def test_a_graph_is_matched_to_itself_and_a_noise_to_nobody() -> None:
    rng = np.random.default_rng(1)
    one, noise = (heads_of_chance(rng, (25, 25), causal=False) for _ in range(2))
    nets = given_networks(np.stack([one, one, noise])[None])
    same = nets.match((0, 0), (0, 1), samples=9, null="uniform", restarts=5)
    assert same.itself == 1
    assert same.objective == pytest.approx(1)
    assert same.objective_itself == pytest.approx(1)
    assert same.p == 0.1
    assert same.null_itself.mean() < 0.3
    assert same.random < 0.8
    assert same.table["matched"].tolist() == list(range(25))
    assert same.table["matched_text"].tolist() == nets.tokens
    other = nets.match((0, 0), (0, 2), null=None, restarts=5)
    assert other.itself <= 0.2
    assert np.isnan(other.p)
    assert not len(other.null_itself)
    assert other.objective > other.random + 3 * other.random_sd  # a search finds something in noise too
    assert "matched to themselves; objective" in repr(other)
    assert "under the null 'uniform'" in repr(same)


def test_alike_tokens_are_not_matched_by_the_order_they_stand_in() -> None:
    nets = given_networks(np.full((1, 2, 20, 20), 1 / 20))
    shares = [nets.match((0, 0), (0, 1), null=None, restarts=1, seed=seed, permutations=2).itself for seed in range(20)]
    assert np.mean(shares) < 0.15


def test_a_causal_mask_gives_tokens_away_and_the_null_says_so() -> None:
    rng = np.random.default_rng(2)
    weights = np.tril(rng.gamma(40, size=(2, 20, 20)))
    nets = given_networks((weights / weights.sum(-1, keepdims=True))[None])
    found = nets.match((0, 0), (0, 1), null="uniform", samples=10, restarts=3)
    assert found.itself > 0.4
    assert found.p > 0.1


def test_seeds_stay_and_are_not_counted() -> None:
    rng = np.random.default_rng(3)
    one, noise = (heads_of_chance(rng, (12, 12), causal=False) for _ in range(2))
    nets = given_networks(np.stack([one, noise])[None], drop_first=True)
    found = nets.match((0, 0), (0, 1), seeds=[1, 5, -1], null=None)
    told = found.table[found.table["seed"]]
    assert told["token"].tolist() == [1, 5, 11]
    assert told["itself"].all()
    rest = found.table[~found.table["seed"]]
    assert found.itself == pytest.approx(rest["itself"].mean())


def test_the_picture_has_a_mark_for_each_token() -> None:
    rng = np.random.default_rng(3)
    one, noise = (heads_of_chance(rng, (12, 12), causal=False) for _ in range(2))
    found = given_networks(np.stack([one, noise])[None]).match((0, 0), (0, 1), seeds=[1, 5], null="uniform", samples=3)
    ax = found.plot()
    drawn = {str(marks.get_label()): np.asarray(marks.get_offsets()) for marks in ax.collections}
    table = found.table
    rows = {"itself": table["itself"] & ~table["seed"], "another": ~table["itself"], "given (seed)": table["seed"]}
    expected = {f"{name}: {int(some.sum())}": int(some.sum()) for name, some in rows.items() if some.any()}
    assert {label: len(places) for label, places in drawn.items()} == expected
    places = np.concatenate(list(drawn.values()))
    assert {tuple(place) for place in places.astype(int)} == set(zip(table["token"], table["matched"], strict=True))
    assert f"{found.itself:.0%} matched to themselves" in ax.get_title()
    assert "under 'uniform'" in ax.get_title()


def test_layers_one_after_the_other() -> None:
    rec = sg.record(sg.load(tiny_llama(num_hidden_layers=4)), list(range(14)))
    table = networks(rec).match_layers(samples=3, restarts=2)
    assert table["layer"].tolist() == [0, 1, 2]
    assert table["other"].tolist() == [1, 2, 3]
    assert table["itself"].between(0, 1).all()
    assert (table["p"] >= 0.25).all()
    whole = networks(rec, by="layer")
    one = whole.match(0, 1, null=None, restarts=2)
    assert table["objective_itself"].iloc[0] == pytest.approx(one.objective_itself)
    assert -1 <= table.attrs["trend"] <= 1 or np.isnan(table.attrs["trend"])
    assert networks(rec).match_layers(step=3, null=None, restarts=1)["other"].tolist() == [3]
    with pytest.raises(sg.InputError, match="step=4: 1 to 3, as 4 layers have graphs"):
        networks(rec).match_layers(step=4)


def test_what_cannot_be_matched_is_refused() -> None:
    nets = given_networks(heads_of_chance(np.random.default_rng(0), (1, 2, 6, 6)))
    with pytest.raises(sg.InputError, match="restarts=0: a whole number from 1 up"):
        nets.match((0, 0), (0, 1), restarts=0)
    with pytest.raises(sg.InputError, match="null='no': choose one of"):
        nets.match((0, 0), (0, 1), null="no")
    with pytest.raises(sg.InputError, match="1 of 6 tokens are left to be matched"):
        nets.match((0, 0), (0, 1), seeds=[0, 1, 2, 3, 4])
    with pytest.raises(sg.InputError, match="no token 9: these graphs have 0 to 5"):
        nets.match((0, 0), (0, 1), seeds=[9])
    empty = given_networks(heads_of_chance(np.random.default_rng(0), (1, 2, 6, 6)), threshold=1.0)
    with pytest.raises(sg.InputError, match="has no edges, so that every matching is as good"):
        empty.match((0, 0), (0, 1))
