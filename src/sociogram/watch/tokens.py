"""What the tokens of a stack are called: their text where they are text, else a name with a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor

from sociogram.models.anatomy import Anatomy
from sociogram.models.model import Model
from sociogram.models.tokens import token_texts


@dataclass(frozen=True)
class Named:
    """The tokens along one axis: texts and ids, `[sequence, token]`; `real` is false where padding stands."""

    texts: np.ndarray
    ids: np.ndarray | None = None
    real: np.ndarray | None = None

    @classmethod
    def from_ids(cls, model: Model, ids: Tensor, mask: Tensor | None) -> Named:
        """Tokens of a text."""
        texts = [token_texts(model.tokenizer, row) for row in ids.tolist()]
        real = None if mask is None or mask.shape != ids.shape or bool(mask.all()) else mask.bool().cpu().numpy()
        return cls(np.array(texts, dtype=np.str_), ids.cpu().numpy(), real)

    @classmethod
    def numbered(cls, what: str, sequences: int, count: int) -> Named:
        """Patches, frames, latents: a word and a number."""
        return cls(np.array([[f"{what} {i}" for i in range(count)]] * sequences, dtype=np.str_))


@dataclass(frozen=True)
class StackTokens:
    """The tokens that read and the tokens that are read in one stack."""

    queries: Named | None
    keys: Named | None

    def label(self, dataset: xr.Dataset) -> xr.Dataset:
        """The dataset with token coordinates."""
        several = "sequence" in dataset.sizes
        for axis, named in (("query", self.queries), ("key", self.keys)):
            if named is None or axis not in dataset.dims:
                continue
            dims = ("sequence", axis) if several else (axis,)
            coords: dict[str, Any] = {f"{axis}_token": (dims, named.texts if several else named.texts[0])}
            if axis == "query" and named.ids is not None:
                coords["token_id"] = (dims, named.ids if several else named.ids[0])
            if named.real is not None:
                coords[f"{axis}_real"] = (dims, named.real if several else named.real[0])
            dataset = dataset.assign_coords(coords)
        return dataset


def stack_tokens(
    model: Model,
    anatomy: Anatomy,
    inputs: Mapping[str, Tensor],
    sizes: Mapping[str, int],
    stack: str,
    *,
    cross: bool,
    outside: Sequence[str] = (),
) -> StackTokens:
    """Name the tokens of a stack: by the ids of the text that has as many tokens, else by the stack's name and a number.

    Args:
        sizes: how many queries and keys (and sequences) the stack's arrays have.
        cross: whether the keys come from another sequence.
        outside: the names of the keys where they come from outside the model's inputs.
    """
    sequences = sizes.get("sequence", 1)
    listens = any(step.cross for layer in anatomy.stack(stack) for step in layer.heard)
    own = _text(model, inputs, (sequences, sizes.get("query", -1)), decoder=listens)
    queries = own or Named.numbered(stack, sequences, sizes.get("query", 0))
    if outside:
        return StackTokens(queries, Named(np.array([list(outside)] * sequences, dtype=np.str_)))
    if not cross:
        same = sizes.get("key", -1) == queries.texts.shape[1]
        return StackTokens(queries, queries if same else Named.numbered("key", sequences, sizes.get("key", 0)))
    other = next((name for name in anatomy.stacks if name != stack), "source")
    source = _text(model, inputs, (sequences, sizes.get("key", -1)), decoder=False)
    return StackTokens(queries, source or Named.numbered(other, sequences, sizes.get("key", 0)))


def _text(model: Model, inputs: Mapping[str, Tensor], shape: tuple[int, int], *, decoder: bool) -> Named | None:
    names = ("decoder_input_ids", "input_ids") if decoder else ("input_ids",)
    masks = {"decoder_input_ids": "decoder_attention_mask", "input_ids": "attention_mask"}
    for name in names:
        ids = inputs.get(name)
        if ids is not None and tuple(ids.shape) == shape:
            return Named.from_ids(model, ids, inputs.get(masks[name]))
    return None


def padding_of(anatomy: Anatomy, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`[batch, token]` for each stack whose tokens are partly padding: which are real."""
    found: dict[str, Tensor] = {}
    for stack in anatomy.stacks:
        listens = any(step.cross for layer in anatomy.stack(stack) for step in layer.heard)
        mask = inputs.get("decoder_attention_mask" if listens and "decoder_input_ids" in inputs else "attention_mask")
        if mask is not None and mask.ndim == 2 and not bool(mask.all()):
            found[stack] = mask.bool()
    return found
