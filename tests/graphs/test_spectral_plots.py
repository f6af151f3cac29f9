"""Pictures of spectra and embeddings: what is drawn is what the results say."""

from __future__ import annotations

import numpy as np
import pytest

import sociogram as sg
from tests.graphs.given import given_networks, heads_of_chance


def test_a_scree_with_its_null_and_its_elbows() -> None:
    nets = given_networks(heads_of_chance(np.random.default_rng(0), (2, 3, 10, 10)))
    found = nets.spectrum(samples=4)
    ax = found.plot(1, 2)
    one = found.data.isel(graph=5)
    lines = {line.get_label(): line for line in ax.get_lines()}
    for side in ("with", "without"):
        values = one["singular_value"].sel(first_token=side).values
        np.testing.assert_array_equal(lines[f"{side} the first token"].get_ydata(), values)
    rings = [line for line in ax.get_lines() if str(line.get_label()).startswith("_")]
    row = found.table[(found.table["layer"] == 1) & (found.table["head"] == 2)].iloc[0]
    assert rings[0].get_xdata().tolist() == list(row["elbows"])
    assert len(ax.collections) == 2
    assert ax.get_title() == "layer 1, head 2; band: null 'positional', 5 to 95 % of 4 samples"
    assert nets.spectrum(null=None).plot().get_title() == "layer 0, head 0; no null"
    with pytest.raises(sg.InputError, match="layer=5, head=None: no such graph in this result"):
        found.plot(5)


def test_tokens_as_points() -> None:
    nets = given_networks(heads_of_chance(np.random.default_rng(0), (1, 2, 10, 10)))
    found = nets.embed("omni", dimension=3)
    ax = found.plot(0, 1, side="reader", components=(3, 1))
    np.testing.assert_allclose(ax.collections[0].get_offsets(), found.data["reader"].values[1][:, [2, 0]])
    assert [text.get_text() for text in ax.texts] == nets.tokens
    assert "layer 0, head 1" in ax.get_title()
    shared = nets.embed("mase", dimension=2)
    np.testing.assert_allclose(shared.plot().collections[0].get_offsets(), shared.data["sender"].values)
    assert "all graphs" in shared.plot().get_title()
    with pytest.raises(sg.InputError, match=r"components=\(1, 4\): two of 1 to 3"):
        found.plot(components=(1, 4))
    with pytest.raises(sg.InputError, match="side='both'"):
        found.plot(side="both")
