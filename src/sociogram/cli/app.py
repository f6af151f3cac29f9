"""The application: its commands, its exit codes (0 done, 1 failed, 2 wrong usage), and no tracebacks without `--debug`."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from sociogram._version import __version__
from sociogram.cli import diff, grow, look, models, networks, notes, steer, worksheet
from sociogram.cli.screen import errors, survive_narrow_encodings

app = typer.Typer(
    name="sociogram",
    help="Watch what the tokens inside a transformer say to each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("look")(look.look)
app.command("worksheet")(worksheet.worksheet)
app.command("steer")(steer.steer)
app.command("compare")(steer.compare)
app.command("generate")(steer.generate)
app.command("diff")(diff.diff)
app.command("networks")(networks.networks)
app.command("grow")(grow.grow)
app.add_typer(models.app, name="models")
app.add_typer(notes.app, name="notes")

_debug = False


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sociogram {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback when something fails.")] = False,
) -> None:
    """Watch what the tokens inside a transformer say to each other."""
    global _debug
    _debug = debug


def run() -> None:
    """Run the command line and exit with its code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # torch's threads wait without burning a core that others need
    gc.disable()  # until a model is open: imports make only what stays
    survive_narrow_encodings()
    sys.exit(errors(lambda: app(standalone_mode=False), debug=lambda: _debug or "--debug" in sys.argv))
