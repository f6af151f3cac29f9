"""The page: how long an export takes, how large it is, how soon it is there, and what a picture costs in JavaScript."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from benchmarks.report import Table

LENGTHS = (64, 512, 2048)
WEB = Path(__file__).parents[1] / "src" / "sociogram" / "studio" / "web"
_FRAMES = """new Promise(done => {{ const page = window.__sociogram, seen = [];
  page.set({{ arrows: {arrows}, token: null, playing: true, stop: 0 }});
  const look = () => {{ seen.push(page.frameMs); seen.length < {count} ? requestAnimationFrame(look) : done(seen) }};
  requestAnimationFrame(look) }})"""


def run(*, quick: bool) -> list[Table]:
    """Pages of real recordings, then one as large as they come."""
    if shutil.which("chromium") is None or not (WEB / "node_modules" / "playwright-core").is_dir():
        return [Table("Pages", ("tokens",), notes=["skipped: no chromium, or the page is not built (make page)"])]
    with tempfile.TemporaryDirectory() as folder:
        return [_pages(Path(folder), LENGTHS[:1] if quick else LENGTHS), _frames(Path(folder), 20 if quick else 120)]


def _pages(folder: Path, lengths: tuple[int, ...]) -> Table:
    import sociogram as sg

    model = sg.load("smollm2-135m")
    assert model.tokenizer is not None
    ids = model.tokenizer.encode(" ".join(topics.values()))
    table = Table("A page of SmolLM2-135M", ("tokens", "record (s)", "export (s)", "size (MB)", "edges", "ready in (s)"))
    for length in lengths:
        start = time.perf_counter()
        rec = sg.record(model, ids[:length])
        recorded = time.perf_counter()
        path = folder / f"{length}.html"
        sg.to_html(rec, path)
        exported = time.perf_counter()
        del rec
        ready = statistics.median(_drive(path)["loaded"] for _ in range(3))
        edges = _drive(path, {"eval": "window.__sociogram.resident()"})["results"][0]
        table.rows.append((length, recorded - start, exported - recorded, path.stat().st_size / 1e6, edges, ready))
    table.notes = ["Ready: from opening the file to the first picture, headless Chromium, software rendering; medians of 3."]
    return table


def _frames(folder: Path, count: int) -> Table:
    from tests.studio.large import large_page

    path = large_page(folder / "large.html", tokens=2_000, layers=30, heads=9, edges=50_000)
    table = Table("A picture while playing: 2,000 tokens, 30 layers, 50,000 edges resident", ("arrows drawn", "JavaScript (ms)"))
    for arrows in (10, 300, 3_000):
        seen = _drive(path, {"eval": _FRAMES.format(arrows=arrows, count=count)})["results"][0]
        table.rows.append((arrows, statistics.median(seen)))
    table.notes = [
        f"Median over {count} frames of the time spent in JavaScript per frame, labels included. What a graphics card takes is "
        "not measured here: this machine has none."
    ]
    return table


def _drive(page: Path, *steps: dict[str, Any]) -> dict[str, Any]:
    plan = {"page": page.as_uri(), "browser": shutil.which("chromium"), "steps": steps, "patience": 120_000}
    done = subprocess.run(
        ["node", "test/browser/drive.mjs"], cwd=WEB, input=json.dumps(plan), capture_output=True, encoding="utf-8", check=True
    )
    report: dict[str, Any] = json.loads(done.stdout)
    if "failed" in report:
        raise RuntimeError(report["failed"])
    return report
