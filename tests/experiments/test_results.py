"""The page in docs is what the committed full runs say, and those say what the page of facts says."""

from __future__ import annotations

import pytest

from experiments import page
from sociogram.experiments import Study, names

RESULTS = {file.stem: Study.open(file) for file in page.RESULTS.glob("*.json")}


def test_the_page_in_docs_is_what_the_results_say() -> None:
    stale = "docs/experiments.md differs from experiments/results: python -m experiments.page"
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), stale


def test_only_full_runs_are_committed() -> None:
    assert RESULTS
    for stem, study in RESULTS.items():
        assert study.stem == stem
        assert study.name in names()
        assert not study.quick
        assert study.seconds < 30 * 60
        assert (page.PAGE.parent / "images" / f"{stem}.png").exists()


def test_without_skips_rank_is_gone_and_the_plane_keeps_clusters() -> None:
    study = RESULTS["collective-motion"]
    collapse = study["Rank with and without skips and MLPs"].set_index(["layers", "stop"])["unlike"].sort_index()
    assert collapse["attention", 4] < 1e-12 < 0.1 < collapse["attention, skips", 8]
    clusters = study["Clusters over time"].set_index(["d_model", "beta", "time"])["clusters"].sort_index()
    assert clusters[2, 9.0].iloc[-1] > 1.4
    assert clusters[2, 1.0].iloc[-1] == clusters[64, 1.0].iloc[-1] == 1
    assert (study["The common cosine from orthogonal tokens"]["difference"] < 1e-8).all()


def test_trained_linear_attention_is_gradient_descent_on_new_tasks() -> None:
    study = RESULTS["in-context-descent"]
    table = study["Trained attention against gradient descent"].set_index(["examples", "model"])
    spread = study["Trained attention from other seeds"].set_index(["examples", "model"]).sort_index()
    assert len(study.seeds) >= 3
    for examples in (5, 10, 20):
        rows = table.loc[examples]
        descent = rows.loc["GD, 1 step"]
        assert rows.loc["linear attention, 1 layer", "cosine_GD"] > 0.99
        own = {name: spread.loc[(examples, name), "loss"] for name in spread.loc[examples].index.unique()}
        assert own["linear attention, 1 layer"].to_numpy() == pytest.approx([descent["loss"]] * 3, abs=descent["error"])
        assert own["linear attention, 2 layers"].max() < rows.loc["GD++, 2 steps", "loss"] < rows.loc["GD, 2 steps", "loss"]
        assert own["softmax attention, 1 head"].min() > 1.25 * descent["loss"], "one head stays away from the step, at every seed"
    assert (study["Constructed weights against gradient descent"]["difference"] < 1e-12).all()
    assert (study["What a prompt leaves in the weights"]["weights_changed"] == 0).all()


def test_two_softmax_heads_come_near_to_the_step_where_they_leave_their_plateau() -> None:
    study = RESULTS["in-context-descent"]
    spread = study["Trained attention from other seeds"].set_index(["examples", "model"]).sort_index()
    descent = study["Trained attention against gradient descent"].set_index(["examples", "model"])["loss"]
    near = {}
    for examples in (5, 10, 20):
        one, two = (spread.loc[(examples, f"softmax attention, {heads}"), "loss"] for heads in ("1 head", "2 heads"))
        assert two.max() < one.min() + 0.01
        near[examples] = int((two < descent.loc[examples, "GD, 1 step"] * 1.1).sum())
    assert near == {5: 3, 10: 2, 20: 1}, "some seeds are still where one head is"


@pytest.mark.parametrize("model", ["smollm2-135m", "minilm-l6"])
@pytest.mark.parametrize(("kind", "pairs"), [("pronoun", 24), ("sense", 20)])
def test_words_take_over_their_meaning_from_the_cue_and_through_its_edges(model: str, kind: str, pairs: int) -> None:
    study = RESULTS["resolution"]
    table = study["Where most is carried over"]
    rows = table[(table["model"] == model) & (table["kind"] == kind)].set_index("change")
    cue, cut, beside = rows.loc["cue"], rows.loc["cue, its edges cut"], rows.loc["distractor"]
    assert cue["toward"] > 5 * cue["error"], f"{pairs} pairs"
    assert cue["pairs_toward"] > 0.8
    assert beside["toward"] < 0.25 * cue["toward"]
    assert abs(cue["another"]) < 0.05 < cue["toward"]
    assert cut["toward"] < 0.65 * cue["toward"]
    assert rows.loc["cue, the distractor's edges cut", "toward"] > 0.95 * cue["toward"]
