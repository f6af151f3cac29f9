"""Recordings on disk: what comes back is what went in, and the wrong model is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import sociogram as sg
from sociogram.watch import stored
from tests.models.conftest import tiny_llama
from tests.watch.conftest import tiny


@pytest.fixture
def llama() -> sg.Model:
    return sg.load(tiny_llama())


@pytest.mark.parametrize("name", ["llama", "t5", "gemma2", "qwen3_next", "bitnet"])
def test_a_round_trip_keeps_every_number_and_name(name: str, tmp_path: Path) -> None:
    rec = tiny(name)
    rec.save(tmp_path / "rec")
    back = sg.open_recording(tmp_path / "rec")
    assert back.stacks == rec.stacks
    for stack in rec.stacks:
        xr.testing.assert_identical(back.stack(stack).drop_attrs().load(), rec.stack(stack).drop_attrs())
    assert back.tree.attrs["model_class"] == type(rec.model.hf).__name__
    assert back.audit().max_relative_error == rec.audit().max_relative_error  # keep="qkv": no model needed
    np.testing.assert_array_equal(back.outputs["final_logits"], rec.outputs["final_logits"])


def test_half_precision_survives(llama: sg.Model, tmp_path: Path) -> None:
    model = sg.load(tiny_llama(), dtype="bfloat16")
    rec = sg.record(model, torch.arange(1, 9))
    assert rec.dataset.weights.dtype == np.float32
    rec.save(tmp_path / "rec")
    back = sg.open_recording(tmp_path / "rec", model)
    xr.testing.assert_equal(back.dataset.load(), rec.dataset)
    assert back.tree.attrs["dtype"] == "bfloat16"
    assert back.audit().max_relative_error < 0.2


def test_arrays_are_read_when_asked_for(tmp_path: Path) -> None:
    tiny("llama").save(tmp_path / "rec")
    back = sg.open_recording(tmp_path / "rec")
    assert not back.dataset.weights.variable._in_memory
    assert float(back.dataset.weights.isel(layer=0, head=0, query=0, key=0)) == 1.0


def test_without_projections_it_asks_for_the_model_and_takes_only_the_right_one(llama: sg.Model, tmp_path: Path) -> None:
    rec = sg.record(llama, torch.arange(1, 9))
    rec.save(tmp_path / "rec")
    alone = sg.open_recording(tmp_path / "rec")
    with pytest.raises(sg.RecordingError, match=r"needs the model's output projections.*open_recording\(path, model=...\)"):
        alone.edges()
    with pytest.raises(sg.RecordingError, match=r"null_drift\(\) runs the model"):
        alone.null_drift()
    again = sg.open_recording(tmp_path / "rec", llama)
    assert again.edges().equals(rec.edges())
    assert again.null_drift() < 1e-5
    other = sg.load(tiny_llama(), dtype="float64")
    with pytest.raises(sg.RecordingError, match=r"made with .*float32.*opened with .*float64.*wrong projections"):
        sg.open_recording(tmp_path / "rec", other)


def test_other_weights_do_not_close_the_account(llama: sg.Model, tmp_path: Path) -> None:
    """Objects have no digest; that the weights are others shows in the audit."""
    sg.record(llama, torch.arange(1, 9)).save(tmp_path / "rec")
    hf = tiny_llama()
    with torch.no_grad():
        hf.model.layers[1].self_attn.o_proj.weight.mul_(1.05)
    with pytest.raises(sg.AccountError, match=r"layer 1.*another model's projections"):
        sg.open_recording(tmp_path / "rec", sg.load(hf)).audit()


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path) -> None:
    rec = tiny("llama")
    rec.save(tmp_path / "rec")
    with pytest.raises(sg.RecordingError, match="exists already"):
        rec.save(tmp_path / "rec")
    rec.save(tmp_path / "rec", overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(sg.RecordingError, match="is not a recording, so it is not overwritten"):
        rec.save(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "diary.txt").exists()


def test_an_interrupted_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rec, own = tiny("llama"), stored._write

    def stop(*args: object) -> None:
        own(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(stored, "_write", stop)
    with pytest.raises(KeyboardInterrupt):
        rec.save(tmp_path / "rec")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_recording_is_said(tmp_path: Path) -> None:
    with pytest.raises(sg.RecordingError, match="nothing is there"):
        sg.open_recording(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(sg.RecordingError, match="is not a recording of Sociogram"):
        sg.open_recording(tmp_path / "empty")
    tiny("llama").save(tmp_path / "rec")
    meta = json.loads((tmp_path / "rec" / "zarr.json").read_text())
    meta["attributes"]["format"] = 99
    (tmp_path / "rec" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(sg.RecordingError, match=r"format 99.*upgrade Sociogram"):
        sg.open_recording(tmp_path / "rec")
