"""Which experiments there are, and the hash of what made a study."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import sociogram as sg
from sociogram.experiments import code, names, open_experiment, question_of, settings_of
from sociogram.experiments.conduct import choose, conduct

ROOM = Path(code.__file__).parent


@pytest.mark.parametrize("name", names())
def test_every_experiment_has_what_the_frame_asks_for(name: str) -> None:
    module = open_experiment(name)
    assert question_of(name).endswith("?")
    assert (
        [field.name for field in fields(module.FULL)] == [field.name for field in fields(module.QUICK)] == list(settings_of(name))
    )
    assert callable(module.run)
    assert callable(module.draw)
    with pytest.raises(sg.InputError, match=f"{name} has no setting 'colour': it has "):
        module.run(quick=True, colour=1)


def test_an_unknown_experiment_is_told_the_known_ones() -> None:
    with pytest.raises(sg.InputError, match="no experiment 'alchemy': there are in-context-descent, "):
        open_experiment("alchemy")


def test_listing_imports_no_experiment_and_no_torch() -> None:
    asked = "import sys; from sociogram.experiments import names; names(); "
    asked += "print([m for m in sys.modules if m in ('torch', 'sociogram.experiments.in_context_descent')])"
    done = subprocess.run([sys.executable, "-P", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"inputs": "ten"}, r"inputs='ten' does not fit: it is int, such as 10"),
        ({"inputs": True}, r"inputs=True does not fit"),
        ({"inputs": 1.5}, r"inputs=1.5 does not fit"),
        ({"examples": 5}, r"examples=5 does not fit: it is a tuple such as \(5, 10"),
        ({"examples": ()}, r"examples=\(\) does not fit"),
        ({"examples": (5, "ten")}, r"does not fit"),
    ],
)
def test_values_that_do_not_fit_are_refused(settings: dict[str, object], words: str) -> None:
    module = open_experiment("in-context-descent")
    with pytest.raises(sg.InputError, match=words):
        choose("in-context-descent", module.FULL, module.QUICK, True, settings)


def test_single_settings_are_replaced() -> None:
    module = open_experiment("in-context-descent")
    chosen = choose("in-context-descent", module.FULL, module.QUICK, True, {"rate": 1, "steps": 7})
    assert (chosen.rate, chosen.steps, chosen.batch) == (1, 7, module.QUICK.batch)


@pytest.mark.parametrize("seed", [-1, 1.0, True, "0"])
def test_a_seed_that_is_none_is_refused(seed: object) -> None:
    with pytest.raises(sg.InputError, match="a whole number from 0 up"):
        conduct("generality", lambda chosen, seed: [], None, (), quick=True, seed=seed)  # type: ignore[arg-type]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of an experiment `one`, what it imports, what that imports, and a module nobody asks for; its name is its own."""
    folder = tmp_path / f"lab_{abs(hash(tmp_path))}"
    folder.mkdir()
    sources = {"__init__": "", "one": "from LAB.helper import f\n", "helper": "def g():\n    from LAB import deep\n"}
    for name, source in (sources | {"deep": "x = 1\n", "other": "y = 1\n"}).items():
        (folder / f"{name}.py").write_text(source.replace("LAB", folder.name))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(code, "ROOMS", (folder.name,))
    return folder


@pytest.mark.parametrize("name", ["one", "helper", "deep"])
def test_the_hash_changes_with_the_code_that_is_used(room: Path, name: str) -> None:
    before = code.code_hash(f"{room.name}.one")
    (room / f"{name}.py").write_text((room / f"{name}.py").read_text() + "z = 2\n")
    assert code.code_hash(f"{room.name}.one") != before


def test_the_hash_does_not_change_with_words(room: Path) -> None:
    before = code.code_hash(f"{room.name}.one")
    told = (room / "one.py").read_text()
    (room / "one.py").write_text('"""What it does."""\n\n# and why\n' + told + "\n\ndef draw(study):\n    return 1\n")
    assert code.code_hash(f"{room.name}.one") == before
    (room / "one.py").write_text(told + 'said = """What it does."""\n')
    assert code.code_hash(f"{room.name}.one") != before


def test_the_hash_does_not_change_with_other_code(room: Path) -> None:
    before = code.code_hash(f"{room.name}.one")
    (room / "other.py").write_text("y = 2\n")
    assert code.code_hash(f"{room.name}.one") == before
    assert code.code_hash(f"{room.name}.one", f"{room.name}.other") != before


def test_the_hash_of_an_experiment_covers_its_own_sources() -> None:
    found = code._sources(["sociogram.experiments.in_context_descent"])
    used = {name.removeprefix("sociogram.experiments.") for name in found}
    assert used == {"in_context_descent", "in_context_training", "linear_attention", "regression"}
    assert found["sociogram.experiments.regression"] == (ROOM / "regression.py").read_text()


def test_the_frame_is_all_that_is_left_out() -> None:
    frame = {f"sociogram.experiments{name}" for name in code.FRAME}
    assert all(code._path(name) for name in frame)
    made = {name for experiment in names() for name in code._sources([f"sociogram.experiments.{experiment.replace('-', '_')}"])}
    files = {f"sociogram.experiments.{file.stem}" for file in ROOM.glob("*.py") if file.stem != "__init__"}
    assert files - frame == {name for name in made if name.startswith("sociogram.experiments")}
    assert not made & frame
