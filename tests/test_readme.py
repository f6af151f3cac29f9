"""What the README says is run as it stands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import sociogram as sg

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def run(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", cwd=ROOT, timeout=240, env={**os.environ, "COLUMNS": "100"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real
def test_the_python_of_the_readme_prints_what_it_says() -> None:
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 7
    printed, (said,) = run([sys.executable, "-c", code]), blocks("text")
    for line in said.splitlines():
        row = re.match(r"\d +(\d+) +(\d+) +(\S+)", line)
        if row:
            assert re.search(rf"{row[1]} +{row[2]} +{re.escape(row[3])}", printed), line
    assert "Layer 23, head 4: what '␣of' (token 9) hears" in printed


@pytest.mark.real
@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if line.startswith("sociogram ")])
def test_each_command_of_the_readme_runs(line: str) -> None:
    assert run([sys.executable, "-m", *shlex.split(line)])


@pytest.mark.real
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", ["howto", "networks", "grow", "memory", "voices", "notes"])
def test_the_pages_run_as_they_stand(page: str, tmp_path: Path) -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), flags=re.DOTALL))
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr


def test_the_two_commands_and_the_pages_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for link in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_the_figures_of_coverage_are_those_measured() -> None:
    counts = sg.coverage()["status"].value_counts()
    page = (ROOT / "docs" / "coverage.md").read_text()
    for status in ("closed", "partly", "unsupported", "not built"):
        assert f"| {counts[status]} | {status} |" in README
        assert f"| {status} | {counts[status]} |" in page
