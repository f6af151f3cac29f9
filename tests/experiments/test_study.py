"""What a study keeps, and what it refuses to keep."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

import sociogram as sg
from sociogram.experiments import Study, Table


def test_a_study_comes_back_as_it_was(study: Study, tmp_path: Path) -> None:
    path = study.save(tmp_path / "new")
    assert path == tmp_path / "new" / "in-context-descent.json"
    again = Study.open(path)
    for field in fields(Study):
        if field.name != "tables":
            assert getattr(again, field.name) == getattr(study, field.name), field.name
    (mine,), (theirs,) = study.tables, again.tables
    assert (mine.title, mine.keys, mine.note) == (theirs.title, theirs.keys, theirs.note)
    pd.testing.assert_frame_equal(mine.frame, theirs.frame, check_dtype=False)
    assert [theirs.kind(name) for name in theirs.frame] == ["integer", "text", "number", "truth"]
    assert theirs.frame["difference"].iloc[0] == 1e-15
    assert again.as_plain() == study.as_plain()


def test_the_document_is_json_that_others_can_read(study: Study, tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = study.save(tmp_path).read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=refuse)
    assert document["tables"][0]["columns"]["difference"] == {"kind": "number", "values": [1e-15, None, "inf"]}


def test_a_quick_study_does_not_take_the_place_of_a_full_one(study: Study, tmp_path: Path) -> None:
    quick = Study(**{field.name: getattr(study, field.name) for field in fields(Study)} | {"quick": True})
    assert quick.save(tmp_path).name == "in-context-descent.quick.json"
    assert "its numbers are no results" in str(quick)
    assert "its numbers are no results" not in str(study)


def test_reading_it_shows_everything(study: Study) -> None:
    text = str(study)
    for part in (
        "Is it?",
        "Numbers",
        "größer",
        "1e-15",
        "a note",
        "That it always is.",
        "inputs=10",
        "seed 3",
        "2 cores",
        "ab" * 8,
    ):
        assert part in text
    pd.testing.assert_frame_equal(study["Numbers"], study.tables[0].frame)
    with pytest.raises(sg.InputError, match="has no table 'Others': it has 'Numbers'"):
        study["Others"]


@pytest.mark.parametrize(
    ("columns", "keys", "words"),
    [
        ({"a": [1, 1], "b": [0.5, 0.6]}, ("a",), "two rows have the keys {'a': 1}"),
        ({"a": [1, 2]}, ("b",), "there is no column b"),
        ({"a": [1, None, "x"]}, (), "column 'a' holds object"),
        ({"a": [1j, 2j]}, (), "column 'a' holds complex128"),
    ],
)
def test_a_table_that_could_not_be_kept_is_refused(columns: dict[str, list[object]], keys: tuple[str, ...], words: str) -> None:
    with pytest.raises(sg.InputError, match=words):
        Table("Odd", pd.DataFrame(columns), keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no such file"),
        ("{", "this is no study that `save` wrote"),
        ('{"format": 1}', "this is no study that `save` wrote"),
        ("[]", "this is no study that `save` wrote"),
        ('{"format": 99}', "format 99, and this version reads 1: run it again"),
    ],
)
def test_what_is_no_study_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(sg.InputError, match=words):
        Study.open(path)


def test_without_matplotlib_the_way_out_is_said(study: Study, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(sg.MissingExtraError, match=r"pip install 'sociogram\[plot\]'"):
        from sociogram.experiments.pictures import panels

        panels(1)
