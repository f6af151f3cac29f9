"""What is asked of a streamed recording, against the same question put to the dense one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import sociogram as sg
from tests.models.conftest import tiny_llama
from tests.watch.conftest import CLASSES, specimen

PROMPT = "The Eiffel Tower is located in the city of Paris. " * 3
IDS = [5, 9, 17, 3, 44, 21, 8, 30, 12, 7, 2, 19]
WHICH = ["layer", "head", "query", "key"]


def both(name: str, top: int = 4) -> tuple[sg.Recording, sg.Recording]:
    made = specimen(name)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    return sg.record(model, inputs).sequence(0), sg.record(model, inputs, keep="stream", top=top).sequence(0)


def same(one: pd.DataFrame, other: pd.DataFrame, columns: list[str]) -> None:
    for column in columns:
        np.testing.assert_allclose(
            one[column].to_numpy(float), other[column].to_numpy(float), atol=3e-5, rtol=1e-3, err_msg=column
        )


@pytest.mark.parametrize("name", CLASSES)
def test_edges_of_all_kinds_of_models(name: str) -> None:
    """With all keys kept the tables are equal row by row; with few kept, the rows are rows of the whole table."""
    dense, streamed = both(name, top=99)
    gated = "attention" in streamed.dataset["ranked_by"].values
    for stack in dense.stacks:
        table, whole = (rec.edges("attention", top=None, stack=stack) for rec in (streamed, dense))
        assert len(table) == len(whole)
        assert table.attrs["edges"] == whole.attrs["edges"]
        assert math.isclose(table.attrs["total"], whole.attrs["total"], rel_tol=1e-4)
        one, other = (t.sort_values(WHICH).reset_index(drop=True) for t in (table, whole))
        assert one[WHICH].equals(other[WHICH])
        same(one, other, ["attention", "message", "contribution", "pull"])
    _, few = both(name, top=2)
    if not gated:
        rows = few.edges(top=5)
        best = dense.edges(top=5)
        if rows.attrs["exact"]:
            same(rows, best, ["message"])
        assert rows["message"].max() == pytest.approx(best["message"].max(), rel=1e-4)


@pytest.mark.parametrize("name", CLASSES)
def test_moves_senders_and_excerpts_of_all_kinds_of_models(name: str) -> None:
    dense, streamed = both(name)
    gated = "attention" in streamed.dataset["ranked_by"].values
    one, other = streamed.moves(), dense.moves()
    columns = [c for c in other if other[c].dtype.kind == "f" and not (gated and c == "self_share")]
    same(one, other, columns)
    if gated:
        return
    one, other = (rec.senders().sort_values("key") for rec in (streamed, dense))
    same(one, other, ["message", "share", "attention"])
    excerpt, whole = streamed.select(), dense.select(("message", "attention"))
    for number in excerpt.totals.data_vars:
        np.testing.assert_allclose(
            excerpt.totals[number].values, whole.totals[number].values, atol=1e-4, rtol=1e-4, err_msg=str(number)
        )
    assert 0 < excerpt.share("message") <= 1 + 1e-6


@pytest.fixture(scope="module")
def pair(smollm: sg.Model) -> tuple[sg.Recording, sg.Recording]:
    return sg.record(smollm, PROMPT), sg.record(smollm, PROMPT, keep="stream")


@pytest.mark.real
@pytest.mark.parametrize(
    "asked",
    [
        {}, {"drop_first": True}, {"layer": 23}, {"head": 4}, {"query": -1}, {"key": 3}, {"key": 3, "head": 2},
        {"query": 20, "drop_first": True}, {"weight": "contribution", "layer": 23},
        {"weight": "toward", "toward": " Paris", "query": -1},
    ],
)  # fmt: skip
def test_filters_and_totals(pair: tuple[sg.Recording, sg.Recording], asked: dict[str, object]) -> None:
    """The strongest edges are found among those kept, and totals count all of them, whatever is filtered."""
    dense, streamed = (rec.edges(top=6, **asked) for rec in pair)
    assert dense[WHICH].equals(streamed[WHICH])
    same(streamed, dense, ["attention", "message", "contribution"])
    known = asked.get("weight", "message") == "message"
    assert math.isnan(streamed.attrs["total"]) != known
    if known:
        assert streamed.attrs["total"] == pytest.approx(dense.attrs["total"], rel=1e-4)
        assert streamed.attrs["share"] == pytest.approx(dense.attrs["share"], rel=1e-4)
        assert streamed.attrs["exact"]


def test_what_was_not_kept_is_said(pair: tuple[sg.Recording, sg.Recording]) -> None:
    streamed = pair[1]
    with pytest.raises(sg.RecordingError, match="this recording was streamed: nothing of the size"):
        streamed.messages(3)
    with pytest.raises(sg.RecordingError, match='group="word" sums all edges'):
        streamed.edges(group="word")
    with pytest.raises(sg.RecordingError, match="'contribution': a streamed recording knows sums"):
        streamed.select(("contribution",))
    with pytest.raises(sg.RecordingError, match="the audit needs"):
        streamed.audit()
    table = streamed.edges(top=40_000)
    assert not table.attrs["exact"]
    assert table.attrs["below"] > 0
    assert table.attrs["edges"] > len(table)


def test_the_flock_of_a_streamed_recording_is_the_same(pair: tuple[sg.Recording, sg.Recording]) -> None:
    one, other = (rec.flock(null=0) for rec in pair)
    np.testing.assert_allclose(one.positions.values, other.positions.values, atol=1e-2, rtol=1e-4)
    assert one.fitted_without == other.fitted_without


def test_the_account_is_checked_while_streaming(pair: tuple[sg.Recording, sg.Recording]) -> None:
    """What the audit can no longer prove was checked as the layers came."""
    assert 0 < pair[1].tree.attrs["checked_error"] < 1e-3
    assert pair[1].tree.attrs["checked_error"] == pytest.approx(pair[0].tree.attrs["checked_error"], rel=0.5)
    assert pair[1].tree.attrs["checked_tokens"] == 16


def test_bounds_that_are_not_known_everywhere_are_known_nowhere() -> None:
    """Of layers that ranked their keys by something else nobody knows what was left out."""
    rec = sg.record(sg.load(tiny_llama()), IDS, keep="stream", top=2)
    assert rec.edges(top=3).attrs["below"] > 0
    for ranked in (["message", "attention"], ["attention", "message"]):
        rec.tree[rec.main].coords["ranked_by"] = ("layer", ranked)
        table = rec.edges(top=3)
        assert math.isnan(table.attrs["below"])
        assert not table.attrs["exact"]


def test_contributions_that_are_not_known_come_last() -> None:
    model = sg.load(tiny_llama())
    whole = sg.record(model, IDS, keep="stream")
    rec = sg.record(model, IDS, keep="stream", residual_layers=[1])
    table, other = rec.edges("contribution", top=5), whole.edges("contribution", top=5, layer=1)
    assert table[WHICH].equals(other[WHICH])
    same(table, other, ["contribution"])
    everything = rec.edges("contribution", top=None)
    assert everything["contribution"].isna().to_numpy().argmax() == len(whole.edges(top=None, layer=1))
    assert len(everything) == len(whole.edges(top=None))
    with pytest.raises(sg.RecordingError, match="toward= needs the stream at its end"):
        sg.record(model, IDS, keep="stream", residual_layers=[0]).edges(toward=7)
    assert rec.edges(toward=7)["toward"].notna().all()


def test_no_reader_fills_an_excerpt() -> None:
    """Of each kind, head and reader as many of the kept edges as are asked for, where not all fit; of the last reader more."""
    rec = sg.record(sg.load(tiny_llama()), IDS, keep="stream", top=12)
    excerpt = rec.select(("attention",), budget=100, per_reader=1).edges
    readers = excerpt[excerpt["query"] < len(IDS) - 1]
    kinds = (readers["query"] == readers["key"]) * 2 + ((readers["key"] == 0) & (readers["query"] > 0))
    chosen = readers.groupby(["layer", "head", "query", kinds]).size()
    assert chosen.max() == 1
    more = rec.select(("attention",), budget=100, per_reader=12).edges
    assert more[more["query"] < len(IDS) - 1].groupby(["layer", "head", "query"]).size().max() > 2
