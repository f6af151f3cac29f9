"""Recordings that are written while the text is read: equal to those in memory, and openable as far as they came."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sociogram as sg
from sociogram.studio.contents import contents
from sociogram.watch.disk import Disk
from tests.models.conftest import tiny_llama
from tests.watch.conftest import CLASSES, specimen
from tests.watch.test_passes import equal

TEXT = "The Eiffel Tower is located in the city of Paris. " * 6
IDS = [i * 7 % 290 + 3 for i in range(20)]


@pytest.mark.parametrize("name", [*CLASSES, "laguna"])
def test_on_disk_equals_in_memory(name: str, tmp_path: Path) -> None:
    made = specimen(name)
    model = sg.load(made.model)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    whole = sg.record(model, inputs, keep="stream")
    if "input_ids" not in inputs or made.model.config.is_encoder_decoder:
        with pytest.raises(sg.UnsupportedModelError, match="only a text that is read by one stack of layers"):
            sg.record(model, inputs, keep="stream", to=tmp_path / "other.zarr")
        return
    if whole.several:
        first = {n: v[:1] for n, v in inputs.items()}
        with pytest.raises(sg.InputError, match="one text at a time is streamed to disk"):
            sg.record(model, inputs, keep="stream", to=tmp_path / "several.zarr")
        if "attention_mask" in first:
            first = {n: v[:, first["attention_mask"][0].bool()] for n, v in first.items()}
        whole, inputs = sg.record(model, first, keep="stream"), first
    stored = sg.record(model, inputs, keep="stream", to=tmp_path / "a.zarr")
    equal(stored, whole, 1e-5)
    again = sg.open_recording(tmp_path / "a.zarr", model)
    for node in whole.stacks:
        for coord in whole.stack(node).coords:
            assert (
                again.stack(node)[coord].values.tolist() == whole.stack(node)[coord].values.tolist() or coord == "score_scale"
            ), coord
    assert again.edges(top=5).round(4).equals(whole.edges(top=5).round(4))


def test_settings_of_the_stream(tmp_path: Path, smollm: sg.Model) -> None:
    """Rounded to bfloat16 it is half as large on disk; of chosen layers only their stops are there, and the rest says so."""
    whole = sg.record(smollm, TEXT, keep="stream")
    rounded = sg.record(smollm, TEXT, keep="stream", residual="bfloat16", to=tmp_path / "r.zarr", chunk=32)
    exact = sg.record(smollm, TEXT, keep="stream", to=tmp_path / "e.zarr", chunk=32)
    assert set(exact.dataset.data_vars) == set(whole.dataset.data_vars)
    sizes = [
        sum(f.stat().st_size for f in (tmp_path / name / "decoder" / "residual").rglob("*")) for name in ("r.zarr", "e.zarr")
    ]
    assert sizes[0] < 0.7 * sizes[1]
    places = whole.dataset["residual"].values
    np.testing.assert_allclose(rounded.dataset["residual"].values, places, rtol=2**-7, atol=1e-2)
    np.testing.assert_allclose(exact.dataset["residual"].values, places, rtol=1e-3, atol=1e-2)
    some = sg.record(smollm, TEXT, keep="stream", residual_layers=[3, -1])
    assert some.dataset["stop_layer"].values.tolist() == [3, 3, 3, 29, 29, 29]
    np.testing.assert_array_equal(some.dataset["residual"].values[:3], places[6:9])
    assert some.edges(top=4, layer=29)["contribution"].notna().all()
    assert some.edges(top=4, layer=5)["contribution"].isna().all()
    with pytest.raises(sg.RecordingError, match="the stream of layer 0 was not kept, only that of layers 3, 29"):
        some.moves()
    assert some.flock(null=0).positions.sizes["stop"] == 6
    with pytest.raises(sg.InputError, match="no layer 77"):
        sg.record(smollm, TEXT, keep="stream", residual_layers=[77])
    with pytest.raises(sg.RecordingError, match=r"e.zarr exists already"):
        sg.record(smollm, TEXT, keep="stream", to=tmp_path / "e.zarr")


_KILLED = """
import sys, torch, sociogram as sg
torch.manual_seed(0)
torch.set_num_threads(1)
sg.record(sg.load("smollm2-135m"), sys.argv[1] * 40, keep="stream", to=sys.argv[2], chunk=32)
"""


@pytest.mark.real
def test_killed_it_opens_up_to_its_last_whole_block(tmp_path: Path, smollm: sg.Model) -> None:
    folder = tmp_path / "killed.zarr"
    run = subprocess.Popen([sys.executable, "-P", "-c", _KILLED, TEXT, str(folder)], env=os.environ)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and run.poll() is None:
        try:
            if "interrupted" in sg.open_recording(folder).tree.attrs:
                break
        except (sg.RecordingError, OSError, KeyError, ValueError):
            pass
        time.sleep(0.02)
    assert run.poll() is None, "it was over before it could be killed"
    run.send_signal(signal.SIGKILL)
    run.wait()
    rec = sg.open_recording(folder, smollm)
    count = rec.dataset.sizes["query"]
    assert count > 0
    assert count % 32 == 0
    assert rec.tree.attrs["interrupted"].startswith(f"{count:,} of ")
    assert "interrupted" in repr(rec)
    assert rec.inputs["input_ids"].shape == (1, count)
    whole = sg.record(smollm, rec.inputs["input_ids"], keep="stream")
    for name in ("residual", "top_attention", "entropy", "lse"):
        np.testing.assert_allclose(rec.dataset[name].values, whole.dataset[name].values, rtol=1e-3, atol=2e-2)
    for name in ("received", "influence"):  # the sums are those of the last whole block too
        sums = [one.dataset[name].sum("band").values for one in (rec, whole)]
        np.testing.assert_allclose(*sums, rtol=1e-3, atol=1e-2)
    assert len(rec.edges(top=3)) == 3


def test_what_two_rounded_places_do_not_tell_is_not_told(tmp_path: Path) -> None:
    """What a layer added is small beside the rounding of where it was added; of entries that were kept it is known."""
    model = sg.load(tiny_llama())
    exact = sg.record(model, IDS, keep="stream")
    rounded = sg.record(model, IDS, keep="stream", residual="bfloat16")
    both = sg.record(model, IDS, keep=("stream", "attention_out", "mlp_out"), residual="bfloat16", to=tmp_path / "a.zarr")
    assert rounded.edges(top=9)["contribution"].isna().all()
    for column in ("contribution", "message"):
        np.testing.assert_allclose(both.edges(top=9)[column], exact.edges(top=9)[column], rtol=1e-4)
    unknown, known, whole = (rec.moves() for rec in (rounded, both, exact))
    for column in ("moved", "attention", "from_others", "mlp"):
        assert unknown[column].isna().all()
    assert known["moved"].isna().all()
    for column in ("from_itself", "self_share"):
        np.testing.assert_allclose(unknown[column], whole[column], rtol=1e-4, atol=1e-6)
    for column in ("attention", "from_others", "mlp"):
        np.testing.assert_allclose(known[column], whole[column], rtol=1e-3, atol=1e-5)
    assert contents([("a page", rounded)], ["plain"], None, 1000)


def test_an_interrupted_recording_says_how_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that pages can be made of it, and its readers are seen in the passes that they were in."""
    finish, blocks = Disk.finish_block, []

    def stop(*given: Any) -> None:
        finish(*given)
        blocks.append(given)
        if len(blocks) == 2:
            raise KeyboardInterrupt

    model = sg.load(tiny_llama())
    monkeypatch.setattr(Disk, "finish_block", stop)
    with pytest.raises(KeyboardInterrupt):
        sg.record(model, IDS, keep="stream", to=tmp_path / "a.zarr", chunk=8)
    rec = sg.open_recording(tmp_path / "a.zarr", model)
    assert rec.tree.attrs["interrupted"] == f"16 of {len(IDS)} tokens"
    assert rec.tree.attrs["chunk"] == 8
    assert 0 < rec.tree.attrs["checked_error"] < 1e-4
    assert rec.tree.attrs["checked_tokens"] == 16
    whole = sg.record(model, IDS[:16])
    np.testing.assert_allclose(rec.dense([11])["weights"].values, whole.dataset["weights"].values[:, :, [11]], atol=1e-5)
    assert contents([("a page", rec)], ["plain"], None, 1000)


def test_a_run_that_fails_in_its_first_block_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish, blocks = Disk.finish_block, []

    def fail(*given: Any) -> None:
        if len(blocks) == last:
            raise OSError("no room")
        finish(*given)
        blocks.append(given)

    model, folder = sg.load(tiny_llama()), tmp_path / "a.zarr"
    monkeypatch.setattr(Disk, "finish_block", fail)
    for last in (0, 1):
        with pytest.raises(OSError, match="no room"):
            sg.record(model, IDS, keep="stream", to=folder, chunk=8)
        assert folder.exists() == bool(last)
    assert sg.open_recording(folder).dataset.sizes["query"] == 8


def test_a_folder_without_a_whole_block_is_refused(tmp_path: Path, smollm: sg.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Disk, "finish_block", stop)
    with pytest.raises(KeyboardInterrupt):
        sg.record(smollm, TEXT, keep="stream", to=tmp_path / "x.zarr")
    with pytest.raises(sg.RecordingError, match="interrupted before its first block was whole"):
        sg.open_recording(tmp_path / "x.zarr")
