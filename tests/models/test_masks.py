"""The lazy mask against transformers' own: equal where it is touched, unbuilt where it is not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    eager_mask,
    sliding_window_causal_mask_function,
)

from sociogram.models.masks import LazyMask, lazy_mask


@settings(max_examples=60, deadline=None)
@given(
    queries=st.integers(1, 7),
    past=st.integers(0, 5),
    window=st.sampled_from([None, 3, 50]),
    pad=st.sampled_from(["none", "left", "right", "full"]),
)
def test_touched_it_is_the_eager_mask(queries: int, past: int, window: int | None, pad: str) -> None:
    keys = queries + past
    padding = None if pad == "none" else torch.ones(2, keys, dtype=torch.bool)
    if padding is not None and pad != "full":
        padding[0, 0 if pad == "left" else -1] = False
    rule = causal_mask_function if window is None else sliding_window_causal_mask_function(window)
    given_ = {
        "batch_size": 2,
        "q_length": queries,
        "kv_length": keys,
        "q_offset": past,
        "mask_function": rule,
        "attention_mask": padding,
    }
    lazy = lazy_mask(**given_, local_size=window)
    eager = eager_mask(**given_)
    assert isinstance(lazy, LazyMask)
    assert lazy.shape == eager.shape
    torch.testing.assert_close(lazy + 0.0, eager)
    torch.testing.assert_close(lazy[..., :1], eager[..., :1])
    allowed = lazy.dense()
    assert torch.equal(allowed, eager == 0)
    if lazy.rule.kind == "full":
        assert bool(allowed.all())
    if lazy.rule.kind == "causal":
        assert torch.equal(allowed[0, 0], torch.ones(queries, keys, dtype=torch.bool).tril())


@pytest.mark.parametrize(
    ("given_", "kind"),
    [
        ({"q_length": 4, "kv_length": 4}, "causal"),
        ({"q_length": 1, "kv_length": 4, "q_offset": 3}, "full"),
        ({"q_length": 2, "kv_length": 4, "q_offset": 2}, "rule"),
        ({"q_length": 4, "kv_length": 4, "local_size": 4}, "rule"),
        ({"q_length": 4, "kv_length": 4, "local_size": 5}, "causal"),
        ({"q_length": 4, "kv_length": 4, "attention_mask": torch.tensor([[0, 1, 1, 1]] * 2, dtype=torch.bool)}, "rule"),
        ({"q_length": 4, "kv_length": 4, "attention_mask": torch.ones(2, 4, dtype=torch.bool)}, "causal"),
        ({"q_length": 4, "kv_length": 4, "allow_is_causal_skip": False}, "rule"),
    ],
)
def test_kind_is_claimed_only_where_it_is_certain(given_: dict[str, object], kind: str) -> None:
    mask = lazy_mask(batch_size=2, **given_)  # type: ignore[arg-type]
    assert isinstance(mask, LazyMask)
    assert mask.rule.kind == kind


def test_none_means_everything_and_only_where_eager_says_so() -> None:
    full = {"batch_size": 1, "q_length": 3, "kv_length": 3, "mask_function": bidirectional_mask_function}
    assert lazy_mask(**full, allow_is_causal_skip=False, allow_is_bidirectional_skip=True) is None
    assert eager_mask(**full, allow_is_bidirectional_skip=True) is None
    padding = torch.tensor([[True, True, False]])
    masked = lazy_mask(**full, attention_mask=padding, allow_is_causal_skip=False, allow_is_bidirectional_skip=True)
    assert isinstance(masked, LazyMask)
    assert not bool(masked.dense()[..., 2].any())


def test_a_block_of_rows_equals_the_same_rows_of_the_whole() -> None:
    mask = lazy_mask(1, 8, 8, mask_function=sliding_window_causal_mask_function(3), local_size=3)
    assert isinstance(mask, LazyMask)
    assert torch.equal(mask.rule.allowed(2, 5), mask.dense()[:, :, 2:5])


def test_untouched_it_takes_no_memory_for_pairs() -> None:
    mask = lazy_mask(1, 100_000, 100_000)
    assert isinstance(mask, LazyMask)
    assert mask.rule.kind == "causal"
    assert mask._dense is None
    assert "causal" in repr(mask)


def test_touched_it_is_the_tensor_whatever_was_written_into_it() -> None:
    """A model that changes the mask in place, or a view of it, must be obeyed: the rule no longer holds."""
    for write in (lambda m: m.__setitem__((..., 2, 0), -7.0), lambda m: m[..., 2, :1].fill_(-7.0)):
        mask = lazy_mask(1, 3, 3)
        assert isinstance(mask, LazyMask)
        assert mask.settled() is mask
        write(mask)
        settled = mask.settled()
        assert not isinstance(settled, LazyMask)
        assert float(settled[0, 0, 2, 0]) == float(mask[0, 0, 2, 0]) == -7.0
        assert float(settled[0, 0, 2, 1]) == 0.0
