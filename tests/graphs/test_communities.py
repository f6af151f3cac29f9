"""Communities: the best division by hand and by trying all, planted ones, their levels, and none in what is shuffled."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx
import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs.communities import blocks_of, divided, modularity, modularity_of, partitions
from sociogram.graphs.information import adjusted
from sociogram.graphs.leiden import _joined, _pass, _refined, best_groups, leiden, merged, ordered, within
from sociogram.graphs.measures import without_self
from sociogram.graphs.nulls import sampler
from tests.graphs.making import mask, of_one, planted, same_groups, softmaxed, with_weights

BLOCKS = np.repeat([0, 1, 2], [10, 8, 6])


def divisions(count: int) -> Iterator[np.ndarray]:
    """All ways to divide so many nodes into groups."""
    if count == 0:
        yield np.zeros(0, np.int64)
        return
    for rest in divisions(count - 1):
        for label in range(int(rest.max(initial=-1)) + 2):
            yield np.append(rest, label)


def test_modularity_by_hand() -> None:
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[1, 0] = weights[2, 3] = weights[3, 2] = 1.0
    everyone = np.ones((4, 4), bool)
    pairs = np.array([0, 0, 1, 1])
    assert modularity_of(weights, everyone, pairs, "sums") == pytest.approx(1 - 2 * (2 * 2) / 16)
    assert modularity_of(weights, everyone, np.zeros(4, int), "sums") == pytest.approx(0)
    assert modularity_of(weights, everyone, pairs, "sums", resolution=2.0) == pytest.approx(1 - 4 * (2 * 2) / 16)


@pytest.mark.parametrize("seed", range(5))
def test_modularity_is_that_of_networkx_on_directed_weighted_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random((7, 7)) * (rng.random((7, 7)) < 0.6)
    labels = rng.integers(0, 3, 7)
    graph = nx.from_numpy_array(weights.T, create_using=nx.DiGraph)  # row is the reader: edges lead from key to query
    groups = [set(np.flatnonzero(labels == i)) for i in range(3)]
    for resolution in (1.0, 0.6):
        theirs = nx.community.modularity(graph, [g for g in groups if g], resolution=resolution)
        assert modularity_of(weights, weights > 0, labels, "sums", resolution) == pytest.approx(theirs, abs=1e-12)


def test_the_search_finds_the_best_of_all_divisions() -> None:
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        surplus = rng.standard_normal((7, 7))
        both = surplus + surplus.T
        best = max(within(both, labels) for labels in divisions(7))
        labels = best_groups(surplus, seed=seed, restarts=8)
        assert within(both, labels) <= best + 1e-9
        found.append(within(both, labels) >= best - 1e-9)
    assert np.mean(found) >= 0.9


def test_no_single_move_and_no_merging_of_two_groups_is_better() -> None:
    rng = np.random.default_rng(3)
    surplus = rng.standard_normal((30, 30))
    both = surplus + surplus.T
    labels = leiden(both, rng)
    whole = within(both, labels)
    for node in range(30):
        for to in range(int(labels.max()) + 2):
            moved = labels.copy()
            moved[node] = to
            assert within(both, moved) <= whole + 1e-9
    for a in range(int(labels.max()) + 1):
        for b in range(a):
            assert within(both, np.where(labels == a, b, labels)) <= whole + 1e-9


def test_every_community_holds_together() -> None:
    """What Leiden has and Louvain has not: each community is connected."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        weights = rng.random((40, 40)) * (rng.random((40, 40)) < 0.06)
        np.fill_diagonal(weights, 0)
        labels = divided(weights, np.ones((40, 40), bool), "sums", 1.0, seed)[0]
        graph = nx.from_numpy_array(weights + weights.T)
        for label in range(int(labels.max()) + 1):
            assert nx.is_connected(graph.subgraph(np.flatnonzero(labels == label)))


def test_refinement_takes_apart_what_does_not_hold_together() -> None:
    """Two cliques that one label holds, as Louvain can leave them, come out as two."""
    clique = np.repeat([0, 1], 4)
    both = np.where(clique[:, None] == clique, 1.0, -0.5)
    np.fill_diagonal(both, 0)
    fine = _refined(both, np.zeros(8, np.int64), np.random.default_rng(0), 1e-12)
    assert not set(fine[:4]) & set(fine[4:])
    assert len(set(_refined(both, clique, np.random.default_rng(0), 1e-12))) == 2
    # no node gains by leaving alone, so that only refinement brings a pass out of it
    assert same_groups(_pass(both, np.zeros(8, np.int64), np.random.default_rng(0), 1e-12), clique)


def test_who_joins_whom_is_what_sums_from_scratch_say() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        part = rng.standard_normal((9, 9)) + 0.3
        part = part + part.T
        np.fill_diagonal(part, 0)
        labels = np.arange(9)
        for node in np.random.default_rng(seed).permutation(9):
            alone, others = (labels == labels[node]).sum() == 1, labels != labels[node]
            if not alone or part[node, others].sum() < 0:
                continue
            gains = {}
            for label in set(labels[others].tolist()):
                inside = labels == label
                if part[np.ix_(inside, ~inside)].sum() >= 0:
                    gains[label] = part[node, inside].sum()
            best = max(gains, key=lambda label: gains[label], default=None)
            if best is not None and gains[best] > 0:
                labels[node] = best
        assert same_groups(_joined(part, np.random.default_rng(seed), 1e-12), labels)


def test_labels_go_by_size_then_by_first_token() -> None:
    np.testing.assert_array_equal(ordered(np.array([7, 3, 3, 9, 9, 5])), [2, 0, 0, 1, 1, 3])
    np.testing.assert_array_equal(merged(np.arange(9.0).reshape(3, 3), np.array([0, 1, 0])), [[0 + 2 + 6 + 8, 1 + 7], [3 + 5, 4]])


@pytest.mark.parametrize("kind", ["full", "causal"])
@pytest.mark.parametrize("expected", ["degrees", "uniform", "sums"])
def test_planted_blocks_are_found(kind: str, expected: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(BLOCKS)
    allowed = mask(24, kind)
    found = divided(planted(labels, allowed, 2.5, 1), allowed, expected, 1.0, 0)[0]
    assert adjusted(found, labels) > 0.85
    assert same_groups(divided(planted(labels, mask(24, "full"), 2.5, 1), mask(24, "full"), expected, 1.0, 0)[0], labels)


def test_the_same_seed_gives_the_same_labels_and_names_of_tokens_do_not_matter() -> None:
    allowed = mask(24, "full")
    weights = planted(BLOCKS, allowed, 2.0, 5)
    one, again = (divided(weights, allowed, "degrees", 1.0, 3)[0] for _ in range(2))
    np.testing.assert_array_equal(one, again)
    order = np.random.default_rng(1).permutation(24)
    turned = divided(weights[np.ix_(order, order)], allowed, "degrees", 1.0, 3)[0]
    assert same_groups(turned, one[order])


def test_communities_of_communities() -> None:
    fine = np.repeat(np.arange(4), 6)
    coarse = fine // 2
    rng = np.random.default_rng(0)
    scores = 2.5 * (fine[:, None] == fine) + 1.6 * (coarse[:, None] == coarse) + 0.1 * rng.standard_normal((24, 24))
    found = of_one(softmaxed(scores, mask(24, "full"))).communities(0, samples=20)
    counts = found.levels["communities"].tolist()
    assert counts[0] == 4
    assert 2 in counts
    assert counts == sorted(counts, reverse=True)
    assert same_groups(found.labels(1), fine)
    assert same_groups(found.labels(counts.index(2) + 1), coarse)
    for level in range(1, len(counts)):  # each level's communities are whole in the next
        pairs = set(zip(found.labels(level), found.labels(level + 1), strict=True))
        assert len(pairs) == counts[level - 1]
    assert (found.levels["resolution"].diff().dropna() < 0).all()
    first = found.levels.iloc[0]
    assert first["z"] > 5
    assert first["p"] == pytest.approx(1 / 21)
    assert len(of_one(softmaxed(scores, mask(24, "full"))).communities(0, levels=1, null=None).levels) == 1


def test_a_shuffled_network_has_no_community() -> None:
    """p-values of shuffled graphs against the null they come from are not small more often than they say."""
    allowed = mask(16, "causal")
    rng = np.random.default_rng(0)
    weights = planted(np.repeat([0, 1], 8), allowed, 2.5, 1)
    draw = sampler("uniform", weights, allowed)
    ps = []
    for _ in range(25):
        shuffled = draw(1, rng)[0]
        ps.append(of_one(shuffled).communities(0, null="uniform", samples=19, levels=1).levels["p"][0])
    assert np.mean(np.array(ps) <= 0.1) <= 0.25
    assert np.mean(np.array(ps) <= 0.5) >= 0.25
    assert of_one(weights).communities(0, null="uniform", samples=19, levels=1).levels["p"][0] == pytest.approx(0.05)


def test_neighbours_are_communities_only_until_position_is_expected() -> None:
    apart = np.arange(20)[:, None] - np.arange(20)
    near = softmaxed(-1.5 * np.abs(apart) + 0.2 * np.random.default_rng(0).standard_normal((20, 20)), mask(20, "causal"))
    plain, aware = (of_one(near).communities(0, expected=e, null="positional", samples=20) for e in ("uniform", "positional"))
    assert plain.levels["modularity"][0] > 2 * aware.levels["modularity"][0]
    assert abs(plain.levels["z"][0]) < 3
    assert abs(aware.levels["z"][0]) < 3


def test_what_is_asked_is_in_the_answer() -> None:
    weights = np.stack([np.stack([planted(BLOCKS, mask(24, "causal"), 2.5, i) for i in range(4)])] * 2)
    nets = sg.networks(with_weights(weights), drop_first=True)
    found = nets.communities(1, 2, null=None)
    assert (found.layer, found.head, found.null, found.samples) == (1, 2, None, 0)
    assert found.tokens["token"].tolist() == list(range(1, 24))
    assert list(found.levels) == ["level", "resolution", "communities", "largest", "alone", "modularity"]
    members = found.members()
    assert members["tokens"].sum() == 23
    assert members["tokens"].tolist() == sorted(members["tokens"], reverse=True)
    inner = nets.weights(1, 2)
    assert found.self_share == pytest.approx(np.trace(inner) / inner.sum())
    assert "Communities(23 tokens in" in repr(found)
    every = partitions(nets)
    assert every.shape == (8, 23)
    np.testing.assert_array_equal(every.values[6], found.labels())
    assert (int(every["layer"][6]), int(every["head"][6])) == (1, 2)


def test_the_statistic_takes_many_graphs_and_the_mask_of_one() -> None:
    allowed = mask(24, "causal")
    graphs = np.stack([planted(BLOCKS, allowed, s, 1) for s in (0.0, 3.0)])
    low, high = modularity(graphs, allowed)
    assert high > 1.5 * low
    assert [low, high] == [divided(graph, allowed, "degrees", 1.0, 0)[1] for graph in graphs]
    assert modularity(graphs[:1, :1, :1], allowed[:1, :1])[0] != modularity(graphs[:1, :1, :1], allowed[:1, :1])[0]  # NaN
    zeros = np.zeros((5, 5))
    np.testing.assert_array_equal(blocks_of(zeros, np.ones((5, 5), bool)), np.zeros(5))
    assert within(np.zeros((2, 2)), np.array([0, 1])) == 0
    assert without_self(np.eye(3)).sum() == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resolution": 0.0}, r"resolution=0.0: a number above 0; above 1 gives smaller communities"),
        ({"levels": 0}, r"levels=0: a whole number from 1 up, or None for all"),
        ({"expected": "chance"}, r"expected='chance': choose one of degrees, positional, uniform, sums"),
        ({"null": "rdpg"}, r"null='rdpg': choose one of uniform, .*, or None for none"),
        ({"samples": 0}, r"samples=0: a whole number from 1 up"),
    ],
)
def test_bad_wishes_are_refused(given: dict[str, object], said: str) -> None:
    nets = of_one(planted(BLOCKS, mask(24, "causal"), 2.0, 0))
    with pytest.raises(sg.InputError, match=said):
        nets.communities(0, **given)


def test_nothing_to_divide_is_said() -> None:
    nets = of_one(np.eye(5))
    with pytest.raises(sg.InputError, match="no token hears another, so there is nothing to divide"):
        nets.communities(0)
    found = of_one(planted(BLOCKS, mask(24, "full"), 3.0, 0)).communities(0, null=None)
    with pytest.raises(sg.InputError, match=r"level=9: these communities have levels 1 to"):
        found.labels(9)
