"""A browser to open exported pages in; where one cannot be had, the tests say why they skip."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sociogram
from sociogram.studio import page as page_module

WEB = Path(sociogram.__file__).parent / "studio" / "web"
Drive = Callable[..., dict[str, Any]]


def missing() -> str | None:
    """Why no page can be opened here; None where one can."""
    if shutil.which("chromium") is None:
        return "no chromium (Debian: apt-get install chromium)"
    if shutil.which("node") is None or not (WEB / "node_modules" / "playwright-core").is_dir():
        return "no Node, or its packages are not installed (make page)"
    if not (WEB.parent / "static" / "page.js").is_file():
        return "the page is not built (make page)"
    return None


@pytest.fixture(scope="session")
def drive() -> Drive:
    """Open a page from disk, do the steps, and report: `results`, `requests`, `errors`, `loaded` seconds."""
    if (reason := missing()) is not None:
        pytest.skip(reason)

    def call(page: Path, *steps: dict[str, Any], clean: bool = True, **options: Any) -> dict[str, Any]:
        plan = {"page": page.as_uri(), "browser": shutil.which("chromium"), "steps": steps, **options}
        done = subprocess.run(
            ["node", "test/browser/drive.mjs"],
            cwd=WEB,
            input=json.dumps(plan),
            capture_output=True,
            encoding="utf-8",
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert "failed" not in report, report
        if clean:
            assert report["requests"] == []
            assert report["errors"] == []
        return report

    return call


@pytest.fixture(scope="session")
def flock_page(paris: sociogram.Recording, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a known prompt."""
    if (reason := missing()) is not None:
        pytest.skip(reason)
    path = tmp_path_factory.mktemp("page") / "flock.html"
    page_module.to_html(paris, path, toward=" Paris")
    return path
