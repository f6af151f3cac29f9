"""Edits beside each other and beside a past: each pair against what it should come to, made another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

A, B = [5, 9, 17, 3], [21, 8, 30, 12, 7, 2]


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@pytest.fixture
def past(llama: sg.Model) -> sg.Past:
    return sg.Past.of(llama, A)


def under(model: sg.Model, *some: edits.Edit, ids: Any = None) -> torch.Tensor:
    with sg.steer(model, some) as steered:
        return steered.logits(B if ids is None else ids)


def without_head(model: sg.Model, head: int, *some: edits.Edit) -> torch.Tensor:
    """The oracle: the head's slice of the first output projection is zero."""
    weight = model.hf.model.layers[0].self_attn.o_proj.weight
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[:, 4 * head : 4 * head + 4] = 0
        return under(model, *some)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@pytest.mark.parametrize("name", ["t5", "mt5"])
def test_a_reader_that_loses_all_its_edges_does_not_hear_the_future(name: str) -> None:
    model = sg.load(specimen(name).model)
    ids = torch.tensor([[4, 9, 11, 3, 8, 6, 2, 7]])
    other = ids.clone()
    other[0, 5] = 20
    given = [{"input_ids": ids[:, :4], "decoder_input_ids": one} for one in (ids, other)]
    edit = edits.cut(query=3, key=slice(0, 4), layer=0)
    before, after = (under(model, edit, ids=inputs) for inputs in given)
    assert torch.equal(before[:5], after[:5])
    assert float((before[5:] - after[5:]).abs().max()) > 1e-3
    explicit = under(model, edit, edits.scale_edges(factor=1.0), ids=given[0])
    torch.testing.assert_close(before, explicit, atol=1e-5, rtol=1e-5)


def test_an_additive_mask_hides_the_future_from_cut_rows_too(llama: sg.Model) -> None:
    """Whoever passes a mask of their own has numbers where others have a rule."""
    mask = torch.full((6, 6), torch.finfo(torch.float32).min).triu(1)[None, None]
    edit = edits.cut(layer=0, query=2, key=slice(0, 3))
    inputs = [{"input_ids": torch.tensor([ids]), "attention_mask": mask} for ids in (B, [*B[:4], 50, B[5]])]
    one, two = (under(llama, edit, ids=given) for given in inputs)
    assert torch.equal(one[:4], two[:4])
    torch.testing.assert_close(one, under(llama, edit), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(under(llama, edit, edits.scale_edges(factor=1.0), ids=inputs[0]), one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_a_muted_head_tells_nothing_of_a_source_either(llama: sg.Model, past: sg.Past, flip: bool) -> None:
    for heard in (edits.attend(source=past, layer=0), edits.mean_ablate(layer=0, head=1, reference=[[3, 4]])):
        some = [heard, edits.mute(layer=0, head=1)]
        kept = [heard] if heard.name == "attend" else []
        ours = under(llama, *(some[::-1] if flip and kept else some))
        torch.testing.assert_close(ours, without_head(llama, 1, *kept), atol=1e-5, rtol=1e-5)


def test_a_frozen_head_hears_the_source_as_before(llama: sg.Model, past: sg.Past) -> None:
    rec = sg.record(llama, [40, 8, 30, 12, 7, 2])
    source = edits.attend(source=past, layer=0)
    with sg.steer(llama, [source, edits.freeze(layer=0, source=rec)]) as steered:
        both = steered.record(B)
    with sg.steer(llama, source) as steered:
        alone = steered.record(B)
    there, was = (r.stack("decoder_outside")["weights"].values[0] for r in (both, alone))
    np.testing.assert_allclose(there, was, atol=1e-6)
    expected = rec.dataset["weights"].values[0] * (1 - was.sum(-1, keepdims=True))
    np.testing.assert_allclose(both.dataset["weights"].values[0], expected, atol=1e-6)
    assert both.audit().max_relative_error < 1e-4


def test_what_is_cut_stays_cut_for_a_grafted_head(llama: sg.Model) -> None:
    graft = edits.graft(layer=0, head=1, source_layer=1)
    for cut in (edits.window(width=2), edits.cut(layer=0, head=1, key=0, query=slice(1, None))):
        with sg.steer(llama, [graft, cut]) as steered:
            weights = steered.record(B).dataset["weights"].values[0, 1]
        gone = [(5, 0), (5, 1)] if cut.name == "window" else [(1, 0), (5, 0)]
        assert [weights[place] for place in gone] == [0, 0]
        np.testing.assert_allclose(weights.sum(-1)[1:], 1, atol=1e-6)
    run = edits.graft(layer=0, head=1, source=sg.record(llama, B))
    with pytest.raises(sg.InputError, match="the head hears tokens that another edit cuts here"):
        under(llama, run, edits.window(width=2))


def test_a_grafted_head_is_not_told_in_coordinates_that_it_does_not_read(llama: sg.Model, past: sg.Past) -> None:
    graft = edits.graft(layer=0, head=1, source_layer=1)
    for other in (
        edits.mean_ablate(layer=0, head=1, reference=[[3, 4]]),
        edits.attend(source=past, layer=0),
        edits.swap(layer=0, head=1, other=3, what="both"),
    ):
        for some in ([graft, other], [other, graft]) if other.name != "swap" else ([graft, other],):
            with pytest.raises(sg.InputError, match="cannot both be grafted and be told something"):
                under(llama, *some)
    apart = [graft, edits.attend(source=past, layer=0, head=(0, 2, 3))]
    torch.testing.assert_close(under(llama, *apart), under(llama, *apart[::-1]), atol=1e-6, rtol=1e-5)


def test_sources_and_heads_are_those_of_the_stack() -> None:
    model = sg.load(specimen("t5").model)
    inputs = {n: v[:1] for n, v in specimen("t5").inputs.items() if n != "use_cache"}
    rec = sg.record(model, inputs, keep="qkv")
    plain = under(model, ids=inputs)
    for edit in (
        edits.freeze(source=rec, stack="encoder", layer=0),
        edits.graft(source=rec, stack="encoder", layer=0),
        edits.graft(stack="encoder", layer=1, head=0, source_layer=1, source_head=0),
        edits.add_head(source=rec, stack="encoder", layer=0, positions="as_stored", gain=0.0),
    ):
        torch.testing.assert_close(under(model, edit, ids=inputs), plain, atol=1e-4, rtol=1e-4)
    with sg.steer(model, edits.graft(stack="encoder", layer=1, head=0, source_layer=0, source_head=2)) as steered:
        again = steered.record(inputs)
    matrix = rec.messages(0, stack="encoder").matrix[2]
    torch.testing.assert_close(again.messages(1, stack="encoder").matrix[0], matrix, atol=1e-6, rtol=1e-5)


def test_without_positions_a_hole_in_the_past_makes_no_difference(llama: sg.Model, past: sg.Past) -> None:
    edit = edits.attend(source=past, layer=0, positions="none", join="gate", gate=1.0)
    seen: list[torch.Tensor] = []
    handle = llama.hf.model.layers[0].self_attn.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    before = sg.Past.of(llama, [40, 41, 42, 43, 44])
    for one in (before, before.erase(slice(1, 4))):
        with sg.steer(llama, edit) as steered:
            steered.logits(B, past=one)
    handle.remove()
    torch.testing.assert_close(seen[-1], seen[-2], atol=1e-6, rtol=1e-5)


def test_sources_with_and_without_positions_stand_side_by_side(llama: sg.Model, past: sg.Past) -> None:
    some = [edits.attend(source=past, positions="none"), edits.attend(source=sg.Past.of(llama, [60, 61]), positions="before")]
    again = [edits.attend(source=sg.Past.of(llama, [70]), positions="none")]
    torch.testing.assert_close(under(llama, *some), under(llama, *some[::-1]), atol=1e-5, rtol=1e-5)
    assert bool(under(llama, *some, *again).isfinite().all())
    with sg.steer(llama, [*some, *again]) as steered:
        rec = steered.record(B, keep="qkv")
    plain = sg.record(llama, B, keep="qkv")
    for name in ("query_vector", "key_vector"):
        np.testing.assert_allclose(rec.dataset[name].values[0], plain.dataset[name].values[0], atol=1e-6)
    assert rec.audit().max_relative_error < 1e-4


def test_contributions_of_own_tokens_and_of_a_source_make_one_whole(llama: sg.Model, past: sg.Past) -> None:
    with sg.steer(llama, edits.attend(source=past)) as steered:
        rec = steered.record(B)
    both = [rec.edges("contribution", stack=stack, top=None) for stack in (rec.main, f"{rec.main}_outside")]
    shares = sum(table.groupby(["layer", "query"])["contribution"].sum() for table in both)
    np.testing.assert_allclose(shares, 1.0, atol=1e-5)
    assert both[1]["contribution"].abs().sum() > 0.1


def test_a_part_that_nearly_cancels_is_no_gap(llama: sg.Model, past: sg.Past) -> None:
    """What is heard of the own tokens may be tiny beside the source: rounding is measured against the whole branch."""
    loud = edits.add_head(source=past, gain=1e5, layer=0)
    with sg.steer(llama, loud) as steered:
        rec = steered.record(B)
    assert rec.audit().layers["branch_error"].max() < 1e-5
    weight = rec.stack("decoder_outside")["weights"].values[0]
    assert weight.sum(-1).min() == pytest.approx(1e5, rel=1e-4)


def test_the_worksheet_of_a_steered_run_is_of_that_run(smollm: sg.Model, tmp_path: Any) -> None:
    text = "The Eiffel Tower is located in the city of"
    some = [edits.set_weight(layer=5, head=1, query=-1, key=3, value=0.9), edits.mute(layer=4)]
    with sg.steer(smollm, some) as steered:
        for keep in ("default", "qkv"):
            rec = steered.record(text, keep=keep)
            sheet = rec.worksheet(5, 1, -1)
            assert sheet.cells["weight[3]"].value == pytest.approx(0.9, abs=1e-6)
            assert sheet.relative_difference < 1e-4
            silent = rec.worksheet(4, 1, -1)
            assert np.linalg.norm(silent.cells["head[1]"].value) == 0
            assert "(10 more have weight 0" in silent.to_text()
    rec = sg.steer(smollm, some)
    with rec as steered:
        steered.record(text).save(tmp_path / "r.zarr")
    with pytest.raises(sg.RecordingError, match="edits acted in this run"):
        sg.open_recording(tmp_path / "r.zarr", model=smollm).worksheet(5, 1, -1)
    with sg.steer(smollm, edits.attend(source=sg.Past.of(smollm, "Anna lives in Rome."))) as steered:
        sheet = steered.record(text).worksheet(5, 1, -1)
    assert "outside" in sheet.cells
    assert sheet.relative_difference < 1e-4


def test_receipts_tell_apart_what_hides_an_entry_and_count_identities_as_such(llama: sg.Model, past: sg.Past) -> None:
    with pytest.raises(sg.EditDidNotLand, match="another edit cut all 20 entries that it addresses"):
        under(llama, edits.window(layer=0, width=1), edits.cut(layer=0, key=0, query=slice(1, None)))
    with pytest.raises(sg.EditDidNotLand, match="mask hides all 4 entries"):
        under(llama, edits.cut(layer=0, key=3, query=0))
    for idle in (edits.attend(source=past, join="gate", gate=0.0), edits.add_head(source=past, gain=0.0)):
        with sg.steer(llama, idle) as steered:
            steered.logits(B)
            assert steered.receipt.edits[["changed", "moved"]].to_numpy().max() == 0
            assert steered.receipt.path == "explicit"
            assert steered.receipt.null_drift > 0  # of that path
            assert len(repr(steered.receipt)) < 300
    twice = [edits.add([1.0] * 16, layer=0), edits.add([1.0] * 16, layer=0)]
    with sg.steer(llama, twice) as steered:
        steered.logits(B)
        assert str(steered.receipt).count("add layer=0") == 2
    with sg.steer(llama, edits.cut(key=0, query=slice(5, None))) as steered:
        steered.logits(B, past=past)
        with pytest.raises(sg.InputError, match="runs that read on from a past are not recorded"):
            assert steered.receipt.first_departure


def test_texts_and_numbers_that_look_like_others_come_back() -> None:
    for edit in (
        edits.mean_ablate(reference=[[1, 2, 3], [4, 5]]),
        edits.mean_ablate(reference="1984"),
        edits.mean_ablate(reference=("None", "a, b")),
        edits.freeze(source="1984"),
        edits.graft(source="True"),
        edits.attend(source="3.5"),
    ):
        assert edits.parse(str(edit)) == edit == edits.from_json(edits.to_json([edit]))[0]
    assert edits.window(width=np.int64(3)) == edits.window(width=3)
    assert edits.swap(head=0, other=np.int64(2)) == edits.swap(head=0, other=2)
    assert edits.from_json(edits.to_json([edits.scale_head(factor=np.float32(0.5))])) == [edits.scale_head(factor=0.5)]
    for text in ("cut layer=1,,2", "cut layer=5,"):
        with pytest.raises(sg.InputError, match="nothing beside a comma"):
            edits.parse(text)


def test_a_past_can_be_read_under_edits(llama: sg.Model) -> None:
    cut = edits.cut(layer=0, query=slice(1, 4), key=0)
    with sg.steer(llama, cut) as steered:
        past = sg.Past.of(steered, A)
        assert int(steered.receipt.edits["changed"].sum()) == 12
    torch.testing.assert_close(past.logits(B), under(llama, cut, ids=A + B)[len(A) :], atol=1e-5, rtol=1e-5)
    with sg.steer(llama, cut) as steered, pytest.raises(sg.InputError, match="give the model itself"):
        sg.inertia(steered, A, B)


def test_what_cannot_be_meant_beside_a_past_or_padding_is_refused(llama: sg.Model, past: sg.Past) -> None:
    graft = edits.graft(layer=0, head=1, source_layer=1)
    with sg.steer(llama, graft) as steered, pytest.raises(sg.InputError, match="cannot read on from a past"):
        steered.logits(B, past=past)
    padded = {"input_ids": torch.tensor([[0, *B]]), "attention_mask": torch.tensor([[0, 1, 1, 1, 1, 1, 1]])}
    with pytest.raises(sg.InputError, match="leave the padding out"):
        under(llama, edits.mute(head=0), ids=padded)


def test_a_steered_model_is_compared_with_itself(smollm: sg.Model) -> None:
    text = "The Eiffel Tower is located in the city of"
    with sg.steer(smollm, edits.mute(layer=23, head=4)) as steered:
        said = torch.softmax(steered.logits(text)[-1].double(), -1)
        found = sg.compare(steered, text, edits.mute(layer=23, head=5))
    table = found.predictions
    np.testing.assert_allclose(table["plain"], said[table["token_id"].tolist()], atol=1e-4)
    recorded = found.steered.tree.attrs["edits_json"]
    assert edits.from_json(recorded) == [edits.mute(layer=23, head=4), edits.mute(layer=23, head=5)]
