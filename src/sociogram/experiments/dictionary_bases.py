"""Frozen models with a place for an adapter: what stands below it is computed once, what stands above it goes on from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import sociogram as sg
from sociogram.experiments.watching import steps as watched


class Base:
    """A causal language model cut before one of its layers.

    `upper(lower(ids)) @ head.T` are the model's own logits. Nothing of the model is changed; while a part runs, the other part is
    taken out of it.
    """

    def __init__(self, name: str, hf: Any, tokenizer: Any, layer: int) -> None:
        """Cut before layer `layer`.

        Raises:
            InputError: there is no such layer above the first.
        """
        self.name, self.hf, self.tokenizer, self.layer = name, hf.eval(), tokenizer, layer
        self.inner = getattr(hf, hf.base_model_prefix) if hf.base_model_prefix else hf
        if not 0 < layer < len(self.inner.layers):
            raise sg.InputError(
                f"dictionary: an adapter before layer {layer} of {name}: choose 1 to {len(self.inner.layers) - 1}"
            )

    @property
    def head(self) -> Float[Tensor, "vocab d_model"]:
        """The unembedding."""
        return self.hf.get_output_embeddings().weight.detach()

    @property
    def width(self) -> int:
        """Channels of the stream."""
        return int(self.head.shape[1])

    def lower(self, ids: Int[Tensor, "row query"]) -> Float[Tensor, "row query d_model"]:
        """The stream before the layer."""
        with torch.no_grad(), self._only(slice(None, self.layer), norm=nn.Identity()):
            return self.hf(input_ids=ids, use_cache=False).logits

    def upper(self, stream: Float[Tensor, "row query d_model"]) -> Float[Tensor, "row query d_model"]:
        """The last states, behind the last norm, of streams that stood before the layer."""
        with self._only(slice(self.layer, None)):
            return self.hf(inputs_embeds=stream, use_cache=False).logits

    def whole(self, ids: Int[Tensor, "row query"], mask: Tensor) -> Float[Tensor, "row query d_model"]:
        """The last states of the whole model, who may hear whom given by an additive mask `[row, 1, query, key]`."""
        with torch.no_grad(), self._only(slice(None)):
            return self.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits

    @contextmanager
    def _only(self, part: slice, **parts: nn.Module) -> Iterator[None]:
        """Inside, the model has some of its layers, another norm where one is given, and no unembedding."""
        own = self.inner.layers, self.inner.norm, self.hf.lm_head
        try:
            self.inner.layers, self.hf.lm_head = own[0][part], nn.Identity()
            self.inner.norm = parts.get("norm", own[1])
            yield
        finally:
            self.inner.layers, self.inner.norm, self.hf.lm_head = own

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, no gradient is taken to the model's own weights."""
        own = [(weight, weight.requires_grad) for weight in self.hf.parameters()]
        self.hf.requires_grad_(False)
        try:
            yield
        finally:
            for weight, wanted in own:
                weight.requires_grad_(wanted)

    def streams(self, ids: Int[Tensor, "row query"], batch: int = 16) -> Float[Tensor, "row query d_model"]:
        """`lower`, in batches."""
        parts = ids.split(batch)
        return torch.cat([self.lower(part) for part in watched(parts, f"{self.name}: reading", len(parts))])


@dataclass(frozen=True)
class Stream:
    """A long text as a task: the next token at every place of cuttings. Nobody knows the right answers: there is no oracle."""

    ids: Int[Tensor, " token"]
    vocab_size: int
    length: int
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = True

    @property
    def chance(self) -> float:
        """The commonest token's share."""
        return float(self.ids.bincount().max()) / len(self.ids)

    @property
    def blind(self) -> float:
        """The commonest token's share."""
        return self.chance

    def batch(self, count: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """So many cuttings."""
        starts = torch.randint(len(self.ids) - self.length, (count, 1), generator=generator)
        cut = self.ids[starts + torch.arange(self.length + 1)]
        return {"input_ids": cut[:, :-1].contiguous(), "labels": cut[:, 1:].contiguous()}

    def oracle(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Refused."""
        raise sg.InputError("Stream.oracle(...): nobody knows how a text goes on. Compare with task.chance.")


def subwords(lines: Sequence[str], pieces: int) -> Any:
    """A byte-level BPE of so many tokens, learned on lines."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=pieces, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=backend)
