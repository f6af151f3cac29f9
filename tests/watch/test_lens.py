"""The logit lens: the last stop is the model's own answer; the first is the embedding's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.watch.conftest import specimen, tiny


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite", "t5"])
def test_the_last_stop_gives_the_models_own_words(name: str) -> None:
    made = specimen(name)
    with torch.no_grad():
        logits = made.model(**made.inputs).logits[0].float()
    seen = tiny(name).lens(stops=[-1], top=3)
    own = logits.topk(3, dim=-1)
    np.testing.assert_array_equal(seen["token_id"].values[0], own.indices.numpy())
    if not seen.attrs["capped"]:
        np.testing.assert_allclose(seen["probability"].values[0], own.values.sub(logits.logsumexp(-1, True)).exp(), atol=1e-5)
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        np.testing.assert_allclose(seen["entropy"].values[0], entropy, atol=1e-4)


@pytest.mark.real
def test_the_answer_appears_on_the_way(paris: sg.Recording) -> None:
    words = paris.lens(queries=[-1])
    assert words.sizes == {"stop": 61, "query": 1, "rank": 1}
    assert words["word"].values[-1, 0, 0] == "␣Paris" == paris.predictions(1)["token"][0]
    assert words["probability"].values[-1, 0, 0] == pytest.approx(paris.predictions(1)["probability"][0], abs=1e-4)
    assert "␣Paris" not in words["word"].values[:30]
    assert words["query_token"].values.tolist() == ["␣of"]


def test_bad_calls_name_the_fault() -> None:
    with pytest.raises(sg.InputError, match=r"no stop 99: there are 5, numbered 0 to 4"):
        tiny("llama").lens(stops=[99])
    with pytest.raises(sg.InputError, match="at least one word"):
        tiny("llama").lens(top=0)
    with pytest.raises(sg.InputError, match="lens\\(\\) cannot be had of"):
        tiny("vit").lens()
