"""One file that anybody can open: the page, its data inside, and nothing fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib.resources import files
from os import PathLike
from pathlib import Path

import sociogram as sg
from sociogram.core.files import whole
from sociogram.studio.contents import VIEWS, contents, is_streamed

SEVERAL_VIEWS = 256
"""Prompts up to this many tokens ship three projections, longer ones the first."""
LARGEST = 65_535
"""Positions are stored in 16 bits."""
BUDGETS = {False: 50_000, True: 200_000}
"""Edges shipped of a dense and of a streamed recording. A long text has many readers, and each shall have some."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; img-src data: blob:; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<div id="sociogram"><noscript>This page draws with JavaScript, from data inside this file; nothing is fetched. Switch \
JavaScript on to see it.</noscript></div>
<script type="application/octet-stream" id="sociogram-frame">{frame}</script>
<script>{script}</script>
</body>
</html>
"""


def to_html(
    rec: sg.Recording,
    path: str | PathLike[str] | None = None,
    *,
    other: sg.Recording | None = None,
    names: tuple[str, str] = ("A", "B"),
    views: Sequence[str] | None = None,
    toward: str | int | None = None,
    budget: int | None = None,
) -> str:
    """The flock in motion, as one self-contained page: no network, opens from disk.

    Args:
        rec: one sequence.
        path: the file to write (its folder must exist; an older file is replaced only when the new one is complete).
        other: a second recording with as wide a stream, drawn in the first one's bases, to compare.
        names: what to call the two.
        views: which projections to ship, of `"plain"`, `"centred"`, `"sphere"`, `"normed"`; the first is shown first. For short
            prompts the first three when left out, for long ones the first.
        toward: a token, to let arrows mean what was added to its logit; the most probable next token when left out.
        budget: how many edges to ship; see `rec.select`. When left out 50,000, which are all of a short prompt; of a streamed
            recording 200,000 of those it keeps.

    Returns:
        The page's text.

    Raises:
        InputError: several sequences, an unknown view, recordings that cannot be compared; `toward` of a streamed one.
        RecordingError: what is needed was not kept; or the page was not built (a checkout without node).

    Misleads: a projection shows some of the variance; the page says how much, and how much a random walk would show.
    """
    chosen = _views(rec, views)
    recordings = [(names[0] if other is not None else str(rec.tree.attrs["model"]), rec)]
    if other is not None:
        recordings.append((names[1], other))
    _check(recordings, toward)
    static("page.js")  # what would fail afterwards fails before the work
    if path is not None and not Path(path).parent.is_dir():
        raise sg.InputError(f"{path} cannot be written: there is no folder {Path(path).parent}")
    streamed = any(is_streamed(one) for _, one in recordings)
    if toward is None and not streamed:
        toward = _said(rec)
    block = contents(recordings, chosen, toward, BUDGETS[streamed] if budget is None else budget)
    page = assemble(block, _title(rec))
    if path is not None:
        _write(Path(path), page)
    return page


def assemble(block: bytes, title: str) -> str:
    """A frame and the built page as one text; only the page's own code and style may act in it."""
    style, script = (static(name) for name in ("page.css", "page.js"))
    return _PAGE.format(
        title=html.escape(title),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        frame=base64.b64encode(block).decode(),
    )


def static(name: str) -> str:
    """A built file of the page.

    Raises:
        RecordingError: it was not built.
    """
    file = files("sociogram.studio").joinpath("static", name)
    if not file.is_file():
        raise sg.RecordingError(
            "the page is not built in this checkout: `make page` builds it (needs Node 20 or newer with npm); "
            "an installed wheel has it inside. All else works without."
        )
    return file.read_text(encoding="utf-8")


def _views(rec: sg.Recording, views: Sequence[str] | None) -> list[str]:
    if views is None:
        short = len(rec.dataset["query_token"]) <= SEVERAL_VIEWS
        return ["plain", "centred", "sphere"] if short else ["plain"]
    for view in views:
        if view not in VIEWS:
            raise sg.InputError(f"views={views!r}: {view!r} is none of {', '.join(VIEWS)}")
    if not views:
        raise sg.InputError(f"views={views!r}: name at least one of {', '.join(VIEWS)}")
    return list(dict.fromkeys(views))


def _check(recordings: Sequence[tuple[str, sg.Recording]], toward: str | int | None) -> None:
    widths = []
    for name, rec in recordings:
        tokens = rec.tokens  # one sequence, or an error that says so
        if toward is not None and is_streamed(rec):
            raise sg.InputError(
                f"toward={toward!r}: {name} was streamed, and of what its messages add to a logit only those of each reader's "
                'strongest keys are known, not what all of them sum to: leave toward out, or record with keep="default"'
            )
        if len(tokens) > LARGEST:
            raise sg.InputError(f"{name} has {len(tokens):,} tokens; a page holds {LARGEST:,}")
        if "residual" not in rec.dataset:
            raise sg.RecordingError(f'{name}: residual was not kept: record again with keep="default"')
        widths.append(rec.dataset["residual"].sizes["d_model"])
    if len(set(widths)) > 1:
        raise sg.InputError(
            f"these recordings cannot be drawn in one basis: their streams are {widths[0]} and {widths[1]} numbers wide"
        )


def _said(rec: sg.Recording) -> int | str | None:
    """The most probable next token, where arrows towards it can be had: as text where that names it, else its id."""
    if rec.model is None or "final_logits" not in rec.outputs or rec.anatomy.head.problem:
        return None
    number = int(rec.predictions(1)["token_id"].iloc[0])
    tokenizer = rec.model.tokenizer
    if tokenizer is None:
        return number
    text = str(tokenizer.decode([number]))
    return text if tokenizer.encode(text, add_special_tokens=False) == [number] else number


def _title(rec: sg.Recording) -> str:
    text = rec.tree.attrs.get("text") or " ".join(rec.tokens[:12])
    return f"{text[:80]} · {rec.tree.attrs['model']} · Sociogram"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(path: Path, page: str) -> None:
    try:
        with whole(path) as part:
            part.write_text(page, encoding="utf-8")
    except OSError as error:
        raise sg.InputError(f"{path} cannot be written: {error.strerror}") from error
