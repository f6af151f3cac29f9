"""`networks.test` on recordings: its numbers are those of the parts, whatever null is chosen."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram.graphs import measures
from sociogram.graphs.nulls import NULLS
from tests.watch.conftest import tiny


def test_values_are_the_summary_s_and_the_seed_decides(alice: sg.Recording) -> None:
    nets = sg.networks(alice, by="layer")
    found = nets.test("clustering", samples=9)
    np.testing.assert_array_equal(found.table["value"], nets.summary()["clustering"])
    assert found.smallest == 0.1
    assert found.table["p"].between(0.1, 1).all()
    again, other = nets.test("clustering", samples=9), nets.test("clustering", samples=9, seed=1)
    np.testing.assert_array_equal(found.table["z"], again.table["z"])
    assert (found.table["z"] != other.table["z"]).any()
    assert "clustering against 'positional', 9 samples (no p below 0.1), 30 graphs" in repr(found)


@pytest.mark.parametrize("null", sorted(NULLS))
def test_every_null_runs_on_decoders_and_encoders(null: str, alice: sg.Recording, encoded: sg.Recording) -> None:
    for rec in (alice, encoded):
        table = sg.networks(rec, by="layer").test("clustering", null=null, samples=5).table
        assert table["p"].notna().any()
        assert np.isfinite(table["null"]).all()


def test_all_statistics_are_asked_of_the_same_samples(alice: sg.Recording) -> None:
    nets = sg.networks(alice, by="layer")
    together = nets.test_all(null="rows", samples=5, seed=2)
    assert set(together) == set(measures.MEASURES)
    alone = nets.test("clustering", null="rows", samples=5, seed=2)
    np.testing.assert_array_equal(together["clustering"].table["z"], alone.table["z"])


def test_what_a_null_fixes_is_not_tested(alice: sg.Recording) -> None:
    nets = sg.networks(alice, by="layer")
    for null, fixed in (
        ("positional", "sink_share"),
        ("positional", "self_share"),
        ("degrees", "sink_share"),
        ("rows", "entropy"),
    ):
        table = nets.test(fixed, null=null, samples=3).table
        assert table["z"].isna().all()
        assert table["p"].isna().all()

        def again(weights: np.ndarray, allowed: np.ndarray, name: str = fixed) -> np.ndarray:
            return measures.MEASURES[name](weights, allowed)

        free = nets.test(again, null=null, samples=3).table  # under another name it is: and hardly moves
        np.testing.assert_allclose(free["null"], free["value"], rtol=0.02)


def test_a_statistic_of_one_s_own(alice: sg.Recording) -> None:
    def last_row(weights: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        return weights[..., -1, :].max(-1) + 0 * allowed[..., 0, 0]

    found = sg.networks(alice, by="all").test(last_row, null="rows", samples=4)
    assert found.statistic == "last_row"
    assert found.table["null_sd"].iloc[0] < 1e-12  # rows keep their weights, so that their largest cannot change
    assert np.isnan(found.table["p"].iloc[0])


def test_reciprocity_of_causal_attention_has_no_p(alice: sg.Recording, encoded: sg.Recording) -> None:
    assert sg.networks(alice, by="layer").test("reciprocity", samples=3).table["p"].isna().all()
    assert sg.networks(encoded, by="layer").test("reciprocity", samples=3).table["p"].notna().all()


def test_the_untrained_model_is_a_null() -> None:
    rec = tiny("llama")
    nets = sg.networks(rec)
    found = nets.test("entropy", null="untrained", samples=6, seed=3)
    assert found.samples == 6
    assert found.table["null_sd"].gt(0).all()
    from sociogram.graphs.against import untrained

    recs = [untrained(rec, 3 + i) for i in range(6)]
    given = nets.test("entropy", null=recs)
    np.testing.assert_allclose(given.table["z"], found.table["z"])
    assert rec.model is not None
    before = next(rec.model.hf.parameters()).clone()
    assert bool((next(rec.model.hf.parameters()) == before).all())
    assert bool((next(recs[0].model.hf.parameters()) != before).any())


def test_what_does_not_exist_is_refused(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    with pytest.raises(sg.InputError, match="statistic='beauty': choose one of density"):
        nets.test("beauty")
    with pytest.raises(sg.InputError, match=r"null='chance': choose one of uniform, .* or .untrained."):
        nets.test("entropy", null="chance")
    with pytest.raises(sg.InputError, match="samples=0: a whole number from 1 up"):
        nets.test("entropy", samples=0)
    with pytest.raises(sg.InputError, match="give recordings of the same tokens"):
        nets.test("entropy", null=[])
    with pytest.raises(sg.InputError, match="record the same text with a model of the same shape"):
        nets.test("entropy", null=[tiny("llama")])


def test_pictures_are_drawn(alice: sg.Recording) -> None:
    nets = sg.networks(alice)
    axes = nets.plot("self_share")
    image = axes.get_images()[0].get_array()
    assert image.shape == (30, 9)
    assert float(image[4, 2]) == pytest.approx(float(measures.self_share(nets.weights(4, 2), nets.graph(4, 2).allowed[0])))
    found = nets.test("sender_share", samples=3)
    assert "stand out (dots" in found.plot().get_title()
    assert "0 of 270 stand out" in nets.test("entropy", null="rows", samples=2).plot().get_title()  # fixed: nothing to colour
    with pytest.raises(sg.InputError, match="statistic='beauty': choose one of edges"):
        nets.plot("beauty")
    assert sg.networks(alice, by="layer").plot().get_images()[0].get_array().shape == (30, 1)
    with pytest.raises(sg.InputError, match='by="head" or by="layer"'):
        sg.networks(alice, by="all").plot()
    assert "difference" in nets.causal_test([(3, 1)], samples=5).plot().get_title()
