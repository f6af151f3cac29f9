"""The command line: one file per command, each using only what `import sociogram` offers. Nothing is computed here."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `sociogram` command."""
    from sociogram.cli.app import run

    run()
