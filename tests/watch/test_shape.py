"""The flock measures against theorems, closed forms and hand-made flocks; neighbours against all pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sociogram.watch import near, shape
from sociogram.watch.near import nearest_others

NAN = pytest.approx(float("nan"), nan_ok=True)


def random(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_tokens_that_are_the_same() -> None:
    same = random(1, 16).expand(7, 16).contiguous()
    assert shape.cohesion(same) == pytest.approx(1, abs=1e-12)
    assert shape.effective_rank(same) == pytest.approx(1, abs=1e-9)
    assert shape.dispersion(same) == pytest.approx(0, abs=1e-12)
    assert shape.nearest(same) == 0
    assert shape.clusters(same) == 1


def test_tokens_at_right_angles() -> None:
    apart = 3 * torch.eye(16, dtype=torch.float64)[:7]
    assert shape.cohesion(apart) == pytest.approx(0, abs=1e-12)
    assert shape.effective_rank(apart) == pytest.approx(7)
    assert shape.nearest(apart) == pytest.approx(3 * np.sqrt(2))
    assert shape.clusters(apart) == 7
    assert shape.dispersion(apart) == pytest.approx(3 * np.sqrt(6 / 7))


def test_cohesion_is_the_mean_over_pairs_of_different_tokens() -> None:
    x = random(6, 5) + 1
    ways = x / x.norm(dim=1, keepdim=True)
    pairs = (ways @ ways.T)[~torch.eye(6, dtype=torch.bool)]
    assert shape.cohesion(x) == pytest.approx(float(pairs.mean()))
    assert shape.cohesion(torch.cat([x, torch.zeros(2, 5, dtype=x.dtype)])) == pytest.approx(float(pairs.mean()))
    simplex = torch.eye(4, dtype=x.dtype) - 0.25
    assert shape.cohesion(simplex) == pytest.approx(-1 / 3)


def test_alignment_is_one_together_and_zero_against() -> None:
    x, way = random(6, 5), random(1, 5, seed=1)
    far = torch.tensor([1.0, 2, 3, 4, 5, 6], dtype=torch.float64)[:, None]
    assert shape.alignment(x, x + far * way) == pytest.approx(1)
    turn = torch.tensor([1.0, -1, 2, -2, 3, -3], dtype=torch.float64)[:, None]
    assert shape.alignment(x, x + turn * way) == pytest.approx(0, abs=1e-12)
    moved = x.clone()
    moved[:2] += way
    assert shape.alignment(x, moved) == pytest.approx(1)  # those that stay do not count
    moved = x.clone()
    moved[0] += way[0]
    assert shape.alignment(x, moved) == NAN
    assert shape.alignment(x, x) == NAN


def test_distances_to_the_nearest_are_averaged() -> None:
    line = torch.tensor([[0.0], [1], [3], [7]])
    assert shape.nearest(line) == (1 + 1 + 2 + 4) / 4


def test_random_moves_are_aligned_by_one_over_the_root_of_their_number() -> None:
    for count in (25, 400):
        found = [float(shape.alignment(torch.zeros(count, 64), random(count, 64, seed=s))) for s in range(30)]
        assert np.mean(found) * np.sqrt(count) == pytest.approx(1, abs=0.05)


def test_clusters_are_chained_and_depend_on_the_threshold() -> None:
    angles = torch.tensor([0.0, 0.4, 0.8, 2.0, 2.1])  # cos 0.4 = 0.921, cos 0.8 = 0.697
    x = torch.stack([angles.cos(), angles.sin()], 1) * torch.tensor([0.1, 1.0, 10.0, 0.1, 0.2])[:, None]
    assert shape.clusters(x) == 2
    assert shape.clusters(x, 0.95) == 4
    assert shape.clusters(x, -1.0) == 1
    assert shape.clusters(torch.cat([x, torch.zeros(2, 2)])) == 4  # no direction, no company


def test_what_has_no_meaning_is_nan_and_never_zero() -> None:
    for count, nothing in (
        (0, ("cohesion", "dispersion", "nearest", "effective_rank", "clusters")),
        (1, ("cohesion", "nearest")),
    ):
        for name in ("cohesion", "dispersion", "nearest", "effective_rank", "clusters"):
            value = float(getattr(shape, name)(torch.ones(count, 3)))
            assert np.isnan(value) == (name in nothing), (name, count)
    assert shape.cohesion(torch.zeros(3, 4)) == NAN
    assert shape.effective_rank(torch.zeros(3, 4)) == NAN


def test_several_stops_at_once_are_each_for_itself() -> None:
    x, y = random(3, 6, 5), random(3, 6, 5, seed=1)
    x[1, 2] = 0
    for name in ("cohesion", "dispersion", "effective_rank", "clusters"):
        measure: Callable[[Tensor], Tensor] = getattr(shape, name)
        torch.testing.assert_close(measure(x), torch.stack([measure(one) for one in x]))
    torch.testing.assert_close(shape.alignment(x, y), torch.stack([shape.alignment(*pair) for pair in zip(x, y, strict=True)]))


# --- dynamics with known answers


def attention_on_the_sphere(x: Tensor, beta: float, *, normalised: bool) -> Tensor:
    """The drift of self-attention on the sphere (Geshkovski et al., 2312.10794): softmax weights, or divided by n instead."""
    scores = torch.exp(beta * x @ x.T)
    weights = scores / (scores.sum(1, keepdim=True) if normalised else len(x))
    pull = weights @ x
    return pull - (pull * x).sum(1, keepdim=True) * x


def flow(drift: Callable[[Tensor], Tensor], x: Tensor, step: float) -> Tensor:
    """One step of fourth order (Runge-Kutta)."""
    a = drift(x)
    b = drift(x + step / 2 * a)
    c = drift(x + step / 2 * b)
    d = drift(x + step * c)
    return x + step / 6 * (a + 2 * b + 2 * c + d)


def slope(g: Tensor, n: int, beta: float, *, normalised: bool) -> Tensor:
    """How the one cosine of tokens that began at right angles changes: the closed form for softmax, and with n for the sum."""
    share = (np.exp(beta) + (n - 1) * torch.exp(beta * g)) if normalised else n
    return 2 * torch.exp(beta * g) * (1 - g) * ((n - 1) * g + 1) / share


@pytest.mark.parametrize(("normalised", "step", "steps"), [(True, 0.02, 200), (False, 0.005, 400)])
def test_cohesion_follows_the_closed_form_of_attention_on_the_sphere(normalised: bool, step: float, steps: int) -> None:
    n, beta = 6, 2.0
    x, g, other = torch.eye(n, 9, dtype=torch.float64), torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    seen, apart = [], 0.0
    for _ in range(steps):
        x = flow(lambda y: attention_on_the_sphere(y, beta, normalised=normalised), x, step)
        x = x / x.norm(dim=1, keepdim=True)
        g = flow(lambda y: slope(y, n, beta, normalised=normalised), g, step)
        other = flow(lambda y: slope(y, n, beta, normalised=not normalised), other, step)
        seen.append(float(shape.cohesion(x)))
        assert seen[-1] == pytest.approx(float(g), abs=3e-8)
        apart = max(apart, abs(seen[-1] - float(other)))
    assert seen == sorted(seen)
    assert seen[0] < 0.05
    assert seen[-1] > 0.98
    assert apart > 0.1  # the two dynamics are told apart
    assert shape.clusters(x) == 1


def attention_alone(x: Tensor, seed: int, *, skip: bool) -> Tensor:
    """One layer of softmax attention with random weights, no MLP."""
    width = x.shape[1]
    query, key = (random(width, width, seed=seed + i) / width**0.5 for i in (0, 1))
    value = torch.linalg.qr(random(width, width, seed=seed + 2))[0]
    weights = torch.softmax((x @ query) @ (x @ key).T / width**0.5, -1)
    return (x if skip else 0) + weights @ x @ value


def relative_spread(x: Tensor) -> float:
    return float(shape.dispersion(x) / x.square().sum(1).mean().sqrt())


def test_attention_alone_collapses_doubly_exponentially_and_a_skip_stops_it() -> None:
    x = y = random(8, 16)
    spreads = []
    for layer in range(5):
        x, y = attention_alone(x, 10 * layer + 1, skip=False), attention_alone(y, 10 * layer + 1, skip=True)
        spreads.append(relative_spread(x))
    digits = -np.log(spreads)
    assert (digits[1:4] > 2 * digits[:3]).all(), digits  # the exponent itself doubles at least (Dong et al. 2021: it triples)
    assert spreads[4] < 1e-15  # nothing is left for float64 to see
    assert shape.effective_rank(x) == pytest.approx(1, abs=1e-9)
    assert shape.clusters(x) == 1
    assert relative_spread(y) > 0.2
    assert shape.effective_rank(y) > 4


# --- neighbours


def by_all_pairs(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    apart = (x[:, None].double() - x[None].double()).norm(dim=-1)
    apart.fill_diagonal_(torch.inf)
    order = apart.sort(dim=1, stable=True)
    return order.indices[:, :count], order.values[:, :count]


@settings(deadline=None, max_examples=60)
@given(
    total=st.integers(2, 40),
    width=st.integers(1, 6),
    count=st.integers(1, 8),
    seed=st.integers(0, 999),
    copies=st.booleans(),
    sink=st.booleans(),
)
def test_neighbours_are_those_of_all_pairs(total: int, width: int, count: int, seed: int, copies: bool, sink: bool) -> None:
    x = random(total, width, seed=seed).float() + 50
    if copies:
        x = x[torch.randint(0, max(1, total // 5), (total,), generator=torch.Generator().manual_seed(seed))]
    if sink:
        x[0] *= 1000
    index, distance = nearest_others(x, count)
    expected = by_all_pairs(x, min(count, total - 1))
    assert index.shape == distance.shape == (total, min(count, total - 1))
    torch.testing.assert_close(distance, expected[1], rtol=1e-5, atol=1e-5)
    apart = (x[:, None] - x[index]).double().norm(dim=-1)
    torch.testing.assert_close(apart, distance, rtol=1e-5, atol=1e-5)
    assert (index != torch.arange(total)[:, None]).all()
    if copies:
        equal = distance == 0
        assert torch.equal(index[equal], expected[0][equal])  # copies of one token are listed by position


def test_blocks_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x = random(50, 4).float()
    x[20:40] = x[0]
    whole = nearest_others(x, 5)
    monkeypatch.setattr(near, "PAIRS", 350)
    monkeypatch.setattr(near, "NUMBERS", 64)
    blocks = nearest_others(x, 5)
    assert torch.equal(whole[0], blocks[0])
    torch.testing.assert_close(whole[1], blocks[1])
    assert whole[0][30].tolist() == [0, 20, 21, 22, 23]


def test_a_lone_token_has_no_neighbour() -> None:
    index, distance = nearest_others(torch.ones(1, 3), 5)
    assert index.shape == distance.shape == (1, 0)


def test_neighbours_of_some_are_theirs_among_all() -> None:
    x = torch.from_numpy(np.random.default_rng(4).standard_normal((50, 7)).astype(np.float32))
    index, distance = nearest_others(x, 3)
    for asked in ([4, 9, 31], [31, 4], list(range(49, -1, -1)), [7]):
        some = nearest_others(x, 3, torch.tensor(asked))
        torch.testing.assert_close(some[0], index[asked])
        torch.testing.assert_close(some[1], distance[asked])
    assert nearest_others(x, 3, torch.tensor([], dtype=torch.long))[0].shape == (0, 3)


@pytest.mark.parametrize(("tokens", "width"), [(5, 9), (9, 9), (10, 9), (40, 3), (2, 1)])
def test_effective_ranks_of_all_and_of_all_but_the_first(tokens: int, width: int) -> None:
    x = torch.from_numpy(np.random.default_rng(tokens).standard_normal((3, tokens, width)))
    x[:, 0] *= 100
    everybody, others = shape.effective_ranks(x)
    torch.testing.assert_close(everybody, shape.effective_rank(x))
    torch.testing.assert_close(others, shape.effective_rank(x[:, 1:]))


def test_chunks_of_tokens_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 11, 5)).astype(np.float32))
    x[0, 3] = 0
    whole = [f(x) for f in (shape.cohesion, shape.dispersion)] + [shape.alignment(x[:1], x[1:])]
    monkeypatch.setattr(shape, "CHUNK", 4)
    chunks = [f(x) for f in (shape.cohesion, shape.dispersion)] + [shape.alignment(x[:1], x[1:])]
    for one, other in zip(whole, chunks, strict=True):
        torch.testing.assert_close(one, other)
