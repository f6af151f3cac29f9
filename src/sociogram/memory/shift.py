"""What a text adds to the residual stream of those who read on from it, on average, as one vector per layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.memory.together import arguments, padded
from sociogram.models.model import Model
from sociogram.models.seam import watching
from sociogram.steering.past import Past
from sociogram.steering.residual import Add, StreamEdit
from sociogram.steering.stream import StreamEditor, streamed
from sociogram.steering.tally import Tally


def additions(full: Past, examples: Sequence[Int[Tensor, " _"]]) -> tuple[Add, ...]:
    """One `edits.add` per layer, at its output, for all tokens of a prompt but its first.

    Layer by layer, from the first on: the vector is the mean of the stream over the examples' tokens, read after the text, less
    the mean of the same tokens read without it, under the additions of the layers before. So that under all of them the
    examples' mean stream is, after every layer, what it is after the text. First tokens are left out on both sides and are not
    moved: the first token of what is read is another creature (a sink), and it would be all there is in the mean.

    Raises:
        InputError: no example of two tokens or more.
        EditDidNotLand: layers whose output is no stream that can be edited.
    """
    used = [example for example in examples if len(example) > 1]
    if not used:
        raise InputError("additions are means over the tokens of examples, their first left out: give one of two tokens or more")
    rows, real = padded(used)
    real[:, 0] = False
    with_text: list[Tensor] = []

    def overhear(here: Tensor) -> Tensor:
        """Where the stream is after the text, on average."""
        with_text.append(_mean(here, real))
        return here

    _run(full.model, len(full), arguments(full, rows, full.keys, full.values), overhear)
    vectors: list[Tensor] = []

    def level(here: Tensor) -> Tensor:
        """The stream moved to where it is after the text, on average."""
        vectors.append(with_text[len(vectors)] - _mean(here, real))
        return here + vectors[-1].to(here.dtype)

    _run(full.model, 0, {"input_ids": rows}, level, slice(1, None))
    stack = full.model.anatomy.main
    return tuple(Add(vector, layer=layer, query=slice(1, None), stack=stack) for layer, vector in enumerate(vectors))


def _mean(here: Float[Tensor, "text token d_model"], real: Tensor) -> Float[Tensor, " d_model"]:
    return here[real].double().mean(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Overheard(StreamEdit):
    """Lets somebody see the stream after a layer, of all texts at once, and change it."""

    name: ClassVar[str] = "overheard"
    by: Callable[[Tensor], Tensor] = field(repr=False)

    def changed(self, here: Tensor, told: Tensor | None) -> Tensor:
        """What they make of it."""
        return self.by(here)


def _run(model: Model, before: int, given: Mapping[str, Any], by: Callable[[Tensor], Tensor], query: Any = None) -> None:
    """One pass over texts, after so many cached tokens; `by` sees the output of each layer, in order, of tokens in `query`."""
    anatomy = model.anatomy
    texts = {stack: [""] * (before + given["input_ids"].shape[1]) for stack in anatomy.stacks}
    each = [_Overheard(layer=layer.index, query=query, by=by) for layer in anatomy.stack(anatomy.main)]
    editor = StreamEditor(model.hf, streamed(each, anatomy, texts), Tally())
    with torch.no_grad(), watching(model.hf, [], [editor]):
        model.hf(**given)
