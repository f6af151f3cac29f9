"""Pictures by matplotlib: what is drawn is what the recording says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import sociogram as sg
from tests.models.conftest import tiny_llama
from tests.watch.conftest import tiny


@pytest.mark.real
def test_the_flock_names_layer_share_and_variance(paris: sg.Recording) -> None:
    ax = sg.plot.flock(paris, layer=23, arrows=6)
    placed = paris.flock()
    points = ax.collections[0].get_offsets()
    stop = 2 * 23 + 1
    np.testing.assert_allclose(points, placed.positions.values[stop, 1:, :2])
    edges = paris.edges(layer=23, top=None, drop_first=True)
    best = edges[edges["query"] != edges["key"]].head(6)
    arrows = [a for a in ax.texts if a.get_text() == ""]
    assert len(arrows) == 6
    assert f"6 of {len(edges):,} messages" in ax.get_title()
    assert f"{best['message'].sum() / edges.attrs['total']:.0%}" in ax.get_title()
    assert f"{placed.variance[0]:.0%} of the variance" in ax.get_xlabel()
    assert {"␣Eiff", "iffel"} & {a.get_text() for a in ax.texts}
    assert "The" not in [a.get_text() for a in ax.texts]  # the first token stands far off
    assert len(sg.plot.flock(paris, layer=23, first=True).collections[0].get_offsets()) == 10


@pytest.mark.real
def test_the_default_layer_is_where_others_told_the_last_token_most(paris: sg.Recording) -> None:
    edges = paris.edges(top=None, query=-1, drop_first=True)
    told = edges[edges["key"] != 9].groupby("layer")["message"].sum()
    assert f"in layer {told.idxmax()}:" in sg.plot.flock(paris).get_title()


@pytest.mark.real
def test_heads_moves_and_weights_draw_the_numbers(paris: sg.Recording) -> None:
    edges = paris.edges(top=None)
    others = edges[(edges["query"] != edges["key"]) & (edges["key"] != 0)]
    table = sg.plot.heads(paris).images[0].get_array()
    own = others[(others["layer"] == 23) & (others["head"] == 4)]["message"].sum()
    assert table[23, 4] == pytest.approx(own, rel=1e-4)
    with_first = sg.plot.heads(paris, first=True).images[0].get_array()
    assert with_first[23, 4] > table[23, 4]

    lines = {line.get_label(): line for line in sg.plot.moves(paris, "␣of").get_lines()}
    moves = paris.moves()
    mlp = moves[moves["query"] == 9]["mlp"]
    np.testing.assert_allclose(lines["MLP"].get_ydata(), mlp)
    assert "from the other sequence" not in lines

    image = sg.plot.weights(paris, -1, -1).images[0].get_array()
    np.testing.assert_allclose(image.filled(0), paris.dataset["weights"].values[29, 8])
    assert image.mask[0, 1]


@pytest.mark.real
def test_a_streamed_recording_is_drawn_as_a_dense_one(smollm: sg.Model, paris: sg.Recording) -> None:
    rec = sg.record(smollm, "The Eiffel Tower is located in the city of", keep="stream", top=10)
    one, other = sg.plot.flock(rec).get_title(), sg.plot.flock(paris).get_title()
    assert one == other
    np.testing.assert_allclose(
        sg.plot.heads(rec).images[0].get_array(), sg.plot.heads(paris).images[0].get_array(), atol=1e-4, rtol=1e-4
    )


def test_moves_show_what_came_from_outside_and_what_was_edited() -> None:
    model = sg.load(tiny_llama())
    past, ids = sg.Past.of(model, [7, 8, 9, 10]), [5, 9, 17, 3, 44]
    edits = [sg.edits.attend(source=past, layer=1), sg.edits.add(np.ones(16), layer=0, at="mlp", query=2)]
    with sg.steer(model, edits) as steered:
        rec = steered.record(ids)
    lines = {line.get_label(): line for line in sg.plot.moves(rec, 2).get_lines()}
    own = rec.moves().query("query == 2")
    np.testing.assert_allclose(lines["from what an edit let it hear"].get_ydata(), own["from_outside"])
    np.testing.assert_allclose(lines["changed by edits"].get_ydata(), own["edited"])


@pytest.mark.parametrize("name", ["bert", "t5", "vit", "qwen3_next"])
def test_other_families_draw_too(name: str, tmp_path: Path) -> None:
    rec = tiny(name)
    closed = int(np.flatnonzero(rec.dataset["status"].values == "closed")[0])
    for ax in (sg.plot.flock(rec), sg.plot.heads(rec), sg.plot.moves(rec), sg.plot.weights(rec, closed, 0)):
        ax.figure.savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 5_000


def test_it_draws_where_it_is_told() -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert sg.plot.weights(tiny("llama"), 0, 0, ax=ax) is ax


def test_bad_calls_name_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    rec = tiny("llama")
    with pytest.raises(sg.InputError, match=r"no head 99: there are 4, numbered 0 to 3"):
        sg.plot.weights(rec, 0, 99)
    with pytest.raises(sg.InputError, match=r"components=\(0, 99\): two of 0 to"):
        sg.plot.flock(rec, components=(0, 99))
    with pytest.raises(sg.InputError, match="no layer 99"):
        sg.plot.flock(rec, layer=99)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(sg.MissingExtraError, match=r"pip install 'sociogram\[plot\]'"):
        sg.plot.heads(rec)
