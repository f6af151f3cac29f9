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
    "sinusoidal", "all around", "village", "convolved",
]  # fmt: skip
OPAQUE = ["messenger", "rnn", "xlstm", "feedforward", "mixer", "linear_attention", "linear around"]


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
