"""The machine that a number was taken on, and child processes to take it in."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("sociogram", "torch", "transformers", "numpy", "xarray", "pandas")


def machine() -> dict[str, Any]:
    """Processor, memory, system, package versions, and how busy the machine is now."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
        "threads": {name: value for name, value in sorted(os.environ.items()) if name.startswith(("OMP_", "GOMP_", "MKL_"))},
        "load_average": [round(number, 2) for number in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of this checkout, "+changes" where the sources differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+changes", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What child processes see: this environment, without hubs and progress bars."""
    fixed = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return {**os.environ, **fixed, **(extra or {})}


def run(command: Sequence[str | Path], extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a child process to its end and keep what it says.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment(extra), check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return done


def answer(command: Sequence[str | Path], extra: Mapping[str, str] | None = None) -> Any:
    """Run a child process and read the JSON on the last line that it prints."""
    return json.loads(run(command, extra).stdout.strip().splitlines()[-1])


def here(*arguments: str) -> list[str]:
    """A command for this Python."""
    return [sys.executable, *arguments]
