"""Streamed recordings of steered runs: whatever an edit does to attention, the blocks show what was used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from sociogram.studio.contents import contents
from tests.models.conftest import tiny_llama
from tests.watch.test_stream import assert_close

IDS = [5, 9, 17, 3, 44, 21, 8, 30, 12, 7, 2, 19]
ELSEWHERE = [21, 8, 30, 12, 7, 2]


def listening(llama: sg.Model, **how: object) -> list[edits.Edit]:
    return [edits.attend(source=sg.Past.of(llama, ELSEWHERE), **how)]  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[sg.Model], list[edits.Edit]]] = {
    "cut": lambda _: [edits.cut(key=3, query=slice(4, 9))],
    "a reader who loses all": lambda _: [edits.cut(layer=1, query=5)],
    "window": lambda _: [edits.window(width=3)],
    "window and first": lambda _: [edits.window(width=2, sinks=1)],
    "mute": lambda _: [edits.mute(layer=0, head=1)],
    "weights changed": lambda _: [edits.scale_edges(factor=3.0, key=2), edits.set_weight(value=0.5, layer=1, query=6, key=1)],
    "row not rescaled": lambda _: [edits.scale_edges(factor=0.2, key=0, policy="leave")],
    "stream": lambda _: [edits.project_out(vector=np.eye(16)[3], layer=0)],
    "source, one softmax": lambda llama: listening(llama),
    "source, a gate": lambda llama: listening(llama, join="gate", gate=0.3),
}


@pytest.mark.parametrize("name", CHANGES)
def test_streamed_equals_dense_under_edits(name: str) -> None:
    llama = sg.load(tiny_llama())
    with sg.steer(llama, CHANGES[name](llama)) as steered:
        dense, streamed = steered.record(IDS), steered.record(IDS, keep="stream", top=20)
        grown = steered.record(IDS[:9], keep="stream", top=20, generate=2) if name != "stream" else None
        logits = steered.logits(IDS)
    plain = sg.record(llama, IDS, keep="stream", top=20)
    assert_close(torch.from_numpy(streamed.outputs["final_logits"][0]), logits[-1])
    assert dense.stacks == streamed.stacks
    for layer in range(dense.dataset.sizes["layer"]):
        weights = torch.from_numpy(dense.dataset["weights"].values[layer])
        here = {n: torch.from_numpy(v.values[layer]) for n, v in streamed.dataset.data_vars.items() if "layer" in v.dims}
        assert_close(here["received"].sum(1), weights.sum(1))
        assert_close(here["attention_sum"], weights.sum(2))
        assert_close(here["message_sum"], dense.messages(layer).norms().sum(2))
        assert_close(here["self_share"], torch.diagonal(weights, dim1=1, dim2=2))
        keys = here["top_key"].long()
        assert_close(here["top_attention"], weights.gather(2, keys.clamp(min=0)) * (keys >= 0))
        assert int(here["edge_count"].sum()) == int((weights > 0).sum())
    for node in dense.stacks[1:]:
        assert_close(*(torch.from_numpy(rec.stack(node)["weights"].values) for rec in (streamed, dense)))
    columns = [
        "moved",
        "from_others",
        "from_itself",
        "attention",
        "mlp",
        *[c for c in ("from_outside", "edited") if c in dense.moves()],
    ]
    np.testing.assert_allclose(
        streamed.moves()[columns].to_numpy(float), dense.moves()[columns].to_numpy(float), atol=1e-4, rtol=1e-3
    )
    assert not np.allclose(streamed.dataset["residual"].values, plain.dataset["residual"].values, atol=1e-4)
    if grown is not None:
        again = grown.inputs["input_ids"][0].tolist()
        with sg.steer(llama, CHANGES[name](llama)) as steered:
            whole = steered.record(again, keep="stream", top=20)
        np.testing.assert_allclose(grown.dataset["residual"].values, whole.dataset["residual"].values, atol=1e-3)
        np.testing.assert_allclose(grown.dataset["top_attention"].values, whole.dataset["top_attention"].values, atol=1e-4)


def test_rows_of_weights_that_were_changed_have_no_log_sum_exp() -> None:
    """What an edit put in a row's place is no softmax of scores."""
    llama = sg.load(tiny_llama())
    with sg.steer(llama, edits.scale_edges(factor=2.0, key=2, layer=0)) as steered:
        rec = steered.record(IDS, keep="stream")
    assert np.isnan(rec.dataset["lse"].values[0]).all()
    assert np.isfinite(rec.dataset["lse"].values[1]).all()


def test_without_its_edits_a_steered_run_is_not_run_again(tmp_path: Path) -> None:
    """What was stored holds the edits' names, not the edits: a run without them would be another one."""
    llama = sg.load(tiny_llama())
    with sg.steer(llama, edits.cut(layer=1, key=3)) as steered:
        rec = steered.record(IDS, keep="stream")
        seen = rec.dense([8])["weights"].values
    rec.save(tmp_path / "a.zarr")
    again = sg.open_recording(tmp_path / "a.zarr", llama)
    assert float(np.abs(seen[1, ..., 3]).max()) == 0
    for question in (lambda: again.dense([8]), again.null_drift):
        with pytest.raises(sg.RecordingError, match=r"(dense|null_drift)\(\) runs the model again, and edits acted in this run"):
            question()
    assert contents([("a page", again)], ["plain"], None, 1000)  # the page leaves the drift out
    with sg.steer(llama, []) as steered:
        steered.record(IDS, keep="stream").save(tmp_path / "b.zarr")
    assert sg.open_recording(tmp_path / "b.zarr", llama).null_drift() <= 1e-5


def test_log_sum_exp_of_weights_that_are_kept() -> None:
    """It is missing where an edit replaced the weights, and nowhere else."""
    llama = sg.load(tiny_llama())
    exact = sg.record(llama, IDS, keep="qkv")
    for keep in (("stream", "weights"), ("qkv", "received")):
        rec = sg.record(llama, IDS, keep=keep)
        assert_close(*(torch.from_numpy(one.dataset["lse"].values) for one in (rec, exact)))
    assert rec.worksheet(1, 2, 7).relative_difference < 1e-4
    with sg.steer(llama, edits.scale_edges(factor=2.0, key=2, layer=0)) as steered:
        lse = steered.record(IDS, keep=("stream", "weights")).dataset["lse"].values
    assert np.isnan(lse[0]).all()
    assert np.isfinite(lse[1]).all()


def test_a_first_token_that_lost_its_own_edge_is_not_left_out_twice() -> None:
    llama = sg.load(tiny_llama())
    for edit in (edits.cut(query=0, key=0), edits.cut(query=0, key=0, head=1), edits.cut(query=5, key=5)):
        with sg.steer(llama, edit) as steered:
            dense, streamed = steered.record(IDS), steered.record(IDS, keep="stream", top=20)
        for asked in ({}, {"head": 1}, {"layer": 1}):
            counts = [rec.edges(top=None, drop_first=True, **asked).attrs["edges"] for rec in (dense, streamed)]  # type: ignore[arg-type]
            assert counts[0] == counts[1]
