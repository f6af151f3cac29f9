"""Streamed recordings of steered runs: whatever an edit does to attention, the blocks show what was used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
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
    columns = ["moved", "from_others", "from_itself", "attention", *[c for c in ("from_outside", "edited") if c in dense.moves()]]
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
