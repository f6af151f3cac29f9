"""Edits of the residual stream: each against the same thing made another way, and the account of what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForMaskedLM, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

import sociogram as sg
from sociogram import edits
from sociogram.models.seam import watching
from sociogram.steering.tally import Tally
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

IDS = [5, 9, 17, 3, 44, 21, 8, 30]
OTHER = [6, 9, 11, 3, 40, 21, 7, 2]
CLASSES = ["llama", "gpt2", "bert", "gemma2", "olmo2", "gpt_neox", "deepseek_v3", "t5", "gpt_oss", "qwen3_next", "bitnet", "vit"]
AT = ("output", "input", "attention", "mlp")


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


def direction(width: int = 16, seed: int = 1) -> Tensor:
    return torch.randn(width, generator=torch.Generator().manual_seed(seed))


def inputs_of(name: str) -> tuple[sg.Model, dict[str, Tensor]]:
    made = specimen(name)
    return sg.load(made.model), {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}


@contextmanager
def hooked(module: nn.Module, change: Callable[[Tensor], Tensor], *, before: bool = False) -> Iterator[None]:
    """The oracle: a plain forward hook of torch's on the stream that a module takes in or gives out."""

    def out(_: nn.Module, __: Any, output: Any) -> Any:
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    def into(_: nn.Module, args: Any, kwargs: Any) -> Any:
        return (change(args[0]), *args[1:]), kwargs

    handle = module.register_forward_pre_hook(into, with_kwargs=True) if before else module.register_forward_hook(out)
    try:
        yield
    finally:
        handle.remove()


def module_at(model: LlamaForCausalLM, layer: int, at: str) -> nn.Module:
    own = model.model.layers[layer]
    return {"output": own, "input": own, "attention": own.self_attn, "mlp": own.mlp}[at]


@pytest.mark.parametrize("at", AT)
def test_add_and_project_out_are_plain_hooks(llama: sg.Model, at: str) -> None:
    v, tokens = direction(), [1, 6]

    def add(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, tokens] += -2.5 * v
        return x

    def project(x: Tensor) -> Tensor:
        return x - (x @ v)[..., None] * v / (v @ v)

    plain = llama.logits(IDS)
    for edit, change in (
        (edits.add(v, scale=-2.5, layer=1, at=at, query=tokens), add),
        (edits.project_out(v, layer=1, at=at), project),
    ):
        with sg.steer(llama, edit) as steered:
            ours = steered.logits(IDS)
        with hooked(module_at(llama.hf, 1, at), change, before=at == "input"):
            theirs = llama.logits(IDS)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
        assert float((ours - plain).abs().max()) > 1e-3
        assert torch.equal(llama.logits(IDS), plain)


def test_projecting_out_leaves_an_orthogonal_rest_and_does_it_once(llama: sg.Model) -> None:
    several = torch.stack([direction(seed=1), direction(seed=2), direction(seed=1) * 3 - direction(seed=2)])  # a plane
    once = edits.project_out(several, layer=0)
    with sg.steer(llama, once) as one, sg.steer(llama, [once, once]) as twice:
        first, second = one.record(IDS), twice.record(IDS)
    after = first.dataset["residual"].values[2]
    assert float(np.abs(after @ several.numpy().T).max()) < 1e-5
    np.testing.assert_allclose(second.dataset["residual"], first.dataset["residual"], atol=1e-6)
    plain = sg.record(llama, IDS).dataset["residual"].values[2]
    assert np.linalg.matrix_rank(plain - after, tol=1e-4) == 2  # a direction spanned by the others takes nothing more
    with sg.steer(llama, edits.project_out(torch.eye(16), layer=0)) as all_of_it:
        assert float(np.abs(all_of_it.record(IDS).dataset["residual"].values[2]).max()) < 1e-6


def test_a_layer_skipped_is_a_model_without_it() -> None:
    with sg.steer(sg.load(tiny_llama(num_hidden_layers=3)), edits.skip_layer(layer=1)) as steered:
        ours = steered.logits(IDS)
        assert steered.receipt.edits[["layer", "addressed", "changed"]].to_numpy().tolist() == [[1, 8, 8]]
    short = tiny_llama(num_hidden_layers=3)
    whole = sg.load(tiny_llama(num_hidden_layers=3)).logits(IDS)
    del short.model.layers[1]
    short.config.num_hidden_layers = 2
    with torch.no_grad():
        theirs = short(torch.tensor([IDS]), use_cache=False).logits[0]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert float((theirs - whole).abs().max()) > 1e-3


def by_hand(model: LlamaForCausalLM, cut: set[str]) -> Tensor:
    """A llama written out: layer 1 without the residual connections named in `cut`."""
    body = model.model
    x = body.embed_tokens(torch.tensor([IDS]))
    turns = body.rotary_emb(x, torch.arange(len(IDS))[None])
    hidden = torch.full((len(IDS), len(IDS)), -torch.inf).triu(1)
    for number, layer in enumerate(body.layers):
        attention = layer.self_attn
        normed = layer.input_layernorm(x)
        q, k, v = (
            p(normed).view(1, len(IDS), -1, 4).transpose(1, 2) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        q, k = apply_rotary_pos_emb(q, k, *turns)
        k, v = (t.repeat_interleave(2, 1) for t in (k, v))
        told = torch.softmax(q @ k.transpose(-1, -2) / 2 + hidden, -1) @ v
        branch = attention.o_proj(told.transpose(1, 2).flatten(2))
        x = branch if number == 1 and "attention" in cut else x + branch
        branch = layer.mlp(layer.post_attention_layernorm(x))
        x = branch if number == 1 and "mlp" in cut else x + branch
    return model.lm_head(body.norm(x))[0].detach()


@pytest.mark.parametrize("cut", [{"attention"}, {"mlp"}, {"attention", "mlp"}], ids=lambda cut: "-".join(sorted(cut)))
def test_a_cut_skip_is_a_llama_without_that_residual(llama: sg.Model, cut: set[str]) -> None:
    torch.testing.assert_close(by_hand(llama.hf, set()), llama.logits(IDS), atol=1e-5, rtol=0)
    at = "both" if len(cut) == 2 else next(iter(cut))
    with sg.steer(llama, edits.cut_skip(layer=1, at=at)) as steered:
        ours = steered.logits(IDS)
        assert steered.receipt.edits[["addressed", "changed"]].to_numpy().tolist() == [[8, 8]]
    torch.testing.assert_close(ours, by_hand(llama.hf, cut), atol=1e-5, rtol=0)
    assert float((ours - llama.logits(IDS)).abs().max()) > 1e-3


def test_a_residual_is_cut_once_and_after_what_changes_the_branch(llama: sg.Model) -> None:
    skip, plus = edits.cut_skip(layer=1, at="mlp"), edits.project_out(direction(), layer=1, at="mlp")
    both = edits.cut_skip(layer=1)
    with sg.steer(llama, [skip, plus]) as one, sg.steer(llama, [plus, skip]) as other, sg.steer(llama, [skip, both]) as twice:
        torch.testing.assert_close(one.logits(IDS), other.logits(IDS), atol=1e-5, rtol=0)
        torch.testing.assert_close(twice.logits(IDS), by_hand(llama.hf, {"attention", "mlp"}), atol=1e-5, rtol=0)
        rows = twice.receipt.edits
    assert rows["changed"].tolist() == [8, 8]
    model, inputs = inputs_of("gpt_neox")  # attention and MLP join one sum
    found = []
    for some in ([edits.cut_skip(layer=1)], [edits.cut_skip(layer=1, at="mlp")], [edits.cut_skip(layer=1, at=a) for a in AT[2:]]):
        with sg.steer(model, some) as steered:
            found.append(steered.logits(inputs))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", ["llama", "gemma2", "olmo2", "granite", "bert", "minimax"])
def test_where_the_residual_is_cut_the_stream_is_the_branch_alone(name: str) -> None:
    """In a post-norm layer, the norm of the branch alone; minimax adds to what its norms give out."""
    model, inputs = inputs_of(name)
    with sg.steer(model, edits.cut_skip(layer=0, at="mlp" if name == "minimax" else "attention")) as steered:
        data = steered.record(inputs).dataset
    alone = torch.tensor(data["mlp_out" if name == "minimax" else "attention_out"].values[0])
    if name == "bert":
        alone = model.hf.bert.encoder.layer[0].attention.output.LayerNorm(alone).detach()
    np.testing.assert_allclose(data["residual"][1], alone, atol=1e-5)


@pytest.mark.parametrize("at", AT)
def test_clean_into_clean_changes_nothing_at_all(llama: sg.Model, at: str) -> None:
    clean = sg.record(llama, IDS)
    with sg.steer(llama, edits.patch(clean, at=at)) as steered:
        again = steered.record(IDS)
        assert int(steered.receipt.edits["addressed"].sum()) == 2 * 8
        assert int(steered.receipt.edits["changed"].sum()) == 0
        assert float(steered.receipt.edits["moved"].sum()) == 0.0
        assert steered.receipt.null_drift == 0.0
    assert np.array_equal(again.outputs["final_logits"], clean.outputs["final_logits"])
    assert "edited" not in again.dataset


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_neox", "bert"])
@pytest.mark.parametrize("at", ["output", "input"])
def test_the_whole_stream_of_one_layer_recovers_the_clean_run(name: str, at: str) -> None:
    model, inputs = inputs_of(name)
    other = {n: v.flip(-1) if n == "input_ids" else v for n, v in inputs.items()}
    clean = sg.record(model, inputs)
    with sg.steer(model, edits.patch(clean, layer=1, at=at)) as steered:
        recovered = steered.logits(other)
    torch.testing.assert_close(recovered, model.logits(inputs), atol=1e-5, rtol=0)
    assert float((model.logits(other) - model.logits(inputs)).abs().max()) > 1e-2


@pytest.mark.parametrize("at", AT)
def test_a_patch_is_a_plain_hook_that_puts_other_positions_in_place(llama: sg.Model, at: str) -> None:
    kept: list[Tensor] = []
    module = module_at(llama.hf, 0, at)
    with hooked(module, lambda x: kept.append(x) or x, before=at == "input"):  # type: ignore[func-returns-value]
        llama.logits(OTHER)

    def put(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, [5, 2]] = kept[0][:, [1, 7]]
        return x

    source = sg.record(llama, OTHER)
    with sg.steer(llama, edits.patch(source, layer=1, source_layer=0, query=[5, 2], source_query=[1, 7], at=at)) as steered:
        ours = steered.logits(IDS)
    with hooked(module_at(llama.hf, 1, at), put, before=at == "input"):
        theirs = llama.logits(IDS)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert float((ours - llama.logits(IDS)).abs().max()) > 1e-3


def test_a_patch_takes_from_a_saved_run_of_another_model(llama: sg.Model, tmp_path: Path) -> None:
    torch.manual_seed(7)
    wide = sg.load(tiny_llama(num_hidden_layers=4, vocab_size=50))
    rec = sg.record(wide, [4, 2, 7])
    rec.save(tmp_path / "letter one.zarr")
    edit = edits.patch(tmp_path / "letter one.zarr", layer=0, query=[3, 4], source_query=[0, 2], source_layer=3)
    assert edits.parse(str(edit)) == edit
    assert edits.from_json(edits.to_json([edit])) == [edit]
    with sg.steer(llama, edit) as steered:
        found = steered.record(IDS).dataset["residual"].values[2]
    np.testing.assert_allclose(found[[3, 4]], rec.dataset["residual"].values[-1][[0, 2]], atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_on_every_class_the_account_of_an_edited_run_closes(name: str) -> None:
    model, inputs = inputs_of(name)
    plain = sg.record(model, inputs)
    width, closed = plain.dataset.sizes["d_model"], int(np.flatnonzero(plain.dataset["status"].values == "closed")[0])
    v = direction(width)
    for at in AT:
        with sg.steer(model, edits.add(torch.zeros(width), layer=closed, at=at)) as steered:
            same = steered.record(inputs)
            assert int(steered.receipt.edits["addressed"].sum()) == plain.dataset.sizes["query"]
            assert steered.receipt.null_drift == 0.0
        np.testing.assert_array_equal(same.dataset["residual"], plain.dataset["residual"])
    some = [edits.add(v, layer=closed, at=at, query=slice(0, 2)) for at in AT]
    some += [edits.project_out(v, layer=closed, at=at) for at in AT]
    some += [edits.patch(plain, layer=closed, at=at, query=[0, 1], source_query=[1, 0]) for at in AT]
    some += [edits.cut_skip(layer=closed, at=at) for at in ("both", "attention", "mlp")] + [edits.skip_layer(layer=closed)]
    for edit in [*some, (*some[:8], edits.cut_skip())]:
        with sg.steer(model, edit) as steered:
            changed = steered.record(inputs)
            assert (steered.receipt.edits["changed"] > 0).all()
        assert changed.audit().max_relative_error <= 1e-4
        assert changed.null_drift() <= 2e-5
        assert np.nanmax(np.abs(changed.dataset["residual"].values[-1] - plain.dataset["residual"].values[-1])) > 1e-4
        assert ("edited" in changed.dataset) == (getattr(edit, "at", "output") != "input")


def test_each_entry_stays_what_its_module_computed(llama: sg.Model) -> None:
    v = direction()
    plain = sg.record(llama, IDS)
    some = [edits.add(v, layer=1, at=at) for at in ("attention", "mlp", "output")]
    with sg.steer(llama, some) as steered:
        rec = steered.record(IDS)
    np.testing.assert_array_equal(rec.dataset["attention_out"], plain.dataset["attention_out"])
    np.testing.assert_allclose(rec.dataset["edited"][1], np.tile(3 * v.numpy(), (8, 1)), atol=1e-5)
    assert bool(rec.dataset["edited"][0].isnull().all())
    mlp = llama.hf.model.layers[1].mlp(
        llama.hf.model.layers[1].post_attention_layernorm(torch.tensor(rec.dataset["residual"].values[3]))
    )
    np.testing.assert_allclose(rec.dataset["mlp_out"][1], mlp.detach(), atol=1e-5)
    moves = rec.moves()
    assert moves[moves["layer"] == 1]["edited"].to_numpy() == pytest.approx(float(3 * v.norm()), rel=1e-5)
    assert "edited" not in plain.moves()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_attribution_still_sums_to_the_logit(name: str) -> None:
    model, inputs = inputs_of(name)
    v = direction(64)
    some = [*(edits.add(v, layer=1, at=at, query=slice(4, None)) for at in AT), edits.cut_skip(layer=0, at="mlp")]
    with sg.steer(model, some) as steered:
        rec, logits = steered.record(inputs), steered.logits(inputs)
    table = rec.attribution(11)
    assert table.attrs["logit"] == pytest.approx(float(logits[-1, 11]), abs=2e-4)
    assert {"edited", "between layers"} <= set(table["entry"])
    dropped = table[table["entry"] != "edited"]["toward"].sum()
    assert abs(dropped - float(logits[-1, 11])) > 1e-2


EDITS = [
    *(edits.add(direction(), layer=1, at=at, scale=2.0) for at in AT),
    edits.add(direction(), layer=0, query=[3, 10, 12]),
    *(edits.project_out(direction(), at=at) for at in AT),
    edits.cut_skip(layer=1),
    edits.cut_skip(layer=0, at="attention", query=slice(4, None)),
    edits.skip_layer(layer=0, query=slice(9, None)),
]


@pytest.mark.parametrize("edit", [*EDITS, "patch"], ids=str)
def test_cached_decoding_equals_prefill(llama: sg.Model, edit: Any) -> None:
    if edit == "patch":
        edit = edits.patch(sg.record(llama, OTHER), layer=0, query=[2, 9, 11], source_query=[0, 1, 2])
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    inputs = llama.encode(IDS)
    with sg.steer(llama, edit) as steered:
        tally = Tally()
        editors, _ = steered._editors(inputs, 8, tally)
        with watching(llama.hf, [], editors):
            out = llama.hf.generate(**inputs, **options, return_dict_in_generate=True, output_logits=True)
        text = out.sequences[0].tolist()
        written = {key: int(count.addressed) for key, count in tally.counts.items()}
        whole = steered.logits(text[:-1])
        assert written == {key: int(count.addressed) for key, count in steered.receipt.tally.counts.items()}
    torch.testing.assert_close(torch.stack(out.logits)[:, 0], whole[len(IDS) - 1 :], atol=1e-4, rtol=0)
    assert float((whole - llama.logits(text[:-1])).abs().max()) > 1e-4


def test_edits_act_in_order_nest_and_go_away(llama: sg.Model) -> None:
    v, plain = direction(), llama.logits(IDS)
    plus, flat = edits.add(v, layer=0), edits.project_out(v, layer=0)
    with sg.steer(llama, [plus, flat]) as first, sg.steer(llama, [flat, plus]) as last, sg.steer(llama, flat) as only:
        torch.testing.assert_close(first.logits(IDS), only.logits(IDS), atol=1e-5, rtol=0)
        assert float((last.logits(IDS) - only.logits(IDS)).abs().max()) > 1e-3
        with sg.steer(only, plus) as nested:
            assert torch.equal(nested.logits(IDS), last.logits(IDS))
        with sg.steer(only, edits.mute(layer=1, head=0)) as mixed:
            both = mixed.logits(IDS)
            assert mixed.receipt.path == "explicit and hooks"
            assert mixed.receipt.edits["head"].isna().tolist() == [True, False]
    with sg.steer(llama, [edits.mute(layer=1, head=0), flat]) as turned:
        assert torch.equal(turned.logits(IDS), both)
    assert torch.equal(llama.logits(IDS), plain)


def test_hooks_go_away_after_a_failure(llama: sg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = llama.logits(IDS)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with sg.steer(llama, edits.skip_layer(layer=1)) as steered:
        with monkeypatch.context() as patch:
            patch.setattr(edits.skip_layer, "changed", fail)
            with pytest.raises(KeyboardInterrupt):
                steered.logits(IDS)
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in llama.hf.modules())
    assert torch.equal(llama.logits(IDS), plain)


def test_one_module_for_all_layers_is_edited_in_the_layer_that_is_meant() -> None:
    torch.manual_seed(0)
    config = AlbertConfig(
        vocab_size=50, embedding_size=8, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24
    )
    model = sg.load(AlbertForMaskedLM(config).eval())
    shared = model.hf.albert.encoder.albert_layer_groups[0].albert_layers[0]
    v, calls = direction(), []

    def second(x: Tensor) -> Tensor:
        calls.append(1)
        return x + v if len(calls) == 3 else x

    with hooked(shared, second):
        theirs = model.logits(IDS)
    with sg.steer(model, edits.add(v, layer=2)) as steered:
        for _ in range(2):  # the count begins anew in each pass
            torch.testing.assert_close(steered.logits(IDS), theirs, atol=1e-5, rtol=0)
        assert steered.record(IDS).audit().max_relative_error <= 1e-4
    with sg.steer(model, [edits.add(v, layer=0), edits.skip_layer(layer=1), edits.cut_skip(layer=3)]) as steered:
        assert steered.record(IDS).audit().max_relative_error <= 1e-4
        assert steered.receipt.edits["layer"].tolist() == [0, 1, 3]


def test_each_stack_is_edited_by_its_own_tokens() -> None:
    model, inputs = inputs_of("t5")
    plain = sg.record(model, inputs)
    v = direction(64)
    with sg.steer(model, edits.add(v, layer=0, query=2, stack="encoder")) as steered:
        rec = steered.record(inputs)
        assert int(steered.receipt.edits["addressed"].sum()) == 1
    moved = np.abs(rec.stack("encoder")["residual"].values - plain.stack("encoder")["residual"].values).max(-1)
    assert (moved[2] > 0).tolist() == [i == 2 for i in range(moved.shape[1])]
    assert rec.audit().max_relative_error <= 1e-4
    with hooked(model.hf.encoder.block[0], lambda x: x + v * torch.eye(x.shape[1])[2][:, None]), torch.no_grad():
        theirs = model.hf(**inputs).logits[0]
    with sg.steer(model, edits.add(v, layer=0, query=2, stack="encoder")) as steered:
        torch.testing.assert_close(steered.logits(inputs), theirs, atol=1e-5, rtol=0)
    with sg.steer(model, edits.cut_skip(layer=1)) as steered:  # self-attention, cross-attention, MLP
        assert steered.record(inputs).audit().max_relative_error <= 1e-4


def test_factors_behind_a_branch_are_undone(llama: sg.Model) -> None:
    model, inputs = inputs_of("granite")  # branches are multiplied by 0.8 on their way
    v = direction(64)
    with sg.steer(model, edits.add(v, layer=0, at="attention")) as steered:
        rec = steered.record(inputs)
    np.testing.assert_allclose(rec.dataset["edited"][0], np.tile(v.numpy(), (rec.dataset.sizes["query"], 1)), atol=1e-5)
    plain = sg.record(model, inputs)
    np.testing.assert_allclose(rec.dataset["residual"][1], plain.dataset["residual"][1] + v.numpy(), atol=1e-5)
