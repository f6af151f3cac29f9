"""Several voices beside the model's own heads, and how they meet: against messages made by hand from weights, values and W_O."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram import edits
from sociogram.watch.interference import voices
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

A, B, PROMPT = [5, 9, 17, 3, 44], [21, 8, 30], [12, 7, 2, 33, 51, 60]


@pytest.fixture(scope="module")
def llama() -> sg.Model:
    return sg.load(tiny_llama(num_hidden_layers=3, initializer_range=0.2))


@pytest.fixture(scope="module")
def pasts(llama: sg.Model) -> tuple[sg.Past, sg.Past]:
    return sg.Past.of(llama, A), sg.Past.of(llama, B)


def recorded(model: sg.Model, *changes: edits.Edit, **settings: object) -> sg.Recording:
    with sg.steer(model, changes) as steered:
        return steered.record(PROMPT, **settings)


def logits(model: sg.Model, *changes: edits.Edit) -> torch.Tensor:
    with sg.steer(model, changes) as steered:
        return steered.logits(PROMPT)


@pytest.mark.parametrize("more", [{}, {"positions": "none"}, {"top_k": 2, "layer": 1, "head": (0, 3)}], ids=str)
def test_one_voice_is_an_added_head_and_several_are_several(
    llama: sg.Model, pasts: tuple[sg.Past, sg.Past], more: dict[str, object]
) -> None:
    a, b = pasts
    one = edits.blend([(a, -0.7)], **more)
    assert torch.equal(logits(llama, one), logits(llama, edits.add_head(source=a, gain=-0.7, **more)))
    both = edits.blend([(a, 1.5), (b, (0.5, -1.0, 0.0, 2.0))], **more)
    apart = [edits.add_head(source=a, gain=1.5, **more), edits.add_head(source=b, gain=(0.5, -1.0, 0.0, 2.0), **more)]
    assert torch.equal(logits(llama, both), logits(llama, *apart))
    assert float((logits(llama, both) - logits(llama, one)).abs().max()) > 1e-3
    with sg.steer(llama, both) as steered:
        rec = steered.record(PROMPT)
        heads = len(range(4)) if "head" not in more else 2
        heard = 2 * (2 if "top_k" in more else (len(A) + len(B)) / 2)
        layers = 1 if "layer" in more else 3
        assert steered.receipt.edits["addressed"].sum() == heads * heard * layers * len(PROMPT)
        assert len(steered.receipt.edits) == heads * layers
    assert rec.audit().max_relative_error < 1e-5


def test_a_source_and_its_counterweight_annul_each_other(llama: sg.Model, pasts: tuple[sg.Past, sg.Past]) -> None:
    a, _ = pasts
    rec = recorded(llama, edits.blend([(a, 1.0), (a, -1.0)]))
    np.testing.assert_allclose(rec.dataset["residual"], sg.record(llama, PROMPT).dataset["residual"], atol=1e-5)
    for table in (rec.interference(), rec.interference(by="token"), rec.interference(by="token", pairs=True)):
        np.testing.assert_allclose(table["cancellation"], 1, atol=1e-5)
        np.testing.assert_allclose(table["cosine"], -1, atol=1e-5)
    twice = recorded(llama, edits.blend([(a, 1.0), (a, 1.0)])).interference(by="token")
    np.testing.assert_allclose(twice["cancellation"], 0, atol=1e-5)
    np.testing.assert_allclose(twice["cosine"], 1, atol=1e-5)
    torch.testing.assert_close(
        logits(llama, edits.blend([(a, 1.0), (a, 1.0)])), logits(llama, edits.add_head(source=a, gain=2.0)), atol=1e-4, rtol=1e-4
    )


def by_hand(model: sg.Model, rec: sg.Recording, layer: int, columns: slice) -> np.ndarray:
    """Messages `[query, d_model]` from the recorded weights and values and the model's own matrix."""
    there = rec.stack("decoder_outside").isel(layer=layer)
    matrix = model.hf.model.layers[layer].self_attn.o_proj.weight.detach().numpy().T
    total = np.zeros((len(PROMPT), matrix.shape[1]))
    for head in range(4):
        mixed = there["weights"].values[head][:, columns].astype(float) @ there["value_vector"].values[head][columns]
        total += mixed @ matrix[4 * head : 4 * head + 4]
    return total


def test_cosine_and_cancellation_of_messages_made_by_hand(llama: sg.Model, pasts: tuple[sg.Past, sg.Past]) -> None:
    a, b = pasts
    rec = recorded(llama, edits.blend([(a, 1.0), (b, -0.5), (a[1:3], 3.0)]), keep="qkv")
    spans = [slice(0, 5), slice(5, 8), slice(8, 10)]
    table, tokens = rec.interference(), rec.interference(by="token")
    pairs, fine = rec.interference(pairs=True), rec.interference(by="token", pairs=True)
    assert list(table) == ["layer", "apart", "together", "cancellation", "cosine"]
    assert list(fine) == ["layer", "query", "token", "voice", "other", "apart", "together", "cancellation", "cosine"]
    assert pairs[["voice", "other"]].drop_duplicates().to_numpy().tolist() == [
        ["voice 0", "voice 1"], ["voice 0", "voice 2"], ["voice 1", "voice 2"],
    ]  # fmt: skip
    for layer in range(3):
        told = [by_hand(llama, rec, layer, span) for span in spans]
        for one, two in zip(voices(rec, layer).values(), told, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
        norms = [np.linalg.norm(one, axis=1) for one in told]
        together = np.linalg.norm(sum(told), axis=1)
        own = tokens[tokens["layer"] == layer]
        np.testing.assert_allclose(own["cancellation"], 1 - together / sum(norms), atol=1e-5)
        row = table.iloc[layer]
        assert row["cancellation"] == pytest.approx(1 - together.sum() / sum(norms).sum(), abs=1e-5)
        inner = sum((told[i] * told[j]).sum() for i, j in combinations(range(3), 2))
        products = sum((norms[i] * norms[j]).sum() for i, j in combinations(range(3), 2))
        assert row["cosine"] == pytest.approx(inner / products, abs=1e-5)
        for (i, j), (_, pair) in zip(combinations(range(3), 2), pairs[pairs["layer"] == layer].iterrows(), strict=True):
            assert pair["cosine"] == pytest.approx((told[i] * told[j]).sum() / (norms[i] * norms[j]).sum(), abs=1e-5)
            own = fine[(fine["layer"] == layer) & (fine["voice"] == f"voice {i}") & (fine["other"] == f"voice {j}")]
            np.testing.assert_allclose(own["cosine"], (told[i] * told[j]).sum(1) / (norms[i] * norms[j]), atol=1e-4)
    assert 0.01 < table["cancellation"].min() < table["cancellation"].max() < 0.99


def test_voices_that_speak_to_different_tokens_do_not_interfere(llama: sg.Model, pasts: tuple[sg.Past, sg.Past]) -> None:
    rec = recorded(llama, *(edits.add_head(source=past, query=i) for i, past in enumerate(pasts)))
    table = rec.interference()
    np.testing.assert_allclose(table["cancellation"], 0, atol=1e-6)
    assert table["cosine"].isna().all()
    tokens = rec.interference(by="token")
    assert tokens["cancellation"].isna().tolist() == [False, False, True, True, True, True] * 3


def test_each_voice_keeps_its_name_where_another_is_silent(
    llama: sg.Model, pasts: tuple[sg.Past, sg.Past], tmp_path: Path
) -> None:
    a, b = pasts
    short = _Upper(a)  # tells nothing in the first layer
    rec = recorded(llama, edits.blend([(short, 1.0), (b, 1.0)]))
    there = rec.stack("decoder_outside")
    assert there["key_source"].values.tolist() == ["voice 1"] * 3 + ["voice 0"] * 5
    assert np.allclose(np.nan_to_num(there["weights"].values[0, :, :, 3:]), 0)
    assert rec.interference()["cosine"].isna().tolist() == [True, False, False]
    rec.save(tmp_path / "rec.zarr")
    again = sg.open_recording(tmp_path / "rec.zarr", model=llama)
    np.testing.assert_array_equal(again.interference()["cosine"], rec.interference()["cosine"])
    two = recorded(llama, edits.attend(source=a), edits.mean_ablate(reference=[PROMPT], layer=0), edits.add_head(source=b))
    assert sorted(set(two.stack("decoder_outside")["key_source"].values)) == ["mean", "source 0", "source 2"]
    assert two.interference(pairs=True)[["voice", "other"]].to_numpy().tolist() == [["source 0", "source 2"]] * 3


class _Upper:
    """A past without its first layer."""

    def __init__(self, past: sg.Past) -> None:
        self.past, self.names, self.positions = past, past.names, past.positions

    def told(self, name: tuple[str, int]) -> object:
        return None if ".0." in name[0] else self.past.told(name)


@pytest.mark.parametrize("name", ["gpt_oss", "t5", "gemma2"])
def test_other_softmaxes_have_voices_too(name: str) -> None:
    made = specimen(name)
    inputs = {n: v[:1] for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    source = sg.record(model, inputs, keep="qkv")
    with sg.steer(model, edits.blend([(source, 1.0), (source, -1.0)], positions="as_stored")) as steered:
        rec = steered.record(inputs)
    np.testing.assert_allclose(rec.dataset["residual"], source.dataset["residual"], atol=2e-5)
    np.testing.assert_allclose(rec.interference()["cancellation"], 1, atol=1e-4)


def test_text_and_json(llama: sg.Model, pasts: tuple[sg.Past, sg.Past], tmp_path: Path) -> None:
    for past, name in zip(pasts, ("a letter", "b"), strict=True):
        past.save(tmp_path / name)
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("a letter", "b")]
    edit = edits.blend([(paths[0], 1.0), (Path(paths[1]), (0.5, 1.0, -2.0, 0.0))], layer=1, schedule=sg.Schedule(every=2))
    for again in (edits.from_json(edits.to_json([edit]))[0], edits.parse(str(edit))):
        assert again.voices == ((paths[0], 1.0), (paths[1], (0.5, 1.0, -2.0, 0.0)))
        assert str(again) == str(edit)
        assert torch.equal(logits(llama, again), logits(llama, edit))
    assert str(edits.blend([(pasts[0], 1), (pasts[1], -0.5)], layer=2)) == "blend layer=2 voices=[[<past>,1.0],[<past>,-0.5]]"
    with pytest.raises(sg.InputError, match="cannot be stored as text: save it, and give its path instead"):
        edits.to_json([edits.blend([(pasts[0], 1)])])


def test_what_is_no_blend_is_refused(llama: sg.Model, pasts: tuple[sg.Past, sg.Past]) -> None:
    a, _ = pasts
    for words, given in (
        (r"blend voices=\[\]: give a list of \(source, gain\)", []),
        (r"blend voices=Past\(.*\): give a list", a),
        (r"blend voices: Past\(.*\) is no pair of a source and its gain", [a]),
        (r"blend gain='loud': a finite number is needed", [(a, "loud")]),
        (r"blend gain=nan: a finite number", [(a, float("nan"))]),
    ):
        with pytest.raises(sg.InputError, match=words):
            edits.blend(given)
    for words, change in (
        ("blend positions='after': choose one of", {"positions": "after"}),
        ("blend top_k=0: a whole number", {"top_k": 0}),
        ("blend forget=2: a rate lies between 0", {"forget": 2}),
        ("blend schedule=3: give an sg.Schedule", {"schedule": 3}),
        ("blend takes no key=", {"key": 3}),
    ):
        with pytest.raises(sg.InputError, match=words):
            edits.blend([(a, 1.0)], **change)
    with (
        sg.steer(llama, edits.blend([(a, (1.0, 2.0))])) as steered,
        pytest.raises(sg.InputError, match=r"^`blend .*2 numbers for 4"),
    ):
        steered.logits(PROMPT)
    with pytest.raises(sg.InputError, match=r"this run heard none: record under edits\.blend"):
        sg.record(llama, PROMPT).interference()
    rec = recorded(llama, edits.add_head(source=a))
    with pytest.raises(sg.InputError, match="between at least two voices, and this run heard one"):
        rec.interference()
    with pytest.raises(sg.InputError, match="interference by='head': choose one of layer, token"):
        rec.interference(by="head")
