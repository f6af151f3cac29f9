"""What the tests of all commands share."""

from __future__ import annotations

import pytest

import sociogram as sg


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, smollm: sg.Model, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run a command in this process, with the model loaded once."""
    from sociogram.cli.app import app
    from sociogram.cli.screen import errors

    monkeypatch.setattr(sg, "load", lambda name: smollm if name == "smollm2-135m" else pytest.fail(name))
    monkeypatch.setenv("COLUMNS", "100")

    def call(*args: str) -> tuple[int, str, str]:
        code = errors(lambda: app(list(args), standalone_mode=False), debug=lambda: False)
        out = capsys.readouterr()
        return code, out.out, out.err

    return call
