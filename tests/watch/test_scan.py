"""What the kernel reads, what it leaves to torch, and under which circumstances it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import xlogy
from torch import Tensor, nn

import sociogram as sg
from sociogram.models.attention import AttentionCall, mix, weights_of
from sociogram.models.masks import lazy_mask
from sociogram.watch import scan, stream
from sociogram.watch.rowwise import Standing
from sociogram.watch.streamed import Wanted
from tests.models.conftest import tiny_llama
from tests.watch.test_stream import made_call


def spoiled(part: Tensor, value: float) -> Tensor:
    other = part.clone()
    other[0, 0, -1, 0] = value
    return other


@pytest.mark.parametrize("name", ["query", "key", "value"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_left_to_torch(name: str, value: float) -> None:
    """The kernel takes all scores for numbers; a row that is none is none in torch's own softmax, and so in the recording."""
    call = made_call(0, 2, 1, 6, 0, torch.float32, "causal")
    assert scan.can_scan(call)
    call = replace(call, **{name: spoiled(getattr(call, name), value)})
    assert not scan.can_scan(call)
    made = stream.Streamer(nn.Identity(), Wanted(3), {})
    output, found = made._in_torch(call, torch.ones(2, 6), Wanted(3), Standing(0), torch.ones(6, dtype=torch.bool))
    torch.testing.assert_close(output, mix(weights_of(call)[0], call), equal_nan=True)
    assert torch.equal(found.number("entropy").isnan(), weights_of(call)[0].isnan().any(-1))


def test_scores_beyond_what_counts_as_hidden_are_left_to_torch() -> None:
    call = made_call(0, 2, 1, 6, 0, torch.float32, "causal")
    assert not scan.can_scan(replace(call, query=call.query * 1e20, key=call.key * 1e15))
    biased = made_call(0, 2, 1, 6, 0, torch.float32, "bias")
    assert biased.bias is not None
    assert scan.can_scan(biased)
    for value in (torch.nan, torch.inf):
        assert not scan.can_scan(replace(biased, bias=spoiled(biased.bias, value)))
    assert scan.can_scan(replace(biased, bias=spoiled(biased.bias, -torch.inf)))
    sunk = made_call(0, 2, 1, 6, 0, torch.float32, "sink")
    assert scan.can_scan(sunk)
    assert not scan.can_scan(replace(sunk, sink=torch.tensor([0.0, torch.nan])))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), tokens=st.integers(1, 300), levels=st.integers(1, 40), top=st.integers(1, 90))
def test_the_strongest_over_many_blocks_with_ties_by_number(seed: int, tokens: int, levels: int, top: int) -> None:
    """Scores of few values: many keys are as strong as the last that is kept, within a block and across blocks."""
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, levels, (tokens, tokens)).astype(np.float32)
    query, eye = torch.from_numpy(scores)[None, None], torch.eye(tokens)[None, None]
    call = AttentionCall("here", 0, nn.Identity(), query, eye, eye, lazy_mask(1, tokens, tokens), 1.0)
    found = scan.Scan(
        call, torch.ones(1, tokens), Wanted(top, by="attention"), (0,), Standing(0), torch.ones(tokens).bool()
    ).run()
    for reader in range(tokens):
        order = np.lexsort((np.arange(reader + 1), -scores[reader, : reader + 1]))[:top]
        heard = np.exp(scores[reader, : reader + 1] - scores[reader, : reader + 1].max())
        np.testing.assert_array_equal(found.keys[0, reader, : len(order)], order)
        assert (found.keys[0, reader, len(order) :] == -1).all()
        np.testing.assert_allclose(found.attention[0, reader, : len(order)], heard[order] / heard.sum(), rtol=1e-5)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_in_inference_mode_as_outside(two_threads: None) -> None:
    """The mode is a thread's own, and what is made inside of it cannot be written to outside: workers know it."""
    model, ids = sg.load(tiny_llama(max_position_embeddings=512)), [i % 290 + 3 for i in range(400)]
    outside = sg.record(model, ids, keep="stream")
    for _ in range(2):
        with torch.inference_mode():
            inside = sg.record(model, ids[:200], keep="stream")
        again = sg.record(model, ids, keep="stream")
        np.testing.assert_array_equal(again.dataset["top_key"].values, outside.dataset["top_key"].values)
        sums = [rec.dataset["entropy"].values[..., :200] for rec in (inside, outside)]
        np.testing.assert_allclose(*sums, atol=1e-4)


_WITHOUT_CACHE = """
import numba.core.caching as caching
for name in dir(caching):
    if hasattr(getattr(caching, name), "_locator_classes"):
        getattr(caching, name)._locator_classes = []
import numba
try:
    numba.njit(cache=True)(lambda: None)
except RuntimeError:
    pass
else:
    raise SystemExit("numba found a place after all")
import torch, sociogram as sg
from tests.models.conftest import tiny_llama
from sociogram.watch import fused, scan
rec = sg.record(sg.load(tiny_llama()), [5, 9, 17, 3], keep=("entropy",))
assert scan._is_compiled() and not fused._kept()
print(float(rec.dataset["entropy"].max()))
"""


def test_where_compiled_code_cannot_be_kept_it_is_compiled_all_the_same() -> None:
    """As in a container whose package folder and home are read-only, where numba raises on import."""
    done = subprocess.run([sys.executable, "-c", _WITHOUT_CACHE], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    expected = sg.record(sg.load(tiny_llama()), [5, 9, 17, 3], keep=("entropy",)).dataset["entropy"].max()
    assert float(done.stdout) == pytest.approx(float(expected), rel=1e-6)


def test_dropout_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Column sums that are made once more mix nothing: they draw no other dropout, and cost no second sum of values."""
    mixed: list[AttentionCall] = []
    monkeypatch.setattr(stream, "mix", lambda weights, call: (mixed.append(call), mix(weights, call))[1])
    call = made_call(0, 2, 1, 6, 0, torch.float64, "causal")
    made = stream.Streamer(nn.Identity(), Wanted(3), {})
    _, found = made._in_torch(call, torch.ones(2, 6).double(), Wanted(3), Standing(0), torch.ones(6, dtype=torch.bool))
    columns = found.again(torch.ones(1, 6).double())
    assert len(mixed) == 1
    torch.testing.assert_close(columns, found.columns)


def test_no_strongest_keys_are_kept_where_none_are_asked_for() -> None:
    """In torch too, where the kernel does not read: of double precision, beside weights, under an edit."""
    plain = sg.load(tiny_llama())
    whole = sg.record(plain, [5, 9, 17, 3])
    for model, keep in ((plain, ("weights", "entropy")), (sg.load(tiny_llama().double()), ("received", "entropy"))):
        rec = sg.record(model, [5, 9, 17, 3], keep=keep)
        weights = whole.dataset["weights"].values
        np.testing.assert_allclose(rec.dataset["entropy"].values, -xlogy(weights, weights).sum(3), atol=1e-5)
        assert "top_key" not in rec.dataset
    with sg.steer(plain, sg.edits.scale_edges(factor=1.0)) as steered:
        rec = steered.record([5, 9, 17, 3], keep=("received",))
    np.testing.assert_allclose(rec.dataset["received"].sum("band").values, weights.sum(2), atol=1e-5)
