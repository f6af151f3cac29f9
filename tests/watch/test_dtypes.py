"""Half precision, quantised weights, weights that are elsewhere: recorded as they are computed, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.models.conftest import tiny_llama

IDS = list(range(3, 40))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_streams_of_other_dtypes(dtype: torch.dtype) -> None:
    """Recorded by the kernel (halves are raised to float32 for it) or in torch: the model's own logits, and the dense numbers."""
    model = sg.load(tiny_llama().to(dtype))
    dense, streamed = sg.record(model, IDS), sg.record(model, IDS, keep="stream", by="attention")
    close = {torch.float64: 1e-9, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    assert streamed.null_drift() <= close
    weights = dense.dataset["weights"].values.astype(float)
    np.testing.assert_allclose(streamed.dataset["received"].sum("band").values, weights.sum(2), atol=close, rtol=close)
    np.testing.assert_allclose(streamed.dataset["top_attention"].values[..., 0], weights.max(3), atol=close / 4, rtol=close)
    beside = sg.record(model, IDS, keep=("stream", "weights"))  # sums of the weights that were kept, not of rounded ones
    np.testing.assert_allclose(beside.dataset["received"].sum("band").values, weights.sum(2), atol=1e-5)
    for name in {torch.float64: ()}.get(
        dtype, ("attention_out", "mlp_out")
    ):  # stops in halves do not tell what lies between them
        np.testing.assert_allclose(streamed.dataset[name].values, dense.dataset[name].values, atol=close, rtol=close)
    table, exact = streamed.moves(), dense.moves()
    for column in ("moved", "attention", "mlp"):
        np.testing.assert_allclose(table[column], exact[column], rtol=close, atol=close)
    assert streamed.dataset["residual"].dtype == (np.float64 if dtype == torch.float64 else np.float32)


@pytest.mark.filterwarnings("ignore")
def test_quantised_weights() -> None:
    """Int8 weights (torchao, as transformers loads them) are asked for their matrix; the account closes on what they compute."""
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed: int8 weights are not tried")
    hf = tiny_llama(hidden_size=64)
    exact = sg.record(sg.load(hf), IDS, keep="stream").outputs["final_logits"]
    torchao.quantize_(hf, torchao.Int8WeightOnlyConfig())
    model = sg.load(hf)
    for keep in ("default", "stream"):
        rec = sg.record(model, IDS, keep=keep)
        assert rec.null_drift() <= 1e-5
        assert rec.tree.attrs["checked_error"] < 1e-4
        assert np.abs(rec.outputs["final_logits"] - exact).max() > 1e-4
        assert rec.edges(top=3)["contribution"].notna().all()
    assert sg.record(model, IDS).audit().max_relative_error < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_layers_that_also_quantise_what_they_are_told_are_refused() -> None:
    """Dynamic quantisation rounds what goes into a projection: it is no affine map, and messages through it do not add up."""
    quantised = torch.ao.quantization.quantize_dynamic(tiny_llama().eval(), {torch.nn.Linear}, dtype=torch.qint8).eval()
    with pytest.raises(sg.UnsupportedModelError, match="cannot be written as an account that adds up"):
        sg.record(sg.load(quantised), IDS, keep="stream")


def test_offloaded_weights_are_refused(tmp_path: Path) -> None:
    from accelerate import dispatch_model

    places = dict.fromkeys(("model.embed_tokens", "model.rotary_emb", "model.norm", "lm_head", "model.layers.0"), "cpu")
    held = sg.load(dispatch_model(tiny_llama(), {**places, "model.layers.1": "cpu"}, main_device="cpu", force_hooks=True))
    plain = sg.load(tiny_llama())
    rec = sg.record(held, IDS, keep="stream")
    np.testing.assert_allclose(rec.outputs["final_logits"], sg.record(plain, IDS).outputs["final_logits"], atol=1e-5)
    assert len(rec.edges(top=3)) == 3
    away = dispatch_model(tiny_llama(), {**places, "model.layers.1": "disk"}, offload_dir=str(tmp_path), main_device="cpu")
    with pytest.raises(sg.UnsupportedModelError, match=r"weights of .* are offloaded \(model.layers.1"):
        sg.record(sg.load(away), IDS, keep="stream")
