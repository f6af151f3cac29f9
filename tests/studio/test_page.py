"""The page: the recording's own numbers inside, nothing from outside, and no token that is more than text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import sociogram as sg
from sociogram.studio import contents
from sociogram.studio import page as page_module
from sociogram.studio.frame import Header, decode
from sociogram.watch import crowd
from sociogram.watch.near import nearest_others as nearest
from tests.models.conftest import tiny_llama
from tests.watch.conftest import tiny

SCHEMA = json.loads(files("sociogram.studio").joinpath("frame.schema.json").read_text())
HOSTILE = "</script><img src=x onerror=alert(1)> & <!-- 'x' \"y\""


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests are about what is around the program; the browser's tests use the real one."""
    monkeypatch.setattr(page_module, "static", lambda name: f"/* {name} {{braces}} */")


def inside(page: str) -> tuple[Header, dict[str, np.ndarray]]:
    found = re.search(r'<script type="application/octet-stream" id="sociogram-frame">([A-Za-z0-9+/=]+)</script>', page)
    assert found is not None
    return decode(base64.b64decode(found[1]))


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "gpt_neox", "gemma2", "gpt_oss", "qwen3_next", "t5", "vit"])
def test_any_family_fits_the_schema(name: str) -> None:
    rec = tiny(name)
    header, arrays = inside(sg.to_html(rec))
    jsonschema.validate(header, SCHEMA)
    run = header["runs"][0]
    stops, tokens, layers, heads = len(run["stops"]), len(run["tokens"]), len(run["layers"]), run["heads"]
    assert tokens == len(rec.tokens)
    assert arrays["0/norm"].shape == arrays["0/moved"].shape == (stops, tokens)
    for view in run["views"]:
        assert arrays[f"0/position/{view['name']}"].shape == (stops, tokens, len(view["components"]))
    assert arrays["0/neighbour"].shape == (stops, tokens, run["neighbours"])
    assert arrays["0/count"].shape == (layers, heads, 3)
    for layer, status in zip(run["layers"], rec.dataset["status"].values, strict=True):
        assert layer["status"] == status
        assert status != "closed" or "attention" in run["stops"][layer["stop"]]["part"]


def test_a_run_whose_stream_was_edited_says_so_beside_the_plain_one() -> None:
    model = sg.load(tiny_llama())
    plain, ids = sg.record(model, [5, 9, 17, 3, 44]), [5, 9, 17, 3, 44]
    some = [sg.edits.add(np.ones(16), layer=1, at=at, query=2) for at in ("mlp", "input")]
    with sg.steer(model, some) as steered:
        header, arrays = inside(sg.to_html(plain, other=steered.record(ids), names=("plain", "steered")))
    jsonschema.validate(header, SCHEMA)
    assert "0/move/edited" not in arrays
    np.testing.assert_allclose(arrays["1/move/edited"], [[np.nan] * 5, [0, 0, 4, 0, 0]], atol=1e-6)
    assert len(header["runs"][1]["stops"]) == len(header["runs"][0]["stops"]) + 1  # where the stream was changed between layers


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "gpt_neox", "gemma2", "qwen3_next", "t5"])
def test_a_streamed_recording_ships_what_it_keeps_and_the_totals_of_all(name: str) -> None:
    dense = tiny(name)
    assert dense.model is not None
    rec = sg.record(dense.model, dict(dense.inputs), keep="stream", top=2, by="attention")
    header, arrays = inside(sg.to_html(rec))
    jsonschema.validate(header, SCHEMA)
    whole, every = inside(sg.to_html(dense))
    run = header["runs"][0]
    assert run["streamed"] == {"top": 2, "by": "attention"}
    assert [meaning["name"] for meaning in run["meanings"]] == ["message", "attention"]
    assert whole["runs"][0]["streamed"] is None
    assert run["audit"]["checked"] == min(16, len(rec.tokens))
    assert 0 < run["audit"]["relative_error"] < 1e-4  # type: ignore[operator]
    assert whole["runs"][0]["audit"]["checked"] is None
    for meaning in ("attention", "message") if name != "qwen3_next" else ("attention",):  # its gates leave norms unsummed
        for kind in ("total", "total_reader"):
            np.testing.assert_allclose(arrays[f"0/{kind}/{meaning}"], every[f"0/{kind}/{meaning}"], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(arrays["0/count"], every["0/count"])
    for part in ("moved", "from_others", "from_itself", "mlp"):
        np.testing.assert_allclose(arrays[f"0/move/{part}"], every[f"0/move/{part}"], rtol=1e-3, atol=1e-4)
    place = {tuple(edge): i for i, edge in enumerate(_places(every).tolist())}
    shipped = [place[tuple(edge)] for edge in _places(arrays).tolist()]  # each is an edge of the dense one
    assert len(set(shipped)) == len(shipped) <= len(place)
    for column in ("attention", "message", "contribution"):
        np.testing.assert_allclose(arrays[f"0/edge/{column}"], every[f"0/edge/{column}"][shipped], rtol=1e-3, atol=1e-4)
    per_row = np.unique(_places(arrays)[:, :3], axis=0, return_counts=True)[1]
    assert per_row.max() == 2


def _places(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([arrays[f"0/edge/{name}"] for name in ("layer", "head", "query", "key")], 1).astype(int)


def test_a_streamed_recording_has_no_arrows_towards_a_token() -> None:
    dense = tiny("llama")
    assert dense.model is not None
    rec = sg.record(dense.model, dense.inputs["input_ids"], keep="stream")
    with pytest.raises(
        sg.InputError, match=r'toward=3: .* was streamed, and of what .*leave toward out, or record with keep="def'
    ):
        sg.to_html(rec, toward=3)
    header, _ = inside(sg.to_html(dense, other=rec))  # compared, neither has them
    assert [[m["name"] for m in run["meanings"]] for run in header["runs"]] == [
        ["message", "attention", "contribution"],
        ["message", "attention"],
    ]


@pytest.mark.real
def test_of_few_edges_each_reader_of_a_streamed_recording_gets_some(smollm: sg.Model) -> None:
    rec = sg.record(smollm, "the cat sat on the mat and " * 12, keep="stream", top=4)
    tokens = len(rec.tokens)
    _, arrays = inside(sg.to_html(rec, budget=2 * 30 * 2 * tokens))
    assert len(arrays["0/edge/query"]) <= 2 * 30 * 2 * tokens < (rec.dataset["top_key"].values >= 0).sum()
    layer, _, query, key = _places(arrays).T
    heard = {(a, b) for a, b, c in zip(layer, query, key, strict=True) if c not in (0, b)}
    assert heard >= {(a, b) for a in range(30) for b in range(2, tokens)}
    best = rec.edges(layer=7, top=5)["message"]
    own = arrays["0/rank/message"][arrays["0/rank_start/message"][7] :]
    np.testing.assert_allclose(arrays["0/edge/message"][own[:5]], best, rtol=1e-4)


def test_a_text_that_the_model_went_on_with_says_where_it_begins() -> None:
    model = sg.load(tiny_llama())
    for keep in ("default", "stream"):
        rec = sg.record(model, [5, 9, 17], generate={"max_new_tokens": 4, "eos_token_id": None}, keep=keep)
        header, _ = inside(sg.to_html(rec))
        jsonschema.validate(header, SCHEMA)
        assert header["runs"][0]["prompt"] == 3
        assert len(header["runs"][0]["tokens"]) == 7
        if keep == "stream":
            assert header["runs"][0]["audit"]["checked"] == 3 + 4  # each in its own pass
    assert inside(sg.to_html(sg.record(model, [5, 9, 17])))[0]["runs"][0]["prompt"] is None


def test_what_was_heard_from_outside_is_shipped() -> None:
    model = sg.load(tiny_llama())
    ids, past = [5, 9, 17, 3, 44], sg.Past.of(model, [7, 8, 9, 10])
    with sg.steer(model, sg.edits.attend(source=past, layer=1)) as steered:
        rec = steered.record(ids)
    header, arrays = inside(sg.to_html(rec))
    jsonschema.validate(header, SCHEMA)
    table = rec.moves().pivot(index="layer", columns="query", values="from_outside")
    np.testing.assert_allclose(arrays["0/move/from_outside"], table, rtol=1e-5)
    assert (arrays["0/move/from_outside"][1] > 0).all()
    assert "0/move/from_source" not in arrays
    _, t5 = inside(sg.to_html(tiny("t5")))
    assert (t5["0/move/from_source"] > 0).any()


def test_a_long_text_ships_fewer_components_no_neighbours_and_four_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    rec = tiny("llama")
    points = rec.dataset["residual"].sizes["stop"] * len(rec.tokens)
    exact = inside(sg.to_html(rec))[1]
    monkeypatch.setattr(contents, "COORDINATES", 5 * points)
    monkeypatch.setattr(contents, "POINTS", points - 1)
    monkeypatch.setattr(contents, "ROUNDED", 3)
    asked: list[int] = []
    monkeypatch.setattr(
        crowd, "nearest_others", lambda places, count, some=None: asked.append(count) or nearest(places, count, some)
    )
    header, arrays = inside(sg.to_html(rec))
    run = header["runs"][0]
    assert len(run["views"][0]["components"]) == 5
    assert run["neighbours"] == 0
    assert arrays["0/neighbour"].shape == (*arrays["0/norm"].shape, 0)
    assert set(asked) == {5}  # for the measures alone
    for name in ("0/norm", "0/edge/message", "0/edge/pull"):
        np.testing.assert_allclose(arrays[name], exact[name], rtol=2**-12)
        assert not (arrays[name].view(np.uint32)[np.isfinite(arrays[name])] & 0xFFF).any()
        assert (exact[name].view(np.uint32) & 0xFFF).any()
    np.testing.assert_array_equal(np.isnan(arrays["0/edge/pull"]), np.isnan(exact["0/edge/pull"]))


@pytest.mark.real
def test_the_numbers_are_those_of_the_recording(paris: sg.Recording) -> None:
    header, arrays = inside(sg.to_html(paris, toward=" Paris"))
    run = header["runs"][0]
    edges = paris.edges(top=None, toward=" Paris").sort_values(["layer", "head", "query", "key"])
    where = np.stack([arrays[f"0/edge/{name}"] for name in ("layer", "head", "query", "key")])
    order = np.lexsort(where[::-1])
    np.testing.assert_array_equal(where[:, order], edges[["layer", "head", "query", "key"]].to_numpy().T)
    for name in ("attention", "message", "contribution", "pull", "toward"):
        np.testing.assert_allclose(arrays[f"0/edge/{name}"][order], edges[name], rtol=1e-4, atol=1e-5)
    for meaning in run["meanings"]:
        name = meaning["name"]
        rank, starts = arrays[f"0/rank/{name}"], arrays[f"0/rank_start/{name}"]
        for layer in (0, 23, 29):
            own = rank[starts[layer] : starts[layer + 1]]
            assert (arrays["0/edge/layer"][own] == layer).all()
            best = paris.edges(name, toward=" Paris", layer=layer, top=3)[name]
            np.testing.assert_allclose(arrays[f"0/edge/{name}"][own[:3]], best, rtol=1e-4)
        assert arrays[f"0/total/{name}"].sum() == pytest.approx(edges[name].abs().sum(), rel=1e-4)
    flock = paris.flock()
    view = run["views"][0]
    np.testing.assert_allclose(
        arrays["0/position/plain"].astype(np.float64) * view["scale"], flock.positions, atol=1e-3 * view["scale"]
    )
    assert run["views"][0]["variance"] == pytest.approx(list(flock.variance))
    moves = paris.moves()
    assert arrays["0/move/moved"][23, 9] == pytest.approx(
        moves[(moves["layer"] == 23) & (moves["query"] == 9)]["moved"].item(), rel=1e-5
    )
    assert run["predictions"][0]["token"] == "␣Paris"
    assert run["audit"]["relative_error"] == pytest.approx(paris.audit().max_relative_error)
    assert header["source"]["text"] == "The Eiffel Tower is located in the city of"
    words = run["words"]
    assert words is not None
    assert words["vocabulary"][arrays["0/word"][-1, -1]] == "␣Paris"


@pytest.mark.real
def test_a_long_prompt_ships_an_excerpt_and_says_how_much(smollm: sg.Model) -> None:
    rec = sg.record(smollm, "the cat sat on the mat and " * 12)
    header, arrays = inside(sg.to_html(rec, budget=2_000))
    assert len(arrays["0/edge/query"]) <= 2_000
    assert arrays["0/count"].sum() == sum(int((rec.messages(layer).weights != 0).sum()) for layer in range(30))
    assert header["runs"][0]["causal"]


@pytest.mark.real
@pytest.mark.parametrize("text", ["Hello", "Hi there", "one two three"])
def test_the_shortest_prompts_have_pages_too(smollm: sg.Model, minilm: sg.Model, text: str) -> None:
    for model in (smollm, minilm):
        rec = sg.record(model, text)
        header, arrays = inside(sg.to_html(rec))
        jsonschema.validate(header, SCHEMA)
        assert header["runs"][0]["tokens"] == rec.tokens
        assert arrays["0/count"].sum() == len(rec.edges(top=None))
        assert all(np.isfinite(arrays[f"0/position/{view['name']}"]).all() for view in header["runs"][0]["views"])


@pytest.mark.real
def test_two_recordings_share_the_first_ones_basis(smollm: sg.Model, paris: sg.Recording) -> None:
    other = sg.record(smollm, "The Colosseum is located in the city of")
    header, arrays = inside(sg.to_html(paris, other=other, names=("Eiffel", "Colosseum")))
    jsonschema.validate(header, SCHEMA)
    assert [run["name"] for run in header["runs"]] == ["Eiffel", "Colosseum"]
    base = paris.flock()
    placed = other.flock(basis=base).positions
    scale = header["runs"][1]["views"][0]["scale"]
    np.testing.assert_allclose(arrays["1/position/plain"].astype(np.float64) * scale, placed, atol=1e-3 * scale)
    with pytest.raises(sg.InputError, match=r"cannot be drawn in one basis: their streams are 576 and \d+ numbers wide"):
        sg.to_html(paris, other=tiny("llama"))


def test_nothing_comes_from_outside_and_only_the_stated_code_runs() -> None:
    page = sg.to_html(tiny("llama"))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none';")
    style, script = re.search(r"<style>(.*?)</style>", page, re.S), re.search(r"<script>(.*?)</script>", page, re.S)
    assert style is not None
    assert script is not None
    for text, kind in ((style[1], "style-src"), (script[1], "script-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://", page)


@pytest.mark.real
def test_hostile_tokens_are_only_data(smollm: sg.Model) -> None:
    page = sg.to_html(sg.record(smollm, HOSTILE))
    header, _ = inside(page)
    assert header["source"]["text"] == HOSTILE
    rest = page.replace(re.search(r"<script type=.*?</script>", page, re.S)[0], "")  # type: ignore[index]
    assert "<img" not in rest
    assert rest.count("<script>") == rest.count("</script>") == 1


def test_bad_calls_name_the_fault_and_lose_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rec = tiny("llama")
    target = tmp_path / "flock.html"
    target.write_text("mine")
    with pytest.raises(sg.InputError, match="'sideways' is none of plain, centred, sphere, normed"):
        sg.to_html(rec, target, views=["sideways"])
    with pytest.raises(sg.InputError, match="name at least one of"):
        sg.to_html(rec, target, views=[])
    with pytest.raises(sg.InputError, match=r"no/such/flock\.html cannot be written: there is no folder .*such"):
        sg.to_html(rec, tmp_path / "no" / "such" / "flock.html")

    def broken(*_: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(page_module, "contents", broken)
    with pytest.raises(sg.InputError, match="there is no folder"):  # before the work
        sg.to_html(rec, tmp_path / "no" / "flock.html")
    with pytest.raises(KeyboardInterrupt):
        sg.to_html(rec, target)
    assert target.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["flock.html"]


def test_an_unbuilt_page_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(page_module, "files", lambda _: tmp_path)
    with pytest.raises(sg.RecordingError, match="not built in this checkout: `make page` builds it"):
        sg.to_html(tiny("llama"))
