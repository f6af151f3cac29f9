"""Pasts on disk: what was stored comes back, and anything else is refused with words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import sociogram as sg
from tests.models.conftest import byte_level_tokenizer, tiny_llama
from tests.steering.test_past import IDS, MORE


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@pytest.fixture
def letter(llama: sg.Model, tmp_path: Path) -> Path:
    sg.Past.of(llama, IDS).erase(slice(2, 4)).save(tmp_path / "letter")
    return tmp_path / "letter.safetensors"


def rewritten(letter: Path, *, drop: str = "", **changes: object) -> None:
    """The file with other metadata, or without a tensor."""
    with safe_open(letter, framework="pt") as stored:
        content = json.loads(stored.metadata()["sociogram_past"]) | changes
        tensors = {name: stored.get_tensor(name) for name in stored.keys() if name != drop}  # noqa: SIM118
    save_file(tensors, letter, metadata={"sociogram_past": json.dumps(content)})


def test_what_was_stored_comes_back(llama: sg.Model, letter: Path) -> None:
    kept, again = sg.Past.of(llama, IDS).erase(slice(2, 4)), sg.Past.load(letter.with_suffix(""), llama)
    assert again.texts == kept.texts
    assert again.slots == dict(kept.slots)
    assert again.next_position == kept.next_position == 8
    for name in ("ids", "positions"):
        assert torch.equal(getattr(again, name), getattr(kept, name))
    assert torch.equal(again.logits(MORE), kept.logits(MORE))
    assert again.erase(0, close=True).positions.tolist() == [0, 3, 4, 5, 6]
    assert [path.name for path in letter.parent.iterdir()] == ["letter.safetensors"]


def test_half_precision_and_views_are_stored_as_they_are(tmp_path: Path) -> None:
    model = sg.load(tiny_llama().bfloat16())
    past = sg.Past.of(model, IDS)[1:4]
    past.save(tmp_path / "half.safetensors")
    again = sg.Past.load(tmp_path / "half", model)
    assert again.keys[0].dtype == torch.bfloat16
    assert torch.equal(again.keys[0], past.keys[0])


def test_where_it_cannot_go(llama: sg.Model, letter: Path, tmp_path: Path) -> None:
    past = sg.Past.of(llama, IDS)
    with pytest.raises(sg.InputError, match=r"letter.safetensors exists already: choose another name, or save\(..., overwrite"):
        past.save(letter)
    past.save(letter, overwrite=True)
    assert len(sg.Past.load(letter, llama)) == 8
    with pytest.raises(sg.InputError, match=r"there is no folder .*nowhere"):
        past.save(tmp_path / "nowhere" / "letter")
    with pytest.raises(sg.InputError, match=r"has the suffix .pt, and a past is stored as .safetensors: leave the suffix out"):
        past.save(tmp_path / "letter.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.safetensors"]


def test_a_foreign_model_is_refused(letter: Path) -> None:
    with pytest.raises(sg.InputError, match=r"parts do not fit together .*no attention .* of 2 key/value heads of 4"):
        sg.Past.load(letter, sg.load(tiny_llama(num_key_value_heads=4)))
    with pytest.raises(
        sg.InputError, match=r"is a past of LlamaForCausalLM \(dtype float32\), and it is opened with .* \(dtype float64\)"
    ):
        sg.Past.load(letter, sg.load(tiny_llama().double()))
    rewritten(letter, model_class="GPT2LMHeadModel")
    with pytest.raises(sg.InputError, match=r"\(class GPT2LMHeadModel\), and it is opened with .* \(class LlamaForCausalLM\)"):
        sg.Past.load(letter, sg.load(tiny_llama()))


def test_other_weights_of_the_same_model_are_refused(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "first")
    byte_level_tokenizer(eos_token="<end>").save_pretrained(tmp_path / "first")
    model = sg.load(str(tmp_path / "first"))
    sg.Past.of(model, IDS).save(tmp_path / "own")
    assert len(sg.Past.load(tmp_path / "own", model)) == 8
    changed = tiny_llama()
    with torch.no_grad():
        changed.lm_head.weight[0] += 1
    changed.save_pretrained(tmp_path / "changed")
    byte_level_tokenizer(eos_token="<end>").save_pretrained(tmp_path / "changed")
    with pytest.raises(sg.InputError, match=r"\(weights [0-9a-f]+\), and it is opened with changed \(weights"):
        sg.Past.load(tmp_path / "own", sg.load(str(tmp_path / "changed")))


def test_broken_and_foreign_files_are_refused(llama: sg.Model, letter: Path, tmp_path: Path) -> None:
    with pytest.raises(sg.InputError, match=r"no past at .*other.safetensors: nothing is there"):
        sg.Past.load(tmp_path / "other", llama)
    whole = letter.read_bytes()
    letter.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sg.InputError, match="cannot be read: it is broken, or no safetensors file"):
        sg.Past.load(letter, llama)
    save_file({"x": torch.zeros(1)}, letter)
    with pytest.raises(sg.InputError, match="holds tensors, but no past of Sociogram"):
        sg.Past.load(letter, llama)
    letter.write_bytes(whole)
    rewritten(letter, format=2)
    with pytest.raises(sg.InputError, match="is of format 2, and this version of Sociogram reads format 1"):
        sg.Past.load(letter, llama)
    letter.write_bytes(whole)
    rewritten(letter, drop="values.1")
    with pytest.raises(sg.InputError, match="its parts do not fit together"):
        sg.Past.load(letter, llama)
    letter.write_bytes(whole)
    rewritten(letter, texts=["a"])
    with pytest.raises(sg.InputError, match=r"its parts do not fit together \(lengths differ\)"):
        sg.Past.load(letter, llama)


def test_a_letter_names_its_model(letter: Path, tmp_path: Path) -> None:
    with pytest.raises(sg.InputError, match=r"an object in memory then, which cannot be found by name: give the model"):
        sg.Past.load(letter)
    tiny_llama().save_pretrained(tmp_path / "folder")
    model = sg.load(str(tmp_path / "folder"))
    sg.Past.of(model, IDS).save(tmp_path / "own")
    again = sg.Past.load(tmp_path / "own")
    assert again.model.source.location == model.source.location
    torch.testing.assert_close(again.logits([7, 8]), model.logits([*IDS, 7, 8])[-2:], atol=1e-5, rtol=1e-5)
