"""A hub id as a local folder: from the Hugging Face cache where that has it, else from the hub, safetensors only."""

from __future__ import annotations

import contextlib
import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sociogram.core.errors import ModelNotFoundError, UnsafeModelError
from sociogram.models.catalog import NAMED_MODELS
from sociogram.models.opening import NO_PICKLES, PICKLES, has_tokenizer, reading, weight_files
from sociogram.models.quiet import quiet
from sociogram.models.store import OTHER_WAYS

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_ASK_SECONDS = 10.0
_SMALL_FILES = (".json", ".txt", ".model", ".jinja", ".tiktoken")


def snapshot(name: str) -> Path:
    """The folder of the hub's model `name`; its own name is the commit.

    A snapshot in the Hugging Face cache that has all its weights is taken as it is, without asking the hub for a newer
    one. Otherwise the hub's present commit is fetched: safetensors, configuration and tokenizer, nothing else.
    Endpoint, token and offline mode are huggingface_hub's own settings.

    Raises:
        ModelNotFoundError: no such model, no access, or no network; says what was sought and the ways out.
        UnsafeModelError: the hub has only pickled weights of it.
    """
    kept = _cached(name)
    if kept is not None:
        return kept
    from huggingface_hub import snapshot_download

    info = _ask(name)
    files = _wanted(name, [file.rfilename for file in info.siblings or ()])
    with reading(name), contextlib.nullcontext() if sys.stderr.isatty() else quiet():
        return Path(snapshot_download(name, allow_patterns=files))


def _cached(name: str) -> Path | None:
    """The snapshot in the Hugging Face cache, if it has the configuration, the tokenizer and all the weights."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise ModelNotFoundError(f"{name!r} is no folder, no file and no hub id.{_did_you_mean(name)}") from error
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    weights = weight_files(folder)
    whole = bool(weights) and all(file.is_file() for file in weights) and has_tokenizer(folder)
    return folder if whole else None


def _ask(name: str) -> ModelInfo:
    """What the hub has under this name; asked before anything is fetched, since a fetch retries for half a minute."""
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(name, timeout=_ASK_SECONDS)
    except Exception as error:  # the types are those of the HTTP library, which differs among versions of the hub's
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelNotFoundError(
            f"{name!r} is no named model ({', '.join(NAMED_MODELS)}), no local folder or file, is not in the Hugging "
            f"Face cache, and the hub did not give it ({reason[:300]}).{_did_you_mean(name)} Ways out: check the name, "
            f"the network and (for gated models) the token; or {OTHER_WAYS}."
        ) from error


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), NAMED_MODELS, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _wanted(name: str, files: list[str]) -> list[str]:
    """Of the hub's files, those in the top folder that a model is opened from."""
    top = [file for file in files if "/" not in file]
    weights = [file for file in top if file.endswith(".safetensors")]
    named = [file for file in weights if file.startswith("model")]  # others are copies in another layout
    if not weights and any(file.endswith(PICKLES) for file in top):
        raise UnsafeModelError(f"the hub has no safetensors of {name!r}, only pickles: {NO_PICKLES}")
    if not weights:
        ggufs = [file for file in files if file.endswith(".gguf")]
        hint = f"; it has GGUF files, download one and give its path: {', '.join(ggufs[:3])}" if ggufs else ""
        raise ModelNotFoundError(f"the hub has no weights of {name!r}{hint}")
    return (named or weights) + [file for file in top if file.endswith(_SMALL_FILES)]
