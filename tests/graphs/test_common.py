"""What prompts have in common: heads that are position, heads that are content, and shares that sum to 1."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sociogram as sg
from sociogram.graphs.common import EVEN_SHARE, predicted
from sociogram.graphs.parts import decomposed
from tests.graphs.making import mask, softmaxed, with_weights
from tests.watch.conftest import tiny

SHARES = ["offset", "place", "content"]


def parts(texts: np.ndarray, allowed: np.ndarray) -> list[float]:
    found = decomposed(texts[:, None], allowed[None])
    return [float(found[name][0]) for name in SHARES]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(3, 7), st.integers(0, 1000), st.sampled_from(["full", "causal"]))
def test_shares_sum_to_one(prompts: int, tokens: int, seed: int, kind: str) -> None:
    allowed = mask(tokens, kind)
    texts = softmaxed(np.random.default_rng(seed).standard_normal((prompts, tokens, tokens)), allowed)
    shares = parts(texts, allowed)
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    assert min(shares) >= 0


def test_a_head_that_is_distance_alone() -> None:
    """The token before: a function of the distance in every row that has a choice."""
    weights = np.eye(7, k=-1)
    weights[0, 0] = 1
    assert parts(np.stack([weights] * 3), mask(7, "causal")) == pytest.approx([1, 0, 0])
    sink = np.zeros((7, 7))
    sink[:, 0] = 1  # all on the first token, which is a kind of its own
    assert parts(np.stack([sink] * 3), mask(7, "causal")) == pytest.approx([1, 0, 0])


def test_a_head_that_is_content_alone() -> None:
    """In each prompt all hear one token, another one each time, so that no pair stands out in the mean."""
    texts = np.stack([np.tile(np.eye(5)[i], (5, 1)) for i in range(5)])
    assert parts(texts, mask(5, "full")) == pytest.approx([0, 0, 1])


def test_an_even_head_is_place_and_not_content() -> None:
    allowed = mask(8, "causal")
    offset, place, content = parts(np.stack([softmaxed(np.zeros((8, 8)), allowed)] * 3), allowed)
    assert content == pytest.approx(0, abs=1e-12)
    assert place > 0.1
    assert offset + place == pytest.approx(1)
    nothing = parts(np.full((3, 5, 5), 0.2), mask(5, "full"))
    assert np.isnan(nothing).all()


def test_noise_has_as_much_place_as_chance_gives() -> None:
    texts = np.random.default_rng(0).standard_normal((4, 1, 40, 40))
    found = decomposed(texts, mask(40, "full")[None])
    assert found["place"][0] == pytest.approx(found["place_by_chance"][0], abs=0.02)
    assert found["place_by_chance"][0] == pytest.approx(1 / 4, abs=0.02)


def test_a_pattern_that_returns_is_predicted() -> None:
    allowed = mask(6, "causal")
    one = softmaxed(np.random.default_rng(0).standard_normal((6, 6)), allowed)
    found = predicted(np.stack([one] * 3)[:, None], allowed[None])
    assert found["explained"][0] == pytest.approx(1)
    assert found["predicted"][0] > 0.99
    assert found["own_entropy"][0] <= found["cross_entropy"][0] <= found["own_entropy"][0] + 2 * EVEN_SHARE
    assert found["even_entropy"][0] == pytest.approx(np.mean(np.log([2, 3, 4, 5, 6])))
    rows = -(one[1:] * np.log(np.where(one > 0, one, 1))[1:]).sum(1)
    assert found["own_entropy"][0] == pytest.approx(rows.mean())


def test_the_held_out_share_is_that_of_leaving_out_by_hand() -> None:
    allowed = mask(5, "causal")
    texts = softmaxed(np.random.default_rng(1).standard_normal((4, 5, 5)), allowed)
    left, whole = 0.0, 0.0
    for i in range(4):
        others = np.delete(texts, i, 0).mean(0)
        for q in range(1, 5):
            left += np.square(texts[i, q, : q + 1] - others[q, : q + 1]).sum()
            whole += np.square(texts[i, q, : q + 1] - 1 / (q + 1)).sum()
    found = predicted(texts[:, None], allowed[None])
    assert found["explained"][0] == pytest.approx(1 - left / whole)


def test_unrelated_prompts_predict_nothing() -> None:
    allowed = mask(20, "causal")
    texts = softmaxed(np.random.default_rng(0).standard_normal((6, 20, 20)), allowed)
    found = predicted(texts[:, None], allowed[None])
    assert found["explained"][0] < 0.02
    assert found["predicted"][0] < 0.05


def nets(seed: int, tokens: int, **wishes: object) -> sg.Networks:
    weights = softmaxed(np.random.default_rng(seed).standard_normal((2, 4, tokens, tokens)), mask(tokens, "causal"))
    return sg.networks(with_weights(weights), **wishes)


def test_prompts_are_cut_to_the_shortest_and_it_is_said() -> None:
    every = [nets(0, 7), nets(1, 6), nets(2, 8)]
    found = every[0].common(every[1:])
    assert found.average.shape == (8, 6, 6)
    assert found.prompts[["tokens", "used"]].to_numpy().tolist() == [[7, 6], [6, 6], [8, 6]]
    own = np.stack([one.weights(1, 2)[:6, :6] for one in every])
    np.testing.assert_allclose(found.average.sel(graph="1.2"), own.mean(0))
    np.testing.assert_allclose(found.residual(2, 1, 2), own[2] - own[:2].mean(0), atol=1e-12)
    np.testing.assert_allclose(found.residual(2, 1, 2).sum("key"), 0, atol=1e-6)
    np.testing.assert_allclose(found.table[SHARES].sum(axis=1), 1)
    assert found.table[["layer", "head"]].to_numpy().tolist() == [[layer, head] for layer in range(2) for head in range(4)]
    assert "3 prompts of 6 tokens (2 cut), 8 graphs" in repr(found)
    apart = found.distances("total-variation")
    expected = np.abs(own[0, 1:] - own[1, 1:]).sum(-1).mean() / 2
    assert float(apart.sel(graph="1.2", prompt=0, other=1)) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(apart.values, np.swapaxes(apart.values, 1, 2))


def test_a_new_prompt_is_scored_by_the_mean_of_those_before() -> None:
    every = [nets(i, 7) for i in range(4)]
    found = every[0].common(every[1:3]).predicts(every[3])
    together = np.stack([one.weights(1, 2) for one in every])
    mean, own = together[:3].mean(0), together[3]
    left = sum(np.square(own[q, : q + 1] - mean[q, : q + 1]).sum() for q in range(1, 7))
    whole = sum(np.square(own[q, : q + 1] - 1 / (q + 1)).sum() for q in range(1, 7))
    row = found.query("layer == 1 and head == 2").iloc[0]
    assert row["explained"] == pytest.approx(1 - left / whole, rel=1e-5)
    itself = every[0].common([every[0]])
    assert (itself.predicts(every[0])["explained"] > 0.999).all()
    assert len(itself.predicts(nets(5, 9))) == len(itself.predicts(nets(5, 4))) == 8
    with pytest.raises(sg.InputError, match=r"threshold=0.0 here and 0.1 in number 1"):
        itself.predicts(nets(1, 6, threshold=0.1))


@pytest.mark.real
def test_real_heads_hold_more_of_position_than_shuffled_ones(smollm: sg.Model) -> None:
    texts = [
        "The Eiffel Tower is located in the city of",
        "My cat sleeps all day and hunts mice at night",
        "Stocks fell sharply after the bank raised its rates",
    ]
    every = [sg.networks(sg.record(smollm, text), drop_first=True) for text in texts]
    found = every[0].common(every[1:])
    np.testing.assert_allclose(found.table[SHARES].sum(axis=1), 1)
    assert found.table["explained"].max() > 0.9
    assert found.table["content"].max() > 0.3


def test_what_is_not_common_is_refused() -> None:
    one = nets(0, 6)
    with pytest.raises(sg.InputError, match=r"give the networks of at least one other prompt"):
        one.common([])
    with pytest.raises(sg.InputError, match=r"threshold=0.0 here and 0.1 in number 1"):
        one.common([nets(1, 6, threshold=0.1)])
    with pytest.raises(
        sg.InputError, match=r"8 graphs here and 2 in prompt 1: they are not the same heads|by='head' here and 'layer'"
    ):
        one.common([nets(1, 6, by="layer")])
    full = softmaxed(np.random.default_rng(0).standard_normal((2, 4, 7, 7)), mask(7, "full"))
    with pytest.raises(sg.InputError, match=r"prompt 1 has 7 tokens and the shortest 6, and here tokens hear later ones"):
        one.common([sg.networks(with_weights(full))])
    found = one.common([nets(1, 6)])
    with pytest.raises(sg.InputError, match=r"prompt=2: there are 2, numbered 0 to 1"):
        found.residual(2, 0, 0)
    with pytest.raises(sg.InputError, match=r"metric='spectral': choose one of jensen-shannon"):
        found.distances("spectral")
    bert = sg.networks(tiny("bert"))
    assert len(bert.common([bert]).table) == len(bert)
