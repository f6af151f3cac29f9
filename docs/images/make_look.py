"""Draw docs/images/look.svg: the real output of `sociogram look`, in colour, at a fixed width.

The picture loads nothing from elsewhere: rich's web fonts are taken out, the reader's own monospace font stays.

Run `python docs/images/make_look.py` from anywhere, with sociogram installed.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100
SENTENCE = "I hammered the nail into the leaking ship"
PICTURE = Path(__file__).with_name("look.svg")


def main() -> None:
    """Run the command as a terminal of `WIDTH` columns would, and export what it printed."""
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "sociogram", "look", SENTENCE]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, encoding="utf-8").stdout
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "green"), f'sociogram look "{SENTENCE}"'))
    console.print(Text.from_ansi(printed))
    drawn = console.export_svg(title="sociogram look", unique_id="look")
    local = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL).replace("Fira Code, monospace", "monospace")
    PICTURE.write_text("\n".join(line.rstrip() for line in local.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
