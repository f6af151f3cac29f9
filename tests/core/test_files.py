"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sociogram.core.files import whole


def test_an_interruption_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "old")]
    with whole(path) as part:
        part.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("page.html", "new")]
