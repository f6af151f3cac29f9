"""A cluster of notes as one self-contained page: no script, nothing fetched, dark or light as the reader has it, fit to print."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sociogram as sg
from sociogram.core.files import whole

if TYPE_CHECKING:
    import numpy as np

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --paper: #fbfaf7; --card: #fff; --line: #dcd9d0; --dim: #66635c;
  --mark: #0f766e; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e9e7e2; --paper: #151617; --card: #1d1f20; --line: #36393b; --dim: #a19d95; --mark: #4fd1c0; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2.5rem auto; max-width: 46rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .4rem; overflow-wrap: anywhere; }
.about, figcaption, footer { color: var(--dim); font-size: .875rem; }
figure { margin: 1.5rem 0; } figcaption { margin-top: .4rem; }
svg { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: .4rem; background: var(--card); }
svg circle { fill: var(--mark); } svg .number { fill: var(--card); font: 600 13px system-ui, sans-serif; text-anchor: middle; }
svg .words { fill: var(--ink); font: 12px system-ui, sans-serif; }
ol { list-style: none; margin: 0; padding: 0; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .9rem 1.1rem; margin: 0 0 1rem;
  break-inside: avoid; }
article:target { border-color: var(--mark); }
header { display: flex; flex-wrap: wrap; align-items: center; gap: .2rem .8rem; font-size: .875rem; color: var(--dim);
  font-variant-numeric: tabular-nums; }
.place { color: var(--mark); font-weight: 600; } .near { margin-left: auto; }
meter { width: 5rem; height: .7rem; vertical-align: middle; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0 0; }
.sources { margin: .7rem 0 0; padding: 0; list-style: none; font-size: .875rem; overflow-wrap: anywhere; }
.kind { color: var(--dim); } a { color: var(--mark); }
.beside { margin: .6rem 0 0; font-size: .875rem; color: var(--dim); }
@media print { body { margin: 0; max-width: none; font-size: 11pt; background: none; } article, svg { border-color: #bbb; } }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{style_hash}'; base-uri 'none'; \
form-action 'none'">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1 dir="auto">{query}</h1>
<p class="about">{about}</p>
{map}
<ol>
{notes}
</ol>
<footer>Near in meaning: the cosine of sentence embeddings (all-MiniLM-L6-v2), which read the first 256 tokens of a note. 1 is \
the same, 0 has nothing to do with it; a text that says the contrary is near, too. Made by Sociogram.</footer>
</body>
</html>
"""
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
"""Characters that HTML does not have, or that show nothing."""
WIDTH, HEIGHT, EDGE, RADIUS = 720, 320, 28, 11
LABEL, LETTER = 26, 6.5
"""So many characters of a note stand beside its place on the map, where there is room; about so wide is one."""


def to_html(cluster: sg.notes.Cluster, path: str | PathLike[str] | None = None, *, overwrite: bool = False) -> str:
    """A cluster of notes as one page, which opens from disk: text, sources, date, and how near each note is.

    Args:
        cluster: from `notes.cluster(query)`.
        path: the file to write, in a folder that exists.
        overwrite: replace a file that is there.

    Returns:
        The page's text.

    Raises:
        InputError: a file is there already (unless `overwrite`), or it cannot be written.

    Misleads: the map shows two directions of many; the page says how much of the notes' variance these are.
    """
    if path is not None and not overwrite and Path(path).exists():
        raise sg.InputError(f"{path} exists already: choose another name, or overwrite it (overwrite=True, --overwrite)")
    rows = cluster.notes.to_dict("records")
    page = _PAGE.format(
        title=_escaped(f"{cluster.query[:80]} · notes"),
        query=_escaped(cluster.query),
        about=_about(cluster),
        map=_map(cluster, rows),
        notes="\n".join(_note(cluster, row, place) for place, row in enumerate(rows)),
        style=_STYLE,
        style_hash="sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode(),
    )
    if path is not None:
        try:
            with whole(Path(path)) as part:
                part.write_text(page, encoding="utf-8", newline="\n")
        except OSError as error:
            raise sg.InputError(f"{path} cannot be written: {error.strerror}") from error
    return page


def _about(cluster: sg.notes.Cluster) -> str:
    count = "One note" if len(cluster) == 1 else f"{len(cluster)} notes"
    bound = f"{count} of {cluster.total}, nearest to this in meaning first: a cosine of at least {cluster.least:g}"
    left = f", at most {cluster.top}; {cluster.beyond} more are as near" if cluster.beyond else ""
    return f"{bound}{left}."


def _note(cluster: sg.notes.Cluster, row: dict[Any, Any], place: int) -> str:
    made, cosine = row["made"], row["cosine"]
    meter = f'<meter min="0" max="1" value="{max(cosine, 0):.2f}">{cosine:.2f}</meter>'
    day = f'<time datetime="{_escaped(made)}">{_escaped(made[:16].replace("T", " "))} UTC</time>'
    head = (
        f'<span class="place">{place + 1}</span>{day}'
        f'<span class="near" title="cosine to the question">{meter} {cosine:.2f}</span>'
    )
    sources = "".join(f"<li>{_source(source)}</li>" for source in row["sources"])
    listed = f'<ul class="sources">{sources}</ul>' if sources else ""
    return (
        f'<li><article id="note-{place + 1}"><header>{head}</header><div class="text" dir="auto">{_escaped(row["text"])}</div>'
        f"{listed}{_beside(cluster, place)}</article></li>"
    )


def _source(source: Any) -> str:
    """A link where it is an address of the web, else its text: nothing else can be followed from here."""
    what, kind = _escaped(source.what), f'<span class="kind">{source.kind}</span>'
    if re.match(r"https?://\S+$", source.what):
        return f'{kind} <a href="{what}" rel="noopener noreferrer">{what}</a>'
    return f'{kind} <span dir="auto">{what}</span>'


def _beside(cluster: sg.notes.Cluster, place: int) -> str:
    found = cluster.nearest(place) if len(cluster) > 2 else None
    if found is None:
        return ""
    other, cosine = found
    return f'<p class="beside">nearest of these: <a href="#note-{other + 1}">{other + 1}</a> ({cosine:.2f})</p>'


def _map(cluster: sg.notes.Cluster, rows: list[dict[Any, Any]]) -> str:
    """The notes as points on their two principal directions, with one scale for both."""
    found = cluster.map()
    if found is None:
        return ""
    places, share = found
    points, texts = _fitted(places), [" ".join(row["text"].split()) for row in rows]
    labels = _labels(points, [text if len(text) <= LABEL else f"{text[: LABEL - 1]}…" for text in texts])
    drawn = "".join(_point(x, y, place, texts[place]) + labels[place] for place, (x, y) in enumerate(points))
    caption = (
        f"The notes among each other, on the two directions in which they differ most: {share:.0%} of their variance, so that "
        "notes that are near here may differ in what is left out."
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Map of the notes">{drawn}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _fitted(places: np.ndarray) -> np.ndarray:
    """Places in the picture: the same scale along both directions, all of it inside."""
    low, high = places.min(0), places.max(0)
    room = (WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE)
    scale = min(size / max(reach, 1e-12) for size, reach in zip(room, high - low, strict=True))
    fitted: np.ndarray = (places - (low + high) / 2) * scale * (1, -1) + (WIDTH / 2, HEIGHT / 2)
    return fitted


def _point(x: float, y: float, place: int, text: str) -> str:
    return (
        f'<a href="#note-{place + 1}"><title>{_escaped(text[:200])}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>'
        f'<text class="number" x="{x:.1f}" y="{y + 4.5:.1f}">{place + 1}</text></a>'
    )


def _labels(points: np.ndarray, texts: list[str]) -> list[str]:
    """First words beside each point, right or left of it; none where they would lie over a point or other words."""
    taken = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
    found = []
    for (x, y), text in zip(points, texts, strict=True):
        reach = RADIUS + 5 + LETTER * len(text)
        boxes = [(x + RADIUS + 1, y - 8, x + reach, y + 8), (x - reach, y - 8, x - RADIUS - 1, y + 8)]
        side = next((side for side, box in enumerate(boxes) if not any(_meet(box, other) for other in taken)), None)
        if side is None or boxes[side][0] < 0 or boxes[side][2] > WIDTH:
            found.append("")
            continue
        taken.append(boxes[side])
        start, anchor = (x + RADIUS + 4, "start") if side == 0 else (x - RADIUS - 4, "end")
        found.append(f'<text class="words" x="{start:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{_escaped(text)}</text>')
    return found


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _escaped(text: str) -> str:
    return html.escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text))
