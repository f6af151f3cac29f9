"""A virtual environment for TransformerLens, made when first needed and kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("lens_environment.txt")
FOLDER = "SOCIOGRAM_BENCH_TRANSFORMER_LENS"


def interpreter() -> Path | str:
    """Its Python, or the reason why there is none. The folder can be chosen with $SOCIOGRAM_BENCH_TRANSFORMER_LENS."""
    default = Path.home() / ".cache" / "sociogram-bench" / "transformer-lens"
    folder = Path(os.environ.get(FOLDER, default)).expanduser()
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "installed.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder} for TransformerLens (once; minutes)", flush=True)
    torch = next(line for line in wanted.splitlines() if line.startswith("torch=="))
    try:
        _call(sys.executable, "-m", "venv", str(folder))
        for what in ([torch], ["-r", str(REQUIREMENTS)]):
            _call(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        return f"TransformerLens could not be installed in {folder}: {said[-1] if said else error}"
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
