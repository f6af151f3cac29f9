"""`sociogram models`: what can be loaded by name, what it is made of, what can be watched."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from sociogram.cli.screen import console, opened, table

if TYPE_CHECKING:
    from sociogram import Model

app = typer.Typer(help="Known models: list, show, remove; --coverage lists the families that can be watched.")


@app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Which families of transformers can be watched, as measured.")
    ] = False,
) -> None:
    """List the models that load by name, and what of them is cached."""
    if context.invoked_subcommand is not None:
        return
    if coverage:
        _coverage()
        return
    import sociogram as sg

    rows = [
        [f"{m['name']}{' (default)' if m['default'] else ''}", m["summary"], _size(m["megabytes"], m["cached"])]
        for m in sg.known_models().to_dict("records")
    ]
    console().print(table([("name", "left"), ("what", "text"), ("cached", "right")], rows))


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A known name, hub id, folder or .gguf file.")]) -> None:
    """Print a model's anatomy, found by structure."""
    model = opened(name)
    out = console()
    out.print(repr(model), markup=False)
    for stack in model.anatomy.stacks:
        _stack(model, stack)
    if model.anatomy.silent:
        out.print(f"not watched (attention of their own): {', '.join(model.anatomy.silent)}", markup=False)
    head = model.anatomy.head
    out.print(
        f"logits: {head.problem or ' > '.join([*(op.path for op in head.before if hasattr(op, 'path')), head.path])}",
        markup=False,
    )


def _stack(model: Model, stack: str) -> None:
    anatomy = model.anatomy
    layers = anatomy.stack(stack)
    out = console()
    out.print(f"\n{stack}: {len(layers)} layers in {anatomy.stacks[stack]}, {anatomy.widths[stack]} wide", markup=False)
    kinds = Counter(layer.summary(anatomy.heads) for layer in layers)
    for kind, count in kinds.items():
        out.print(f"  {count} x {kind}", markup=False)


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="A known name.")]) -> None:
    """Delete a known model from the cache."""
    import sociogram as sg

    typer.echo(f"removed {name}, freed {sg.remove_model(name) / 1e6:.0f} MB")


def _coverage() -> None:
    import sociogram as sg

    found = sg.coverage()
    rows = [
        [r["entry"], r["status"], str(r["closed_layers"]), _error(r["relative_error"]), r["reason"] or ""]
        for r in found.to_dict("records")
    ]
    columns = [("entry", "left"), ("status", "left"), ("layers", "right"), ("error", "right"), ("why not", "text")]
    out = console()
    out.print(table(columns, rows))
    counts = ", ".join(f"{n} {status}" for status, n in Counter(found["status"]).most_common())
    out.print(f"\n{len(found)} config entries of transformers {found.attrs['transformers']}: {counts}", markup=False)


def _size(megabytes: float, cached: bool) -> str:
    return f"{megabytes:.0f} MB" if cached else "not yet fetched"


def _error(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.0e}"
