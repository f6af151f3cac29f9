"""`sociogram grow` as a user meets it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sociogram.experiments import Study, names, question_of

Call = Callable[..., tuple[int, str, str]]

TINY = ("--quick", "--set", "steps=2", "--set", "batch=8", "--set", "tests=20", "--set", "examples=4")
NAME = "in-context-descent"


@pytest.fixture
def grow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `sociogram grow ...` in this process."""
    from sociogram.cli.app import app
    from sociogram.cli.screen import errors

    monkeypatch.setenv("COLUMNS", "200")

    def call(*args: str) -> tuple[int, str, str]:
        code = errors(lambda: app(["grow", *args], standalone_mode=False), debug=lambda: False)
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_it_lists_what_there_is(grow: Call) -> None:
    code, out, _ = grow()
    assert code == 0
    for name in names():
        assert name in out
        assert question_of(name) in " ".join(out.split())
    assert [row["name"] for row in json.loads(grow("--json")[1])] == names()


def test_a_run_prints_its_tables_and_limits_and_writes_both_files(grow: Call, tmp_path: Path) -> None:
    code, out, err = grow(NAME, *TINY, "--seed", "3", "--out", str(tmp_path / "made"))
    assert (code, err) == (0, "")
    study = Study.open(tmp_path / "made" / f"{NAME}.quick.json")
    assert {file.name for file in (tmp_path / "made").iterdir()} == {f"{NAME}.quick.json", f"{NAME}.quick.png"}
    assert (tmp_path / "made" / f"{NAME}.quick.png").read_bytes().startswith(b"\x89PNG")
    assert study.seeds == (3,)
    assert study.settings["examples"] == [4]
    for table in study.tables:
        assert table.title in out
    said = " ".join(out.split())
    assert all(sentence in said for sentence in study.cannot_show)
    assert "its numbers are no results" in said
    assert f"written: {tmp_path / 'made' / NAME}.quick.json" in out
    loss = study["Trained attention against gradient descent"].set_index("model").loc["GD, 1 step", "loss"]
    assert f"{loss:.4g}" in next(line for line in out.splitlines() if "GD, 1 step" in line)


def test_json_is_the_study(grow: Call) -> None:
    document = json.loads(grow(NAME, *TINY, "--json")[1])
    assert document["name"] == NAME
    assert document["settings"]["steps"] == 2


def test_over_runs_it_for_each_value(grow: Call) -> None:
    code, out, _ = grow(NAME, *TINY, "--over", "seed", "--over", "inputs=3,4", "--jobs", "1", "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["name"], document["seeds"]) == ("generality", [0, 1, 2])
    assert document["settings"]["over"] == {"seed": [0, 1, 2], "inputs": [3, 4]}
    assert set(document["tables"][0]["columns"]["runs"]["values"]) <= {0, 2, 3, 6}, (
        "a row of one seed is there once for each number of inputs"
    )


def test_generality_takes_the_experiment_as_a_setting(grow: Call) -> None:
    code, out, _ = grow("generality", "--set", f"experiment={NAME}", *TINY, "--jobs", "1", "--seed", "5")
    assert code == 0
    assert "Spread over all runs" in out
    assert "more of" in out
    assert "rows are in the JSON" in out
    assert "seeds 5, 6, 7" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["alchemy"], "no experiment 'alchemy': there are communication, in-context-descent, collective-motion"),
        ([NAME, "--set", "colour=1"], "in-context-descent has no setting 'colour': it has seed, inputs, examples"),
        ([NAME, "--set", "steps"], "--set steps: write a name and its value, as in --set steps=500"),
        ([NAME, "--set", "steps=1", "--set", "steps=2"], "--set steps=2: steps is there twice"),
        ([NAME, "--set", "steps=many"], "steps=many: in-context-descent takes one like 3000"),
        ([NAME, "--set", "examples=5+x"], "examples=5+x: in-context-descent takes one like 5+10+20"),
        ([NAME, "--set", "seed=2"], "--set seed=2: the seed has an option of its own, --seed 2"),
        ([NAME, "--model", "smollm2-135m"], "in-context-descent has no setting 'model'"),
        ([NAME, "--over", "steps"], "--over steps: say which values, as in --over steps=...,..."),
        ([NAME, "--over", "colour=1,2"], "in-context-descent has no setting 'colour'"),
        ([NAME, "--over", "seed=0"], "is 1 run, and a spread takes two or more"),
        (["generality", "--set", "experiment=generality"], "would vary itself"),
        ([NAME, "--seed", "-1"], "greater than or equal to 0"),
    ],
)
def test_wrong_usage_is_one_clear_line(grow: Call, args: list[str], words: str) -> None:
    code, out, err = grow(*args, "--quick")
    assert code == 2
    assert out == ""
    assert words in " ".join(err.split())


def test_a_folder_that_cannot_be_made_is_told_before_any_work(
    grow: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("sociogram.experiments.in_context_descent._work", lambda *_: pytest.fail("it worked"))
    for out, words in ((tmp_path / "file", "this is a file; name a folder"), (tmp_path / "a" / "b", "there is no folder")):
        code, _, err = grow(NAME, "--quick", "--out", str(out))
        assert code == 2
        assert words in " ".join(err.split())


def test_an_interruption_writes_nothing(grow: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sociogram.experiments.in_context_descent.trained", interrupted)
    code, out, _ = grow(NAME, *TINY, "--out", str(tmp_path / "made"))
    assert (code, out) == (130, "")
    assert not (tmp_path / "made").exists()


def test_without_matplotlib_the_numbers_are_written_all_the_same(
    grow: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, _ = grow(NAME, *TINY, "--out", str(tmp_path))
    assert code == 0
    assert "no picture: pictures need matplotlib: pip install 'sociogram[plot]'" in out
    assert [file.name for file in tmp_path.iterdir()] == [f"{NAME}.quick.json"]


@pytest.mark.real
def test_a_model_is_an_option_where_there_is_one(grow: Call) -> None:
    code, _, err = grow("initialisation", "--quick", "--model", "./nowhere")
    assert code == 1
    assert "nowhere" in err
