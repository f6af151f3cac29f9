"""Directions with a meaning: Jacobians and unembeddings against matrices written down by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import sociogram as sg
from sociogram.watch.axes import value_jacobian
from tests.watch.conftest import tiny


def norm_jacobian(x: Tensor, gain: Tensor, eps: float, *, centred: bool) -> Tensor:
    """d norm(x) / d x of a layer norm or a root-mean-square norm, from its formula."""
    width = len(x)
    middle = torch.eye(width, dtype=x.dtype) - (1 / width if centred else 0)
    y = middle @ x
    scale = (y.square().mean() + eps).sqrt()
    return torch.diag(gain) @ (middle / scale - torch.outer(y, y) @ middle / (width * scale**3))


def llama_maps(rec: sg.Recording, layer: int, head: int) -> tuple[Tensor, Tensor]:
    """W_V behind the norm's Jacobian (mean over all tokens but the first), and W_O, of a Llama head."""
    block, config = rec.model.hf.model.layers[layer], rec.model.hf.config  # type: ignore[union-attr]
    d_head, group = config.head_dim, config.num_attention_heads // config.num_key_value_heads
    rows = slice((head // group) * d_head, (head // group + 1) * d_head)
    value = block.self_attn.v_proj.weight[rows].detach().double()
    written = block.self_attn.o_proj.weight[:, head * d_head : (head + 1) * d_head].T.detach().double()
    norm = block.input_layernorm
    return value @ mean_norm(rec, layer, norm.weight, norm.variance_epsilon, centred=False), written


def gpt2_maps(rec: sg.Recording, layer: int, head: int) -> tuple[Tensor, Tensor]:
    block, config = rec.model.hf.transformer.h[layer], rec.model.hf.config  # type: ignore[union-attr]
    width = config.n_embd
    d_head = width // config.n_head
    part = slice(2 * width + head * d_head, 2 * width + (head + 1) * d_head)  # queries, keys, then values
    value = block.attn.c_attn.weight[:, part].T.detach().double()
    written = block.attn.c_proj.weight[head * d_head : (head + 1) * d_head].detach().double()
    return value @ mean_norm(rec, layer, block.ln_1.weight, block.ln_1.eps, centred=True), written


def mean_norm(rec: sg.Recording, layer: int, gain: Tensor, eps: float, *, centred: bool) -> Tensor:
    before = torch.from_numpy(rec.dataset.residual[int(rec.dataset.layer_start[layer])].values).double()
    return torch.stack([norm_jacobian(x, gain.detach().double(), eps, centred=centred) for x in before[1:]]).mean(0)


@pytest.mark.parametrize(("name", "maps"), [("llama", llama_maps), ("gpt2", gpt2_maps)])
@pytest.mark.parametrize(("layer", "head"), [(0, 1), (1, 3)])
def test_a_heads_axes_are_the_top_singular_pair_of_its_map(name: str, maps: object, layer: int, head: int) -> None:
    rec = tiny(name)
    reading, written = maps(rec, layer, head)  # type: ignore[operator]
    torch.testing.assert_close(value_jacobian(rec, layer, head), reading, rtol=1e-4, atol=1e-5)
    u, _, v = np.linalg.svd((reading.T @ written).numpy())
    for side, expected in (("read", u[:, 0]), ("write", v[0])):
        label, vector = rec.head_axis(layer, head, side)
        assert label == f"layer {layer} head {head} {side}s"
        assert abs(vector @ expected) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(vector) == pytest.approx(1)
        assert vector[np.abs(vector).argmax()] > 0
    assert abs(rec.head_axis(layer, head)[1] @ rec.head_axis(layer, head, "read")[1]) < 0.999
    assert rec.head_axis(layer - 2, head - 4, "write")[0] == f"layer {layer} head {head} writes"


def test_looking_leaves_the_model_as_it_was() -> None:
    rec = tiny("llama")
    before = rec.model.logits(rec.inputs)  # type: ignore[union-attr]
    rec.head_axis(0, 0)
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in rec.model.hf.parameters())  # type: ignore[union-attr]
    assert torch.equal(rec.model.logits(rec.inputs), before)  # type: ignore[union-attr]
    assert rec.null_drift() < 1e-5


@pytest.mark.parametrize("name", ["bert", "gemma2", "deepseek_v3", "t5", "vit", "gpt_oss"])
def test_other_families_have_axes_too(name: str) -> None:
    rec = tiny(name)
    reading, matrix = value_jacobian(rec, 1, 1), rec.messages(1).matrix[1]
    assert reading.shape == (matrix.shape[0], rec.dataset.sizes["d_model"])
    label, vector = rec.head_axis(1, 1, "read")
    flock = rec.flock(axes=[(label, vector)], null=0)
    assert flock.axes == (label,)
    assert abs(flock.basis.directions[0] @ vector) == pytest.approx(1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "layer", "words"),
    [("bitnet", 0, "through a gate that differs between readers"), ("qwen3_next", 0, "no messages to show: it is opaque")],
)
def test_heads_without_one_map_say_why(name: str, layer: int, words: str) -> None:
    with pytest.raises(sg.RecordingError, match=words):
        tiny(name).head_axis(layer, 0)


def test_values_that_are_not_a_tokens_own_are_refused() -> None:
    from sociogram.watch.axes import _mean_jacobian

    stream = torch.randn(1, 4, 3, requires_grad=True)
    with pytest.raises(sg.RecordingError, match="depend on other tokens' streams"):
        _mean_jacobian(stream, stream[0].cumsum(0), 5)
    with pytest.raises(sg.RecordingError, match="do not come from the stream before it"):
        _mean_jacobian(stream, torch.randn(4, 3, requires_grad=True) * 1, 5)
    torch.testing.assert_close(_mean_jacobian(stream, 2 * stream[0], 5), 2 * torch.eye(3, dtype=torch.float64))


def test_unembedding_axes_give_logits_after_the_final_norm() -> None:
    rec = tiny("llama")
    flock = rec.flock("normed", null=0)
    whole = rec.flock("normed", components=64, null=0)
    assert whole.basis is not None
    last = whole.positions.values[-1] @ whole.basis.directions + whole.basis.mean  # all components: nothing is lost
    assert whole.error[:, 1:].max() < 1e-6
    logits = rec.outputs["final_logits"][0]
    label, vector = rec.unembedding_axis(7)
    assert label == "#7"
    assert last[-1] @ vector == pytest.approx(logits[7], abs=1e-4)
    label, vector = rec.unembedding_axis(7, minus=11)
    assert label == "#7 − #11"
    assert last[-1] @ vector == pytest.approx(logits[7] - logits[11], abs=1e-4)
    along = rec.flock("normed", axes=[(label, vector)], null=0)
    drawn = along.positions.sel(component=label).values
    assert drawn[-1, -1] - drawn[-1, 3] == pytest.approx((last[-1] - last[3]) @ vector / np.linalg.norm(vector), abs=1e-6)
    assert not np.allclose(drawn, flock.positions.values[..., 0])


@pytest.mark.real
def test_the_answers_axis_by_its_words(paris: sg.Recording) -> None:
    label, vector = paris.unembedding_axis(" Paris", minus=" London")
    assert label == "␣Paris − ␣London"
    along = paris.flock("normed", axes=[(label, vector)], null=0).positions.sel(component=label)
    assert float(along[-1, -1]) == along.isel(query=-1).max()  # the end of the last token's way is the farthest toward Paris
    with pytest.raises(sg.InputError, match=r"^token='Eiffel' is not one token"):
        paris.unembedding_axis("Eiffel")
    with pytest.raises(sg.InputError, match=r"^minus='Eiffel' is not one token"):
        paris.unembedding_axis(" Paris", "Eiffel")


def test_bad_axes_name_the_fault(tmp_path: object) -> None:
    rec = tiny("llama")
    one, two = np.eye(64)[:2]
    for axes, words in (
        ([one], r"pairs \(label, vector\)"),
        ([("a", one), ("a", two)], "each axis needs a label of its own"),
        ([("a", one[:3])], r"axis 'a' has shape \[3\], and the stream is \[64\] wide"),
        ({"a": 0 * one}, "axis 'a' has no direction: it is zero or not finite"),
        ({"a": one * np.nan}, "axis 'a' has no direction"),
        ({"a": one, "b": two, "c": one - two}, "axis 'c' lies in the span of the axes before it"),
        ({f"a{i}": row for i, row in enumerate(np.eye(64)[:17])}, "17 axes do not fit into components=16"),
    ):
        with pytest.raises(sg.InputError, match=words):
            rec.flock(axes=axes)  # type: ignore[arg-type]
    with pytest.raises(sg.InputError, match='choose "write" or "read"'):
        rec.head_axis(0, 0, "say")
    with pytest.raises(sg.InputError, match="no head 9"):
        rec.head_axis(0, 9)
    with pytest.raises(sg.InputError, match="no layer 9"):
        rec.head_axis(9, 0)
    with pytest.raises(sg.InputError, match="ViTModel has no unembedding with a row per token"):
        tiny("vit").unembedding_axis(3)
    with pytest.raises(sg.InputError, match="no such token id"):
        rec.unembedding_axis(10**9)
    rec.save(tmp_path / "rec")  # type: ignore[operator]
    alone = sg.open_recording(tmp_path / "rec")  # type: ignore[operator]
    with pytest.raises(sg.RecordingError, match=r"head_axis\(\) runs the model: open the recording with"):
        alone.head_axis(0, 0)
    with pytest.raises(sg.RecordingError, match=r"unembedding_axis\(\) needs the model"):
        alone.unembedding_axis(3)
