"""The account: it adds up to the model's own numbers, and an account that was tampered with does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import sociogram as sg
from sociogram.models import readout
from sociogram.models.examine import forward_arguments
from tests import zoo
from tests.watch.conftest import CLASSES, specimen, tiny


@pytest.mark.parametrize("name", CLASSES)
def test_accounts_of_every_class_close(name: str) -> None:
    audit = tiny(name).audit()
    assert audit.max_relative_error < 1e-5
    assert audit.closed >= 1


@pytest.mark.parametrize("name", CLASSES)
def test_in_double_precision_they_close_to_ten_digits(name: str) -> None:
    made = specimen(name, torch.float64)
    with zoo.float64_everywhere():
        inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
        rec = sg.record(sg.load(made.model), inputs)
        assert rec.audit().max_relative_error < 1e-10


def stops(rec: sg.Recording) -> xr.DataArray:
    return rec.dataset.residual


@pytest.mark.parametrize("name", ["llama", "bert", "gemma2", "gpt_neox"])
def test_stops_are_the_models_own_hidden_states(name: str) -> None:
    made = specimen(name)
    with torch.no_grad():
        out = made.model(**forward_arguments(made.model, made.inputs), output_hidden_states=True)
    rec = tiny(name)
    starts = rec.dataset.layer_start.values
    for layer, start in enumerate(starts):
        np.testing.assert_allclose(stops(rec)[start], out.hidden_states[layer][0], atol=2e-5)


def test_layers_of_parallel_branches_share_a_stop_others_have_two() -> None:
    assert tiny("llama").dataset.sizes["stop"] == 2 * 2 + 1
    assert tiny("gpt_neox").dataset.sizes["stop"] == 2 + 1
    assert tiny("t5").stack("decoder").sizes["stop"] == 3 * 2 + 1
    assert list(tiny("t5").stack("decoder").stop_part.values[:4]) == ["input", "attention", "cross", "mlp"]


@pytest.mark.parametrize(
    ("name", "placement"),
    [("llama", "pre"), ("bert", "post"), ("gemma2", "sandwich"), ("olmo2", "sandwich"), ("gpt_neox", "parallel")],
)
def test_norms_are_found_where_they_stand(name: str, placement: str) -> None:
    assert set(tiny(name).dataset.placement.values) == {placement}


def test_norms_after_the_sum_are_entries_and_norms_of_branches_are_in_the_messages() -> None:
    assert "rescaling" in tiny("bert").dataset
    assert "message_scale" not in tiny("bert").dataset
    assert "message_scale" in tiny("gemma2").dataset
    assert "rescaling" not in tiny("gemma2").dataset
    assert "head_gate" in tiny("bitnet").dataset


def test_layers_without_attention_are_marked_and_their_share_is_given() -> None:
    rec = tiny("qwen3_next")
    assert set(rec.dataset.status.values) == {"opaque", "closed"}
    table = rec.audit().layers
    assert (table[table.status == "opaque"].opaque_share > 0).all()
    assert (table[table.status == "closed"].opaque_share == 0).all()
    opaque = int(table[table.status == "opaque"].layer.iloc[0])
    assert bool(rec.dataset.weights.sel(layer=opaque).isnull().all())
    with pytest.raises(sg.RecordingError, match="no token-token matrix"):
        rec.messages(opaque)


def test_rows_of_weights_sum_to_one_with_the_sinks_share() -> None:
    rec = tiny("gpt_oss")
    total = rec.dataset.weights.sum("key") + rec.dataset.sink_weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert float(rec.dataset.sink_weight.min()) > 0
    np.testing.assert_allclose(tiny("llama").dataset.weights.sum("key"), 1, atol=1e-6)


def test_messages_across_sequences_come_from_the_named_source() -> None:
    rec = tiny("t5")
    assert set(rec.stacks) == {"encoder", "decoder", "decoder_cross"}
    cross = rec.stack("decoder_cross")
    assert cross.sizes["key"] == rec.stack("encoder").sizes["query"]
    assert list(cross.key_token.values) == list(rec.stack("encoder").query_token.values)
    edges = rec.edges(stack="decoder_cross", top=3)
    assert edges["pull"].isna().all()
    moves = rec.moves()
    assert (moves["from_source"] > 0).all()


@pytest.mark.parametrize("name", ["llama", "bert", "gemma2", "bitnet", "gpt_oss"])
def test_norm_based_sum(name: str) -> None:
    """Kobayashi et al. 2020: summed over heads and keys, weight x f(x_k), with b_O, is the attention branch's output."""
    rec = tiny(name)
    messages = rec.messages(0)
    heads, queries, keys = messages.weights.shape
    head, query, key = torch.meshgrid(*(torch.arange(n) for n in (heads, queries, keys)), indexing="ij")
    vectors = messages.vectors(head.flatten(), query.flatten(), key.flatten()).unflatten(0, (heads, queries, keys))
    torch.testing.assert_close(vectors.sum((0, 2)) + messages.bias, messages.out, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vectors.norm(dim=-1), messages.norms(), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(messages.from_itself() + messages.from_others(), messages.mixed(), atol=1e-5, rtol=1e-4)
    directions = torch.randn(queries, vectors.shape[-1])
    torch.testing.assert_close(
        messages.along(directions), torch.einsum("hqkm,qm->hqk", vectors, directions), atol=1e-4, rtol=1e-4
    )


def test_message_norm_is_weight_times_value_norm_where_nothing_depends_on_the_reader() -> None:
    data = tiny("llama").dataset
    norms = tiny("llama").messages(1).norms().numpy()
    np.testing.assert_allclose(norms, data.weights[1] * data.value_norm[1], atol=1e-6)


def tampered(rec: sg.Recording, name: str, change: float) -> sg.Recording:
    dataset = rec.dataset.copy(deep=True)
    dataset[name] = dataset[name] * change
    tree = rec.tree.copy()
    tree[rec.main] = xr.DataTree(dataset)
    return sg.Recording(tree, model=rec.model, inputs=rec.inputs)


@pytest.mark.parametrize(
    ("model", "name", "part"),
    [
        ("llama", "output_projection", "do not sum to the attention branch"),
        ("llama", "value_vector", "do not sum to the attention branch"),
        ("llama", "weights", "do not sum to the attention branch"),
        ("gpt2", "bias", "do not sum to the attention branch"),
        ("gemma2", "message_scale", "do not sum to the attention branch"),
        ("bitnet", "head_gate", "do not sum to the attention branch"),
        ("llama", "mlp_out", "other than attention"),
        ("bert", "rescaling", "other than attention"),
        ("llama", "residual", "other than attention"),
    ],
)
def test_an_account_that_was_tampered_with_does_not_close(model: str, name: str, part: str) -> None:
    """The audit must be able to fail: one per cent of any entry is found, and the part is named."""
    rec = tiny(model)
    with pytest.raises(sg.AccountError, match=part):
        changed = tampered(rec, name, 1.01)
        if name == "residual":  # scaling the whole stream scales the moves with it
            assert changed.audit().max_relative_error > 0
        changed.audit()
    tampered(rec, name, 1.0).audit()


def test_swapped_heads_do_not_close() -> None:
    rec = tiny("llama")
    dataset = rec.dataset.copy(deep=True)
    dataset["value_vector"] = dataset["value_vector"].roll(head=1)
    tree = rec.tree.copy()
    tree[rec.main] = xr.DataTree(dataset)
    with pytest.raises(sg.AccountError, match="layer 0"):
        sg.Recording(tree, model=rec.model).audit()


@pytest.mark.parametrize("dropped", ["matrix", "bias"])
def test_recording_stops_at_a_projection_read_wrongly(monkeypatch: pytest.MonkeyPatch, dropped: str) -> None:
    """A perturbed W_O or a dropped bias (b_V W_O + b_O) is an error of the run itself, with the layer named."""
    made = specimen("gpt2")
    model = sg.load(made.model)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    model.find_anatomy(inputs)  # the anatomy is right; what goes wrong comes later
    own = readout.projection_matrix

    def wrong(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        matrix, bias = own(*args)  # type: ignore[arg-type]
        return (matrix * 1.01, bias) if dropped == "matrix" else (matrix, torch.zeros_like(bias))

    monkeypatch.setattr(readout, "projection_matrix", wrong)
    with pytest.raises(sg.AccountError, match=r"layer 0 \(transformer.h.0, attention\) does not add up.*output projection"):
        sg.record(model, inputs)


def test_the_value_bias_is_part_of_the_messages() -> None:
    """b_V is told with every value: without it the messages of GPT-2 would fall short of its branch."""
    made = specimen("gpt2")
    rec = tiny("gpt2")
    bias = made.model.transformer.h[0].attn.c_attn.bias.detach()[-64:] if made.model.config.n_embd == 64 else None
    width = made.model.config.n_embd
    bias = made.model.transformer.h[0].attn.c_attn.bias.detach()[2 * width :]
    messages = rec.messages(0)
    without = messages.value - bias.unflatten(0, (messages.value.shape[0], -1))[:, None]
    short = torch.einsum("hqk,hkd,hdm->qm", messages.weights, without, messages.matrix) + messages.bias
    assert float((short - messages.out).norm() / messages.out.norm()) > 0.05


@pytest.mark.real
def test_both_real_models_close_and_are_not_changed_by_being_watched(smollm: sg.Model, minilm: sg.Model) -> None:
    text = "I hammered the nail into the leaking ship, and she laughed."
    for model, expected in ((smollm, 30), (minilm, 6)):
        rec = sg.record(model, text)
        audit = rec.audit()
        assert audit.max_relative_error <= 1e-4
        assert audit.closed == expected
        assert rec.null_drift() <= 1e-4


def test_a_norm_before_the_projection_that_mixes_channels_is_part_of_the_messages() -> None:
    """A layer norm there is no gate: it spreads each head over all channels, and its bias is nobody's message."""
    rec = tiny("kosmos-2")
    assert "head_gate" not in rec.dataset
    assert "message_scale" in rec.dataset
    assert rec.audit().max_relative_error < 1e-5
    step = rec.layer_anatomy(0, rec.main).heard[0]
    assert step.norm is not None
    norm = rec.model.hf.get_submodule(step.norm.path)
    own = rec.model.hf.get_submodule(step.projection)
    messages = rec.messages(0)
    x = torch.randn(2, messages.matrix.shape[0] * messages.matrix.shape[1])
    centred = (x - x.mean(-1, keepdim=True)) * norm.weight.detach() @ own.weight.detach().T
    torch.testing.assert_close(x @ messages.matrix.flatten(0, 1), centred, atol=1e-4, rtol=1e-3)
    assert float((messages.bias - (norm.bias @ own.weight.T + own.bias).detach()).abs().max()) < 1e-4


@pytest.mark.real
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_closes_within_its_own_rounding(dtype: str) -> None:
    """A long stream that moves little is rounded by the model itself; that is no gap in the account."""
    model = sg.load("smollm2-135m", dtype=dtype)
    rec = sg.record(model, "The Eiffel Tower is located in the city of")
    assert rec.audit().closed == 30
    changed = tampered(rec, "mlp_out", 1.5)
    with pytest.raises(sg.AccountError):
        changed.audit()
