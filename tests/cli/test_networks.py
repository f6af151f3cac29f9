"""`sociogram networks` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import sociogram as sg

SENTENCE = "I hammered the nail into the leaking ship"

pytestmark = pytest.mark.real


def test_statistics_and_where_they_are_largest(inside, smollm: sg.Model) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inside("networks", SENTENCE)
    assert code == 0
    assert "270 graphs by head, edges weigh attention" in out
    assert "fixed by the mask or the softmax" in out
    table = sg.networks(sg.record(smollm, SENTENCE)).summary()
    row = next(line for line in out.splitlines() if line.startswith("sink_share"))
    highest = table.loc[table["sink_share"].idxmax()]
    assert f"{highest['sink_share']:.3g}  layer {int(highest['layer'])} head {int(highest['head'])}" in row


def test_a_null_says_how_many_heads_are_beyond_it(inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "table.csv"
    code, out, _ = inside("networks", SENTENCE, "--by", "layer", "--null", "rows", "--samples", "19", "--out", str(path))
    assert code == 0
    said = " ".join(out.split())
    assert "beyond the rows null: graphs with p <= 0.05, corrected over all graphs; alone: without correction" in said
    assert "(19 samples: no p below 0.05)" in said
    table = pd.read_csv(path)
    assert len(table) == 30
    assert {"entropy", "z clustering", "p clustering"} <= set(table.columns)
    assert table["p clustering"].min() >= 0.05
    row = next(line for line in out.splitlines() if line.startswith("clustering"))
    beyond, alone = ((table[name] <= 0.05).sum() for name in ("p clustering", "p alone clustering"))
    assert f"{beyond} of 30  " in row
    assert f"  {alone}  layer" in row
    assert f"written: {path}" in out


def test_a_page_holds_every_number_and_fetches_nothing(inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "page.html"
    assert inside("networks", SENTENCE, "--drop-first", "--out", str(path))[0] == 0
    page = path.read_text()
    assert page.count('<div class="grid">') >= 8
    assert page.count("<tr") > 270
    assert "http" not in page.replace("http-equiv", "")
    assert 'title="layer 29, head 8: ' in page
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_json_has_a_row_for_each_graph(inside) -> None:  # type: ignore[no-untyped-def]
    rows = json.loads(inside("networks", SENTENCE, "--by", "all", "--weight", "message", "--json")[1])
    assert [(row["layer"], row["head"]) for row in rows] == [(-1, -1)]
    assert 0 < rows[0]["self_share"] < 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--by", "token"], "by='token': choose one of head, layer, all"),
        (["--null", "chance", "--samples", "2"], "null='chance': choose one of uniform"),
        (["--out", "table.txt"], "name a file that ends in .csv or .html"),
        (["--out", "nowhere/table.csv"], "there is no folder nowhere"),
        (["--threshold", "-1"], "threshold=-1.0: a number from 0 up"),
        (["--weight", "toward"], "--weight toward and --toward go together"),
        (["--toward", " Paris"], "--weight toward and --toward go together"),
        (["--stream", "--null", "rows"], "--stream --null: random graphs are compared with all edges"),
    ],
)
def test_wrong_usage_is_one_clear_line(inside, args: list[str], words: str) -> None:  # type: ignore[no-untyped-def]
    code, out, err = inside("networks", SENTENCE, *args)
    assert code == 2
    assert out == ""
    assert words in " ".join(err.split())


def test_a_token_to_go_towards_is_named(inside, smollm: sg.Model) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inside("networks", SENTENCE, "--by", "all", "--weight", "toward", "--toward", " sea", "--json")
    assert code == 0
    table = sg.networks(sg.record(smollm, SENTENCE), "toward", by="all", toward=" sea").summary()
    assert json.loads(out)[0]["weighted_density"] == pytest.approx(float(table["weighted_density"].iloc[0]), rel=1e-4)


def test_a_long_text_is_told_of_stream_whose_sums_agree(inside, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = inside("networks", SENTENCE, "--stream", "--json")
    dense = json.loads(inside("networks", SENTENCE, "--json")[1])
    assert code == 0
    for row, whole in zip(json.loads(out), dense, strict=True):
        assert row["clustering"] is None
        for name in ("entropy", "distance", "self_share", "sink_share", "sender_share"):
            assert row[name] == pytest.approx(whole[name], abs=1e-5)
    said = inside("networks", SENTENCE, "--stream")[1]
    assert "entropy" in said
    assert "n/a" not in said
    monkeypatch.setattr("sociogram.watch.keep.allowed_bytes", lambda limit: 1000)
    code, _, err = inside("networks", SENTENCE)
    assert code == 1
    assert "On the command line that is --stream" in " ".join(err.split())
