"""Two sides of one prompt: where they part, and what changed."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram import edits
from tests.models.conftest import tiny_llama

PROMPT = "The Eiffel Tower is located in the city of"


@pytest.mark.real
def test_the_sides_are_the_recordings_and_part_where_the_edit_is(smollm: sg.Model) -> None:
    found = sg.compare(smollm, PROMPT, edits.cut(layer=23, head=4, key="iffel"))
    assert found.first_departure == 23
    early = found.departure[found.departure["layer"] < 23]
    assert float(early["relative"].max()) < 1e-4
    last = found.departure[found.departure["stop"] == 60]
    expected = np.linalg.norm(found.steered.dataset["residual"].values[-1] - found.plain.dataset["residual"].values[-1], axis=-1)
    np.testing.assert_allclose(last["distance"], expected, rtol=1e-5)
    assert float(last["relative"].iloc[:2].max()) < 1e-4  # nobody before the second token heard it
    changed = found.messages(3)
    assert (changed["layer"] == 23).all()
    assert (changed["steered"] == 0).all()
    plain = found.plain.edges(top=None, layer=23, head=4, key="iffel")
    assert changed["plain"].iloc[0] == pytest.approx(float(plain["message"].max()), rel=1e-4)
    assert found.predictions["token"][0] == "␣Paris"


@pytest.mark.parametrize("at", ["output", "input"])
def test_a_changed_input_of_a_layer_is_seen_where_it_enters(at: str) -> None:
    """The steered stream has one stop more than the plain one; the others are compared with their own counterparts."""
    found = sg.compare(sg.load(tiny_llama()), [5, 9, 17, 3], edits.add(np.ones(16), layer=1, at=at, query=2))
    stops = found.departure.groupby("stop")["distance"].max()
    assert found.first_departure == 1
    assert (stops[:3] == 0).all()
    assert len(stops) == 5
    assert (stops[3:] > 0).tolist() == [at == "input", True]
    place = found.departure[(found.departure["stop"] == 4) & (found.departure["query"] == 2)]["distance"]
    if at == "output":
        assert float(place.iloc[0]) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.real
def test_nothing_changed_is_no_departure_and_steered_models_compare_too(smollm: sg.Model) -> None:
    same = sg.compare(smollm, PROMPT, edits.scale_edges(factor=1.0))
    assert same.first_departure is None
    assert same.predictions.attrs["kl"] < 1e-6
    with sg.steer(smollm, edits.mute(layer=5)) as steered:
        more = sg.compare(steered, PROMPT, edits.mute(layer=20))
    assert more.first_departure == 20
    assert [str(edit) for edit in more.receipt.steered.edits] == ["mute layer=5", "mute layer=20"]
