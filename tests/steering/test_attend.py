"""Listening to another sequence: equal to what it claims to be, and closed where it is closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

A, B = [5, 9, 17, 3, 44], [21, 8, 30, 12, 7, 2]


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


def heard(model: sg.Model, ids: list[int], *changes: edits.Edit) -> torch.Tensor:
    """What goes into the first layer's output projection, `[query, head, d_head]`."""
    seen: list[torch.Tensor] = []
    projection = model.hf.model.layers[0].self_attn.o_proj
    handle = projection.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].unflatten(-1, (4, -1))))
    try:
        with sg.steer(model, changes) as steered:
            steered.logits(ids)
    finally:
        handle.remove()
    return seen[-1]


def test_a_source_before_the_prompt_is_the_prompt_with_that_prefix(smollm: sg.Model) -> None:
    first, second = "Anna lives in Rome. Bob lives in", " Paris. The city where Bob lives is called"
    ids = [smollm.encode(text)["input_ids"][0].tolist() for text in (first, second)]
    whole = smollm.logits(ids[0] + ids[1])[len(ids[0]) :]
    past = sg.Past.of(smollm, ids[0])
    for source in (past, sg.record(smollm, ids[0], keep="qkv")):
        with sg.steer(smollm, edits.attend(source=source)) as steered:
            torch.testing.assert_close(steered.logits(ids[1]), whole, atol=1e-4, rtol=1e-5)
            assert steered.receipt.path == "sdpa"
            assert steered.receipt.edits["addressed"].sum() == 30 * 9 * len(ids[0]) * len(ids[1])
    with sg.steer(smollm, edits.attend(source=past)) as steered:
        assert steered.generate(ids[1], max_new_tokens=8) == smollm.generate(ids[0] + ids[1], max_new_tokens=8)
        rec = steered.record(ids[1])
    plain = sg.record(smollm, ids[0] + ids[1])
    outside = rec.stack("decoder_outside")
    n = len(ids[0])
    np.testing.assert_allclose(outside["weights"], plain.dataset["weights"].values[:, :, n:, :n], atol=1e-4)
    np.testing.assert_allclose(rec.dataset["weights"], plain.dataset["weights"].values[:, :, n:, n:], atol=1e-4)
    assert outside["key_token"].values.tolist() == plain.tokens[:n]
    assert rec.audit().max_relative_error < 1e-4
    table = rec.edges(stack="decoder_outside", top=3)
    assert set(table["key_token"]) <= set(plain.tokens[:n])


def test_a_saved_letter_is_read_by_its_path(llama: sg.Model, tmp_path: Path) -> None:
    past = sg.Past.of(llama, A)
    past.save(tmp_path / "letter")
    (path,) = tmp_path.iterdir()
    sg.record(llama, A, keep="qkv").save(tmp_path / "rec.zarr")
    with sg.steer(llama, edits.attend(source=past)) as steered:
        expected = steered.logits(B)
    for source in (path, tmp_path / "rec.zarr"):
        edit = edits.attend(source=str(source), layer=slice(None))
        assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]
        with sg.steer(llama, edit) as steered:
            torch.testing.assert_close(steered.logits(B), expected, atol=1e-5, rtol=1e-5)


def by_hand(
    model: sg.Model, ids: list[int], source: sg.Recording
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first layer's answers and log-sum-exps over its own tokens, and over those of a source where it was stored."""
    own = sg.record(model, ids, keep="qkv").dataset.isel(layer=0)
    there = source.dataset.isel(layer=0)
    query = torch.from_numpy(own["query_vector"].values)
    found = []
    for part in (own, there):
        key, value = (torch.from_numpy(part[name].values) for name in ("key_vector", "value_vector"))
        scores = query @ key.transpose(1, 2) * float(own["score_scale"])
        if part is own:
            scores = scores.masked_fill(torch.ones(scores.shape[1:]).triu(1).bool(), -torch.inf)
        found += [(scores.softmax(-1) @ value).transpose(0, 1), scores.logsumexp(-1).T]
    return found[0], found[1], found[2], found[3]


def test_joint_gated_and_added_against_the_log_sum_exp_merge(llama: sg.Model) -> None:
    source = sg.record(llama, A, keep="qkv")
    own, own_total, there, there_total = by_hand(llama, B, source)
    stored = {"source": source, "positions": "as_stored", "layer": 0}
    share = torch.sigmoid(there_total - own_total)[..., None]
    torch.testing.assert_close(heard(llama, B, edits.attend(**stored)), (1 - share) * own + share * there, atol=1e-6, rtol=1e-5)
    gates = (0.0, 0.3, 1.0, 0.5)
    gate = torch.tensor(gates)[:, None]
    torch.testing.assert_close(
        heard(llama, B, edits.attend(**stored, join="gate", gate=gates)), (1 - gate) * own + gate * there, atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        heard(llama, B, edits.add_head(**stored, gain=-2.0, head=1))[:, 1], own[:, 1] - 2 * there[:, 1], atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(
        heard(llama, B, edits.add_head(**stored, gain=-2.0, head=1))[:, 0], own[:, 0], atol=1e-6, rtol=1e-5
    )


def test_two_sources_in_one_softmax_are_merged_by_their_log_sum_exps(llama: sg.Model) -> None:
    both = [sg.record(llama, ids, keep="qkv") for ids in (A, [40, 41, 42])]
    own, own_total, one, one_total = by_hand(llama, B, both[0])
    _, _, two, two_total = by_hand(llama, B, both[1])
    shares = torch.stack([own_total, one_total, two_total]).softmax(0)[..., None]
    expected = (shares * torch.stack([own, one, two])).sum(0)
    changes = [edits.attend(source=rec, positions="as_stored", layer=0) for rec in both]
    torch.testing.assert_close(heard(llama, B, *changes), expected, atol=1e-6, rtol=1e-5)
    mixed = heard(llama, B, changes[0], edits.add_head(source=both[1], positions="as_stored", layer=0, gain=0.5))
    share = torch.sigmoid(one_total - own_total)[..., None]
    torch.testing.assert_close(mixed, (1 - share) * own + share * one + 0.5 * two, atol=1e-6, rtol=1e-5)


def test_without_positions_nobody_is_turned(llama: sg.Model) -> None:
    """The oracle: scores of queries and keys as the projections gave them."""
    attention = llama.hf.model.layers[0].self_attn
    made: dict[str, torch.Tensor] = {}
    handles = [
        getattr(attention, f"{name}_proj").register_forward_hook(lambda _, __, out, name=name: made.__setitem__(name, out[0]))
        for name in "qkv"
    ]
    llama.logits(A)
    key, value = (made[name].unflatten(-1, (2, -1)).transpose(0, 1).repeat_interleave(2, 0) for name in "kv")
    llama.logits(B)
    query = made["q"].unflatten(-1, (4, -1)).transpose(0, 1)
    for handle in handles:
        handle.remove()
    scores = query @ key.transpose(1, 2) * attention.scaling
    expected = (scores.softmax(-1) @ value).transpose(0, 1)
    ours = heard(llama, B, edits.attend(source=sg.Past.of(llama, A), positions="none", layer=0, join="gate", gate=1.0))
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


def test_zero_values_are_still_heard_and_a_closed_gate_is_not(llama: sg.Model) -> None:
    past, plain = sg.Past.of(llama, A), llama.logits(B)
    with sg.steer(llama, edits.attend(source=past.scale(slice(None), value=0.0))) as steered:
        assert float((steered.logits(B) - plain).abs().max()) > 1e-3
    for closed in (
        edits.attend(source=past, join="gate", gate=0.0),
        edits.add_head(source=past, gain=0.0),
        edits.attend(source=past, schedule=sg.Schedule(start=1000), layer=0),
    ):
        with sg.steer(llama, [closed, edits.scale_edges(factor=1.0)]) as steered:
            if closed.schedule is None:
                torch.testing.assert_close(steered.logits(B), plain, atol=1e-5, rtol=0)
            else:
                with pytest.raises(sg.EditDidNotLand, match="did not land"):
                    steered.logits(B)


@pytest.mark.parametrize("positions", ["before", "as_stored", "none"])
def test_each_reader_and_head_hears_its_strongest(llama: sg.Model, positions: str) -> None:
    past = sg.Past.of(llama, A)
    with sg.steer(llama, edits.attend(source=past, positions=positions)) as steered:
        whole = steered.record(B).stack("decoder_outside")["weights"].values
    with sg.steer(llama, edits.attend(source=past, positions=positions, top_k=2)) as steered:
        rec = steered.record(B)
        assert rec.audit().max_relative_error < 1e-5
    told, own = rec.stack("decoder_outside")["weights"].values, rec.dataset["weights"].values
    assert ((told > 0).sum(-1) == 2).all()
    np.testing.assert_allclose(told.sum(-1) + own.sum(-1), 1, atol=1e-6)
    first, all_of_it = told[0], whole[0]  # the layers behind it read another stream
    strongest = np.sort(np.argsort(all_of_it, -1)[..., -2:], -1)
    assert np.array_equal(np.sort(np.argsort(first, -1)[..., -2:], -1), strongest)
    kept = np.take_along_axis(all_of_it, strongest, -1)
    np.testing.assert_allclose(
        np.take_along_axis(first, strongest, -1), kept / (1 - all_of_it.sum(-1) + kept.sum(-1))[..., None], atol=1e-6
    )


@pytest.mark.parametrize("change", [{}, {"join": "gate", "gate": 0.5}])
def test_as_many_as_there_are_is_all_of_them(llama: sg.Model, change: dict[str, object]) -> None:
    past = sg.Past.of(llama, A)
    logits = []
    for count in (None, len(A), 100):
        with sg.steer(llama, edits.attend(source=past, top_k=count, **change)) as steered:
            logits.append(steered.logits(B))
    assert torch.equal(logits[0], logits[1])
    assert torch.equal(logits[0], logits[2])


def test_the_strongest_are_found_in_blocks_too(llama: sg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = edits.attend(source=sg.Past.of(llama, A), top_k=1)
    with sg.steer(llama, edit) as steered:
        whole = steered.logits(B)
    monkeypatch.setattr("sociogram.steering.chosen.ENTRIES", 1)
    with sg.steer(llama, edit) as steered:
        assert torch.equal(steered.logits(B), whole)


def test_schedules_open_and_close_by_token_and_by_layer(llama: sg.Model) -> None:
    past, plan = sg.Past.of(llama, A), sg.Schedule(every=3, open_for=2, start=1)
    with sg.steer(llama, edits.attend(source=past, schedule=plan)) as steered:
        told = steered.record(B).stack("decoder_outside")["weights"].values.sum((0, 1, 3))
    assert (told > 0).tolist() == [plan.is_open(i) for i in range(len(B))] == [False, True, True, False, True, True]
    with sg.steer(llama, edits.attend(source=past, schedule=sg.Schedule(start=1, over="layers"))) as steered:
        rec = steered.record(B)
        assert set(steered.receipt.edits["layer"]) == {1}
    assert rec.moves().query("from_outside > 0")["layer"].unique().tolist() == [1]
    assert rec.audit().max_relative_error < 1e-4
    edit = edits.attend(source="letter.safetensors", schedule=plan, gate=(0.5, 1.0), join="gate")
    assert edits.from_json(edits.to_json([edit])) == [edit] == [edits.parse(str(edit))]


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": sg.Schedule(every=2)},
        {"join": "gate", "gate": 0.4},
        {"positions": "none", "layer": 1},
        {"positions": "as_stored", "head": (0, 3)},
        {"query": slice(7, None)},
        {"top_k": 2},
    ],
    ids=str,
)
def test_cached_decoding_equals_prefill(llama: sg.Model, change: dict[str, object]) -> None:
    edit = edits.attend(source=sg.Past.of(llama, A), **change)
    given = {**llama.encode(B), "max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    with sg.steer(llama, edit) as steered:
        tokens = steered._run(
            B, 6, lambda inputs, _: llama.hf.generate(**given, output_logits=True, return_dict_in_generate=True)
        )
        whole = steered.logits(tokens.sequences[0, :-1].tolist())
    torch.testing.assert_close(torch.cat(tokens.logits), whole[len(B) - 1 :], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["llama", "gpt2", "bert", "gemma2", "olmo2", "gpt_neox", "deepseek_v3", "t5", "gpt_oss", "qwen3_next", "bitnet", "vit"],
)
def test_every_class_can_listen_to_a_recording(name: str) -> None:
    made = specimen(name)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    source = sg.record(model, inputs, keep="qkv")
    closed = int(np.flatnonzero(source.dataset["status"].values == "closed")[0])
    with sg.steer(model, edits.add_head(source=source, layer=closed, positions="as_stored", gain=0.0)) as steered:
        same = steered.record(inputs)
    np.testing.assert_allclose(same.dataset["residual"], source.dataset["residual"], atol=2e-5)
    if name in ("bert", "vit"):  # everybody hears everybody: to hear all of them once more changes no mean
        with sg.steer(model, edits.attend(source=source, layer=closed, positions="as_stored")) as steered:
            np.testing.assert_allclose(steered.record(inputs).dataset["residual"], source.dataset["residual"], atol=2e-5)
    with sg.steer(model, edits.add_head(source=source, layer=closed, positions="as_stored", gain=2.0)) as steered:
        rec = steered.record(inputs)
    assert np.nanmax(np.abs(rec.dataset["residual"].values[-1] - source.dataset["residual"].values[-1])) > 1e-6
    assert rec.audit().max_relative_error <= 1e-4
    assert float(rec.stack(f"{rec.main}_outside")["weights"].values[closed].sum()) > 0


def test_what_does_not_fit_is_refused(llama: sg.Model) -> None:
    past = sg.Past.of(llama, A)
    other = sg.load(tiny_llama(hidden_size=32))
    with sg.steer(other, edits.attend(source=past)) as steered, pytest.raises(sg.InputError, match="does not fit"):
        steered.logits(B)
    gpt = sg.load(specimen("gpt2").model)
    source = sg.record(gpt, A, keep="qkv")
    with sg.steer(gpt, edits.attend(source=source)) as steered, pytest.raises(sg.InputError, match="cannot be moved"):
        steered.logits(B)
    for words, change in (
        ("goes with join", {"join": "gate"}),
        ("goes with join", {"gate": 0.5}),
        ("between 0 .closed. and 1", {"join": "gate", "gate": 1.5}),
        ("choose one of before", {"positions": "after"}),
        ("give an sg.Schedule", {"schedule": 3}),
        ("give a number, or one per head", {"join": "gate", "gate": ()}),
        ("a whole number, at least 1", {"top_k": 0}),
        ("a whole number, at least 1", {"top_k": 1.5}),
    ):
        with pytest.raises(sg.InputError, match=words):
            edits.attend(source=past, **change)
    with pytest.raises(sg.InputError, match="takes no join= and gate="):
        edits.add_head(source=past, join="gate", gate=0.5)
    two = edits.attend(source=past, join="gate", gate=(0.5, 1.0))
    with sg.steer(llama, two) as steered, pytest.raises(sg.InputError, match="2 numbers for 4 heads"):
        steered.logits(B)
    with sg.steer(llama, edits.attend(source=3)) as steered, pytest.raises(sg.InputError, match="is nothing to listen to"):
        steered.logits(B)
    with sg.steer(llama, edits.attend(source=sg.record(llama, A))) as steered, pytest.raises(sg.InputError, match='keep="qkv"'):
        steered.logits(B)
