"""What somebody asks a recording to be: what to keep, of how many passes, and where to put it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from sociogram.core.errors import InputError
from sociogram.watch.access import check_index
from sociogram.watch.keep import Keep, is_streaming, kept_names
from sociogram.watch.streamed import Wanted
from sociogram.watch.told import CHOICE, COLUMNS

RANKS = ("message", "attention")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Request:
    """The settings of `sg.record`; see there."""

    keep: Keep = "default"
    top: int = 8
    by: str = "message"
    generate: int | Mapping[str, Any] = 0
    chunk: int | None = None
    to: str | PathLike[str] | None = None
    residual: str = "float32"
    residual_layers: Sequence[int] | None = None
    memory_limit: int | None = None

    def checked(self) -> Request:
        """The same, if it has a meaning.

        Raises:
            InputError: says which setting has none.
        """
        kept_names(self.keep)
        if self.top < 1:
            raise InputError(f"top={self.top}: keep at least one key of each reader, or leave top_key out of keep")
        if self.by not in RANKS:
            raise InputError(f"by={self.by!r}: choose one of {', '.join(RANKS)}")
        if self.chunk is not None and self.chunk < 1:
            raise InputError(f"chunk={self.chunk}: read at least one token per pass, or leave it out")
        if self.residual not in DTYPES:
            raise InputError(f"residual={self.residual!r}: choose one of {', '.join(DTYPES)}")
        self._check_stream()
        if self.to is not None and (self.new_tokens or not is_streaming(self.names) or "weights" in self.names):
            raise InputError(
                f'to={str(self.to)!r}: a text that is read with keep="stream" is written to disk while it is read; anything else '
                "is recorded first and stored with rec.save(path)"
            )
        if isinstance(self.generate, Mapping) and "max_new_tokens" not in self.generate:
            raise InputError(f"generate={dict(self.generate)!r}: say how many tokens to write, max_new_tokens=...")
        if self.new_tokens < 0:
            raise InputError(f"generate={self.generate!r}: a number of tokens to write, from 1")
        self._check_ignored()
        return self

    def _check_stream(self) -> None:
        if "residual" not in self.names and (self.residual != "float32" or self.residual_layers is not None):
            raise InputError(
                f"keep={self.keep!r} keeps no stream: with residual= or residual_layers= name 'residual' among what to keep"
            )
        if self.residual != "float32" and (not is_streaming(self.names) or "weights" in self.names):
            raise InputError(
                f'residual={self.residual!r}: with keep="stream" places in the stream may be rounded; beside all weights they '
                "are kept as they were computed, or accounts would not add up"
            )

    def _check_ignored(self) -> None:
        """Refuse settings that nothing would come of."""
        if self.names.isdisjoint(CHOICE) and (self.top != Request.top or self.by != Request.by):
            raise InputError(
                f"top={self.top}, by={self.by!r}: keep={self.keep!r} keeps no strongest keys; leave them out, or keep "
                f"{', '.join(CHOICE)}"
            )
        if self.chunk is not None and self.new_tokens:
            raise InputError(
                f"chunk={self.chunk}: a text that is written on (generate={self.generate!r}) is read in one pass and then token "
                "by token: leave chunk out"
            )
        if self.memory_limit is not None and self.to is not None:
            raise InputError(
                f"memory_limit={self.memory_limit}: what is written to disk while the text is read (to={str(self.to)!r}) is not "
                "held in memory: leave memory_limit out"
            )

    @property
    def names(self) -> frozenset[str]:
        """The variables to keep."""
        return kept_names(self.keep)

    @property
    def new_tokens(self) -> int:
        """How many tokens the model shall write."""
        return int(self.generate["max_new_tokens"]) if isinstance(self.generate, Mapping) else int(self.generate)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of transformers' `generate` beside the number of tokens."""
        given = dict(self.generate) if isinstance(self.generate, Mapping) else {}
        return {name: value for name, value in given.items() if name != "max_new_tokens"}

    def stream_layers(self, count: int) -> frozenset[int] | None:
        """The layers whose stops are kept, of so many; None for all.

        Raises:
            InputError: a layer that is not there.
        """
        if self.residual_layers is None:
            return None
        return frozenset(check_index("layer", layer, count) for layer in self.residual_layers)

    @property
    def wanted(self) -> Wanted | None:
        """What of each attention call is kept by whoever reads it in blocks; None where nobody does."""
        if not is_streaming(self.names):
            return None
        choice = not self.names.isdisjoint(CHOICE)
        return Wanted(self.top if choice else 0, self.by, not self.names.isdisjoint(COLUMNS))
