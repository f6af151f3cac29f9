"""The excerpt for drawing: each meaning its own choice, and totals that count what was left out."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from tests.watch.conftest import tiny

WEIGHTS = ("message", "attention", "contribution")


@pytest.mark.parametrize("name", ["llama", "bert", "gpt_oss", "vit", "t5"])
def test_a_short_prompt_is_shipped_whole_and_equals_edges(name: str) -> None:
    rec = tiny(name)
    chosen = rec.select()
    edges = rec.edges(top=None)
    assert len(chosen.edges) == len(edges) == int(chosen.totals["count"].sum())
    order = ["layer", "head", "query", "key"]
    ours, theirs = (table.sort_values(order).reset_index(drop=True) for table in (chosen.edges, edges))
    assert ours[order].equals(theirs[order])
    for column in (*WEIGHTS, "pull"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-5, atol=1e-6)
    for weight in WEIGHTS:
        assert chosen.share(weight) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.real
def test_under_a_budget_each_meaning_keeps_its_own_strongest(paris: sg.Recording) -> None:
    chosen = paris.select(toward=" Paris", budget=600, per_reader=2)
    assert len(chosen.edges) <= 600
    assert set(chosen.ranks) == {*WEIGHTS, "toward"}
    for weight, rank in chosen.ranks.items():
        own = chosen.edges.iloc[rank]
        for layer, rows in own.groupby("layer", sort=False):
            sizes = rows[weight].abs().to_numpy()
            assert (np.diff(sizes) <= 1e-6).all()
            others = rows[(rows["query"] != rows["key"]) & (rows["key"] != 0)]
            best = paris.edges(weight, top=None, layer=int(layer), toward=" Paris")
            best = best[(best["query"] != best["key"]) & (best["key"] != 0)].iloc[0]
            first = others.iloc[0]
            assert (first["head"], first["query"], first["key"]) == (best["head"], best["query"], best["key"])
        readers = own[own["query"] != 9].groupby(["layer", "head", "query"]).size()
        assert readers.max() <= 4  # two of others, one from the first token, one to itself
        assert rank.size == np.unique(rank).size


@pytest.mark.real
def test_what_the_last_token_hears_is_kept(paris: sg.Recording) -> None:
    chosen = paris.select(("message",), budget=30 * 100, per_reader=1)
    own = chosen.edges[(chosen.edges["query"] == 9) & (chosen.edges["key"] != 0) & (chosen.edges["key"] != 9)]
    strongest = paris.edges(top=None, query=9, layer=23, drop_first=True)
    strongest = strongest[strongest["key"] != 9].head(15)
    ours = set(zip(own["layer"], own["head"], own["key"], strict=True))
    assert all((23, head, key) in ours for head, key in zip(strongest["head"], strongest["key"], strict=True))


@pytest.mark.real
def test_totals_count_everything(paris: sg.Recording) -> None:
    totals = paris.select(budget=600).totals
    edges = paris.edges(top=None)
    kind = np.where(edges["query"] == edges["key"], 2, np.where(edges["key"] == 0, 1, 0))
    for weight in WEIGHTS:
        sizes = edges[weight].abs()
        expected = sizes.groupby([edges["layer"], edges["head"], kind]).sum()
        for (layer, head, k), value in expected.items():
            assert totals[f"total_{weight}"].values[layer, head, k] == pytest.approx(value, rel=1e-4, abs=1e-6)
        by_reader = sizes.groupby([edges["layer"], edges["query"]]).sum()
        ours = totals[f"reader_{weight}"].sum("kind").values
        np.testing.assert_allclose(ours.flatten(), by_reader.to_numpy(), rtol=1e-4, atol=1e-6)
    assert paris.select(budget=600).share("message") < 0.9


def test_bad_calls_name_the_fault() -> None:
    rec = tiny("llama")
    with pytest.raises(sg.InputError, match="'loudness' is none of message, attention"):
        rec.select(("loudness",))
    with pytest.raises(sg.InputError, match="name at least one, and each once"):
        rec.select(("message", "message"))
    with pytest.raises(sg.InputError, match="needs a token to go towards"):
        rec.select(("toward",))
    with pytest.raises(sg.InputError, match=r"budget=3, per_reader=8: .* are needed"):
        rec.select(budget=3)
