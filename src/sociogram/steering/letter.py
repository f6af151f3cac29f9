"""Pasts on disk: one safetensors file, with what is needed to refuse it in a foreign model."""

from __future__ import annotations

import json
import tempfile
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.models.model import Model
from sociogram.watch.provenance import described, foreign

if TYPE_CHECKING:
    from sociogram.steering.past import Past

FORMAT = 1
"""Version of the file's layout."""
SUFFIX = ".safetensors"


def save(past: Past, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Store a past; it appears at once when it is complete. `Past.save` says what is refused."""
    from safetensors.torch import save_file

    target = _named(path)
    if not target.parent.is_dir():
        raise InputError(f"{target} cannot be written: there is no folder {target.parent}")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists already: choose another name, or save(..., overwrite=True)")
    tensors = {"ids": past.ids, "positions": past.positions}
    for i, (key, value) in enumerate(zip(past.keys, past.values, strict=True)):
        tensors |= {f"keys.{i}": key, f"values.{i}": value}
    content = {
        "format": FORMAT,
        "texts": list(past.texts),
        "next_position": past.next_position,
        "slots": [[path, number, slot] for (path, number), slot in past.slots.items()],
        **described(past.model),
    }
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            draft = Path(folder) / target.name
            whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            save_file(whole, draft, metadata={"sociogram_past": json.dumps(content)})
            draft.replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error


def _named(path: str | PathLike[str]) -> Path:
    target = Path(path)
    if target.suffix == SUFFIX:
        return target
    if target.suffix and not target.suffix[1:].isdigit():
        raise InputError(f"{target} has the suffix {target.suffix}, and a past is stored as {SUFFIX}: leave the suffix out")
    return target.with_name(target.name + SUFFIX)


def heading(path: str | PathLike[str]) -> dict[str, Any]:
    """What a stored past says of itself (texts, slots, model), its keys and values left alone. Errors as `Past.load`."""
    return _opened(_named(path), with_tensors=False)[0]


def _opened(file: Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise InputError(f"no past at {file}: nothing is there")
    try:
        with safe_open(file, framework="pt") as stored:
            content = json.loads((stored.metadata() or {}).get("sociogram_past", "null"))
            tensors = {name: stored.get_tensor(name) for name in stored.keys() if with_tensors}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: it is broken, or no safetensors file ({error})") from error
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{file} holds tensors, but no past of Sociogram (past.save writes one)")
    if content["format"] != FORMAT:
        raise InputError(f"{file} is of format {content['format']}, and this version of Sociogram reads format {FORMAT}")
    return content, tensors


def load(path: str | PathLike[str], model: Model | None) -> dict[str, Any]:
    """The fields of a stored past. `Past.load` says what is refused."""
    file = _named(path)
    content, tensors = _opened(file, with_tensors=True)
    model = model or _named_there(file, content)
    _check_model(file, content, model)
    try:
        return _fields(content, {name: tensor.to(model.device) for name, tensor in tensors.items()}, model)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} cannot be read: its parts do not fit together ({error})") from error


def _named_there(file: Path, content: dict[str, Any]) -> Model:
    """The model that a past was made with, loaded from where it came."""
    if content.get("model_source") not in ("named", "hub", "folder", "gguf"):
        raise InputError(
            f"{file} is a past of {content.get('model')}, an object in memory then, which cannot be found by name: give the "
            "model, Past.load(path, model)"
        )
    from sociogram.models.loading import load as load_model

    return load_model(str(content["model_location"]), dtype=str(content.get("dtype")))


def _check_model(file: Path, content: dict[str, Any], model: Model) -> None:
    if other := foreign(content, model):
        what, there, here = other
        raise InputError(
            f"{file} is a past of {content.get('model')} ({what} {there}), and it is opened with {model.name} "
            f"({what} {here}): its keys mean nothing there. Load the model that it was made with"
        )


def _fields(content: dict[str, Any], tensors: dict[str, Tensor], model: Model) -> dict[str, Any]:
    count = sum(name.startswith("keys.") for name in tensors)
    keys, values = (tuple(tensors[f"{kind}.{i}"] for i in range(count)) for kind in ("keys", "values"))
    ids, positions, texts = tensors["ids"], tensors["positions"], tuple(map(str, content["texts"]))
    slots = {(str(path), int(number)): int(slot) for path, number, slot in content["slots"]}
    lengths = {len(ids), len(positions), len(texts), *(t.shape[1] for t in (*keys, *values))}
    if len(lengths) != 1 or set(slots.values()) != set(range(count)) or not count:
        raise ValueError("lengths differ")
    _check_shapes(keys, values, slots, model)
    return {
        "model": model, "ids": ids, "texts": texts, "positions": positions, "next_position": int(content["next_position"]),
        "keys": keys, "values": values, "slots": slots,
    }  # fmt: skip


def _check_shapes(keys: tuple[Tensor, ...], values: tuple[Tensor, ...], slots: dict[tuple[str, int], int], model: Model) -> None:
    """A model of unknown weights (an object) is at least of the same shape: its anatomy names its calls and heads."""
    heads = model.anatomy.heads
    for name, slot in slots.items():
        shape = (keys[slot].shape[0], keys[slot].shape[2], values[slot].shape[2])
        if name not in heads or heads[name][1:] != shape:
            raise ValueError(f"{model.name} has no attention {name[0]} of {shape[0]} key/value heads of {shape[1]}")
    if not all(bool(torch.isfinite(t).all()) for t in (*keys, *values)):
        raise ValueError("numbers that are not finite")
