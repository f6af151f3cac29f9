"""Products of graphs whose weights were never kept: equal to the dense ones, by torch's own attention too, and never large."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import svds
from torch.utils._python_dispatch import TorchDispatchMode

import sociogram as sg
from sociogram.graphs.networks import networks
from sociogram.graphs.rerun import layers_of
from sociogram.watch.access import is_own
from tests.models.conftest import tiny_llama
from tests.watch.conftest import CLASSES, specimen, tiny


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation of torch gives out."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, torch.Tensor):
                self.most = max(self.most, one.numel())
        return out


def closed(rec: sg.Recording, stack: str) -> bool:
    return is_own(stack) and "closed" in rec.stack(stack)["status"].values.astype(str)


@pytest.mark.parametrize("name", CLASSES)
def test_products_in_all_kinds_of_models(name: str) -> None:
    made = specimen(name)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    whole, streamed = sg.record(model, inputs).sequence(0), sg.record(model, inputs, keep="stream").sequence(0)
    rng = np.random.default_rng(0)
    for stack in filter(lambda stack: closed(whole, stack), whole.stacks):
        dense, free = networks(whole, stack=stack), networks(streamed, stack=stack)
        for label in dense.labels.itertuples():
            weights, operator = dense.weights(label.layer, label.head), free.operator(label.layer, label.head)
            columns = rng.standard_normal((len(weights), 3))
            np.testing.assert_allclose(operator @ np.eye(len(weights)), weights, atol=1e-5)
            np.testing.assert_allclose(operator.T @ columns, weights.T @ columns, atol=1e-5)
            np.testing.assert_allclose(operator @ columns[:, 0], weights @ columns[:, 0], atol=1e-5)
            np.testing.assert_allclose(operator.rmatvec(columns[:, 1]), weights.T @ columns[:, 1], atol=1e-5)
            there, back = operator.both(columns)
            np.testing.assert_allclose(there, weights @ columns, atol=1e-5)
            np.testing.assert_allclose(back, weights.T @ weights @ columns, atol=1e-5)


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss", "llama"])
def test_of_texts_read_in_chunks_by_caches_that_let_keys_go(name: str) -> None:
    made = specimen(name)
    model, ids = sg.load(made.model), made.inputs["input_ids"][:1].repeat(1, 3)
    dense, free = networks(sg.record(model, ids)), networks(sg.record(model, ids, keep="stream", chunk=4))
    for label in dense.labels.itertuples():
        weights, operator = dense.weights(label.layer, label.head), free.operator(label.layer, label.head)
        np.testing.assert_allclose(operator @ np.eye(len(weights)), weights, atol=1e-5)
        np.testing.assert_allclose(operator.T @ np.eye(len(weights)), weights.T, atol=1e-5)


def test_torch_says_the_same_by_its_attention_and_its_gradient() -> None:
    """A @ X is attention with values X; A^T @ Y its gradient with respect to them (another way to the same numbers)."""
    rec = tiny("llama")
    rng = np.random.default_rng(0)
    data = rec.dataset.isel(layer=1)
    query, key = (torch.from_numpy(data[name].values)[None] for name in ("query_vector", "key_vector"))
    tokens, heads = query.shape[2], query.shape[1]
    given, back = (rng.standard_normal((tokens, 5)) for _ in range(2))
    values = torch.from_numpy(given).float().expand(1, heads, tokens, 5).clone().requires_grad_()
    out = F.scaled_dot_product_attention(query, key, values, is_causal=True, scale=float(data["score_scale"]))
    out.backward(torch.from_numpy(back).float().expand(1, heads, tokens, 5))
    for head in range(heads):
        operator = networks(rec).operator(1, head)
        np.testing.assert_allclose(operator @ given, out[0, head].detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(operator.T @ back, values.grad[0, head].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gemma2", "olmo2", "bert"])
@pytest.mark.parametrize("weight", ["attention", "message"])
def test_messages_thresholds_and_the_first_token(name: str, weight: str) -> None:
    made = specimen(name)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    whole, streamed = sg.record(model, inputs).sequence(0), sg.record(model, inputs, keep="stream").sequence(0)
    largest = float(networks(whole, weight).weights(1, 1).max())
    for options in ({"drop_first": True}, {"threshold": 0.3 * largest}, {"drop_first": True, "threshold": 0.1 * largest}):
        dense, free = (networks(rec, weight, **options) for rec in (whole, streamed))
        weights = dense.weights(1, 1)
        assert (weights == 0).any() == ("threshold" in options or name != "bert")
        operator = free.operator(1, 1)
        assert operator.shape == weights.shape
        np.testing.assert_allclose(operator @ np.eye(len(weights)), weights, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(operator.T @ np.eye(len(weights)), weights.T, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(operator.both(np.eye(len(weights)))[1], weights.T @ weights, atol=1e-4, rtol=1e-4)


def test_of_an_edited_run() -> None:
    model = sg.load(tiny_llama())
    ids = list(range(20))
    with sg.steer(model, sg.edits.cut(layer=1, key=2)) as steered:
        whole, streamed = steered.record(ids), steered.record(ids, keep="stream")
    weights = networks(whole).weights(1, 0)
    operator = networks(streamed).operator(1, 0)
    assert float(np.abs(weights[:, 2]).max()) == 0
    np.testing.assert_allclose(operator @ np.eye(20), weights, atol=1e-5)
    with sg.steer(model, sg.edits.set_weight(value=0.5, layer=1, head=0, query=5, key=2)) as steered:
        streamed = steered.record(ids, keep="stream")
    with pytest.raises(sg.RecordingError, match="an edit changed the weights of layer 1 after the softmax"):
        list(layers_of(streamed, "decoder", [1]))
    np.testing.assert_allclose(networks(streamed).operator(0, 0) @ np.ones(20), 1, atol=1e-6)


def test_long_texts_of_blocks_of_readers() -> None:
    """More readers than a block has, and more tokens than a pass of the collector holds."""
    model = sg.load(tiny_llama(max_position_embeddings=512))
    ids = [int(i) for i in np.random.default_rng(0).integers(0, 300, 300)]
    dense, free = networks(sg.record(model, ids)), networks(sg.record(model, ids, keep="stream"))
    for name in ((0, 0), (1, 3)):
        operator, weights = free.operator(*name), dense.weights(*name)
        np.testing.assert_allclose(operator @ np.eye(300), weights, atol=1e-5)
        np.testing.assert_allclose(operator.T @ np.eye(300), weights.T, atol=1e-5)
        with pytest.raises(sg.InputError, match="real numbers"):
            operator @ (1j * np.ones(300))
    found, whole = free.spectrum(null=None, leading=6), dense.spectrum(null=None)
    np.testing.assert_allclose(found.data["singular_value"], whole.data["singular_value"].values[:, :, :6], atol=1e-5)
    assert found.table["effective_rank"].isna().all()
    assert found.table["above_null"].isna().all()
    few = found.table["error"] < 1e-6
    assert few.any()
    assert found.among == 9
    for method in ("ase", "lse"):
        one, other = free.embed(method, dimension=2), dense.embed(method, dimension=2)
        apart = np.diff(-other.data["singular_value"].values, axis=1)[:, 0] > 0.05
        for side in ("reader", "sender"):
            np.testing.assert_allclose(one.data[side].values[apart], other.data[side].values[apart], atol=1e-4)
        np.testing.assert_allclose(one.data["singular_value"], other.data["singular_value"], atol=1e-5)
    one, other = (nets.embed("mase", dimension=1) for nets in (free, dense))
    np.testing.assert_allclose(one.data["score"], other.data["score"], atol=1e-5)
    values = svds(free.operator(0, 0), 3, return_singular_vectors=False, v0=np.ones(300))
    np.testing.assert_allclose(np.sort(values)[::-1], whole.data["singular_value"].values[0, 0, :3], atol=1e-5)


def test_nothing_is_as_large_as_tokens_times_tokens() -> None:
    tokens = 1024
    model = sg.load(tiny_llama(max_position_embeddings=2048))
    ids = [int(i) for i in np.random.default_rng(0).integers(0, 300, tokens)]
    nets = networks(sg.record(model, ids, keep="stream"))
    with Largest() as seen:
        nets.spectrum(null=None, leading=4)
        nets.embed(dimension=1, graphs=[(0, 0)])
    assert 128 * tokens <= seen.most < tokens**2
    operator = nets.operator(0, 0)
    columns = np.ones((tokens, 4))
    tracemalloc.start()
    operator.both(columns)
    assert tracemalloc.get_traced_memory()[1] < 8 * tokens**2
    tracemalloc.stop()


def test_layers_are_collected_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = networks(sg.record(sg.load(tiny_llama(num_hidden_layers=3)), list(range(12)), keep="stream"))
    at_once = nets.spectrum(null=None).data["singular_value"].values
    monkeypatch.setattr("sociogram.graphs.rerun.AT_ONCE", 1)
    np.testing.assert_array_equal(nets.spectrum(null=None).data["singular_value"].values, at_once)


def test_what_has_no_products_is_refused() -> None:
    rec = sg.record(sg.load(tiny_llama()), list(range(12)), keep="stream")
    with pytest.raises(sg.RecordingError, match='by="layer", weight="attention": products without the weights'):
        networks(rec, by="layer").operator(0, 0)
    with pytest.raises(sg.RecordingError, match='weight="contribution": products without the weights'):
        networks(rec, "contribution").spectrum(null=None)
    with pytest.raises(sg.RecordingError, match="null='positional' shuffles weights, and this recording was streamed"):
        networks(rec).spectrum()
    with pytest.raises(sg.RecordingError, match='method="omni" goes over the weights of all graphs again and again'):
        networks(rec).embed("omni")
    with pytest.raises(sg.RecordingError, match="compare_positions shuffles weights"):
        networks(rec).compare_positions((0, 0), (0, 1))
    with pytest.raises(sg.RecordingError, match="matching needs the weights of both graphs"):
        networks(rec).match((0, 0), (0, 1))
    alone = sg.Recording(rec.tree, inputs=rec.inputs)
    with pytest.raises(sg.RecordingError, match="runs the model again: open the recording with"):
        networks(alone).operator(0, 0)
    with pytest.raises(sg.InputError, match="no head 9"):
        networks(rec).operator(0, 9)


def test_a_steered_run_is_run_again_under_its_edits_or_not_at_all(smollm: sg.Model, tmp_path: Path) -> None:
    text = "The Eiffel Tower is located in the city of"
    with sg.steer(smollm, sg.edits.cut(layer=5, head=3, key=0, query=slice(1, None))) as steered:
        streamed, dense = steered.record(text, keep="stream"), steered.record(text)
    operator = sg.networks(streamed).operator(5, 3)
    found = operator @ np.eye(10)
    assert not found[1:, 0].any()
    np.testing.assert_allclose(found, sg.networks(dense).weights(5, 3), atol=1e-5)
    streamed.save(tmp_path / "steered.zarr")
    again = sg.open_recording(tmp_path / "steered.zarr", smollm)
    with pytest.raises(sg.RecordingError, match="edits acted in this run, which a recording opened from disk does not hold"):
        sg.networks(again).operator(5, 3)
    with pytest.raises(sg.RecordingError, match=r"runs the model again: open the recording with sg.open_recording\(path, model"):
        sg.networks(sg.open_recording(tmp_path / "steered.zarr")).operator(5, 3)
