"""Views: what is done to the stream before it is projected."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from sociogram.watch.views import Stream
from tests.watch.conftest import tiny
from tests.watch.test_flock import paths, recording


def test_views_are_what_they_say() -> None:
    x = paths()
    centred = x - x[:, 1:].mean(1, keepdims=True)
    sphere = x / np.linalg.norm(x, axis=-1, keepdims=True)
    for view, expected in (("plain", x), ("centred", centred), ("sphere", sphere)):
        flock = recording(x).flock(view, components=10, null=0)
        assert flock.view == view
        assert flock.basis is not None
        np.testing.assert_allclose(flock.positions.values @ flock.basis.directions + flock.basis.mean, expected, atol=1e-9)
    x[2, 3] = 0
    flock = recording(x).flock("sphere", components=10, null=0)
    assert np.isfinite(flock.positions).all()
    assert flock.distance[2, 3] == pytest.approx(np.linalg.norm(flock.basis.mean))  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["llama", "gpt2", "granite", "t5"])
def test_the_normed_view_is_where_the_unembedding_finds_the_tokens(name: str) -> None:
    rec = tiny(name)
    flock = rec.flock("normed", components=64, null=0)
    assert flock.basis is not None
    head = rec.model.hf.get_output_embeddings()  # type: ignore[union-attr]
    end = torch.from_numpy(flock.positions.values[-1] @ flock.basis.directions + flock.basis.mean).float()
    scale = float(rec.model.hf.config.logits_scaling) if name == "granite" else 1.0  # type: ignore[union-attr]
    np.testing.assert_allclose(head(end)[-1].detach() / scale, rec.outputs["final_logits"][0], atol=2e-4)


def test_tokens_as_loud_as_sinks_take_no_part_in_fits() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(4, 9, 12, generator=generator)
    assert Stream(places, ("mlp",) * 4, {}).left_out == (0,)
    loud = places.clone()
    loud[2, 5] *= 10  # at one stop only
    stream = Stream(loud, ("mlp",) * 4, {})
    assert stream.left_out == (0, 5)
    assert stream.fitted.tolist() == [1, 2, 3, 4, 6, 7, 8]
    quiet = places.clone()
    quiet[2, 5] *= 2
    assert Stream(quiet, ("mlp",) * 4, {}).left_out == (0,)
    few = loud[:, [0, 5, 1]]
    assert Stream(few, ("mlp",) * 4, {}).left_out == (0,)  # too few would be left
    assert Stream(loud[:, :1], ("mlp",) * 4, {}).left_out == ()


@pytest.mark.real
def test_the_second_sink_of_a_real_prompt_is_named(paris: sg.Recording) -> None:
    flock = paris.flock()
    assert flock.fitted_without == (0, 7)
    assert paris.tokens[7] == "␣the"
    assert flock.null_variance is not None
    assert flock.variance[:3].sum() > 1.5 * flock.null_variance[:3].sum()
