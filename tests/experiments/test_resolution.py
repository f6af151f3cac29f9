"""The pairs are what they say, places are found, cuts land, and what is carried over is not what a distractor carries."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.experiments import Study
from sociogram.experiments import resolution as experiment
from sociogram.experiments.pairs import PAIRS, Pair


def test_there_are_forty_pairs_and_each_is_a_pair() -> None:
    assert len(PAIRS) >= 40
    assert len({pair.text() for pair in PAIRS}) == len(PAIRS)
    for pair in PAIRS:
        assert pair.frame.count("{cue}") == pair.frame.count("{other}") == 1
        assert pair.text().endswith(f" {pair.target}"), "the target is the last word"
        assert pair.frame.index("{cue}") < len(pair.frame) - len(pair.target)
        for versions in (pair.cues, pair.others, pair.meanings):
            assert versions[0] != versions[1]
        assert pair.kind in ("pronoun", "sense")
        assert not {word.lower() for word in pair.meanings} & set(pair.frame.lower().split()), "meanings are said elsewhere"
    for pair in (pair for pair in PAIRS if pair.kind == "sense"):
        assert not any(word in cue for word in (*pair.meanings, pair.target) for cue in pair.cues), (
            "cues do not say it themselves"
        )
    assert {pair.target for pair in PAIRS if pair.kind == "pronoun"} == {"she", "he"}


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm", "minilm"])
def test_places_are_those_of_the_words(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    for pair in PAIRS:
        for cue, other in ((0, 0), (1, 0), (0, 1)):
            tokens = model.spell(model.encode(pair.text(cue, other))["input_ids"][0].tolist())
            words = {"cue": pair.cues[cue], "other": pair.others[other], "target": pair.target}
            for what, where in experiment.places(model, pair, cue, other).items():
                said = "".join(tokens[place] for place in where).replace("␣", " ").replace("##", "").strip()
                assert said.lower().replace(" ", "") == words[what].lower().replace(" ", ""), (pair.text(cue, other), what)


@pytest.mark.real
def test_cut_edges_carry_nothing_directly(smollm: sg.Model) -> None:
    pair = PAIRS[0]
    where = experiment.places(smollm, pair, 0, 0)
    with sg.steer(smollm, [sg.edits.cut(query=where["target"][-1], key=key) for key in where["cue"]]) as steered:
        weights = steered.record(pair.text()).dataset["weights"].values
    assert weights[:, :, where["target"][-1], where["cue"]].max() == 0
    plain = experiment._at_target(smollm, pair, 0, 0, None)
    assert np.abs(plain - experiment._at_target(smollm, pair, 0, 0, "cue")).max() > 1
    assert experiment._change(smollm, pair, plain, 0, 0) == pytest.approx(0 * plain, abs=1e-6), "the same version changes nothing"


@pytest.mark.real
def test_shares_of_who_is_heard_are_those_of_the_edges(smollm: sg.Model) -> None:
    pair = PAIRS[1]
    rec = sg.record(smollm, pair.text())
    where = experiment.places(smollm, pair, 0, 0)
    told = experiment._told(rec, where, where["target"][-1])
    edges = rec.edges("message", layer=12, query=where["target"][-1], top=None)
    total = edges["message"].sum()
    for name, keys in (("cue", where["cue"]), ("first_token", [0])):
        assert told[f"told {name}"][12] == pytest.approx(edges[edges["key"].isin(keys)]["message"].sum() / total, rel=1e-4)


def test_a_cosine_with_nothing_is_none() -> None:
    found = experiment._cosine(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[2.0, 0.0], [1.0, 0.0], [-1.0, -1.0]]))
    assert found == pytest.approx([1, np.nan, -1], nan_ok=True)


@pytest.fixture(scope="module")
def quick() -> Study:
    return experiment.run(quick=True)


@pytest.mark.real
def test_the_quick_run_is_whole(quick: Study) -> None:
    table = quick[experiment.LAYERS].set_index(["kind", "change", "layer"]).sort_index()
    for kind in ("pronoun", "sense"):
        assert table.loc[(kind, "cue")]["carried"].max() > 0.05
        assert table.loc[(kind, "cue", 29), "carried"] > table.loc[(kind, "cue, its edges cut", 29), "carried"] > 0
    assert table.loc[("pronoun", "cue")]["carried"].mean() > table.loc[("pronoun", "distractor")]["carried"].mean()
    shares = quick[experiment.HEARD][["cue", "distractor", "itself", "first_token"]]
    assert ((shares > 0) & (shares < 1)).all(axis=None)
    assert len(quick.draw().axes) == 2


def test_one_pair_has_no_other_to_compare_with() -> None:
    with pytest.raises(sg.InputError, match="pairs=1: two or more of each kind"):
        experiment.run(quick=True, pairs=1)


def test_a_pair_says_its_versions() -> None:
    pair = Pair("sense", "On {other} the {cue} saw the bat", "bat", ("batter", "vet"), ("Monday", "Friday"), ("club", "animal"))
    assert pair.text() == "On Monday the batter saw the bat"
    assert pair.text(1, 1) == "On Friday the vet saw the bat"
