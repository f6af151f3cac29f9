"""What a patch takes from another run: whose positions go to which, and the vectors that stood there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.address import Address, Span, is_relative, written
from sociogram.core.errors import InputError
from sociogram.models.tokens import find_token
from sociogram.steering.residual import Patch
from sociogram.watch.access import tensor
from sociogram.watch.audit import stream
from sociogram.watch.recording import Recording
from sociogram.watch.stored import open_recording

ENTRY = {"attention": "attention_out", "mlp": "mlp_out"}


@dataclass(frozen=True, eq=False)
class Patches:
    """Vectors for some positions of the run that is patched."""

    positions: tuple[int, ...]
    values: Float[Tensor, "token d_model"]

    def along(self, tokens: range, like: Tensor) -> Float[Tensor, "query d_model"]:
        """The vectors in the place of these tokens; zeros where it has none."""
        rows = torch.zeros(len(tokens), self.values.shape[-1]).to(like)
        own = [(i, position - tokens.start) for i, position in enumerate(self.positions) if position in tokens]
        if own:
            taken, placed = (torch.tensor(column, device=like.device) for column in zip(*own, strict=True))
            rows[placed] = self.values.to(like)[taken]
        return rows


@dataclass(frozen=True, eq=False)
class Run:
    """The recording that a patch takes from, opened."""

    edit: Patch
    rec: Recording
    stack: str

    @classmethod
    def of(cls, edit: Patch) -> Run:
        """Open it.

        Raises:
            InputError: several sequences, or no such stack.
            RecordingError: no recording there.
        """
        rec = edit.source if isinstance(edit.source, Recording) else open_recording(edit.source)
        stack = edit.stack or rec.main
        if stack not in rec.stacks:
            raise InputError(f"`{edit}`: the source has no stack {stack!r}; it has {', '.join(rec.stacks)}")
        if "sequence" in rec.stack(stack).dims:
            raise InputError(f"`{edit}`: the source holds several sequences: give one, rec.sequence(0)")
        return cls(edit, rec, stack)

    def at(self, layer: int, pairs: tuple[list[int], list[int]], width: int) -> Patches:
        """The vectors of one layer; `pairs` as `pairs_of` gives them."""
        values = self._values(self._layer(layer))
        if values.shape[-1] != width:
            raise InputError(
                f"`{self.edit}`: the source's stream is {values.shape[-1]} wide and this model's {width}: they must be equal"
            )
        return Patches(tuple(pairs[0]), values[pairs[1]])

    def pairs_of(self, texts: Sequence[str], to_come: int) -> tuple[list[int], list[int]]:
        """The positions that are patched, and for each the position in the source.

        Raises:
            InputError: numbers that differ, or positions that the source has not.
        """
        own = [str(t) for t in self.rec.stack(self.stack)["query_token"].values]
        edit = self.edit
        places = listed(edit.query, texts, to_come, f"`{edit}`: query")
        if edit.source_query is None:
            if edit.query is None and len(texts) != len(own):
                raise InputError(
                    f"`{edit}`: the prompt has {len(texts)} tokens and the source {len(own)}, so it is not clear who takes from "
                    "whom: give query= and source_query="
                )
            if far := [place for place in places if place >= len(own)]:
                raise InputError(
                    f"`{edit}`: the source has {len(own)} tokens, numbered 0 to {len(own) - 1}, and none at position {far[0]}: "
                    "give source_query="
                )
            return places, places
        from_ = listed(edit.source_query, own, 0, f"`{edit}`: source_query")
        if len(from_) != len(places):
            raise InputError(f"`{edit}`: {len(places)} tokens are patched and source_query names {len(from_)}: give as many")
        return places, from_

    def _layer(self, own: int) -> int:
        wanted = own if self.edit.source_layer is None else self.edit.source_layer
        count = self.rec.stack(self.stack).sizes["layer"]
        if not -count <= wanted < count:
            raise InputError(
                f"`{self.edit}`: no layer {wanted} in the source: it has {count}, numbered 0 to {count - 1}. Give source_layer="
            )
        return wanted % count

    def _values(self, layer: int) -> Tensor:
        dataset = self.rec.stack(self.stack).isel(layer=layer)
        name = ENTRY.get(self.edit.at)
        if name is None:
            self.rec.need(self.rec.stack(self.stack), "residual")
            if int(dataset["layer_start"]) < 0:
                raise InputError(f"`{self.edit}`: layer {layer} of the source is unsupported, its stream was not read")
            before, after = stream(self.rec, self.stack, layer)
            return before if self.edit.at == "input" else after
        values = tensor(self.rec.need(dataset, name))
        if bool(values.isnan().all()):
            raise InputError(f"`{self.edit}`: layer {layer} of the source has no {name}")
        return values


def listed(where: Address, texts: Sequence[str], to_come: int, what: str) -> list[int]:
    """The positions that an address means, in the order given; each once.

    Raises:
        InputError: no such token, one named twice, or what has no end while the model writes.
    """
    if where is None:
        return list(range(len(texts)))
    found: list[int] = []
    for part in where if isinstance(where, tuple) else (where,):
        endless = isinstance(part, Span) and part.stop is None
        if to_come and (endless or is_relative(part) or not isinstance(part, int | str | Span)):
            raise InputError(f"{what}={written(part)} has no fixed tokens while the model writes: give positions, one for each")
        if isinstance(part, Span):
            found += range(len(texts) + to_come)[part.start : part.stop : part.step]
        elif isinstance(part, int) and len(texts) <= part < len(texts) + to_come:
            found.append(part)
        elif isinstance(part, int | str):
            found.append(find_token(texts, part))
        else:
            found += [i for i, text in enumerate(texts) if part(text)]
    if len(set(found)) < len(found):
        twice = next(i for i in found if found.count(i) > 1)
        raise InputError(f"{what}={written(where)} names position {twice} twice")
    return found
