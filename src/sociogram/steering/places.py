"""Where in a layer an edit of the stream acts: the doors at which a change reaches the stream, and what stood before each sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sociogram.models.anatomy import Alone, Heard, Layer, Read, Rescaling
from sociogram.models.trace import Site


@dataclass(frozen=True)
class Sum:
    """Branches that are added to the same place of the stream, and where that place can be read."""

    skip: Read
    branches: tuple[Heard | Alone, ...]


@dataclass(frozen=True)
class Door:
    """Where a change reaches the stream: a value, what is left between it and the stream, and (to cut) what it is added to."""

    read: Read
    skip: Read | None = None


def sums(layer: Layer) -> Iterator[Sum]:
    """The sums of a layer in order. A norm or factor on the stream ends one: what it gives out is what the next adds to."""
    assert layer.before is not None
    skip = Read(layer.before)
    for group in layer.groups:
        branches: list[Heard | Alone] = []
        for step in group.steps:
            if not isinstance(step, Rescaling):
                branches.append(step)
                continue
            if branches:
                yield Sum(skip, tuple(branches))
            skip, branches = step.after, []
        if branches:
            yield Sum(skip, tuple(branches))
        skip = Read(group.stop)


def doors(layer: Layer, where: str, *, cut: bool) -> tuple[Door, ...] | str:
    """The doors for `where` (see `StreamEdit.where`) in a layer, or why there are none, to stand after "layer 3"."""
    if layer.problem or layer.before is None or layer.after is None:
        return f"cannot be read ({layer.problem or layer.status})"
    if cut:
        return _sums(layer, where)
    if where in ("output", "input"):
        site, end = (layer.after, "out") if where == "output" else (layer.before, "in")
        own = (site.path, site.number, site.end) == (layer.path, layer.number, end)
        return (Door(Read(site)),) if own else f"shares its module with another layer, so its {where} is not at the module's door"
    return _branch(layer, where)


def _branch(layer: Layer, where: str) -> tuple[Door, ...] | str:
    found = [step for step in layer.steps if _is(step, where)]
    name = "an MLP" if where == "mlp" else "a self-attention"
    if not found:
        return f"has no branch that is {name}" if where == "mlp" else "has no self-attention branch"
    if len(found) > 1:
        return f"has {len(found)} branches that are {name}"
    read = _read(found[0])
    return (Door(read),) if _open(read.site) else f"computes what {where} adds outside any module, where it cannot be changed"


def _sums(layer: Layer, where: str) -> tuple[Door, ...] | str:
    chosen = [one for one in sums(layer) if where == "both" or any(_is(step, where) for step in one.branches)]
    reads = [next((r for r in map(_read, one.branches) if _open(r.site)), None) for one in chosen]
    if not chosen:
        return f"has no sum that {'an MLP' if where == 'mlp' else 'self-attention'} joins"
    found = tuple(Door(read, one.skip.door) for one, read in zip(chosen, reads, strict=True) if read is not None)
    return found if len(found) == len(chosen) else "adds something to the stream outside any module, where it cannot be changed"


def _is(step: Heard | Alone | Rescaling, where: str) -> bool:
    if where == "mlp":
        return isinstance(step, Alone) and step.kind == "mlp"
    return isinstance(step, Heard) and not step.cross


def _read(step: Heard | Alone | Rescaling) -> Read:
    assert not isinstance(step, Rescaling)
    return (step.projected if isinstance(step, Heard) else step.read).door


def _open(site: Site) -> bool:
    """What a module gives out goes to whoever asked for it; what it takes in, others may hold too."""
    return site.end == "out"
