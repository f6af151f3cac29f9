"""Two sides of one prompt: where they part, and what changed."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from sociogram import edits

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


@pytest.mark.real
def test_nothing_changed_is_no_departure_and_steered_models_compare_too(smollm: sg.Model) -> None:
    same = sg.compare(smollm, PROMPT, edits.scale_edges(factor=1.0))
    assert same.first_departure is None
    assert same.predictions.attrs["kl"] < 1e-6
    with sg.steer(smollm, edits.mute(layer=5)) as steered:
        more = sg.compare(steered, PROMPT, edits.mute(layer=20))
    assert more.first_departure == 20
    assert [str(edit) for edit in more.receipt.steered.edits] == ["mute layer=5", "mute layer=20"]
