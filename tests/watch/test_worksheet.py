"""The worksheet: every cell follows from its sources, and the last one is the model's own number."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import sociogram as sg
from tests.models.conftest import tiny_llama
from tests.watch.conftest import tiny

FAMILIES = ["llama", "bert", "gemma2", "gpt_oss", "t5", "bitnet", "gpt2"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_line_is_the_models_own(name: str) -> None:
    rec = tiny(name)
    for layer, head, query in ((0, 0, 3), (1, 2, -1)):
        sheet = rec.worksheet(layer, head, query)
        assert sheet.relative_difference < 1e-4
        weights = [float(c.value) for n, c in sheet.cells.items() if n.startswith("weight[")]
        own = rec.dataset.weights[layer, head, query].values
        np.testing.assert_allclose(weights, own[own > 0], rtol=1e-3, atol=1e-6)


def test_each_cell_follows_from_the_cells_it_names() -> None:
    sheet = tiny("llama").worksheet(1, 3, 4)
    value = {name: cell.value for name, cell in sheet.cells.items()}
    for i in range(5):
        assert value[f"dot[{i}]"] == pytest.approx(float(value["q"] @ value[f"k[{i}]"]))
        assert value[f"exp[{i}]"] == pytest.approx(np.exp(value[f"score[{i}]"] - value["max"]))
        assert value[f"weight[{i}]"] == pytest.approx(value[f"exp[{i}]"] / value["sum"])
        np.testing.assert_allclose(value[f"message[{i}]"], value[f"weight[{i}]"] * value[f"told[{i}]"])
    np.testing.assert_allclose(value["heard"], sum(value[f"head[{h}]"] for h in range(4)))
    np.testing.assert_allclose(value["moved"], value["before"] + value["heard"] + value["b_O"])
    for cell in sheet.cells.values():
        assert set(cell.sources) <= set(sheet.cells)
    assert sheet.cells["weight[2]"].sources == ("exp[2]", "sum")
    table = sheet.table()
    assert set(table["cell"]) <= set(sheet.cells)
    assert list(table.columns) == ["step", "cell", "value", "vector", "formula", "sources"]


def test_tokens_that_may_not_be_read_are_no_cells() -> None:
    sheet = tiny("llama").worksheet(0, 0, 2)
    assert "k[2]" in sheet.cells
    assert "k[3]" not in sheet.cells
    assert "more have weight 0: masked" in sheet.to_text()


def test_what_is_added_before_the_softmax_is_shown() -> None:
    assert any(name.startswith("bias[") for name in tiny("t5").worksheet(0, 0, 2).cells)
    assert not any(name.startswith("bias[") for name in tiny("llama").worksheet(0, 0, 2).cells)
    assert "exp[sink]" in tiny("gpt_oss").worksheet(0, 0, 2).cells


def test_text_shows_the_strongest_and_counts_the_rest() -> None:
    sheet = tiny("llama").worksheet(0, 0, -1)
    keys = len(sheet.keys)
    short = sheet.to_text(keys=2)
    assert f"(and {keys - 2} more cells, of tokens with smaller weights)" in short
    assert len(sheet.to_text(keys=None).splitlines()) > len(short.splitlines())
    strongest = max((n for n in sheet.cells if n.startswith("weight[")), key=lambda n: sheet.cells[n].value)
    assert f"{strongest:<12} =" in short


def test_the_page_is_self_contained_and_escapes_tokens() -> None:
    rec = tiny("llama")
    hostile = rec.dataset.assign_coords(key_token=("key", ["<script>alert(1)</script>"] * rec.dataset.sizes["key"]))
    tree = rec.tree.copy()
    import xarray as xr

    tree[rec.main] = xr.DataTree(hostile)
    html = sg.Recording(tree, model=rec.model, inputs=rec.inputs).worksheet(0, 0, 1).to_html()
    assert "alert(1)</script>" not in html
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=", html)
    assert 'data-from="exp[0] sum"' in html


def test_without_queries_and_keys_the_model_is_run_again_or_asked_for() -> None:
    model = sg.load(tiny_llama())
    rec = sg.record(model, torch.arange(1, 7))
    assert rec.worksheet(1, 1, -1).relative_difference < 1e-5
    alone = sg.Recording(rec.tree)
    with pytest.raises(sg.RecordingError, match=r'a worksheet needs queries and keys: record with keep="qkv"'):
        alone.worksheet(0, 0, 0)
    with pytest.raises(sg.InputError, match="no head 9: there are 4"):
        rec.worksheet(0, 9, 0)
