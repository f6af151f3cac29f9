"""Exported pages in a real browser, from disk: what a person can do, and what must never happen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sociogram as sg
from tests.studio.conftest import Drive
from tests.studio.large import large_page

pytestmark = pytest.mark.real
STATE = {"eval": "window.__sociogram.state()"}
EDGES = {"eval": "window.__sociogram.edges()"}


def settled(expression: str) -> dict[str, str]:
    return {"wait": f"(() => {{ const s = window.__sociogram.state(); return {expression}; }})()"}


def test_the_first_view_says_something_and_asks_nobody(drive: Drive, flock_page: Path, paris: sg.Recording) -> None:
    report = drive(flock_page, STATE, EDGES, {"eval": "window.__sociogram.renderer"}, {"eval": "document.body.innerText"})
    state, edges, renderer, text = report["results"]
    told = paris.edges(top=None, query=-1, drop_first=True)
    layer = int(told[told["key"] != 9].groupby("layer")["message"].sum().idxmax())
    assert paris.dataset["stop_layer"].values[state["stop"]] == layer
    assert state["token"] == 9
    assert not state["first"]
    assert 0 < len(edges) <= 10
    assert all(edge["key"] != 0 and edge["query"] != edge["key"] for edge in edges)
    assert renderer == "webgl2"
    assert "Paris" in text
    assert "variance" in text


def test_the_arrows_numbers_are_those_of_edges(drive: Drive, flock_page: Path, paris: sg.Recording) -> None:
    for meaning in ("message", "attention", "contribution", "toward"):
        setting = f"window.__sociogram.set({{meaning: {meaning!r}, layer: 23, token: 9, arrows: 30, threshold: 0}})"
        report = drive(flock_page, {"eval": setting}, settled(f"s.meaning === {meaning!r} && s.layer === 23"), EDGES)
        edges = report["results"][-1]
        assert len(edges) > 5
        table = paris.edges(meaning, layer=23, top=None, toward=" Paris", drop_first=True)
        table = table[(table["query"] != table["key"]) & ((table["query"] == 9) | (table["key"] == 9))].head(len(edges))
        for edge, (_, row) in zip(edges, table.iterrows(), strict=True):
            assert (edge["layer"], edge["head"], edge["query"], edge["key"]) == (23, row["head"], row["query"], row["key"])
            for name in ("message", "attention", "contribution", "toward"):
                assert edge[name] == pytest.approx(row[name], rel=1e-3, abs=1e-4)


def test_everything_can_be_done_by_keyboard(drive: Drive, flock_page: Path) -> None:
    keys = ["ArrowRight", "ArrowUp", "]", "f", "w", "m", "v", "?"]
    steps = [STATE]
    for key in keys:
        steps += [{"press": key}, {"eval": "new Promise(r => requestAnimationFrame(() => r(window.__sociogram.state())))"}]
    steps += [{"press": "Escape"}, STATE]
    found = drive(flock_page, *steps)["results"]
    states = [found[0], *found[2::2]]
    before, right, up, more, first, words, meaning, panel, help_ = states[:9]
    assert right["stop"] > before["stop"]
    assert up["token"] == 8
    assert (more["arrows"], more["threshold"]) != (up["arrows"], up["threshold"])
    assert first["first"] != more["first"]
    assert words["words"] != first["words"]
    assert meaning["meaning"] != words["meaning"]
    assert panel["panel"] != meaning["panel"]
    assert help_["help"]
    assert not found[-1]["help"]


def test_playing_moves_and_stops(drive: Drive, flock_page: Path) -> None:
    start = {"eval": "window.__sociogram.set({stop: 0, playing: false})"}
    report = drive(flock_page, start, {"press": " "}, settled("s.playing"), settled("s.stop >= 2"), {"press": " "}, STATE)
    assert not report["results"][-1]["playing"]


def test_reduced_motion_is_respected(drive: Drive, flock_page: Path) -> None:
    watch = """new Promise(done => { const seen = []; window.__sociogram.set({stop: 0, playing: true});
      const look = () => { seen.push(window.__sociogram.state().stop);
        seen.length < 90 ? requestAnimationFrame(look) : done(seen) }; look() })"""
    seen = drive(flock_page, {"eval": watch}, context={"reducedMotion": "reduce"})["results"][0]
    assert all(float(stop).is_integer() for stop in seen)


def test_the_address_holds_the_whole_view(drive: Drive, flock_page: Path) -> None:
    change = "window.__sociogram.set({layer: 5, heads: [3, 1], token: 4, meaning: 'attention', panel: 'arcs', arrows: 77})"
    wait = {"wait": "location.hash.length > 5"}
    first = drive(
        flock_page, {"eval": change}, wait, {"eval": "new Promise(r => setTimeout(r, 600))"}, {"eval": "location.hash"}, STATE
    )
    fragment, state = first["results"][-2:]
    again = drive(flock_page, STATE, fragment=fragment)["results"][0]
    for name in ("layer", "heads", "token", "meaning", "panel", "arrows", "stop", "view"):
        assert again[name] == state[name]
    odd = drive(flock_page, STATE, fragment="#layer=9999&token=-5&stop=NaN&meaning=%3Cscript%3E&arrows=1e99")["results"][0]
    assert 0 <= odd["stop"] <= 60
    assert odd["meaning"] == "message"


def test_without_webgl_it_is_drawn_all_the_same(drive: Drive, flock_page: Path) -> None:
    report = drive(
        flock_page,
        {"eval": "window.__sociogram.renderer"},
        {"eval": "document.body.innerText"},
        {"eval": "document.querySelectorAll('svg circle, svg path').length"},
        flags=["--disable-3d-apis"],
    )
    renderer, text, shapes = report["results"]
    assert renderer == "svg"
    assert "WebGL" in text
    assert shapes > 10


@pytest.mark.parametrize("flags", [[], ["--disable-3d-apis"]], ids=["webgl2", "svg"])
def test_hostile_tokens_are_shown_as_text(drive: Drive, smollm: sg.Model, tmp_path: Path, flags: list[str]) -> None:
    text = "</script><img src=x onerror=alert(1)><b>bold</b> {{7*7}} ${1}"
    rec = sg.record(smollm, text)
    sg.to_html(rec, tmp_path / "hostile.html")
    alien = {"eval": "[...document.querySelectorAll('img, b')].filter(e => e.matches('img') || e.textContent === 'bold').length"}
    steps = [alien]
    for panel in ("flock", "arcs", "reach", "table"):
        steps += [{"eval": f"window.__sociogram.set({{panel: '{panel}'}})"}, {"eval": "new Promise(r => setTimeout(r, 150))"}]
    steps += [alien, {"eval": "document.body.innerText"}]
    found = drive(tmp_path / "hostile.html", *steps, flags=flags)["results"]
    assert found[0] == found[-2] == 0
    assert "onerror=alert(1)" in found[-1].replace("\n", "")


def test_two_thousand_tokens_and_fifty_thousand_edges_load(drive: Drive, tmp_path: Path) -> None:
    page = large_page(tmp_path / "large.html", tokens=2_000, layers=30, heads=9, edges=50_000)
    still = {"eval": "window.__sociogram.set({arrows: 3000, stop: 21, token: null})"}
    report = drive(page, still, {"eval": "new Promise(r => setTimeout(r, 1500))"}, EDGES, STATE, patience=120_000)
    assert len(report["results"][2]) > 100
    assert page.stat().st_size < 16_000_000


def test_a_streamed_page_of_a_text_that_grew_says_so_and_draws_its_edges(drive: Drive, smollm: sg.Model, tmp_path: Path) -> None:
    rec = sg.record(smollm, "The Eiffel Tower is located in the city of", keep="stream", top=3, generate=4)
    sg.to_html(rec, tmp_path / "page.html")
    setting = {"eval": "window.__sociogram.set({layer: 23, token: 9, arrows: 30, threshold: 0})"}
    report = drive(tmp_path / "page.html", {"eval": "document.body.innerText"}, setting, settled("s.layer === 23"), EDGES)
    text, edges = " ".join(report["results"][0].split()), report["results"][-1]
    for words in ("10 tokens read, 4 written", "14 tokens checked while recording", "3 strongest keys (by message norm)"):
        assert words in text
    assert "contribution" not in text
    table = rec.edges("message", layer=23, top=None, drop_first=True)
    table = table[(table["query"] != table["key"]) & ((table["query"] == 9) | (table["key"] == 9))]
    assert 5 < len(edges) <= 30
    for edge, (_, row) in zip(edges, table.iterrows(), strict=False):
        assert [edge[name] for name in ("head", "query", "key")] == [row[name] for name in ("head", "query", "key")]
        assert edge["message"] == pytest.approx(row["message"], rel=1e-3)


def test_eight_thousand_tokens_load_and_play(drive: Drive, tmp_path: Path) -> None:
    page = large_page(tmp_path / "large.html", tokens=8_192, layers=12, heads=4, edges=20_000, components=3)
    start = {"eval": "window.__sociogram.set({stop: 0, playing: true, token: null})"}
    shown = {"eval": "document.querySelectorAll('.sg-chip').length"}
    report = drive(page, shown, start, settled("s.stop >= 2"), {"eval": "window.__sociogram.renderer"}, patience=120_000)
    assert report["results"][0] <= 300
    assert report["results"][-1] == "webgl2"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_picture_is_not_empty(drive: Drive, flock_page: Path, tmp_path: Path, width: int, scheme: str) -> None:
    picture = tmp_path / "shot.png"
    context = {"viewport": {"width": width, "height": 800}, "colorScheme": scheme}
    wide = {"eval": "document.documentElement.scrollWidth"}
    pause = {"eval": "new Promise(r => setTimeout(r, 400))"}
    found = drive(flock_page, pause, {"screenshot": str(picture)}, wide, context=context)["results"]
    from matplotlib.image import imread

    pixels = (imread(picture)[..., :3] * 255).astype(int)
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) > 200
    assert (pixels.mean() > 128) == (scheme == "light")
    assert found[-1] <= width
