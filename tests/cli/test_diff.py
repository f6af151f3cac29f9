"""`sociogram diff` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import sociogram as sg
from tests.models.conftest import tiny_llama

IDS = [5, 9, 17, 3, 44, 21]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    from sociogram.cli.app import app
    from sociogram.cli.screen import errors

    monkeypatch.setenv("COLUMNS", "120")

    def run(*args: object) -> tuple[int, str, str]:
        code = errors(lambda: app(["diff", *map(str, args)], standalone_mode=False), debug=lambda: False)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A plain and a steered recording on disk."""
    model = sg.load(tiny_llama())
    one, other = tmp_path / "A.zarr", tmp_path / "B.zarr"
    sg.record(model, IDS, keep="qkv").save(one)
    with sg.steer(model, sg.edits.cut(layer=1, head=2, query=5, key=3)) as steered:
        steered.record(IDS, keep="qkv").save(other)
    return one, other


def test_it_shows_statistics_and_edges(call, pair: tuple[Path, Path]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = call(*pair, "--top", 3)
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    assert "Which statistics differ most" in flat
    assert "Which edges changed most" in flat
    assert "layer 1 head 2 3 #3 5 #21" in flat
    assert "3 of " in flat
    assert "nan" not in flat.lower()


def test_json_and_table_hold_what_the_face_says(call, pair: tuple[Path, Path], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    found = sg.networks(sg.open_recording(pair[0]), "message").diff(sg.networks(sg.open_recording(pair[1]), "message"), top=4)
    code, out, _ = call(*pair, "--weight", "message", "--top", 4, "--json", "--out", tmp_path / "table.csv")
    document = json.loads(out)
    assert code == 0
    assert [edge["change"] for edge in document["edges"]] == pytest.approx(found.edges["change"].tolist())
    assert document["total"] == pytest.approx(found.edges.attrs["total"])
    assert document["why"] is None
    assert len(document["statistics"]) == 4
    written = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(written, found.statistics, check_dtype=False)
    assert not list(tmp_path.glob(".*part"))


def test_the_same_twice(call, pair: tuple[Path, Path]) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = call(pair[0], pair[0])
    assert code == 0
    assert "none of" in out
    assert "0 of 168 edges changed" in " ".join(out.split())


def test_the_model_is_asked_for_what_was_not_kept(
    call,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = sg.load(tiny_llama())
    monkeypatch.setattr(sg, "load", lambda name: model if name == "tiny" else pytest.fail(name))
    sides = tmp_path / "A.zarr", tmp_path / "B.zarr"
    for path in sides:
        sg.record(model, IDS).save(path)
    code, out, err = call(*sides, "--weight", "message")
    assert (code, out) == (1, "")
    assert "this needs the model's output projections" in " ".join(err.split())
    for models in (("--model", "tiny"), ("--model", "tiny", "--model", "tiny")):
        code, out, _ = call(*sides, "--weight", "message", *models)
        assert code == 0
        assert "0 of 168 edges changed" in " ".join(out.split())


def test_bad_calls_are_one_line_and_a_code(call, pair: tuple[Path, Path], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for args, code, said in (
        ((pair[0], tmp_path / "none.zarr"), 1, "no recording at"),
        ((*pair, "--weight", "love"), 2, "weight='love': choose one of attention, message, contribution, toward"),
        ((*pair, "--out", tmp_path / "t.txt"), 2, "name a file that ends in .csv"),
        ((*pair, "--out", tmp_path / "no" / "t.csv"), 2, "there is no folder"),
        ((*pair, "--model", "a", "--model", "b", "--model", "c"), 2, "--model is given 3 times"),
    ):
        found, out, err = call(*args)
        assert (found, out) == (code, "")
        assert said in " ".join(err.split())
        assert "Traceback" not in err
    sg.record(sg.load(tiny_llama()), [*IDS, 7], keep="qkv").save(tmp_path / "longer.zarr")
    found, _, err = call(pair[0], tmp_path / "longer.zarr")
    assert found == 2
    assert "the tokens differ from number 6 on" in " ".join(err.split())
