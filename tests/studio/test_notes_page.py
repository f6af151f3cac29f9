"""A cluster of notes as a page: everything is in it, nothing acts, nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sociogram as sg
from sociogram.memory.cluster import Cluster
from sociogram.notes import Source
from sociogram.studio.notes_page import HEIGHT, LETTER, RADIUS, WIDTH

EVIL = "<script>alert(1)</script> & \"quotes\" 'x'\r\n  indented \x1b[31m &amp; {style}"


def cluster(texts: list[str], sources: list[Source] | None = None, query: str = "birds", **bounds: int) -> Cluster:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(texts), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = pd.DataFrame(
        {
            "id": [f"{place:032x}" for place in range(len(texts))],
            "text": texts,
            "made": "2026-11-22T08:30:00.000000+00:00",
            "sources": pd.Series([tuple(sources or ())] * len(texts), dtype=object),
            "cosine": np.linspace(0.9, -0.1, len(texts)),
        }
    )
    return Cluster(query, rows, vectors, **{"top": 12, "least": 0.3, "beyond": 0, "total": 40, **bounds})


class Seen(HTMLParser):
    """Which elements there are, with their attributes, and the texts of some."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)
        assert [tag for tag in self.open if tag not in ("meta", "circle")] == [], "what is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "circle"):
            self.open.append(tag)
            self.texts.setdefault(self.key(), []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.key()][-1] += data

    def key(self) -> str:
        attributes = next(found for tag, found in reversed(self.elements) if tag == self.open[-1])
        return f"{self.open[-1]}.{attributes.get('class') or ''}"


def test_every_note_is_there_as_it_was_written() -> None:
    texts = [EVIL, "two\n\n  lines", *[f"note {place}" for place in range(4)]]
    seen = Seen(sg.notes.to_html(cluster(texts, query=EVIL)))
    assert [text.replace("\r\n", "\n") for text in seen.texts["div.text"]] == [
        text.replace("\r\n", "\n").replace("\x1b", "�") for text in texts
    ]
    assert seen.texts["h1."][0].startswith("<script>alert(1)</script>")
    assert not [tag for tag, _ in seen.elements if tag in ("script", "img", "link", "iframe", "object", "form", "base")]
    assert not [name for _, attributes in seen.elements for name in attributes if name.startswith("on") or name == "style"]
    assert re.findall(r"\d\.\d\d", seen.texts["span.near"][0])[-1] == "0.90"
    assert seen.texts["time."][0] == "2026-11-22 08:30 UTC"


def test_only_addresses_of_the_web_can_be_followed() -> None:
    sources = [
        Source("https://example.org/?a=1&b=\"2\""), Source("javascript:alert(1)"), Source("https://a.example and more", "talk"),
        Source("data:text/html,x", "video"), Source("<b>A title</b>"),
    ]  # fmt: skip
    seen = Seen(sg.notes.to_html(cluster(["note"], sources)))
    assert [found["href"] for tag, found in seen.elements if tag == "a"] == ['https://example.org/?a=1&b="2"']
    assert "<b>A title</b>" in seen.texts["span."]
    assert seen.texts["span.kind"] == ["read", "read", "talk", "video", "read"]


def test_nothing_is_fetched_and_only_its_own_style_counts() -> None:
    page = sg.notes.to_html(cluster([f"note {place}" for place in range(6)]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    style = re.search(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    assert policy is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "http" not in page.replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page


def test_the_bounds_and_what_is_left_out_are_said() -> None:
    said = Seen(sg.notes.to_html(cluster(["a", "b"], beyond=3, top=2))).texts["p.about"][0]
    assert said == "2 notes of 40, nearest to this in meaning first: a cosine of at least 0.3, at most 2; 3 more are as near."
    assert Seen(sg.notes.to_html(cluster(["a"]))).texts["p.about"][0].startswith("One note of 40")


def test_the_map_is_whole_and_words_do_not_lie_over_each_other() -> None:
    texts = [f"word {place} " * 5 for place in range(30)]
    found = cluster(texts)
    seen = Seen(sg.notes.to_html(found))
    circles = [(float(a["cx"] or ""), float(a["cy"] or "")) for tag, a in seen.elements if tag == "circle"]
    assert len(circles) == 30
    assert all(RADIUS <= x <= WIDTH - RADIUS and RADIUS <= y <= HEIGHT - RADIUS for x, y in circles)
    mapped = found.map()
    assert mapped is not None
    places = mapped[0] * (1, -1)
    apart, drawn = (np.linalg.norm(np.array(p)[:, None] - np.array(p)[None], axis=-1) for p in (places, circles))
    np.testing.assert_allclose(drawn, apart * drawn.max() / apart.max(), atol=0.3)
    words = [a for tag, a in seen.elements if tag == "text" and a.get("class") == "words"]
    assert 3 < len(words) < 30
    boxes = []
    for text, label in zip(seen.texts["text.words"], words, strict=True):
        x, y, wide = float(label["x"] or ""), float(label["y"] or "") - 4, LETTER * len(text)
        left = x if label["text-anchor"] == "start" else x - wide
        boxes.append((left, y - 8, left + wide, y + 8))
    for place, one in enumerate(boxes):
        assert one[0] >= -LETTER
        assert one[2] <= WIDTH + LETTER
        for other in boxes[:place]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    share = re.search(r"(\d+)% of their variance", seen.texts["figcaption."][0])
    assert share is not None
    assert int(share[1]) == round(100 * mapped[1])
    assert "svg" not in [tag for tag, _ in Seen(sg.notes.to_html(cluster(texts[:3]))).elements]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(sg.InputError, match=r"page.html exists already: choose another name, or overwrite it"):
        sg.notes.to_html(cluster(["a"]), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"
    text = sg.notes.to_html(cluster(["a\r\nb"]), tmp_path / "page.html", overwrite=True)
    assert (tmp_path / "page.html").read_bytes() == text.encode()
    with pytest.raises(sg.InputError, match="cannot be written: No such file or directory"):
        sg.notes.to_html(cluster(["a"]), tmp_path / "no" / "page.html")
