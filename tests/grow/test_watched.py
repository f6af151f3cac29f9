"""Societies under the instruments: recorded, audited, steered, drawn as networks and on the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg

from .making import SPECIES, ids, society

HEARD = [
    "isolated", "flock", "neighbourhood", "window", "routed", "random routing", "pausing", "attention_only", "nowhere", "learned",
    "sinusoidal", "all around", "village", "linear_attention", "linear around",
]  # fmt: skip
OPAQUE = ["messenger", "rnn", "xlstm", "feedforward", "mixer"]


def recorded(name: str, tokens: int = 9) -> sg.Recording:
    return sg.record(sg.load(society(name)), ids(tokens), keep="qkv")


def test_every_species_is_looked_at() -> None:
    assert {*HEARD, *OPAQUE, "council"} == set(SPECIES)


@pytest.mark.parametrize("name", [*HEARD, "council"])
def test_the_account_closes_and_watching_changes_nothing(name: str) -> None:
    rec = recorded(name)
    audit = rec.audit()
    assert audit.max_relative_error <= 1e-10
    assert set(audit.layers["status"]) == {"closed"}
    assert rec.null_drift() <= 1e-12


@pytest.mark.parametrize("name", OPAQUE)
def test_who_does_not_attend_is_recorded_with_opaque_entries(name: str) -> None:
    rec = recorded(name)
    audit = rec.audit()
    assert audit.max_relative_error <= (1e-4 if name == "xlstm" else 1e-10)
    assert set(audit.layers["status"]) == {"opaque"}
    assert (audit.layers["opaque_share"] > 0).all()
    assert (audit.layers["opaque_share"] < 1).all()
    assert rec.null_drift() <= 1e-12
    mixer = rec.model.hf.layers[1].mixer
    seen = []
    hook = mixer.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    rec.model.logits(ids(9))
    hook.remove()
    assert np.abs(rec.dataset["opaque"].isel(layer=1).values - seen[0][0].numpy()).max() <= 1e-12


@pytest.mark.parametrize("name", ["isolated", "flock", "neighbourhood", "village", "attention_only"])
def test_weights_lie_where_the_society_may_hear(name: str) -> None:
    from sociogram.grow import hears

    rec = recorded(name)
    heard = hears(rec.model.hf.config, 9).numpy()
    weights = rec.dataset["weights"].values
    assert (weights[:, :, ~heard] == 0).all()
    assert (weights[:, :, heard] > 0).all()


def test_the_isolated_hear_themselves_alone() -> None:
    rec = recorded("isolated")
    assert np.array_equal(rec.dataset["weights"].values, np.broadcast_to(np.eye(9), (2, 4, 9, 9)))
    assert (rec.moves()["from_others"] == 0).all()


def test_those_passed_over_hear_nothing_and_do_not_move() -> None:
    rec = recorded("routed")
    passed = np.abs(rec.dataset["residual"].isel(stop=-1) - rec.dataset["residual"].isel(stop=-3)).max("d_model").values == 0
    assert int((~passed).sum()) == int(0.4 * 9)
    messages = rec.messages(1)
    assert bool((messages.mixed()[torch.from_numpy(passed)] == 0).all())


def test_a_council_s_messages_go_through_its_latents() -> None:
    rec = recorded("council")
    gathered, told = rec.stack("decoder_cross"), rec.stack("decoder_2_cross")
    assert dict(gathered["weights"].sizes) == {"layer": 2, "head": 4, "query": 3, "key": 9}
    assert dict(told["weights"].sizes) == {"layer": 2, "head": 4, "query": 9, "key": 3}


@pytest.mark.parametrize("name", ["flock", "neighbourhood", "routed", "attention_only", "all around"])
def test_edits_land(name: str) -> None:
    model = sg.load(society(name))
    with sg.steer(model, sg.edits.cut(query=8, key=8, layer=0)) as steered:
        change = (steered.logits(ids(9)) - model.logits(ids(9))).abs()
        assert steered.receipt.null_drift <= 1e-12
    assert float(change[8].max()) > 1e-6
    if model.hf.config.causal and name != "routed":
        assert float(change[:8].max()) == 0


def test_an_edit_of_what_nobody_hears_does_not_land() -> None:
    with pytest.raises(sg.EditDidNotLand), sg.steer(sg.load(society("isolated")), sg.edits.cut(query=5, key=2)) as steered:
        steered.logits(ids(9))
    with pytest.raises(sg.EditDidNotLand), sg.steer(sg.load(society("messenger")), sg.edits.cut(query=5, key=2)) as steered:
        steered.logits(ids(9))


@pytest.mark.parametrize(
    "name", ["flock", "isolated", "messenger", "feedforward", "linear_attention", "routed", "pausing", "council"]
)
def test_the_flock_and_the_page(name: str, tmp_path: Path) -> None:
    rec = recorded(name)
    flock = rec.flock()
    assert np.isfinite(flock.positions).all()
    assert (rec.moves()["moved"] >= 0).all()
    if not (Path(sg.__file__).parent / "studio" / "static" / "page.js").is_file():
        pytest.skip("the page is not built (make page)")
    sg.to_html(rec, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 50_000


@pytest.mark.parametrize("name", ["flock", "neighbourhood", "all around", "routed"])
def test_networks(name: str) -> None:
    summary = sg.networks(recorded(name)).summary()
    assert len(summary) == 8
    assert summary["entropy"].notna().all()


SIGNED = ["linear_attention", "linear around"]


@pytest.mark.parametrize("name", SIGNED)
def test_signed_weights_are_recorded_as_the_layer_makes_them(name: str) -> None:
    rec = recorded(name)
    layer = rec.model.hf.layers[1]
    given = torch.from_numpy(rec.dataset["residual"].isel(stop=2).values)[None]
    turn = rec.model.hf.rotary(given, torch.arange(9)[None])
    with torch.no_grad():
        wanted = layer.mixer.weights(layer.mixer_norm(given), turn)[0].numpy()
    assert np.abs(rec.dataset["weights"].isel(layer=1).values - wanted).max() <= 1e-12
    assert (wanted < 0).any()
    assert (rec.messages(1).norms() >= 0).all()
    edges = rec.edges(top=5)
    assert (edges["message"] > 0).all()
    assert edges["message"].is_monotonic_decreasing
    ranked = rec.edges("attention", top=None)["attention"]
    assert ranked.abs().is_monotonic_decreasing
    assert ranked.min() < 0 < ranked.max()


@pytest.mark.parametrize("name", SIGNED)
def test_signed_weights_cut_are_gone_and_the_others_stay(name: str) -> None:
    model = sg.load(society(name))
    plain = recorded(name)
    with sg.steer(model, sg.edits.cut(query=8, key=3, layer=0)) as steered:
        rec = steered.record(ids(9))
        assert steered.receipt.null_drift <= 1e-12
        assert rec.audit().max_relative_error <= 1e-10
    wanted = plain.dataset["weights"].isel(layer=0).values.copy()
    wanted[:, 8, 3] = 0
    assert np.array_equal(rec.dataset["weights"].isel(layer=0).values, wanted)


def test_edits_of_signed_heads_land() -> None:
    model, plain = sg.load(society("linear_attention")), recorded("linear_attention")
    weights = plain.dataset["weights"].values
    made = {
        "mute": sg.edits.mute(layer=0, head=1),
        "scale": sg.edits.scale_head(layer=0, head=1, factor=-1),
        "louder": sg.edits.scale_edges(layer=0, head=1, factor=3, policy="leave"),
        "swap": sg.edits.swap(layer=0, head=1, other=2),
        "freeze": sg.edits.freeze(layer=0, head=1, source=plain, source_head=3),
        "window": sg.edits.window(layer=0, head=1, width=2),
    }
    near = np.abs(np.subtract.outer(np.arange(9), np.arange(9))) < 2
    wanted = {"mute": 0, "scale": -1, "louder": 3, "swap": weights[0, 2], "freeze": weights[0, 3], "window": near}
    for name, edit in made.items():
        with sg.steer(model, edit) as steered:
            rec = steered.record(ids(9))
        factor = isinstance(wanted[name], int) or name == "window"
        expected = weights[0, 1] * wanted[name] if factor else wanted[name]
        assert np.abs(rec.dataset["weights"].values[0, 1] - expected).max() <= 1e-12, name
        assert rec.audit().max_relative_error <= 1e-10, name
    with sg.steer(model, sg.edits.mean_ablate(layer=0, head=1, reference=[[1, 2, 3]])) as steered:
        rec = steered.record(ids(9))
    assert (rec.dataset["weights"].values[0, 1] == 0).all()
    assert rec.audit().max_relative_error <= 1e-10


@pytest.mark.parametrize(
    "edit",
    [
        sg.edits.force(key=3, share=0.5),
        sg.edits.set_weight(query=8, key=3, value=0.5),
        sg.edits.scale_edges(key=3, factor=2),
    ],
    ids=lambda edit: edit.name,
)
def test_edits_of_a_softmax_are_refused_where_there_is_none(edit: sg.edits.Edit) -> None:
    with (
        pytest.raises(
            sg.InputError, match=r"layer 0 is linear attention, whose weights are signed .* there: cut, mute, scale_head"
        ),
        sg.steer(sg.load(society("linear_attention")), edit) as steered,
    ):
        steered.logits(ids(9))


def test_sources_from_outside_are_refused_where_there_is_no_softmax() -> None:
    rec = recorded("linear_attention")
    edit = sg.edits.attend(source=rec, layer=0, positions="as_stored")
    with pytest.raises(sg.InputError, match="layer 0 is linear attention"), sg.steer(rec.model, edit) as steered:
        steered.logits(ids(9))


def test_what_signed_weights_cannot_be_is_said() -> None:
    rec = recorded("linear_attention")
    with pytest.raises(
        sg.InputError, match=r"layer 0 is linear attention, whose weights are signed .* Choose weight=\"message\""
    ):
        sg.networks(rec, weight="attention").summary()
    assert sg.networks(rec, weight="message").summary()["entropy"].notna().all()
    with pytest.raises(sg.UnsupportedModelError, match=r"keep=\"stream\": layers.0.mixer is linear attention"):
        sg.record(rec.model, ids(9), keep="stream")


def test_a_worksheet_divides_by_the_tokens_heard() -> None:
    sheet = recorded("linear_attention").worksheet(1, 2, 6)
    assert sheet.relative_difference <= 1e-10
    assert sheet.cells["count"].value == 7
    assert "without a softmax" in sheet.to_text()
    assert "exp[0]" not in sheet.cells


def test_positions_are_found_and_pasts_work() -> None:
    model, tokens = sg.load(society("flock")), ids(9)[0]
    past = sg.Past.of(model, tokens[:5].tolist())
    assert past.rotation.kind == "rotary"
    assert (past.logits(tokens[5:].tolist()) - model.logits(tokens.tolist())[5:]).abs().max() <= 1e-10


def test_vectors_are_recorded_by_name() -> None:
    from sociogram.grow import Regression

    task = Regression(dimension=3, examples=4)
    model = sg.load(society("flock", objective="number", vector_size=4, vocab_size=None, max_position_embeddings=8))
    rec = sg.record(model, {"vectors": task.batch(1)["vectors"]})
    assert rec.audit().max_relative_error <= 1e-10


@pytest.mark.parametrize("name", ["council", "messenger", "feedforward", "linear_attention"])
def test_a_logit_is_the_sum_of_what_each_entry_adds(name: str) -> None:
    rec = recorded(name)
    table = rec.attribution(3)
    assert table["toward"].sum() == pytest.approx(float(rec.model.logits(ids(9))[-1, 3]), abs=1e-9)
    heard = {"messenger": "opaque", "feedforward": "opaque"}.get(name, "messages")
    assert (table["entry"] == heard).sum() == 2


def test_who_hears_another_sequence_alone_is_told_where_it_is() -> None:
    rec = recorded("council")
    assert rec.senders().empty
    assert len(rec.edges(stack="decoder_2_cross")) > 0
    for ask, what in ((rec.edges, "show"), (rec.select, "show"), (lambda: sg.networks(rec), "make graphs of")):
        words = f"no layer of 'decoder_2' has messages to {what}: its tokens do not hear each other; .* 'decoder_2_cross'"
        with pytest.raises(sg.RecordingError, match=words):
            ask()
    with pytest.raises(sg.RecordingError, match="this stack has no weights: its tokens do not hear each other"):
        rec.worksheet(0, 0, 3)


@pytest.mark.parametrize("name", ["messenger", "feedforward"])
def test_where_nobody_hears_anybody_it_is_said(name: str) -> None:
    rec = recorded(name)
    assert rec.senders().empty
    for ask in (rec.edges, rec.select, lambda: sg.networks(rec)):
        with pytest.raises(sg.RecordingError, match=r"no layer of 'decoder' has messages to .*: all are opaque or unsupported"):
            ask()
