"""A study: how many heads of the default model stand out against null models, in which statistics, over several texts."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

from benchmarks.children import MODEL
from benchmarks.report import Table

TOKENS, TEXTS = 128, 5
NULLS = {"positional": 100, "degrees": 100, "rows": 100, "untrained": 20}
"""Nulls of the study, and how many samples each: an untrained model costs a run of its own, and 20 give no p below 0.048."""
DRAWN = ("clustering", "effective_rank", "sender_share")
PLOT = Path(__file__).parents[1] / "docs" / "images" / "networks.png"
COLUMNS = (
    "null",
    "statistic",
    "beyond (of 270)",
    "interval",
    "lowest to highest",
    "median z",
    "interval of z",
    "same sign in all",
    "rank correlation of z",
)


def run(*, quick: bool) -> list[Table]:
    """One table; draws docs/images/networks.png."""
    tokens, texts = (16, 2) if quick else (TOKENS, TEXTS)
    table = Table(f"Heads of {MODEL} that stand out against null models, {texts} texts of {tokens} tokens", COLUMNS)
    drawn: dict[str, Any] = {}
    for null, samples in NULLS.items():
        tests = _tests(null, 2 if quick else samples, tokens, texts)
        drawn |= {f"{null}: {name}": tests[0][name] for name in DRAWN}
        table.rows += [row for name in tests[0] if (row := _row(null, name, [one[name].table for one in tests])) is not None]
    table.notes = [
        f"{texts} passages from Python's documentation, {tokens} tokens each. Beyond: p <= 0.05, corrected over the 270 heads by "
        "the largest |z| of each sample; mean over texts, its interval for other texts of this kind (95 %, Student's t), and the "
        "texts with the fewest and the most.",
        f"Samples: {', '.join(f'{null} {count}' for null, count in NULLS.items())}; 100 give no p below 0.0099, 20 none below "
        "0.048. Statistics that a null or the mask fixes are left out.",
        "Median z: over heads, mean over texts. Same sign in all: share of heads whose z has one sign in all texts (by chance "
        f"{2 * 0.5**texts:.2f}). Rank correlation: Spearman's, over heads, mean over pairs of texts.",
    ]
    if not quick:
        _draw(drawn)
    return [table]


def _tests(null: str, samples: int, tokens: int, texts: int) -> list[dict[str, Any]]:
    """All statistics of every text's heads against one null."""
    import torch

    import sociogram as sg

    model = sg.load(MODEL)
    assert model.tokenizer is not None
    ids = model.tokenizer.encode(" ".join(topics.values()))
    apart = (len(ids) - tokens) // texts
    pieces = [torch.tensor(ids[i * apart : i * apart + tokens]) for i in range(texts)]
    return [sg.networks(sg.record(model, piece)).test_all(null=null, samples=samples) for piece in pieces]


def _row(null: str, name: str, tables: list[Any]) -> tuple[Any, ...] | None:
    z = np.stack([table["z"].to_numpy(float) for table in tables])
    if np.isnan(z).all():
        return None
    beyond = [int((table["p_corrected"] <= 0.05).sum()) for table in tables]
    known = z[:, np.isfinite(z).all(0)]
    same = float((np.abs(np.sign(known).sum(0)) == len(known)).mean())
    medians = np.median(known, axis=1)
    return (
        null, name, float(np.mean(beyond)), _interval(np.array(beyond), 0, z.shape[1]), f"{min(beyond)} to {max(beyond)}",
        float(medians.mean()), _interval(medians), same, _agreement(known),
    )  # fmt: skip


def _interval(values: np.ndarray, least: float = -np.inf, most: float = np.inf) -> str:
    """Of the mean over texts, 95 %, by Student's t; within what is possible."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    low, high = max(least, values.mean() - half), min(most, values.mean() + half)
    return f"{low:.3g} to {high:.3g}"


def _agreement(z: np.ndarray) -> float:
    from scipy.stats import spearmanr

    pairs = [(i, j) for i in range(len(z)) for j in range(i)]
    return float(np.mean([spearmanr(z[i], z[j]).statistic for i, j in pairs]))


def _draw(tests: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    import sociogram as sg

    names = list(tests)
    rows = -(-len(names) // len(DRAWN))
    figure = Figure(figsize=(13, 4.6 * rows), layout="constrained")
    for i, name in enumerate(names):
        sg.plot.null_test(tests[name], ax=figure.add_subplot(rows, len(DRAWN), i + 1))
    figure.savefig(PLOT, dpi=70)


if __name__ == "__main__":
    from benchmarks.report import show

    show(run(quick=True))
