"""Scores of heads against loops, cuts that meet what they name, what is known without any society, and a quick run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import emergence as experiment
from sociogram.experiments.emerging import Settings, task_of, trained
from sociogram.experiments.induction import (
    WithoutDistance,
    accuracy_under,
    always,
    by_place,
    earlier_rounds,
    followers,
    head_scores,
    period_of,
    unrepeated,
)

TASK = sg.grow.Repeat(vocab_size=40, length=30, shortest=5, longest=12)


@pytest.fixture(scope="module")
def model() -> sg.Model:
    """Two layers with weights large enough that heads differ."""
    config = sg.grow.SocietyConfig(
        kind="attention_only",
        vocab_size=40,
        hidden_size=16,
        num_attention_heads=2,
        max_position_embeddings=30,
        initializer_range=1.0,
        positions="learned",
    )
    torch.manual_seed(0)
    return sg.load(sg.grow.Society(config).eval())


def texts(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return TASK.batch(count, torch.Generator().manual_seed(seed))


def test_followers_by_hand() -> None:
    found = followers(torch.tensor([[0, 1, 2, 0, 1, 2, 0]]))[0]
    wanted = {(3, 1), (4, 2), (5, 3), (6, 1), (6, 4)}
    assert {(q, k) for q, k in found.nonzero().tolist()} == wanted
    assert not followers(unrepeated(3, 30, 40, 0)).any()


def test_followers_say_what_the_oracle_says() -> None:
    batch = texts(20)
    where, asked = followers(batch["input_ids"]), batch["labels"] >= 0
    assert torch.equal(where.any(-1), asked)
    for text, query, key in where.nonzero().tolist():
        assert batch["input_ids"][text, key] == batch["labels"][text, query]


def test_scores_are_those_of_loops(model: sg.Model) -> None:
    ids, plain = texts(3)["input_ids"], unrepeated(3, 30, 40, 1)
    recs = [sg.record(model, each) for each in (ids, plain)]
    table = head_scores(*recs).set_index(["layer", "head"])
    for layer in range(2):
        for head in range(2):
            found: dict[str, list[float]] = {"prefix": [], "elsewhere": [], "even": [], "beyond": [], "previous": []}
            for text in range(3):
                weights, without = (rec.dataset["weights"].values[text, layer, head] for rec in recs)
                row = ids[text].tolist()
                for query in range(30):
                    keys = [key for key in range(1, query + 1) if row[key - 1] == row[query]]
                    if keys:
                        found["prefix"].append(sum(weights[query, key] for key in keys))
                        found["elsewhere"].append(sum(without[query, key] for key in keys))
                        found["even"].append(len(keys) / (query + 1))
                        found["beyond"].append(sum(weights[query, key + 1] for key in keys if key < query))
                    if query:
                        found["previous"].append(weights[query, query - 1])
            for name, values in found.items():
                assert table.loc[(layer, head), name] == pytest.approx(np.mean(values), rel=1e-5), name


def test_texts_without_repetition_repeat_nothing_and_cannot_be_longer_than_the_vocabulary() -> None:
    ids = unrepeated(5, 30, 40, 2)
    assert all(len(set(row)) == 30 for row in ids.tolist())
    assert len({tuple(row) for row in ids.tolist()}) == 5
    with pytest.raises(
        sg.InputError, match="length=41: texts without repetition need as many different tokens, and vocabulary=40"
    ):
        unrepeated(1, 41, 40, 0)


def test_who_knows_places_alone_is_counted_exactly() -> None:
    batch = texts(20_000)
    ids, labels = batch["input_ids"], batch["labels"]
    right = asked = 0
    for place in range(30):
        here = labels[:, place] >= 0
        if here.any():
            right += max(int((ids[here, place - back] == labels[here, place]).sum()) for back in range(place + 1))
            asked += int(here.sum())
    assert by_place(TASK) == pytest.approx(right / asked, abs=0.01)
    assert by_place(sg.grow.Repeat(40, 30, 7, 7)) == 1, "one period is known by place"
    assert TASK.blind < by_place(TASK) < 0.5


def test_cutting_meets_what_followed_and_nothing_else(model: sg.Model) -> None:
    ids = texts(1, seed=3)["input_ids"]
    period = period_of(ids[0])
    assert torch.equal(ids[0, period:], ids[0, :-period])
    plain = sg.record(model, ids[0]).dataset["weights"].values
    with sg.steer(model, earlier_rounds(1, 1)(ids[0])) as steered:
        cut = steered.record(ids[0]).dataset["weights"].values
    where = followers(ids)[0].numpy()
    assert plain[:, :, where].min() > 0
    assert cut[1][:, where].max() == 0
    assert cut[1][:, np.tril(~where)].min() > 0
    for after, query, key in ((0, period, 0), (-1, period + 1, 0)):
        with sg.steer(model, earlier_rounds(1, after)(ids[0])) as steered:
            control = steered.record(ids[0]).dataset["weights"].values[1]
        assert control[:, query, key].max() == 0, "the token itself, and what preceded it"
        assert control[:, where].min() > 0
    assert np.array_equal(cut[0], plain[0]), "layer 0 is as it was"
    with sg.steer(model, [WithoutDistance(layer=0, distance=1)]) as steered:
        cut = steered.record(ids[0]).dataset["weights"].values[0]
    assert np.diagonal(cut, -1, -2, -1).max() == 0
    assert np.diagonal(cut, -2, -2, -1).min() > 0


def test_accuracy_without_edits_is_that_of_the_society(model: sg.Model) -> None:
    batch = texts(6)
    asked = batch["labels"] >= 0
    with torch.no_grad():
        said = model.hf(batch["input_ids"]).logits.argmax(-1)
    wrong = (torch.arange(30) % 3 == 0) & asked
    batch["labels"] = torch.where(asked, (said + wrong.long()) % 40, batch["labels"])
    wanted = 1 - float(wrong.sum() / asked.sum())
    assert accuracy_under(model, batch, always()) == pytest.approx(wanted)
    assert accuracy_under(model, batch, always(sg.edits.mute())) < wanted - 0.1


def test_half_is_passed_for_good() -> None:
    at = pd.Series([0, 10, 20, 30])
    assert experiment.passes_half(at, pd.Series([0.0, 0.6, 0.3, 1.0])) == 30
    assert experiment.passes_half(at, pd.Series([0.0, 0.6, 0.5, 1.0])) == 10
    assert experiment.passes_half(at, pd.Series([0.9, 0.9, 0.9, 1.0])) == 0


def test_heads_of_one_role_are_those_above_half_of_the_highest() -> None:
    scores = {"layer": [0, 1, 1, 1], "head": [0, 0, 1, 2], "prefix": [5.0, 0.4, 0.9, 0.45]}
    assert experiment.matching(pd.DataFrame(scores), "prefix", 1) == [1, 2]


def test_one_layer_does_one_period_by_position() -> None:
    chosen = Settings(
        width=32, vocabulary=32, length=24, fixed=6, longest=12, shortest=4, steps=120, batch=32, every=60, watched=4, tests=64
    )
    run = trained(chosen, sg.grow.Repeat(32, 24, 6, 6), 1, 0, 0.02)
    end = run.followed().iloc[-1]
    assert end["accuracy"] > 0.9
    assert end["prefix"] == pytest.approx(end["elsewhere"], abs=0.1), "the tokens make no difference to who is heard"
    assert end["prefix"] > 0.5
    assert sg.grow.score(run.model.hf, task_of(chosen), count=64)["accuracy"] < 0.5


def test_one_text_is_too_few_to_watch() -> None:
    with pytest.raises(sg.InputError, match="emergence: watched=1: two texts or more"):
        experiment.run(quick=True, watched=1)


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


def test_the_quick_run_is_whole(quick: Study) -> None:
    known = quick[experiment.KNOWN]["accuracy"].to_numpy()
    assert known[-1] == 1, "the oracle"
    assert (np.diff(known) > 0).all()
    ends = quick[experiment.ENDS]
    assert ends["layers"].tolist() == [1, 2]
    assert (ends["accuracy"] < 0.3).all(), "nothing is learned in so few steps"
    assert quick[experiment.NEEDED]["change"].iloc[0] == "none"
    assert set(quick[experiment.COURSE]["step"]) == {0, 10, 20}, "one layer gets twice the steps"
    heads = quick[experiment.HEADS]
    assert len(heads) == 4 * 2 + 8 * 2
    assert heads[["prefix", "elsewhere", "previous"]].stack().between(0, 1).all()
    assert set(quick[experiment.FLOCK]["tokens"]) == {"all", "without first"}
    assert quick.seeds == (0,)
    assert len(quick.draw().axes) == 6
