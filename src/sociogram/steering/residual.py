"""What can be changed about where tokens stand: edits of the residual stream, as frozen values."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.steering.base import Edit, check_number
from sociogram.steering.vector import Vector
from sociogram.watch.recording import Recording

Told = Literal["nothing", "source", "skip", "before"]
AT = ("output", "input", "attention", "mlp")


@dataclass(frozen=True, kw_only=True)
class StreamEdit(Edit):
    """A change of the residual stream in some layers (`layer`) at some tokens (`query`); heads and keys have no meaning here."""

    takes: ClassVar[frozenset[str]] = frozenset(("layer", "query"))
    hears: ClassVar[bool] = False
    asks: ClassVar[Told] = "nothing"
    """What `changed` is told: another run's values, the stream before the sum, the stream before the layer, or nothing."""

    @property
    def where(self) -> str:
        """The part of a layer at which it acts: `output`, `input`, `attention`, `mlp`, or `both` sums."""
        return "output"

    def changed(
        self, here: Float[Tensor, "batch query d_model"], told: Float[Tensor, "*batch query d_model"] | None
    ) -> Float[Tensor, "batch query d_model"]:
        """What shall be there instead, if all tokens were addressed."""
        return here

    def refuse_width(self, width: int) -> None:
        """Refuse what does not fit a stream of this width, with an InputError."""

    def spelled(self, value: Any) -> str:
        """Vectors and recordings in short, paths in quotes."""
        if isinstance(value, Recording):
            return f"<{value.dataset.sizes.get('query', 0)} tokens of {value.tree.attrs.get('model', 'a model')}>"
        if isinstance(value, Vector):
            return str(value)
        return repr(value) if self.asks == "source" and isinstance(value, str) and value not in AT else super().spelled(value)


@dataclass(frozen=True, kw_only=True)
class _At(StreamEdit):
    """With a place of one's choice: `at="output"`: the stream as it leaves the layer; `"input"`: as it enters it;
    `"attention"`, `"mlp"`: what that branch adds to the stream (self-attention's; after the norms and factors behind it).
    """

    at: str = "output"

    @property
    def where(self) -> str:
        """As chosen."""
        return self.at

    def check(self) -> None:
        """One of the places there are."""
        _one_of(self.name, self.at, AT)


@dataclass(frozen=True, kw_only=True)
class Add(_At):
    """Add `scale` times a vector `[d_model]` to each addressed token.

    Misleads: a direction that was found at one layer need not mean the same at another, nor at another length of the stream.
    """

    name: ClassVar[str] = "add"
    vector: Any = field(kw_only=False)
    scale: float = 1.0

    def check(self) -> None:
        """One vector, a finite scale."""
        super().check()
        check_number(self.name, "scale", self.scale)
        vector = Vector.of(self.vector, self.name)
        if len(vector.shape) != 1:
            raise InputError(f"add vector= of shape {list(vector.shape)}: add takes one vector; several edits add several")
        object.__setattr__(self, "vector", vector)

    def refuse_width(self, width: int) -> None:
        """As wide as the stream."""
        _fits(self, self.vector, width)

    def changed(self, here: Tensor, told: Tensor | None) -> Tensor:
        """Moved along the vector."""
        return here + self.vector.like(here) * self.scale


@dataclass(frozen=True, kw_only=True)
class ProjectOut(_At):
    """Take away the component along a vector `[d_model]`, or in the span of several `[n, d_model]`; what is left is orthogonal.

    Misleads: orthogonal to a direction is not ignorant of what it stands for; the same may be told along others.
    """

    name: ClassVar[str] = "project_out"
    vector: Any = field(kw_only=False)

    def check(self) -> None:
        """Vectors that have directions."""
        super().check()
        vector = Vector.of(self.vector, self.name)
        if not vector.has_directions:
            raise InputError("project_out vector=: a vector of zeros has no direction to take away")
        object.__setattr__(self, "vector", vector)

    def refuse_width(self, width: int) -> None:
        """As wide as the stream."""
        _fits(self, self.vector, width)

    def changed(self, here: Tensor, told: Tensor | None) -> Tensor:
        """The rest, in single precision at least."""
        wide = here.to(torch.promote_types(here.dtype, torch.float32))
        basis = torch.tensor(self.vector.basis).to(wide)
        return here - ((wide @ basis.T) @ basis).to(here.dtype)


@dataclass(frozen=True, kw_only=True)
class Patch(_At):
    """Put in place what another run had there (activation patching).

    `source` is a recording of a model with a stream of this width, or the path of a saved one. Tokens take what stood at
    the same positions, or at `source_query`, one for one in the order given; without `query`, all tokens of the prompt do. Layers
    take from the same layer, or from `source_layer`. For `at="attention"` and `"mlp"` the source's entries `attention_out` and
    `mlp_out` are taken: what its modules computed, without what edits did to that.
    """

    name: ClassVar[str] = "patch"
    asks: ClassVar[Told] = "source"
    further: ClassVar[frozenset[str]] = frozenset(("source_query",))
    source: Any = field(kw_only=False)
    source_query: Any = None
    source_layer: int | None = None

    def check(self) -> None:
        """A recording or a path."""
        super().check()
        if isinstance(self.source, PathLike):
            object.__setattr__(self, "source", fspath(self.source))
        if not isinstance(self.source, Recording | str):
            raise InputError(f"patch source={self.source!r}: a recording (sg.record, steered.record) or the path of a saved one")
        if self.source_layer is not None:
            try:
                object.__setattr__(self, "source_layer", operator.index(self.source_layer))
            except TypeError as error:
                raise InputError(f"patch source_layer={self.source_layer!r}: one layer, by number") from error

    def as_plain(self) -> dict[str, Any]:
        """For JSON.

        Raises:
            InputError: a source that is in memory only.
        """
        if isinstance(self.source, Recording):
            raise InputError(
                f"`{self}` holds a recording in memory, which cannot be stored with edits: save it (rec.save('source.zarr')) and "
                "give the path, patch(source='source.zarr')"
            )
        return super().as_plain()

    def changed(self, here: Tensor, told: Tensor | None) -> Tensor:
        """The source's."""
        assert told is not None
        return told.expand_as(here)


@dataclass(frozen=True, kw_only=True)
class CutSkip(StreamEdit):
    """Remove the residual connection: what a branch computes replaces the stream instead of being added to it.

    Once for each sum of the layer: `at="attention"`: the sum that self-attention joins, `"mlp"`: the MLP's, `"both"`: all of them
    (cross-attention's too). Where attention and MLP are added to the same stream (parallel layers), that is one sum. Norms
    that follow the sum (post-norm) act on the branch alone. It acts after all other edits of the branch.
    """

    name: ClassVar[str] = "cut_skip"
    asks: ClassVar[Told] = "skip"
    at: str = "both"

    @property
    def where(self) -> str:
        """As chosen."""
        return self.at

    def check(self) -> None:
        """One of the sums there are."""
        _one_of(self.name, self.at, ("both", "attention", "mlp"))

    def changed(self, here: Tensor, told: Tensor | None) -> Tensor:
        """Less what it will be added to."""
        assert told is not None
        return here - told


@dataclass(frozen=True, kw_only=True)
class SkipLayer(StreamEdit):
    """Let tokens leave a layer as they came. The layer still runs: what it tells other tokens (keys, values) is told."""

    name: ClassVar[str] = "skip_layer"
    asks: ClassVar[Told] = "before"

    def changed(self, here: Tensor, told: Tensor | None) -> Tensor:
        """As before the layer."""
        assert told is not None
        return told


@dataclass(frozen=True, kw_only=True)
class Still(StreamEdit):
    """Stands where another edit stands, and changes nothing: the control."""

    name: ClassVar[str] = "still"
    like: StreamEdit

    @property
    def where(self) -> str:
        """Where the other does."""
        return self.like.where


def _one_of(edit: str, at: str, choices: tuple[str, ...]) -> None:
    if at not in choices:
        raise InputError(f"{edit} at={at!r}: choose one of {', '.join(choices)}")


def _fits(edit: Edit, vector: Vector, width: int) -> None:
    if vector.width != width:
        raise InputError(f"`{edit}`: the vector has {vector.width} numbers, and the stream of this model is {width} wide")
