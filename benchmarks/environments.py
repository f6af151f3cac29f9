"""Virtual environments for tools that must not share one with Sociogram, made when first needed and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")


def interpreter(tool: str) -> Path | str:
    """The Python of one tool's environment, or the reason why there is none.

    The environment holds what `requirements/<tool>.txt` pins, its `torch==` line installed first and alone, and then, without
    their dependencies, the packages of `requirements/<tool>.bare.txt` where that file exists. It lies in
    `~/.cache/sociogram-bench/<tool>`, or in the folder that `$SOCIOGRAM_BENCH_<TOOL>` names.
    """
    folder = _folder(tool)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pinned, bare = _lines(REQUIREMENTS / f"{tool}.txt"), _lines(REQUIREMENTS / f"{tool}.bare.txt")
    stamp = folder / "installed.txt"
    if _lines(stamp) == [*pinned, *bare]:
        return python
    print(f"making {folder} for {tool} (once; minutes)", flush=True)
    torch = [line for line in pinned if line.startswith("torch==")]
    try:
        _call(sys.executable, "-m", "venv", str(folder))
        for what in (torch, pinned, ["--no-deps", *bare] if bare else []):
            if what:
                _call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return f"{tool} could not be installed in {folder}: {said[-1] if said else error}"
    stamp.write_text("\n".join([*pinned, *bare]) + "\n", encoding="utf-8")
    return python


def _folder(tool: str) -> Path:
    chosen = os.environ.get(f"SOCIOGRAM_BENCH_{tool.replace('-', '_').upper()}")
    return (Path(chosen) if chosen else Path("~/.cache/sociogram-bench") / tool).expanduser()


def _lines(file: Path) -> list[str]:
    """What a requirements file asks for, remarks left out; nothing where there is no file."""
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
