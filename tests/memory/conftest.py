"""Notes understood by their words alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import sociogram as sg
from tests.memory.counted import counted


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence model's place is taken by a count of words."""
    monkeypatch.setattr("sociogram.memory.meaning.meanings", counted)


@pytest.fixture
def notes(tmp_path: Path, words: None) -> sg.notes.Notes:
    made = sg.notes.Notes(tmp_path / "notes")
    for text in ("birds fly in flocks", "fish swim in schools", "bread is baked at six", "birds and fish turn as one"):
        made.add(text)
    return made
