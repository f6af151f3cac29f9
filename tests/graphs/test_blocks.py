"""Block models: closed forms, planted blocks, and how many."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.block_fit import climbed, fitted, grouped, objective
from sociogram.graphs.blocks import base_of
from sociogram.graphs.leiden import merged
from sociogram.graphs.measures import without_self
from sociogram.graphs.nulls import of_blocks
from tests.graphs.making import mask, of_one, planted, same_groups, softmaxed

BLOCKS = np.repeat([0, 1, 2], [10, 8, 6])


def test_factors_are_means_on_allowed_pairs_by_hand() -> None:
    weights = np.array([[0, 0, 0, 0], [6.0, 0, 0, 0], [1, 2, 0, 0], [3, 4, 8, 0]])
    allowed = np.tril(np.ones((4, 4), bool), -1)
    fit = fitted(weights, base_of("flat", weights, allowed), 2, "normal", 5, 0)
    assert same_groups(fit.labels, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(fit.factors[1, 0], (1 + 2 + 3 + 4) / 4)
    np.testing.assert_allclose(np.diag(fit.factors), [6, 8])
    assert np.isnan(fit.factors[0, 1])
    np.testing.assert_allclose(
        fit.expected(allowed.astype(float)), [[0, 0, 0, 0], [6, 0, 0, 0], [2.5, 2.5, 0, 0], [2.5, 2.5, 8, 0]]
    )


@pytest.mark.parametrize("likelihood", ["normal", "poisson"])
def test_closed_forms_are_the_maximum_and_the_objective_is_the_likelihoods(likelihood: str) -> None:
    rng = np.random.default_rng(0)
    weights, base = without_self(rng.random((8, 8))), without_self(0.5 + rng.random((8, 8)))
    labels = np.repeat([0, 1], 4)
    told, expected = merged(weights, labels), merged(base, labels)

    def likely(factors: np.ndarray) -> float:
        some = base > 0
        mean = (factors[np.ix_(labels, labels)] * base)[some]
        if likelihood == "poisson":
            return float((weights[some] * np.log(mean) - mean).sum())
        return float(-(np.square(weights[some] - mean) / base[some]).sum())

    best = likely(told / expected)
    for _ in range(20):
        assert likely(told / expected * (1 + 0.05 * rng.standard_normal((2, 2)))) <= best
    other = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    swapped = merged(weights, other), merged(base, other)
    labels_before = labels
    labels = other
    difference = best - likely(swapped[0] / swapped[1])
    labels = labels_before
    # differences of the objective are differences of the log-likelihood (Poisson), and of the squares (normal)
    assert float(objective(told, expected, likelihood) - objective(*swapped, likelihood)) == pytest.approx(difference)


@pytest.mark.parametrize("likelihood", ["normal", "poisson"])
def test_no_single_move_is_better_than_where_the_search_ends(likelihood: str) -> None:
    rng = np.random.default_rng(1)
    weights, base = without_self(rng.random((12, 12))), without_self(np.ones((12, 12)))
    labels = climbed(weights, base, rng.integers(0, 3, 12), 3, likelihood, rng)

    def value(own: np.ndarray) -> float:
        member = np.eye(3)[own]
        return float(objective(member.T @ weights @ member, member.T @ base @ member, likelihood))

    for token in range(12):
        for to in range(3):
            moved = labels.copy()
            moved[token] = to
            assert value(moved) <= value(labels) + 1e-8


@pytest.mark.parametrize("kind", ["full", "causal"])
@pytest.mark.parametrize("likelihood", ["normal", "poisson"])
@pytest.mark.parametrize("base", ["even", "degrees"])
def test_planted_blocks_and_their_number_are_found(kind: str, likelihood: str, base: str) -> None:
    labels = np.random.default_rng(0).permutation(BLOCKS)
    allowed = mask(24, kind)
    found = of_one(planted(labels, allowed, 2.0, 1, noise=0.1)).blocks(
        0, blocks=[1, 2, 3, 4, 5], likelihood=likelihood, base=base
    )
    three = found.table.set_index("blocks").loc[3]
    one = found.table.set_index("blocks").loc[1]
    assert three["explained"] > 0.8
    assert three["icl"] > one["icl"]
    assert three["bic"] < one["bic"]
    at_three = of_one(planted(labels, allowed, 2.0, 1, noise=0.1)).blocks(0, blocks=3, likelihood=likelihood, base=base)
    unsure = 2 if kind == "causal" else 0  # the first tokens hear nobody and say little
    alike = (at_three.labels[:, None] == at_three.labels) == (labels[:, None] == labels)
    assert alike[unsure:, unsure:].all()


def test_where_there_are_no_blocks_one_is_best() -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        weights = softmaxed(0.3 * rng.standard_normal((30, 30)), mask(30, "full"))
        found = of_one(weights).blocks(0, blocks=[1, 2, 3], seed=seed)
        assert found.table.set_index("blocks")["icl"].idxmax() == 1
        assert found.table["explained"][0] == pytest.approx(0, abs=1e-9)


def test_degrees_make_the_model_of_karrer_and_newman_on_a_full_graph() -> None:
    """Log-likelihood up to constants: sum of told log(told / (heard * told by all)), their eq. 22 for directed weights."""
    rng = np.random.default_rng(0)
    weights = rng.random((9, 9))
    base = base_of("degrees", weights, np.ones((9, 9), bool))
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    told = merged(weights, labels)
    theirs = (told * np.log(told * weights.sum() / np.outer(told.sum(1), told.sum(0)))).sum()
    assert float(objective(told, merged(base, labels), "poisson")) == pytest.approx(theirs, rel=1e-6)


def test_the_expectation_is_that_of_the_null() -> None:
    allowed = mask(24, "full")
    weights = without_self(planted(BLOCKS, allowed, 2.0, 1))
    found = of_one(weights).blocks(0, blocks=3)
    null = of_blocks(found.labels)(found.weights, found.allowed)
    assert np.corrcoef(null.ravel(), found.expected.ravel())[0, 1] > 0.999
    assert found.expected.sum() == pytest.approx(found.weights.sum())


def test_the_answer_is_the_same_again_and_the_table_says_what_was_tried() -> None:
    nets = of_one(planted(BLOCKS, mask(24, "causal"), 1.0, 3))
    one, again = nets.blocks(0, seed=4), nets.blocks(0, seed=4)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert one.table["blocks"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (one.table["used"] <= one.table["blocks"]).all()
    assert one.table["agreeing"].between(0.2, 1).all()
    assert (np.diff(one.table["log_likelihood"]) > -1e-6).all()
    assert "blocks of 24 tokens explain" in repr(one)
    sizes = np.bincount(one.labels)
    assert (np.diff(sizes) <= 0).all()


def test_points_are_grouped() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(5 * i, 0.2, (6, 2)) for i in range(3)])
    assert same_groups(grouped(points, 3, rng), np.repeat([0, 1, 2], 6))
    assert len(np.unique(grouped(np.zeros((4, 2)), 3, rng))) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"blocks": 0}, r"blocks=0: whole numbers from 1 to 24, the number of tokens"),
        ({"blocks": [2, 25]}, r"blocks=\[2, 25\]: whole numbers from 1 to 24"),
        ({"blocks": True}, r"blocks=True: whole numbers"),
        ({"base": "mean"}, r"base='mean': choose one of flat, even, degrees"),
        ({"likelihood": "gamma"}, r"likelihood='gamma': choose one of normal, poisson"),
        ({"restarts": 0}, r"restarts=0: a whole number from 1 up"),
    ],
)
def test_bad_wishes_are_refused(given: dict[str, object], said: str) -> None:
    nets = of_one(planted(BLOCKS, mask(24, "causal"), 2.0, 0))
    with pytest.raises(sg.InputError, match=said):
        nets.blocks(0, **given)


def test_nothing_to_fit_is_said() -> None:
    with pytest.raises(sg.InputError, match="no token hears another, so there is nothing to fit"):
        of_one(np.eye(5)).blocks(0)
