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


@pytest.mark.skipif("in-context-descent" not in RESULTS, reason="no full run of in-context-descent is committed")
def test_trained_linear_attention_is_gradient_descent_on_new_tasks() -> None:
    table = RESULTS["in-context-descent"]["Trained attention against gradient descent"].set_index(["examples", "model"])
    for examples in (5, 10, 20, 40):
        rows = table.loc[examples]
        trained, descent = rows.loc["linear attention, 1 layer"], rows.loc["GD, 1 step"]
        assert trained["loss"] == pytest.approx(descent["loss"], abs=4 * descent["error"])
        assert trained["cosine_GD"] > 0.99
        assert rows.loc["linear attention, 2 layers", "loss"] < rows.loc["GD, 2 steps", "loss"]
        assert rows.loc["softmax attention, 1 head", "loss"] > rows.loc["softmax attention, 2 heads", "loss"]
