"""A few readers seen whole, computed anew, against the weights of all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.watch.conftest import CLASSES, specimen

TEXT = "The Eiffel Tower is located in the city of Paris. " * 3


@pytest.mark.parametrize("name", [*CLASSES, "segformer", "laguna"])
def test_a_window_of_readers_in_all_kinds_of_models(name: str) -> None:
    made = specimen(name)
    inputs = {n: v for n, v in made.inputs.items() if n != "use_cache"}
    model = sg.load(made.model)
    whole, streamed = sg.record(model, inputs).sequence(0), sg.record(model, inputs, keep="stream").sequence(0)
    for stack in whole.stacks:
        data = whole.stack(stack)
        closed = [i for i, status in enumerate(data["status"].values) if status == "closed"]
        if set(data["status"].values) - {"closed"}:  # what has no weights has none here either
            rest = streamed.dense([0], stack=stack)["weights"].isnull().all(("head", "query", "key")).values
            assert [bool(missing) for missing in rest] == [i not in closed for i in range(data.sizes["layer"])]
        last = data.sizes["query"] - 1
        readers = sorted({min(1, last), last})
        window = streamed.dense([readers[0], -1], layers=closed, stack=stack)
        assert window["query"].values.tolist() == readers
        np.testing.assert_allclose(
            window["weights"].values, data["weights"].values[closed][:, :, readers], atol=1e-5, err_msg=stack
        )
        for place, layer in enumerate(closed):
            if "message" in window:
                norms = whole.messages(layer, stack=stack).norms()[:, readers]
                torch.testing.assert_close(
                    torch.from_numpy(window["message"].values[place, : len(norms)]), norms, atol=1e-4, rtol=1e-3
                )


@pytest.mark.parametrize("name", ["gemma2", "gpt_oss", "llama"])
def test_windows_of_caches_that_let_keys_go(name: str) -> None:
    """Where a sliding window's cache holds the last keys only, a reader's weights stand at the keys they are of."""
    made = specimen(name)
    model, ids = sg.load(made.model), made.inputs["input_ids"][:1].repeat(1, 3)
    whole, cut = sg.record(model, ids), sg.record(model, ids, keep="stream", chunk=4)
    readers = [2, 5, ids.shape[1] - 1]
    np.testing.assert_allclose(cut.dense(readers)["weights"].values, whole.dataset["weights"].values[:, :, readers], atol=1e-5)


def test_of_a_text_read_in_chunks_under_an_edit(smollm: sg.Model) -> None:
    whole = sg.record(smollm, TEXT)
    cut = sg.record(smollm, TEXT, keep="stream", chunk=10)
    window = cut.dense(slice(8, 13), layers=[3])
    np.testing.assert_allclose(window["weights"].values[0], whole.dataset["weights"].values[3][:, 8:13], atol=1e-5)
    assert window["query_token"].values.tolist() == whole.tokens[8:13]
    assert cut.null_drift() <= 1e-4
    with sg.steer(smollm, sg.edits.cut(layer=3, key=2)) as steered:
        edited = steered.record(TEXT, keep="stream").dense([8], layers=[3])["weights"].values
    assert float(np.abs(edited[..., 2]).max()) == 0
    assert float(np.abs(edited).max()) > 0
    with pytest.raises(sg.InputError, match="no query 999"):
        cut.dense([999])
    with pytest.raises(sg.InputError, match=r"no reader among"):
        cut.dense(slice(5, 5))
    with pytest.raises(sg.MemoryLimitError, match=r"dense\(\) of 5 readers in 30 layers would take .* Ask for fewer readers"):
        cut.dense(slice(0, 5), memory_limit=1000)
