"""Edits of whole heads and clusters, each against the same thing made another way."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from sociogram.core.medoids import medoids
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

IDS = [5, 9, 17, 3, 44, 21, 8, 30]
REFERENCE = ("The cat sat on the mat.", "Rain fell all night over the city")


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


def outputs(model: sg.Model, layer: int, change: object, what: object) -> torch.Tensor:
    """The oracle: logits with the input of one layer's output projection changed by a plain hook."""

    def hook(_: object, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (change(args[0].clone()),)  # type: ignore[operator]

    handle = model.hf.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(hook)
    try:
        return model.logits(what)  # type: ignore[arg-type]
    finally:
        handle.remove()


def test_a_mean_is_what_a_hook_would_put_there(smollm: sg.Model) -> None:
    seen: list[torch.Tensor] = []
    projection = smollm.hf.model.layers[4].self_attn.o_proj
    handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0][0, :, 2 * 64 : 3 * 64].double()))
    for text in REFERENCE:
        smollm.logits(text)
    handle.remove()
    mean = torch.cat(seen).mean(0).float()

    def change(x: torch.Tensor) -> torch.Tensor:
        x[0, 3:, 2 * 64 : 3 * 64] = mean
        return x

    text = "The Eiffel Tower is located in the city of"
    edit = edits.mean_ablate(layer=4, head=2, query=slice(3, None), reference=REFERENCE)
    with sg.steer(smollm, edit) as steered:
        ours = steered.logits(text)
        rec = steered.record(text)
    torch.testing.assert_close(ours, outputs(smollm, 4, change, text), atol=2e-3, rtol=1e-4)
    assert float((ours - smollm.logits(text)).abs().max()) > 1e-2
    outside = rec.stack(f"{rec.main}_outside")
    assert outside["key_token"].values.tolist() == ["<mean>"]
    np.testing.assert_allclose(outside["weights"].sel(layer=4, head=2).values[:, 0], [0, 0, 0, *[1] * (len(rec.tokens) - 3)])
    assert float(rec.dataset["weights"].sel(layer=4, head=2).values[3:].max()) == 0
    assert rec.audit().max_relative_error < 2e-4
    assert rec.null_drift() < 1e-3
    moves = rec.moves()
    heard = moves[moves["from_outside"] > 0]
    assert set(heard["layer"]) == {4}
    assert set(heard["query"]) == set(range(3, len(rec.tokens)))
    assert rec.attribution(" Paris").attrs["logit"] == pytest.approx(
        float(ours[-1, smollm.encode(" Paris")["input_ids"][0, 0]]), abs=2e-3
    )


def test_a_recording_with_senders_from_outside_comes_back_from_disk(smollm: sg.Model, tmp_path: Path) -> None:
    with sg.steer(smollm, edits.mean_ablate(layer=(4, 9), head=2, reference=REFERENCE[0])) as steered:
        rec = steered.record("The Eiffel Tower is")
    rec.save(tmp_path / "r.zarr")
    again = sg.open_recording(tmp_path / "r.zarr", model=smollm)
    assert again.audit().max_relative_error == pytest.approx(rec.audit().max_relative_error, rel=0.1)
    edges = again.edges(stack=f"{rec.main}_outside", top=None)
    assert set(edges["layer"]) == {4, 9}
    assert edges["pull"].isna().all()


def test_means_need_texts() -> None:
    assert edits.mean_ablate(reference=[[3, 4], "a"]).reference == ((3, 4), "a")
    for odd in ((), [""], [3], 5, [[]], [[1.5]]):
        with pytest.raises(sg.InputError, match="give the texts to take the mean over"):
            edits.mean_ablate(reference=odd)


def test_frozen_patterns_are_those_of_the_other_run(llama: sg.Model, tmp_path: Path) -> None:
    other = [7, 2, 40, 11, 5, 33, 9, 12]
    source = sg.record(llama, other)
    with sg.steer(llama, edits.freeze(layer=1, head=(0, 3), query=slice(2, None), source=source)) as steered:
        rec = steered.record(IDS)
    plain = sg.record(llama, IDS)
    weights, before, theirs = (r.dataset["weights"].values[1] for r in (rec, plain, source))
    np.testing.assert_array_equal(weights[[0, 3], 2:], theirs[[0, 3], 2:])
    np.testing.assert_allclose(weights[[1, 2]], before[[1, 2]], atol=1e-6)
    np.testing.assert_allclose(weights[[0, 3], :2], before[[0, 3], :2], atol=1e-6)
    assert rec.audit().max_relative_error < 1e-4
    source.save(tmp_path / "source.zarr")
    path = str(tmp_path / "source.zarr")
    edit = edits.parse(f"freeze layer=1 head=0,3 query=2: source={path}")
    assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]
    with sg.steer(llama, edit) as steered:
        np.testing.assert_array_equal(steered.record(IDS).dataset["weights"].values, rec.dataset["weights"].values)
    with sg.steer(llama, edits.freeze(source=plain)) as steered:  # its own patterns: nothing changes
        torch.testing.assert_close(steered.logits(IDS), llama.logits(IDS), atol=1e-5, rtol=0)


def test_freeze_refuses_what_does_not_fit(llama: sg.Model) -> None:
    short = sg.record(llama, IDS[:5])
    with sg.steer(llama, edits.freeze(source=short)) as steered:
        with pytest.raises(sg.InputError, match="the recording has 5 readers and 5 senders, this run 8 and 8"):
            steered.logits(IDS)
        with pytest.raises(sg.InputError, match="cannot act while the model writes"):
            steered.generate(IDS, max_new_tokens=2)
    with sg.steer(llama, edits.freeze(source=short, source_layer=9)) as steered, pytest.raises(sg.InputError, match="no layer 9"):
        steered.logits(IDS)
    with pytest.raises(sg.InputError, match="give a recording, or the path"):
        edits.freeze(source=3)
    with pytest.raises(sg.InputError, match="cannot be stored as text: save it"):
        edits.to_json([edits.freeze(source=short)])
    bert = sg.load(specimen("bert").model)
    both = sg.record(bert, {"input_ids": torch.tensor([IDS])})
    edit = edits.freeze(layer=0, source=both, source_head=0)
    with sg.steer(llama, edit) as steered, pytest.raises(sg.InputError, match="tokens hear what the mask hides from them"):
        steered.logits(IDS)


@pytest.mark.parametrize("what", ["pattern", "values", "both"])
def test_swapped_heads(llama: sg.Model, what: str) -> None:
    """Against q, k and v of the projections exchanged by hand, in a model without grouped queries."""
    model = sg.load(tiny_llama(num_key_value_heads=4))
    ours = {}
    with sg.steer(model, edits.swap(layer=1, head=0, other=2, what=what)) as steered:
        ours = steered.logits(IDS)
        assert set(steered.receipt.edits["head"]) == {0, 2}
    attention = model.hf.model.layers[1].self_attn
    width = attention.head_dim
    order = [2, 1, 0, 3]
    rows = torch.cat([torch.arange(width) + width * head for head in order])
    changed = {"pattern": ("q_proj", "k_proj"), "values": ("v_proj",), "both": ("q_proj", "k_proj", "v_proj")}[what]
    with torch.no_grad():
        for name in changed:
            projection = getattr(attention, name)
            projection.weight.copy_(projection.weight[rows].clone())
    torch.testing.assert_close(ours, model.logits(IDS), atol=1e-5, rtol=0)


def test_swap_takes_two_heads(llama: sg.Model) -> None:
    with sg.steer(llama, edits.swap(layer=0, head=1, other=1)) as steered, pytest.raises(sg.InputError, match="that is one head"):
        steered.logits(IDS)
    with sg.steer(llama, edits.swap(layer=0, head=1, other=7)) as steered, pytest.raises(sg.InputError, match="no head 7"):
        steered.logits(IDS)
    same = edits.swap(layer=0, head=0, other=1, what="values")
    with sg.steer(llama, same) as steered, pytest.raises(sg.InputError, match="are of one group and tell the same values"):
        steered.logits(IDS)
    with pytest.raises(sg.InputError, match="takes one head by number"):
        edits.swap(head=(0, 1), other=2)
    with pytest.raises(sg.InputError, match="choose pattern, values or both"):
        edits.swap(head=0, other=1, what="keys")
    with pytest.raises(sg.InputError, match="values are told to everybody"):
        edits.swap(head=0, other=1, what="values", query=3)


def test_medoids_are_the_middles_of_what_lies_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    points = torch.cat([middles[:, None] + torch.randn(3, 9, 2, generator=generator), middles[:, None]], 1).flatten(0, 1)
    chosen, labels = medoids(points, 3)
    assert [len(set(labels[10 * i : 10 * i + 10].tolist())) for i in range(3)] == [1, 1, 1]
    for number, place in enumerate(chosen.tolist()):
        own = points[labels == labels[place]]
        costs = torch.cdist(own, own).sum(1)
        assert float(torch.cdist(points[place][None], own).sum()) == pytest.approx(float(costs.min()))
        assert labels[place] == number
    assert medoids(points, 100)[0].tolist() == list(range(30))
    same = medoids(torch.ones(4, 2), 2)
    assert same[0].tolist() == [0, 1]
    assert sorted(set(same[1].tolist())) == [0, 1]


def test_clusters_hear_their_own_and_the_representatives(llama: sg.Model) -> None:
    plain = sg.record(llama, IDS, keep="qkv")
    with sg.steer(llama, edits.clusters(layer=0, count=3)) as steered:
        rec = steered.record(IDS)
        assert int(steered.receipt.edits["addressed"].sum()) == 4 * 36
    for head in range(4):
        keys = torch.from_numpy(plain.dataset["key_vector"].sel(layer=0, head=head).values)
        chosen, labels = medoids(keys, 3)
        kept = (labels[:, None] == labels[None]) | torch.isin(torch.arange(8), chosen)[None]
        heard = rec.dataset["weights"].sel(layer=0, head=head).values > 0
        np.testing.assert_array_equal(heard, (kept & torch.ones(8, 8).tril().bool()).numpy())
    with sg.steer(llama, edits.clusters(count=8)) as steered:  # everybody represents himself
        torch.testing.assert_close(steered.logits(IDS), llama.logits(IDS), atol=1e-5, rtol=0)
    with sg.steer(llama, edits.clusters(count=9)) as steered, pytest.raises(sg.InputError, match="too few for 9 clusters"):
        steered.logits(IDS)
    with sg.steer(llama, edits.clusters(count=2)) as steered, pytest.raises(sg.InputError, match="while the model writes"):
        steered.generate(IDS, max_new_tokens=2)


def grafted_by_hand(model: sg.Model, host: tuple[int, int], donor: tuple[int, int], other: object | None = None) -> torch.Tensor:
    """The oracle: the weights of one head copied over another's, in a copy of the model without grouped queries."""
    twin = copy.deepcopy(model.hf)
    source = (other or twin).model.layers[donor[0]].self_attn  # type: ignore[attr-defined]
    target = twin.model.layers[host[0]].self_attn
    width = target.head_dim
    to, of = slice(host[1] * width, (host[1] + 1) * width), slice(donor[1] * width, (donor[1] + 1) * width)
    with torch.no_grad():
        for name in ("q_proj", "k_proj", "v_proj"):
            getattr(target, name).weight[to] = getattr(source, name).weight[of].clone()
        target.o_proj.weight[:, to] = source.o_proj.weight[:, of].clone()
    return sg.load(twin).logits(IDS)


@pytest.mark.parametrize(("host", "donor"), [((1, 2), (0, 3)), ((0, 1), (1, 0)), ((1, 0), (1, 3))])
def test_a_grafted_head_is_that_head_with_all_its_weights(host: tuple[int, int], donor: tuple[int, int]) -> None:
    model = sg.load(tiny_llama(num_key_value_heads=4))
    edit = edits.graft(layer=host[0], head=host[1], source_layer=donor[0], source_head=donor[1])
    with sg.steer(model, edit) as steered:
        ours = steered.logits(IDS)
        rec = steered.record(IDS)
        assert steered.receipt.edits[["layer", "head", "addressed"]].to_numpy().tolist() == [[*host, 36]]
    torch.testing.assert_close(ours, grafted_by_hand(model, host, donor), atol=1e-5, rtol=1e-5)
    assert float((ours - model.logits(IDS)).abs().max()) > 1e-4
    assert rec.audit().max_relative_error < 1e-4
    assert "edited" not in rec.dataset  # it is told, not added
    own = model.hf.model.layers[donor[0]].self_attn.o_proj.weight[:, donor[1] * 4 : donor[1] * 4 + 4].T
    np.testing.assert_allclose(rec.messages(host[0]).matrix[host[1]], own.detach(), atol=1e-6)
    assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]


def test_a_head_of_another_model_and_of_another_run() -> None:
    torch.manual_seed(5)
    model, other = sg.load(tiny_llama(num_key_value_heads=4)), tiny_llama(num_key_value_heads=4, num_hidden_layers=3)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    donor = sg.load(other)
    with sg.steer(model, edits.graft(layer=1, head=0, source=donor, source_layer=2, source_head=1)) as steered:
        torch.testing.assert_close(steered.logits(IDS), grafted_by_hand(model, (1, 0), (2, 1), other), atol=1e-5, rtol=1e-5)
    run = sg.record(model, [7, 2, 40, 11, 5, 33, 9, 12])
    with sg.steer(model, edits.graft(layer=1, head=(0, 2), source=run)) as steered:
        rec = steered.record(IDS)
        assert rec.audit().max_relative_error < 1e-4
        for head in (0, 2):
            theirs = run.messages(1).vectors(*(torch.tensor([i]) for i in (head, 5, 3)))
            np.testing.assert_allclose(rec.message(1, head, 5, 3), theirs[0], atol=1e-6)
        with pytest.raises(sg.InputError, match="cannot act while the model writes"):
            steered.generate(IDS, max_new_tokens=2)
    with sg.steer(model, edits.graft(source=sg.record(model, IDS))) as steered:  # what it does anyway
        torch.testing.assert_close(steered.logits(IDS), model.logits(IDS), atol=1e-5, rtol=1e-5)


def test_a_grafted_head_keeps_its_own_past_while_the_model_writes(llama: sg.Model) -> None:
    edit = edits.graft(layer=1, head=(0, 3), source_layer=0, source_head=2)
    given = {**llama.encode(IDS), "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with sg.steer(llama, [edit, edits.scale_head(layer=1, head=0, factor=2.0)]) as steered:
        written = steered._run(
            IDS, 6, lambda inputs, _: llama.hf.generate(**given, output_logits=True, return_dict_in_generate=True)
        )
        whole = steered.logits(written.sequences[0, :-1].tolist())
    torch.testing.assert_close(torch.cat(written.logits), whole[len(IDS) - 1 :], atol=1e-4, rtol=1e-4)
    with sg.steer(llama, edit) as steered, pytest.raises(sg.InputError, match="heads grafted from a model act on one plainly"):
        steered.generate(IDS, max_new_tokens=2, num_beams=2)


def test_grafts_that_do_not_fit_are_refused(llama: sg.Model) -> None:
    wide = sg.load(tiny_llama(hidden_size=32))
    with sg.steer(llama, edits.graft(source=wide)) as steered, pytest.raises(sg.InputError, match="is 32 wide and this one 16"):
        steered.logits(IDS)
    broad = sg.load(tiny_llama(head_dim=8))
    with (
        sg.steer(llama, edits.graft(layer=0, head=0, source=broad)) as steered,
        pytest.raises(sg.InputError, match="cannot be given"),
    ):
        steered.logits(IDS)
    short = edits.graft(source=sg.record(llama, IDS[:4]))
    with sg.steer(llama, short) as steered, pytest.raises(sg.InputError, match="the recording has 4 readers"):
        steered.logits(IDS)
    with pytest.raises(sg.InputError, match="needs to know what to graft"):
        edits.graft(layer=1, head=1)
    with pytest.raises(sg.InputError, match="give a model, a recording"):
        edits.graft(source=3)
    gated = sg.load(specimen("qwen3_next").model)
    layer = next(layer.index for layer in gated.anatomy.stack(gated.anatomy.main) if layer.heard)
    same = edits.graft(layer=layer, head=0, source_layer=layer, source_head=1)
    with sg.steer(gated, same) as steered, pytest.raises(sg.InputError, match="a gate or a norm stands between"):
        steered.logits(IDS)


@pytest.mark.parametrize("name", ["gpt2", "bert", "gemma2", "olmo2", "gpt_neox", "gpt_oss", "t5", "vit"])
def test_grafts_in_every_class_close_their_account(name: str) -> None:
    made = specimen(name)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    model.find_anatomy(inputs)
    plain = sg.record(model, inputs)
    with sg.steer(model, edits.graft(layer=1, head=0, source_layer=1, source_head=0)) as steered:
        same = steered.record(inputs)
    np.testing.assert_allclose(same.dataset["residual"], plain.dataset["residual"], atol=2e-5)
    with sg.steer(model, edits.graft(layer=1, head=0, source_layer=0, source_head=1)) as steered:
        rec = steered.record(inputs)
    assert np.abs(rec.dataset["residual"].values[-1] - plain.dataset["residual"].values[-1]).max() > 1e-5
    assert rec.audit().max_relative_error <= 1e-4
    assert rec.null_drift() <= 1e-5


def test_layers_of_other_readers_than_senders_take_no_positions() -> None:
    """In BLT the bytes' layers hear patches: two keys for each."""
    model = sg.load(specimen("blt").model)
    model.find_anatomy(model.encode(IDS))
    for edit in (edits.window(width=4), edits.cut(key=1)):
        with sg.steer(model, edit) as steered, pytest.raises(sg.EditDidNotLand, match="has a token-token matrix to edit"):
            steered.logits(IDS)
    with sg.steer(model, edits.mute(head=0)) as steered:
        assert float((steered.logits(IDS) - model.logits(IDS)).abs().max()) > 1e-5


def test_grafts_between_layers_of_other_widths_are_stored_and_close() -> None:
    made = specimen("gemma4_text")
    model, inputs = sg.load(made.model), {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    widths = {layer.index: model.anatomy.heads[layer.calls[0]][3] for layer in model.anatomy.stack(model.anatomy.main)}
    assert len(set(widths.values())) == 2
    narrow = min(widths, key=lambda index: widths[index])
    with sg.steer(model, edits.graft(layer=narrow, head=0, source_head=1)) as steered:
        rec = steered.record(inputs)
    assert rec.audit().max_relative_error < 1e-4
    assert rec.messages(narrow).matrix.shape[1] == widths[narrow]
