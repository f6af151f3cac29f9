"""The arithmetic of one call: by hand, against transformers' own functions, and as identities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sociogram.models.attention import AttentionCall, log_sum_exp, mix, weights_of
from sociogram.models.masks import lazy_mask
from sociogram.models.straight import straight


def call(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **kwargs: object) -> AttentionCall:
    scale = kwargs.pop("scale", query.shape[-1] ** -0.5)
    return AttentionCall("here", 0, nn.Identity(), query, key, value, mask, scale, **kwargs)  # type: ignore[arg-type]


def random_call(
    seed: int = 0, heads: int = 4, groups: int = 2, queries: int = 5, keys: int = 5, **kwargs: object
) -> AttentionCall:
    g = torch.Generator().manual_seed(seed)
    query = torch.randn(2, heads, queries, 8, generator=g)
    key, value = (torch.randn(2, groups, keys, width, generator=g) for width in (8, 6))
    return call(query, key, value, **kwargs)  # type: ignore[arg-type]


def test_three_tokens_by_hand() -> None:
    """Scores [[0], [ln 2, 0], [0, ln 3, 0]] by literal matrices: weights 1; 2/3, 1/3; 1/5, 3/5, 1/5."""
    two, three = math.log(2), math.log(3)
    query = torch.tensor([[[[0.0, 0.0, 0.0], [two, 0.0, 0.0], [0.0, three, 0.0]]]])
    key = torch.eye(3)[None, None]
    value = torch.tensor([[[[1.0, 0.0], [0.0, 3.0], [5.0, 0.0]]]])
    made = call(query, key, value, torch.ones(3, 3, dtype=torch.bool).tril()[None, None], scale=1.0)
    weights, _ = weights_of(made)
    torch.testing.assert_close(weights[0, 0], torch.tensor([[1, 0, 0], [2 / 3, 1 / 3, 0], [1 / 5, 3 / 5, 1 / 5]]))
    expected = torch.tensor([[1.0, 0.0], [2 / 3, 1.0], [1 / 5 + 1.0, 9 / 5]])
    torch.testing.assert_close(mix(weights, made)[0, :, 0], expected)


def test_query_heads_share_key_heads_in_blocks_not_in_turn() -> None:
    """Query heads 0 and 1 read key head 0; `repeat` would pair heads 0 and 2, 1 and 3."""
    query = torch.ones(1, 4, 1, 2)
    key = torch.tensor([[[[9.0, 9.0], [0.0, 0.0]], [[0.0, 0.0], [9.0, 9.0]]]])
    value = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    told = straight(call(query, key, value))[0, 0, :, 0]
    torch.testing.assert_close(told, torch.tensor([1.0, 1.0, 4.0, 4.0]), atol=1e-4, rtol=0)
    watched = mix(weights_of(call(query, key, value))[0], call(query, key, value))[0, 0, :, 0]
    torch.testing.assert_close(watched, told)
    in_turn = [value[0, h % 2, int(h % 2)] for h in range(4)]  # what `repeat` computes
    assert not torch.allclose(torch.cat(in_turn), told)


@pytest.mark.parametrize("extra", ["softcap", "sink", "sinks per query", "bias", "indices"])
def test_variations_against_their_definitions(extra: str) -> None:
    made = random_call()
    scores = made.query @ made.key.repeat_interleave(2, 1).mT * made.scale
    if extra == "softcap":
        made = random_call(softcap=0.5)
        weights = torch.softmax(0.5 * torch.tanh(scores / 0.5), -1)
    elif extra == "bias":
        bias = torch.randn(1, 4, 5, 5)
        made, weights = random_call(bias=bias), torch.softmax(scores + bias, -1)
    elif extra == "indices":
        made = random_call(indices=torch.tensor([[[0, 2, -1]] * 5] * 2))
        hidden = torch.tensor([False, True, False, True, True])
        weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), -1)
    else:
        sink = torch.randn(4) if extra == "sink" else torch.randn(2, 4, 5, 1)
        made = random_call(sink=sink)
        column = sink.view(1, 4, 1, 1).expand(2, 4, 5, 1) if extra == "sink" else sink
        weights = torch.softmax(torch.cat([scores, column], -1), -1)[..., :-1]
    found, sunk = weights_of(made)
    torch.testing.assert_close(found, weights)
    torch.testing.assert_close(straight(made), mix(found, made))
    whole = found.sum(-1) + (0 if sunk is None else sunk)
    torch.testing.assert_close(whole, torch.ones_like(whole))
    assert (sunk is None) == (not extra.startswith("sink"))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    groups=st.sampled_from([1, 2, 4]),
    queries=st.integers(1, 6),
    more=st.integers(0, 4),
    kind=st.sampled_from(["none", "boolean", "additive", "lazy"]),
)
def test_the_open_and_the_straight_path_agree(seed: int, groups: int, queries: int, more: int, kind: str) -> None:
    """Whatever the shape and the mask, watching gives the output of torch's own function."""
    keys = queries + more
    allowed = torch.rand(2, 1, queries, keys, generator=torch.Generator().manual_seed(seed)) < 0.7
    allowed[..., 0] = True
    masks = {
        "none": None,
        "boolean": allowed,
        "additive": torch.zeros(2, 1, queries, keys).masked_fill(~allowed, torch.finfo(torch.float32).min),
        "lazy": lazy_mask(2, queries, keys, q_offset=more),
    }
    made = random_call(seed, groups=groups, queries=queries, keys=keys, mask=masks[kind])
    weights, _ = weights_of(made)
    torch.testing.assert_close(mix(weights, made), straight(made), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, queries))
    if kind in ("boolean", "additive"):
        assert bool((weights.masked_select(~allowed) == 0).all())


def test_a_reader_that_may_read_nothing_hears_nothing() -> None:
    allowed = torch.ones(2, 1, 5, 5, dtype=torch.bool)
    allowed[:, :, 3] = False
    made = random_call(mask=allowed)
    weights, _ = weights_of(made)
    assert bool((weights[:, :, 3] == 0).all())
    torch.testing.assert_close(mix(weights, made), straight(made))


def test_log_sum_exp_turns_scores_into_weights() -> None:
    made = random_call(mask=torch.ones(2, 1, 5, 5, dtype=torch.bool).tril(), sink=torch.randn(4))
    weights, _ = weights_of(made)
    scores = made.query @ made.key.repeat_interleave(2, 1).mT * made.scale
    expected = torch.exp(scores - log_sum_exp(made)[..., None]).tril()
    torch.testing.assert_close(weights, expected)


def test_half_precision_is_raised_in_the_softmax() -> None:
    made = random_call()
    half = call(made.query.bfloat16(), made.key.bfloat16(), made.value.bfloat16())
    weights, _ = weights_of(half)
    assert weights.dtype == torch.bfloat16
    assert float((weights.float() - weights_of(made)[0]).abs().max()) < 0.02
