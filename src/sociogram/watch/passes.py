"""How a recorded run goes over its tokens: in one pass, in chunks on the model's own cache, or token by token as it writes."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sociogram.core.errors import InputError, UnsupportedModelError
from sociogram.models.anatomy import Anatomy
from sociogram.models.chunked import reads_in_pieces, turns_with_length
from sociogram.models.examine import forward_arguments
from sociogram.models.inputs import check_length, takes
from sociogram.models.model import Model
from sociogram.models.quiet import quiet
from sociogram.watch.request import Request

BLOCK = 1024
"""A text that is streamed to disk is read in chunks of so many tokens: what is whole can be opened, whatever happens later."""
CHUNK = 4096
"""Longer texts are read in chunks of so many tokens where nothing of the size tokens x tokens is kept."""


@dataclass(frozen=True)
class Course:
    """A run's passes.

    Attributes:
        model: which runs.
        inputs: what goes in, as `model.encode` makes it.
        chunk: tokens per pass; 0 for one pass.
        new: how many tokens the model writes.
        settings: of its `generate`.
    """

    model: Model
    inputs: Mapping[str, Tensor]
    chunk: int = 0
    new: int = 0
    settings: Mapping[str, Any] | None = None

    @property
    def pieces(self) -> bool:
        """Whether there are several passes."""
        return bool(self.chunk or self.new)

    @property
    def tokens(self) -> int:
        """How many tokens all passes have together at most (where there are several)."""
        return int(self.inputs["input_ids"].shape[1]) + self.new

    @property
    def passes(self) -> int:
        """How many passes there are at most."""
        return self.new + 1 if self.new else -(-self.tokens // self.chunk) if self.chunk else 1

    def run(self) -> tuple[Any, dict[str, Tensor]]:
        """Run all passes; returns the last output, and the inputs with all tokens, the last of which may not have been read."""
        hf = self.model.hf
        if not self.pieces:
            return hf(**forward_arguments(hf, self.inputs)), dict(self.inputs)
        try:
            return self._write() if self.new else (self._in_chunks(), dict(self.inputs))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            if _is_ours(error, hf):
                raise
            what = "writes" if self.new else "reads in pieces"
            raise UnsupportedModelError(
                f"{type(hf).__name__} fails in its own code when it {what} ({type(error).__name__}: {error})"
            ) from error

    def _in_chunks(self) -> Any:
        hf, ids = self.model.hf, self.inputs["input_ids"]
        short = {"logits_to_keep": 1} if takes(hf, "logits_to_keep") else {}
        cache: dict[str, Any] = {}
        output: Any = None
        for start in range(0, ids.shape[1], self.chunk):
            stop = min(start + self.chunk, ids.shape[1])
            mask = {"attention_mask": torch.ones_like(ids[:, :stop])} if "attention_mask" in self.inputs else {}
            output = hf(input_ids=ids[:, start:stop], use_cache=True, **mask, **cache, **short)
            cache = {"past_key_values": output.past_key_values}
        return output

    def _write(self) -> tuple[Any, dict[str, Tensor]]:
        """Let the model write one token more than is asked for: only what was read again has a place in a recording."""
        hf, outputs = self.model.hf, [None]
        hook = hf.register_forward_hook(lambda _, __, output: outputs.__setitem__(0, output))
        pad = hf.generation_config.pad_token_id
        options = {"do_sample": False, "pad_token_id": 0 if pad is None else pad, **(self.settings or {}), "use_cache": True}
        options["return_dict_in_generate"] = False
        try:
            with quiet():
                ids = hf.generate(**self.inputs, **options, max_new_tokens=self.new + 1)
        finally:
            hook.remove()
        return outputs[0], {**self.inputs, "input_ids": ids}


def _is_ours(error: Exception, hf: Any) -> bool:
    """Whether an error arose in our own code, called back by the model's, and not in the model's."""
    import transformers

    ours, theirs = Path(__file__).parents[1], (Path(transformers.__file__).parent, Path(inspect.getfile(type(hf))))
    places = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    last = next((place for place in reversed(places) if any(place.is_relative_to(root) for root in (ours, *theirs))), None)
    return last is not None and last.is_relative_to(ours) and last != Path(__file__)


SIMPLE = frozenset(("do_sample", "temperature", "top_k", "top_p", "min_p", "eos_token_id", "pad_token_id", "min_new_tokens"))
"""Settings of generation under which one token follows another in one sequence."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("num_beams", "num_return_sequences", "guidance_scale"), (None, 1)),
    **dict.fromkeys(("prompt_lookup_num_tokens", "penalty_alpha", "dola_layers", "prefill_chunk_size"), (None,)),
    "cache_implementation": (
        None,
        "dynamic",
        "hybrid",
    ),  # transformers takes "hybrid" for "dynamic" where it is a model's default
}
"""Settings that a model may bring along, and with which values one token follows another on a cache that grows."""
_TEXT = frozenset(("input_ids", "attention_mask", "token_type_ids"))


def course_of(model: Model, inputs: dict[str, Tensor], anatomy: Anatomy, request: Request, *, steered: bool) -> Course:
    """The passes that a request asks for, or that a long text needs.

    Raises:
        InputError, UnsupportedModelError: they have no meaning for these inputs, or for this model.
    """
    alone = (_TEXT | {"position_ids"}).issuperset(inputs) and "input_ids" in inputs and _in_step(anatomy)
    if request.new_tokens:
        _check_writing(model, inputs, request, alone=alone and _TEXT.issuperset(inputs))
        return Course(model, inputs, new=request.new_tokens, settings=request.settings)
    if request.to is not None:
        _check_stored(model, inputs, str(request.to), alone=alone)
    plain = set(inputs) <= {"input_ids", "attention_mask"} and bool(inputs.get("attention_mask", torch.ones(1)).all())
    if request.chunk is not None:
        _check_chunks(model, inputs, request.chunk, plain=plain, alone=alone)
        return Course(model, inputs, chunk=request.chunk)
    if not (alone and plain) or turns_with_length(model.hf, inputs["input_ids"].shape[1]):
        return Course(model, inputs)
    if request.to is not None:
        return Course(model, inputs, chunk=BLOCK if reads_in_pieces(model.hf) else 0)
    long = inputs["input_ids"].shape[1] > CHUNK and not steered
    if long and request.wanted and "weights" not in request.names and reads_in_pieces(model.hf):
        return Course(model, inputs, chunk=CHUNK)
    return Course(model, inputs)


def _in_step(anatomy: Anatomy) -> bool:
    """Whether there is one stack of layers, or several over the same tokens (a text cut to patches has others)."""
    calls = [name for layer in anatomy.layers for name in layer.calls]
    return len(anatomy.stacks) == 1 or len({anatomy.lengths[name] for name in calls if name in anatomy.lengths}) == 1


def _check_stored(model: Model, inputs: Mapping[str, Tensor], to: str, *, alone: bool) -> None:
    if not alone or model.hf.config.is_encoder_decoder:
        raise UnsupportedModelError(
            f"to={to!r}: only a text that is read by one stack of layers is streamed to disk, and {type(model.hf).__name__} "
            "reads something else: record it first, then rec.save(path)"
        )
    if len(inputs["input_ids"]) != 1:
        raise InputError(f"to={to!r}: one text at a time is streamed to disk, and {len(inputs['input_ids'])} were given")


def _check_chunks(model: Model, inputs: Mapping[str, Tensor], chunk: int, *, plain: bool, alone: bool) -> None:
    name = type(model.hf).__name__
    if not reads_in_pieces(model.hf):
        raise UnsupportedModelError(
            f"chunk={chunk}: {name} does not read a text in pieces, on its own cache, as it reads it whole (tried on sixteen "
            "tokens): leave chunk out"
        )
    if not plain:
        raise InputError(
            f"chunk={chunk}: a text without padding is read in chunks, and these inputs are {', '.join(sorted(inputs))}: leave "
            "chunk out"
        )
    if not alone:
        raise UnsupportedModelError(
            f"chunk={chunk}: {name} reads with several stacks of layers, whose tokens do not come in the same chunks: leave "
            "chunk out"
        )
    if turns_with_length(model.hf, length := inputs["input_ids"].shape[1]):
        raise UnsupportedModelError(
            f"chunk={chunk}: in {name} the positions of a text of {length:,} tokens are turned by frequencies for long texts, "
            "and those of its first chunk would be by others (dynamic or long rope): leave chunk out"
        )


def _check_writing(model: Model, inputs: Mapping[str, Tensor], request: Request, *, alone: bool) -> None:
    hf, call = model.hf, f"generate={request.generate!r}"
    if not hf.can_generate() or hf.config.is_encoder_decoder or "input_ids" not in inputs:
        raise UnsupportedModelError(
            f"{call}: {type(hf).__name__} is no decoder that writes on from a text, so nothing can be recorded of its writing"
        )
    if not alone:
        raise UnsupportedModelError(
            f"{call}: a text that is read by one stack of layers is written on, and {type(hf).__name__} reads "
            f"{', '.join(sorted(inputs))} with several, or more than a text: record the finished text with its inputs"
        )
    if len(inputs["input_ids"]) != 1 or not bool(inputs.get("attention_mask", torch.ones(1)).all()):
        raise InputError(f"{call}: one prompt without padding is written on, and {len(inputs['input_ids'])} were given")
    if odd := sorted(set(request.settings) - SIMPLE):
        raise InputError(
            f"{call}: {', '.join(odd)} may make several sequences or passes of it, and one sequence that grows token by token is "
            f"recorded: its settings are max_new_tokens, {', '.join(sorted(SIMPLE))}"
        )
    own = {name: getattr(hf.generation_config, name, None) for name in _NEUTRAL}
    if odd := [f"{name}={value!r}" for name, value in own.items() if value not in _NEUTRAL[name]]:
        raise InputError(
            f"{call}: {type(hf).__name__} brings along {', '.join(odd)}, and one sequence that grows token by token is recorded: "
            f"set model.hf.generation_config.{odd[0].split('=')[0]} = {_NEUTRAL[odd[0].split('=')[0]][0]!r} first"
        )
    check_length(hf, inputs["input_ids"].shape[1], request.new_tokens + 1)
