"""A folder of safetensors as a transformers model of its own class; what would run foreign code is refused before."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sociogram.core.errors import ModelNotFoundError, SociogramError, UnsafeModelError
from sociogram.models.quiet import quiet
from sociogram.models.store import OTHER_WAYS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
NO_PICKLES = (
    "only safetensors and GGUF are opened, as pickled weights can run any code while they are read. If you trust them, "
    "load them with transformers and pass the model, or convert them (`model.save_pretrained` writes safetensors)."
)
_INDEX = "model.safetensors.index.json"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken")


def check_folder(folder: Path, name: str) -> None:
    """Raise unless `folder` holds a model that can be opened without running anything that came with it.

    Args:
        folder: the folder.
        name: how the user calls it.

    Raises:
        ModelNotFoundError: no config.json, no weights, or a part of the weights is missing.
        UnsafeModelError: only pickled weights, or a class that transformers does not have.
    """
    config = _config_of(folder, name)
    if not weight_files(folder):
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
        if pickles:
            raise UnsafeModelError(f"{name} has no safetensors, only {', '.join(pickles[:3])}: {NO_PICKLES}")
        raise ModelNotFoundError(f"{name} has a config.json and no weights (*.safetensors)")
    missing = [file.name for file in weight_files(folder) if not file.is_file()]
    if missing:
        raise ModelNotFoundError(f"{name} lacks a part of its weights: {', '.join(missing[:3])} (named in {_INDEX})")
    if needs_remote_code(config):
        code = ", ".join(sorted({str(value) for value in config["auto_map"].values()}))
        raise UnsafeModelError(
            f"{name} needs code that came with it ({code}; auto_map in config.json), and Sociogram never runs such "
            f"code. If you trust it, load it with transformers (trust_remote_code=True) and pass the model."
        )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: those its index names, whether they are there or not, else all."""
    index = folder / _INDEX
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    return sorted({folder / file for file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})


def needs_remote_code(config: dict[str, Any]) -> bool:
    """Whether a configuration (as JSON) names code of its own and transformers has no class in place of it."""
    if not config.get("auto_map"):
        return False
    import transformers

    known = config.get("model_type") in transformers.CONFIG_MAPPING
    return not known or not all(hasattr(transformers, name) for name in config.get("architectures") or ())


def open_folder(folder: Path, name: str, dtype: torch.dtype | str) -> PreTrainedModel:
    """The model in `folder`, of the class its configuration names, with the weights in `dtype` ("auto": as stored).

    Warns (UserWarning) of weights that the folder lacks and the model needs: they are random.
    """
    from transformers import AutoConfig

    with reading(name):
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            hf, info = _model_class(config).from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        missing = sorted(info["missing_keys"])
    if missing:
        few = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        warnings.warn(f"{name} lacks {len(missing)} weights of {type(hf).__name__}, which are random now: {few}", stacklevel=2)
    opened: PreTrainedModel = hf
    return opened


def has_tokenizer(folder: Path) -> bool:
    """Whether the folder holds files that a tokenizer is made from."""
    return any(next(folder.glob(pattern), None) for pattern in _TOKENIZER_FILES)


def open_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer in `folder`, or None if it holds none."""
    if not has_tokenizer(folder):
        return None
    from transformers import AutoTokenizer

    with reading(f"the tokenizer of {name}"), quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever transformers raises while it reads `name` into errors of ours that keep its reason."""
    try:
        yield
    except (SociogramError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip()
        if "trust_remote_code" in reason:
            raise UnsafeModelError(f"{name} needs code that came with it, and Sociogram never runs such code") from error
        raise ModelNotFoundError(
            f"{name} cannot be read by transformers ({reason}). Ways out: check that its files are complete, or {OTHER_WAYS}."
        ) from error


def _config_of(folder: Path, name: str) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise ModelNotFoundError(f"{name} has no config.json, so it is no model folder{_instead(folder)}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelNotFoundError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelNotFoundError(f"{file} is not a configuration: it holds a {type(config).__name__}")
    return config


def _instead(folder: Path) -> str:
    """What a folder without a configuration seems to be."""
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        return f"; it holds a GGUF file, give that: {ggufs[0]}"
    if (folder / "adapter_config.json").is_file():
        return "; it holds an adapter: merge it into its base model with peft and pass the merged model"
    inside = sorted(file.parent.name for file in folder.glob("*/config.json"))
    return f"; there is one in {', '.join(inside[:3])}" if inside else ""


def _model_class(config: PreTrainedConfig) -> Any:
    """The class named in the configuration where transformers has it, else the automatic one that fits."""
    import transformers
    from transformers.models.auto import modeling_auto as auto

    for name in config.architectures or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    kind = type(config)
    if config.is_encoder_decoder and kind in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
        return transformers.AutoModelForSeq2SeqLM
    if kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING and kind not in auto.MODEL_FOR_MASKED_LM_MAPPING:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModel
