"""What the committed full runs of depth-routing, pause and learned-attention found, with margins over their three seeds."""

from __future__ import annotations

import pandas as pd
import pytest

from experiments import page
from sociogram.experiments import Study

RESULTS = {name: page.RESULTS / f"{name}.json" for name in ("depth-routing", "pause", "learned-attention")}


def committed(name: str) -> Study:
    if not RESULTS[name].exists():
        pytest.skip(f"no full run of {name} is committed")
    return Study.open(RESULTS[name])


def losses(table: pd.DataFrame, name: str, column: str) -> pd.Series:
    own = table[table["society"] == name].set_index("seed")[column]
    assert len(own) == 3
    return own


def test_a_routed_society_has_no_advantage_at_equal_compute() -> None:
    table = committed("depth-routing")["Loss on held-out text"]
    assert (table["fell"] < 0.01).all(), "settled"
    flock, shallow, lot, routed = (
        losses(table, name, "whole") for name in ("flock", "flock, half the layers", "routed by lot", "routed")
    )
    assert flock.max() + 0.02 < shallow.min(), "more computation is less loss"
    assert flock.max() + 0.05 < routed.min()
    prefix = losses(table, "routed", "prefix")
    assert shallow.mean() < routed.mean() < prefix.mean(), "half the layers do no worse in the mean"
    assert shallow.max() > routed.min(), "but seeds overlap: no order is claimed"
    assert routed.max() + 0.05 < losses(table, "flock, fewer steps", "whole").min(), "and both better than fewer steps"
    assert losses(table, "routed", "by_lot").min() > lot.max() + 0.03, "who learned to choose needs its choice"


def test_what_a_router_gains_on_lots_is_mostly_the_future() -> None:
    table = committed("depth-routing")["Loss on held-out text"]
    routed, prefix, threshold = (losses(table, "routed", column) for column in ("whole", "prefix", "threshold"))
    lot = losses(table, "routed by lot", "prefix")
    assert (prefix > routed + 0.01).all()
    assert (threshold > routed + 0.01).all()
    assert prefix.mean() - routed.mean() > 0.5 * (lot.mean() - routed.mean()), "more than half of it"
    leaks = committed("depth-routing")["What the choice knows of the future"].set_index("society")
    assert (leaks.loc["routed", "dearer"] > 2 * leaks.loc["routed", "error"]).all()
    assert (leaks.loc["routed", "moved"] > 0.5).all()
    assert (leaks.loc[["flock", "routed by lot"], ["dearer", "moved", "largest"]] == 0).all(axis=None)


def test_who_is_routed_is_known_where_the_task_is() -> None:
    rounds = committed("depth-routing")["Which tokens of repeated sequences are routed"].set_index(["layer", "tokens"])
    unasked, asked = rounds.xs("first round (not asked)", level=1), rounds.xs("later ones that are asked", level=1)
    assert asked.loc[1, "lowest"] > 1.1 > 0.6 > unasked.loc[1, "highest"], "the first router takes those that are asked"
    assert unasked.loc[3, "lowest"] > 2 > 0.6 > asked.loc[3, "highest"], "and the second passes them over"
    text = committed("depth-routing")["Which characters are routed"].set_index(["layer", "tokens"])
    assert (text["lowest"] > 1).sum() == 1, "in text one kind in one layer is routed more by all seeds"
    assert text.loc[(1, "punctuation"), "lowest"] > 1.1
    assert (text["highest"] - text["lowest"]).median() > 0.7, "seeds choose differently"


def test_operations_saved_are_saved_in_time() -> None:
    costs = committed("depth-routing")["What a token costs"].set_index("society")
    assert costs["flops"].to_numpy() == pytest.approx(costs["counted"].to_numpy())
    assert costs.loc["routed", "relative_flops"] < costs.loc["routed", "relative_milliseconds"] < 1


def test_pauses_lose_to_no_pauses_where_the_answer_is_read_at_them() -> None:
    table = committed("pause")["Loss and compute"].set_index("society")
    paused, rivals = table.loc[["pauses 1", "pauses 2", "pauses 4"]], table.loc[["flock", "4 layers", "6 layers", "wider MLPs"]]
    assert paused["lowest"].min() > rivals["highest"].max() + 0.01, "all seeds, all rivals"
    assert (committed("pause")["Every run"]["fell"] < 0.04).all()
    assert table["highest"].max() < 0.3, "and all learned: saying 0 costs 0.5"


def test_the_same_pauses_help_those_who_come_later() -> None:
    table = committed("pause")["Loss and compute"].set_index("society")
    early = table.loc["pauses 2, read too early"]
    assert early["highest"] + 0.01 < table.loc[["flock", "wider MLPs"], "lowest"].min()
    assert early["loss"] < table.loc["6 layers", "loss"]
    assert early["highest"] > table.loc["6 layers", "lowest"], "seeds overlap with layers: no order is claimed"


def test_pauses_never_trained_are_no_gain() -> None:
    given = committed("pause")["Pauses given to a flock that was trained without"]
    assert (given["untrained"] > 0.5).all(), "worse than saying 0"
    assert (given["spaced"] < 0.2).all(), "and not for the distances"


def test_a_net_learns_attention_by_places_and_not_what_it_tells_by_content() -> None:
    study = committed("learned-attention")
    copy, recall = (
        study[f"Accuracy on {name} with a net in the place of attention"].set_index("instead") for name in ("copy", "recall")
    )
    for table in (copy, recall):
        assert table.loc["attention itself", "lowest"] > 0.99
        assert table.loc[["mean output", "zeros"], "highest"].max() < 0.15
        assert table.loc["net of weights, 32 units", "lowest"] > 0.95
        assert table.loc["net of weights, 32 units, untrained", "highest"] < 0.5
    assert copy.loc["net of outputs, 32 units", "lowest"] > 0.99
    assert recall.loc["net of outputs, 32 units", "highest"] < 0.75
    assert recall.loc["net of outputs, 32 units", "error"] < 0.75, "though by regression it has learned much"
    assert (recall["fell"].dropna().abs() < 0.05).all(), "settled"


def test_a_net_is_of_one_length() -> None:
    table = committed("learned-attention")["Other lengths"].set_index(["task", "instead", "length"])["accuracy"]
    recall = table.loc["recall"].unstack("instead")
    assert (recall["attention itself"] > 0.99).all()
    nets = recall.drop(columns="attention itself")
    assert nets.loc[14].isna().all(), "longer is impossible"
    assert nets.loc[12].notna().all()
    assert nets.loc[8, "net of weights, padded before"] < 0.9
    assert table["copy", "attention itself", 8] < 0.5, "copying by places is of one length for attention too"


def test_from_scratch_a_feed_forward_society_copies_and_does_not_recall() -> None:
    table = (
        committed("learned-attention")["Trained end to end from scratch"].set_index(["task", "society"])["accuracy"].sort_index()
    )
    mixers = ["feedforward", "feedforward, twice the layers"]
    assert table.loc[("copy", mixers)].min() > 0.99
    assert table.loc[("recall", mixers)].max() < 0.7 < 0.99 < table.loc[[("recall", "flock")]].min()
