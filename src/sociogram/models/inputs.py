"""From what users write (texts, chats, ids) to the keyword arguments of a model's forward pass, with every check."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import torch
from torch import Tensor

from sociogram.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Promptable: TypeAlias = (
    str | Sequence[str] | Sequence[Mapping[str, str]] | Sequence[int] | Sequence[Sequence[int]] | Tensor | Mapping[str, Any]
)
Row: TypeAlias = Mapping[str, Sequence[int]]

_TAKEN = "a text, a list of texts, a chat (a list of {'role', 'content'}), token ids, or a mapping of the model's inputs"


def encode(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, what: Promptable) -> dict[str, Tensor]:
    """The keyword arguments of `hf` for a prompt, on its device; `Model.encode` says what goes in and what comes."""
    if isinstance(what, Mapping):
        encoded = _own_inputs(hf, what)
    elif isinstance(what, str):
        encoded = _text_inputs(hf, tokenizer, [what])
    elif _all_of(what, str):
        encoded = _text_inputs(hf, tokenizer, what)
    elif _all_of(what, Mapping):
        encoded = _chat_inputs(hf, tokenizer, what)
    else:
        encoded = _id_inputs(hf, what)
    _check_ids(hf, encoded)
    _add_decoder_start(hf, encoded)
    return {name: value.to(hf.device) for name, value in encoded.items()}


def text_config(hf: PreTrainedModel) -> PreTrainedConfig:
    """The configuration of the model's text part, or its own where none or several are named."""
    try:
        return hf.config.get_text_config()
    except ValueError:
        return hf.config


def max_positions(hf: PreTrainedModel) -> int | None:
    """The most tokens the model has positions for, or None where nothing limits them (relative positions, ALiBi)."""
    most = getattr(text_config(hf), "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return None
    return most - _reserved_positions(hf)


def check_length(hf: PreTrainedModel, length: int, new: int = 0) -> None:
    """Raise InputError if `length` tokens, and `new` more, do not fit the model's positions."""
    most = max_positions(hf)
    if most is None or length + new <= most:
        return
    config = text_config(hf)
    more = f" and {new:,} new ones" if new else ""
    beyond = ""
    if getattr(config, "rope_parameters", None):
        setting = f"model.hf.config{'' if config is hf.config else '.get_text_config()'}.max_position_embeddings"
        beyond = f", or raise {setting} to go, on purpose, beyond what it was trained on (its positions are rotary)"
    raise InputError(
        f"{length:,} tokens{more} are too many: {type(hf).__name__} has {most:,} positions. Shorten the input{beyond}."
    )


def _reserved_positions(hf: PreTrainedModel) -> int:
    """Rows of a learned position table up to its padding row, where positions count from behind that (RoBERTa)."""
    for name, module in hf.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def _all_of(what: object, kind: type) -> TypeGuard[Any]:
    if not isinstance(what, Sequence) or isinstance(what, str | bytes):
        return False
    return len(what) > 0 and all(isinstance(item, kind) for item in what)


def _needed(tokenizer: PreTrainedTokenizerBase | None, what: str) -> PreTrainedTokenizerBase:
    if tokenizer is None:
        raise InputError(f"{what} needs a tokenizer and the model has none: give token ids, or load(..., tokenizer=...)")
    return tokenizer


def _text_inputs(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, texts: Sequence[str]) -> dict[str, Tensor]:
    from sociogram.models.quiet import quiet

    tokenizer = _needed(tokenizer, "a text")
    with quiet():  # it would warn of lengths that are checked here
        rows = [tokenizer(text) for text in texts]
    return _padded(hf, tokenizer, rows)


def _chat_inputs(
    hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, messages: Sequence[Mapping[str, str]]
) -> dict[str, Tensor]:
    tokenizer = _needed(tokenizer, "a chat")
    if not tokenizer.chat_template:
        raise InputError("the tokenizer has no chat template, so it cannot lay out a chat: give the prompt as one text")
    for message in messages:
        if not {"role", "content"} <= message.keys():
            raise InputError(f"a chat message has 'role' and 'content'; this one has {', '.join(map(repr, message))}")
    row = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=True, return_dict=True)
    return _padded(hf, tokenizer, [row])


def _padded(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows of unequal length as tensors `[sequence, query]`, padded on the tokenizer's side, which is not changed.

    The padding token is the tokenizer's, else its end-of-text token, else 0: the mask hides it whichever it is.
    """
    lengths = [len(row["input_ids"]) for row in rows]
    if 0 in lengths:
        which = f" (number {lengths.index(0)} of the list)" if len(rows) > 1 else ""
        raise InputError(f"the prompt{which} is empty: its tokenizer makes no tokens of it")
    pads = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    fill = {"input_ids": next(pad for pad in pads if pad is not None), "token_type_ids": tokenizer.pad_token_type_id}
    left, width = tokenizer.padding_side == "left", max(lengths)

    def pad(name: str, row: Row) -> list[int]:
        padding = [fill.get(name, 0)] * (width - len(row["input_ids"]))
        return [*padding, *row[name]] if left else [*row[name], *padding]

    taken = _parameters(hf)
    encoded = {name: torch.tensor([pad(name, row) for row in rows]) for name in rows[0] if name in taken}
    if left and min(lengths) < width:
        _add_positions(hf, encoded, taken)
    return encoded


def _add_positions(hf: PreTrainedModel, encoded: dict[str, Tensor], taken: frozenset[str]) -> None:
    """Count positions from the first real token, as models that are padded on the left do not by themselves."""
    if "position_ids" in taken and "attention_mask" in encoded and not _reserved_positions(hf):
        encoded["position_ids"] = (encoded["attention_mask"].cumsum(-1) - 1).clamp(min=0)


def _id_inputs(hf: PreTrainedModel, what: object) -> dict[str, Tensor]:
    try:
        ids = torch.as_tensor(what)
    except (TypeError, ValueError, RuntimeError) as error:
        lists = ": lists of ids must be of equal length (texts are padded, ids are not)" if _all_of(what, Sequence) else ""
        kind = type(what).__name__
        raise InputError(f"this {kind} cannot be read as token ids{lists}. A prompt is {_TAKEN}.") from error
    if ids.numel() == 0:
        raise InputError("the prompt is empty: no token ids were given")
    if ids.dtype == torch.bool or ids.is_floating_point() or ids.is_complex():
        raise InputError(f"token ids are whole numbers, and these are {str(ids.dtype).removeprefix('torch.')}")
    if ids.dim() not in (1, 2):
        raise InputError(f"token ids have the shape [query] or [sequence, query], and these have {list(ids.shape)}")
    encoded = {"input_ids": ids.long().reshape(-1, ids.shape[-1])}
    if "attention_mask" in _parameters(hf):
        encoded["attention_mask"] = torch.ones_like(encoded["input_ids"])
    return encoded


def _own_inputs(hf: PreTrainedModel, what: Mapping[str, Any]) -> dict[str, Tensor]:
    encoded = {}
    for name, value in what.items():
        try:
            tensor = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"the model's input {name!r} is a {type(value).__name__}, which is no tensor") from error
        if tensor.dim() == 0:
            raise InputError(f"the model's input {name!r} is a single value: it lacks the leading sequence dimension")
        encoded[name] = tensor.to(hf.dtype) if tensor.is_floating_point() else tensor
    if not encoded:
        raise InputError(f"the mapping of the model's inputs is empty. A prompt is {_TAKEN}.")
    return encoded


def _vocabulary(hf: PreTrainedModel) -> int:
    """How many token ids the model knows: rows of its embedding, or what its configuration says where it names none."""
    try:
        rows = getattr(hf.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:
        rows = None
    return int(rows or getattr(text_config(hf), "vocab_size", None) or 0)


def _check_ids(hf: PreTrainedModel, encoded: Mapping[str, Tensor]) -> None:
    for name in ("input_ids", "decoder_input_ids"):
        ids = encoded.get(name)
        if ids is None:
            continue
        if ids.dim() < 2 or ids.numel() == 0:
            raise InputError(f"{name} must be [sequence, query] with at least one token, and is {list(ids.shape)}")
        known = _vocabulary(hf)
        wrong = ids[(ids < 0) | (ids >= known)] if known else ids[:0]
        if len(wrong):
            raise InputError(f"token id {int(wrong[0])} is outside the vocabulary of {type(hf).__name__}: 0 to {known - 1:,}")
        check_length(hf, ids.shape[1])


def _add_decoder_start(hf: PreTrainedModel, encoded: dict[str, Tensor]) -> None:
    """Give an encoder-decoder the token its decoder starts from, unless the caller said what the decoder reads."""
    if "decoder_input_ids" not in _parameters(hf) or encoded.keys() & {
        "decoder_input_ids",
        "decoder_inputs_embeds",
        "labels",
    }:
        return
    start = None
    for config in (getattr(hf, "generation_config", None), hf.config, text_config(hf)):
        for name in ("decoder_start_token_id", "bos_token_id"):
            start = start if start is not None else getattr(config, name, None)
    if start is None:
        raise InputError(f"{type(hf).__name__} names no start token for its decoder: give decoder_input_ids in a mapping")
    rows = len(next(iter(encoded.values())))
    encoded["decoder_input_ids"] = torch.full((rows, 1), start)


def _parameters(hf: PreTrainedModel) -> frozenset[str]:
    return frozenset(inspect.signature(hf.forward).parameters)


def takes(hf: PreTrainedModel, name: str) -> bool:
    """Whether the model's forward pass has an argument of this name."""
    return name in _parameters(hf)
