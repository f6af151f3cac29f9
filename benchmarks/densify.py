"""A text pressed into few vectors: how much of what it does to prompts that were not seen is kept, beside controls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from benchmarks.densify_texts import BLOCKS, Block
from benchmarks.report import Table

MODEL = "smollm2-135m"
VECTORS = (1, 2, 4, 8, 16, 32)
FITTED = (2, 8, 32)
"""Numbers of vectors at which there are trained ones, and nulls."""
SEEDS = (0, 1)
PROMPTS = 8
TRAINING = {"examples": 6, "length": 12, "steps": 12}
MEASURES = {
    "closed": "Share of the gap closed, mean over all tokens of the prompts",
    "agree_last": "Share of prompts after whose last token the most probable next one is the same",
}


def run(*, quick: bool) -> list[Table]:
    """What n vectors keep of three texts, by each method and control: one table for each measure."""
    import sociogram as sg

    model = sg.load(MODEL)
    settings: dict[str, Any] = {"vectors": VECTORS, "fitted": FITTED, "seeds": SEEDS, "training": TRAINING, "prompts": PROMPTS}
    if quick:
        settings = {
            "vectors": (2,),
            "fitted": (2,),
            "seeds": (0,),
            "training": TRAINING | {"examples": 2, "steps": 1},
            "prompts": 2,
        }
    texts = [_Text(model, block, **settings) for block in BLOCKS]
    found = [text.measured(texts[i - 1]) for i, text in enumerate(texts)]
    return [_table(measure, texts, found, settings["vectors"]) for measure in MEASURES]


class _Text:
    """One text, pressed in every way."""

    def __init__(self, model: Any, block: Block, vectors: Any, fitted: Any, seeds: Any, training: Any, prompts: int) -> None:
        import sociogram as sg

        self.block, self.vectors, self.fitted, self.prompts = block, vectors, fitted, prompts
        self.full = sg.Past.of(model, block.text)
        self.dense = {
            (method, n, seed): sg.densify(model, block.text, n, method, seed=seed, **training)
            for method, numbers, drawn in (("mean", vectors, (0,)), ("gist", vectors, (0,)), ("trained", fitted, seeds))
            for n in numbers
            for seed in drawn
        }

    def measured(self, foreign: _Text) -> Any:
        """The table of `Dense.quality` over all ways and numbers of vectors; the whole text and no text are read once."""
        from sociogram.memory.quality import asked_of, basic, table

        asked = asked_of(self.full.model, self.block.prompts[: self.prompts])
        ways = [*((None, way) for way in basic(self.full, asked)), *self._ways(foreign)]
        found = table([way for _, way in ways], [ids for ids, _ in asked])
        found["n"] = [n for n, _ in ways]
        return found

    def _ways(self, foreign: _Text) -> Iterator[tuple[int | None, Any]]:
        import sociogram as sg
        from sociogram.memory.quality import cheap, nulls, own

        for n in self.vectors:
            yield from ((n, way) for way in cheap(self.full, n))
        for (method, n, seed), dense in self.dense.items():
            for way in own(dense):
                if way.name != "additions" or (method, n, seed) == ("mean", self.fitted[0], 0):
                    yield (None if way.name == "additions" else n), way
            if method == "mean":
                late = sg.densify(self.full.model, self.block.text, n, place="last")
                yield n, replace(next(iter(own(late))), name="mean, at the span's last token")
            if n in self.fitted:
                for way in nulls(dense, foreign.dense[method, n, seed], seed):
                    yield n, replace(way, name=f"{method}: {way.name}")


def _table(measure: str, texts: list[_Text], found: list[Any], vectors: tuple[int, ...]) -> Table:
    table = Table(f"{MEASURES[measure]}, {MODEL}", ("text", "reading", *(f"n = {n}" for n in vectors)))
    for text, frame in zip(texts, found, strict=True):
        for name, rows in frame[frame["kind"] != "whole"].groupby("reading", sort=False):
            table.rows.append((text.block.name, name, *(_cell(rows, measure, n) for n in vectors)))
    gaps = (
        f"{text.block.name}: {len(text.full)} tokens, {frame['bytes'][0] / 1e6:.1f} MB of keys and values; without it KL "
        f"{frame['kl'][1]:.2f} over all tokens, {frame['kl_last'][1]:.2f} after the last"
        for text, frame in zip(texts, found, strict=True)
    )
    table.notes = [
        "KL from the distributions after the whole text, in nats; the share closed is 1 - KL / KL without text. "
        + "; ".join(gaps),
        f"{PROMPTS} prompts for each text, none of them given while it was pressed (what is sampled may name what is "
        f"asked). trained: {TRAINING['examples']} sampled continuations of {TRAINING['length']} tokens, "
        f"{TRAINING['steps']} steps of Adam; lowest to highest of {len(SEEDS)} seeds (of the sampling; of vectors "
        "drawn at random).",
        "additions and no text have no n. another text: the one before it of these three, in a circle, pressed in the same way.",
    ]
    return table


def _cell(rows: Any, measure: str, n: int) -> Any:
    here = rows[rows["n"].isna() | (rows["n"] == n)][measure]
    if here.empty:
        return None
    low, high = float(here.min()), float(here.max())
    return low if low == high else f"{low:.3f} to {high:.3f}"
