"""What every command shares: the console, errors in one line, and output that no terminal chokes on."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from sociogram import Model, Recording

_PLAIN = str.maketrans(
    {
        "␣": "_",
        "↵": "\\",
        "⇥": ">",
        "␍": "\\",
        "⟨": "<",
        "⟩": ">",
        "█": "#",
        "·": ".",
        "–": "-",
        "—": "-",
        "…": "~",
        "→": ">",
        "─": "-",
        "│": "|",
    }
)


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """For code pages without our signs: the nearest sign they have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(c if c.isascii() else "?" for c in error.object[error.start : error.end].translate(_PLAIN)), error.end


def survive_narrow_encodings() -> None:
    """Print signs that the terminal's encoding lacks as their nearest relatives instead of failing."""
    codecs.register_error("sociogram", _substitute)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="sociogram")


def console(*, stderr: bool = False) -> Console:
    """A console that obeys NO_COLOR, pipes and narrow terminals."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def errors(command: Callable[[], Any], debug: Callable[[], bool]) -> int:
    """Run a command; every failure becomes one clear line and an exit code."""
    import typer

    try:
        code = command()
        return code if isinstance(code, int) else 0
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _say("interrupted")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # wrong usage, in typer's own words
            error.show()
            return int(error.exit_code)
        if debug():
            raise
        return _explain(error)


def _explain(error: Exception) -> int:
    from sociogram import InputError, SociogramError

    if isinstance(error, SociogramError):
        _say(str(error))
        return 2 if isinstance(error, InputError) else 1
    if isinstance(error, OSError):
        _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1
    _say(
        f"unexpected {type(error).__name__}: {error}. "
        "Run again with `sociogram --debug ...` for the details, and please report it."
    )
    return 1


def _say(text: str) -> None:
    from rich.text import Text

    out = console(stderr=True)
    out.print(Text("error: ", style="bold red") + Text(text), soft_wrap=True)


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table: columns as (heading, "left", "right" or "text"); cells are shown as they are, never as markup.

    On narrow terminals columns of text fold; numbers are never cut.
    """
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for heading, side in columns:
        shown.add_column(heading, justify="right" if side == "right" else "left", no_wrap=side != "text", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def opened(name: str) -> Model:
    """The model of a command. What was imported and loaded so far stays until the end, so garbage collection begins here.

    Half a million objects are made by the imports alone, and walking through them again and again is a tenth of a cold start;
    `app.run` turned that off.
    """
    import gc

    import sociogram as sg

    model = sg.load(name)
    gc.freeze()
    gc.enable()
    return model


def recorded(model: Model, content: str, *, weight: str, stream: bool, top: int, generate: int = 0) -> Recording:
    """One run, dense or streamed; of a text too long for a dense recording the error says what to do on the command line."""
    import sociogram as sg

    if stream:
        by = "attention" if weight == "attention" else "message"
        return sg.record(model, content, keep="stream", top=top, by=by, generate=generate)
    try:
        return sg.record(model, content, generate=generate)
    except sg.MemoryLimitError as error:
        raise sg.MemoryLimitError(
            f"{error} On the command line that is --stream: it keeps the strongest messages of each reader and head, "
            "and sums of all."
        ) from error


def _say_if_a_file(text: str) -> None:
    """A text that is the name of a file is taken as a text; who meant the file is told how to say so."""
    from pathlib import Path

    try:
        meant = len(text) < 256 and Path(text).suffix != "" and Path(text).is_file()
    except (OSError, ValueError):
        return
    if meant:
        console(stderr=True).print(f"note: this looks at the text {text!r}; --file reads the file of that name", markup=False)


def prompt(text: str | None, file: Any) -> str:
    """The prompt from the argument, from standard input (`-`) or from a file.

    Raises:
        InputError: none or two of them given, or a file that is no UTF-8 text.
    """
    from sociogram import InputError

    if (text is None) == (file is None):
        raise InputError(
            "give a text, - for standard input, or --file FILE" if text is None else "give a text or --file, not both"
        )
    try:
        if file is not None:
            content: str = file.read_text(encoding="utf-8")
        else:
            assert text is not None
            _say_if_a_file(text)
            content = sys.stdin.buffer.read().decode("utf-8") if text == "-" else text
    except UnicodeDecodeError as error:
        raise InputError(f"{file or 'standard input'} is no UTF-8 text: {error}") from error
    return content.removesuffix("\n") if file is not None or text == "-" else content


def check_out(out: Path | None, *kinds: str) -> None:
    """Refuse a file that could not be written, before any work is done.

    Raises:
        InputError: another ending, or no such folder.
    """
    from sociogram import InputError

    if out is None:
        return
    if out.suffix not in kinds:
        raise InputError(f"--out {out}: name a file that ends in {' or '.join(kinds)}")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}")


def write(out: Path, text: str) -> None:
    """Write a file that is whole or not there: an older one is replaced once the new one is complete."""
    from sociogram.core.files import whole

    with whole(out) as part:
        part.write_text(text, encoding="utf-8")
