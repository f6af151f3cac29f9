"""Edges, moves and attribution: what they claim adds up to what the model did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.watch.conftest import tiny


def test_contributions_over_heads_keys_and_bias_sum_to_one() -> None:
    for name in ("llama", "bert", "gemma2", "bitnet"):
        rec = tiny(name)
        messages = rec.messages(1)
        table = rec.edges("contribution", top=None, layer=1)
        own = table.groupby("query")["contribution"].sum().to_numpy()
        bias = (messages.bias * messages.out).sum(-1) / messages.out.square().sum(-1)
        np.testing.assert_allclose(own + bias.numpy(), 1, atol=1e-4)


def test_a_row_of_the_table_is_the_message_itself() -> None:
    rec = tiny("llama")
    row = rec.edges(top=1, query=5, layer=1).iloc[0]
    place = int(row["head"]), int(row["query"]), int(row["key"])
    vector = rec.message(1, *place)
    assert row["message"] == pytest.approx(np.linalg.norm(vector), rel=1e-5)
    assert row["attention"] == pytest.approx(float(rec.dataset.weights[1][place]), rel=1e-6)
    before = rec.dataset.residual[int(rec.dataset.layer_start[1])].values
    apart = before[place[2]] - before[place[1]]
    if place[1] != place[2]:
        assert row["pull"] == pytest.approx(vector @ apart / np.linalg.norm(vector) / np.linalg.norm(apart), abs=1e-4)


def test_the_strongest_come_first_and_the_share_is_what_they_carry() -> None:
    rec = tiny("llama")
    whole = rec.edges(top=None)
    some = rec.edges(top=7)
    assert list(some["message"]) == sorted(whole["message"], reverse=True)[:7]
    assert some.attrs["share"] == pytest.approx(some["message"].sum() / whole["message"].sum(), rel=1e-5)
    assert whole.attrs["share"] == pytest.approx(1, abs=1e-5)
    assert whole.attrs["edges"] == len(whole)


def test_only_edges_that_exist_are_listed() -> None:
    table = tiny("llama").edges(top=None)
    assert (table["key"] <= table["query"]).all()
    both = tiny("bert").edges(top=None)
    assert (both["key"] > both["query"]).any()


def test_what_is_asked_for_is_what_comes() -> None:
    rec = tiny("llama")
    table = rec.edges(top=None, layer=1, head=2, query=4)
    assert set(table["layer"]) == {1}
    assert set(table["head"]) == {2}
    assert sorted(table["key"]) == [0, 1, 2, 3, 4]
    dropped = rec.edges(top=None, drop_first=True)
    assert dropped["key"].min() == 1
    assert dropped["query"].min() == 1
    assert set(rec.edges(top=None, key=3)["key"]) == {3}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"weight": "loud"}, "choose one of message, attention, contribution, toward"),
        ({"weight": "toward"}, "needs a token to go towards"),
        ({"layer": 7}, "no layer 7: there are 2, numbered 0 to 1"),
        ({"head": 99}, "no head 99: there are 4"),
        ({"query": "nobody"}, "nobody"),
        ({"group": "sentence"}, 'choose "token" or "word"'),
        ({"stack": "north"}, "no stack 'north' in this recording; it has decoder"),
    ],
)
def test_wrong_questions_get_the_valid_range(asked: dict[str, object], words: str) -> None:
    with pytest.raises(sg.InputError, match=words.replace("(", r"\(")):
        tiny("llama").edges(**asked)  # type: ignore[arg-type]


def test_moves_say_who_moved_whom() -> None:
    rec = tiny("llama")
    moves = rec.moves()
    assert len(moves) == 2 * rec.dataset.sizes["query"]
    first = moves[moves["query"] == 0]
    np.testing.assert_allclose(first["from_others"], 0, atol=1e-6)  # a causal first token has only itself to listen to
    np.testing.assert_allclose(first["self_share"], 1, atol=1e-6)
    assert (moves.loc[moves["query"] > 0, "from_others"] > 0).all()
    norms = rec.messages(1).norms()
    share = torch.diagonal(norms, dim1=1, dim2=2).sum(0) / norms.sum((0, 2))
    np.testing.assert_allclose(moves[moves["layer"] == 1]["self_share"], share, rtol=1e-5)
    both = moves.attrs["self_share_correlation"]
    assert -1 <= both["all"] <= 1
    assert both["all"] != both["without_first"]


def test_senders_are_ranked_by_what_they_told_others() -> None:
    rec = tiny("llama")
    table = rec.edges(top=None)
    others = table[table["key"] != table["query"]].groupby("key")["message"].sum()
    senders = rec.senders().set_index("key")
    np.testing.assert_allclose(senders["message"].reindex(others.index), others, rtol=1e-4)
    assert senders["share"].sum() == pytest.approx(1)
    assert senders.loc[0, "readers"] == rec.dataset.sizes["query"] - 1


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "granite", "gpt_neox"])
def test_attribution_sums_to_the_models_own_logit(name: str) -> None:
    rec = tiny(name)
    for token in (3, 17):
        table = rec.attribution(token)
        logit = float(rec.outputs["final_logits"][0, token])
        if table.attrs["capped"]:
            cap = rec.model.hf.config.final_logit_softcapping
            logit = float(cap * np.arctanh(logit / cap))
        assert table.attrs["logit"] == pytest.approx(logit, abs=1e-3)
        edges = rec.edges("toward", top=None, toward=token, query=-1)
        heard = table[table["entry"] == "messages"]["toward"].sum()
        assert edges["toward"].sum() == pytest.approx(heard, abs=1e-3)


@pytest.mark.real
def test_why_it_said_paris(paris: sg.Recording) -> None:
    said = paris.predictions(3)
    assert said["token"][0] == "␣Paris"
    assert said["probability"][0] == pytest.approx(0.70, abs=0.02)
    table = paris.attribution(" Paris")
    own = paris.model.tokenizer.encode(" Paris")[0]  # type: ignore[union-attr]
    assert table.attrs["logit"] == pytest.approx(float(paris.outputs["final_logits"][0, own]), abs=1e-2)
    edges = paris.edges("toward", toward=" Paris", query=-1, top=5)
    assert "iffel" in set(edges["key_token"])
    with pytest.raises(sg.InputError, match=r"toward='Eiffel' is not one token but \d \(.*choose one of them"):
        paris.edges(toward="Eiffel")
    with pytest.raises(sg.InputError, match="no such token id; the vocabulary has 49152"):
        paris.edges(toward=49152)


@pytest.mark.real
def test_edges_between_words_keep_their_sums(paris: sg.Recording) -> None:
    tokens = paris.edges("attention", top=None, layer=3, head=1)
    words = paris.edges("attention", top=None, layer=3, head=1, group="word")
    assert "␣Eiffel" in set(words["key_token"])
    np.testing.assert_allclose(tokens.groupby("query")["attention"].sum(), 1, atol=1e-5)
    np.testing.assert_allclose(words.groupby("query")["attention"].sum(), 1, atol=1e-5)
    assert len(words["query"].unique()) == len(tokens["query"].unique()) - 1
