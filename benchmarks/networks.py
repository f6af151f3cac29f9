"""Attention as networks: embeddings beside graspologic, one long head without its matrix, and what stands out against nulls."""

from __future__ import annotations

import tempfile
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

from benchmarks import environments, system
from benchmarks.children import MODEL, measured, model_and_text
from benchmarks.report import Table

TOKENS, LONG = 128, 16_384
ROUNDS = 3
PASSAGES = 3
NULLS = {"positional": 40, "degrees": 40, "rows": 40, "untrained": 20}
"""Nulls of the study, and how many samples each."""
NAMES = {
    "ase": "270 graphs, each by itself (ASE)",
    "mase": "270 graphs in one space (MASE)",
    "omni 30": "30 graphs in one space (OMNI)",
    "omni": "270 graphs in one space (OMNI)",
}
PLOT = Path(__file__).parents[1] / "docs" / "images" / "networks.png"


def run(*, quick: bool) -> list[Table]:
    """Three tables; the study also draws docs/images/networks.png."""
    return [_embeddings(quick), _long(quick), _study(quick)]


def _embeddings(quick: bool) -> Table:
    tokens = 16 if quick else TOKENS
    table = Table(f"Embeddings of the graphs of {tokens} tokens", ("what", "Sociogram (s)", "graspologic (s)", "ratio"))
    _, ids = model_and_text(tokens)
    with tempfile.TemporaryDirectory() as work:
        ours = measured(system.here(), "networks_run", "sociogram", Path(work), ids, 1 if quick else ROUNDS)["works"]
        python = "left out of smoke runs" if quick else environments.interpreter("graspologic")
        theirs: dict[str, Any] = {}
        if isinstance(python, Path):
            theirs = measured([str(python)], "networks_run", "graspologic", Path(work), ids, ROUNDS)["works"]
        else:
            table.notes.append(f"graspologic: {python}")
    for name, work_found in ours.items():
        mine, other = work_found["seconds"], theirs.get(name, {}).get("seconds")
        table.rows.append((NAMES[name], mine, other, None if other is None else mine / other))
    table.notes += [
        "Four components, directed, without diagonal augmentation; graspologic 3.4.4 in an environment of its own (numpy 1.26).",
        "graspologic's OMNI builds a matrix of (graphs x tokens) rows, 9.6 GB for 270 graphs, and was asked for 30.",
        "Ours reads the weights from the recording each time. Medians of 3.",
    ]
    return table


def _long(quick: bool) -> Table:
    tokens = 256 if quick else LONG
    table = Table(f"One head of {tokens:,} tokens without its matrix", ("what", "seconds", "peak above before (GB)"))
    folder, ids = model_and_text(tokens)
    works = measured(system.here(), "networks_run", "matrixfree", folder, ids, 1)["works"]
    table.rows = [(name, found["seconds"], found["peak"] / 1e9) for name, found in works.items()]
    table.notes = [f"The matrix would take {tokens**2 * 4 / 1e9:.1f} GB in float32. One round."]
    return table


def _study(quick: bool) -> Table:
    """How many heads stand out against each null, over several texts, and how alike the texts are."""
    import torch

    import sociogram as sg

    tokens, passages = (16, 1) if quick else (TOKENS, PASSAGES)
    model = sg.load(MODEL)
    assert model.tokenizer is not None
    ids = model.tokenizer.encode(" ".join(topics.values()))
    columns = (
        "null",
        "statistic",
        "beyond (of 270)",
        "lowest to highest",
        "median z",
        "same sign in all",
        "rank correlation of z",
    )
    table = Table(f"Heads of {MODEL} that stand out against null models, {passages} texts of {tokens} tokens", columns)
    drawn: dict[str, Any] = {}
    for null, samples in NULLS.items():
        tests = []
        for i in range(passages):
            nets = sg.networks(sg.record(model, torch.tensor(ids[i * tokens : (i + 1) * tokens])))
            tests.append(nets.test_all(null=null, samples=2 if quick else samples))
        drawn |= {f"{null}: {name}": tests[0][name] for name in ("clustering", "effective_rank", "sender_share")}
        table.rows += [row for name in tests[0] if (row := _row(null, name, [one[name].table for one in tests])) is not None]
    table.notes = [
        f"{passages} texts from Python's documentation. Beyond: p <= 0.05, corrected over the 270 heads by the largest |z| of "
        "each sample; mean over texts, and the texts with the fewest and the most.",
        f"Samples: {', '.join(f'{null} {count}' for null, count in NULLS.items())}. Statistics that a null or the mask fixes are "
        "left out.",
        "Same sign in all: share of heads whose z has one sign in all texts (chance: 1/4 for three). Rank correlation: "
        "Spearman's, over heads, mean over pairs of texts.",
    ]
    if not quick:
        _draw(drawn)
    return table


def _row(null: str, name: str, tables: list[Any]) -> tuple[Any, ...] | None:
    z = np.stack([table["z"].to_numpy(float) for table in tables])
    if np.isnan(z).all():
        return None
    beyond = [int((table["p_corrected"] <= 0.05).sum()) for table in tables]
    known = z[:, np.isfinite(z).all(0)]
    same = float((np.abs(np.sign(known).sum(0)) == len(known)).mean())
    return (
        null, name, float(np.mean(beyond)), f"{min(beyond)} to {max(beyond)}", float(np.median(known)), same, _agreement(known),
    )  # fmt: skip


def _agreement(z: np.ndarray) -> float | None:
    from scipy.stats import spearmanr

    pairs = [(i, j) for i in range(len(z)) for j in range(i)]
    return float(np.mean([spearmanr(z[i], z[j]).statistic for i, j in pairs])) if pairs else None


def _draw(tests: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    import sociogram as sg

    names = list(tests)
    figure = Figure(figsize=(13, 4.6 * ((len(names) + 2) // 3)), layout="constrained")
    for i, name in enumerate(names):
        sg.plot.null_test(tests[name], ax=figure.add_subplot((len(names) + 2) // 3, 3, i + 1))
    figure.savefig(PLOT, dpi=70)


if __name__ == "__main__":
    from benchmarks.report import show

    show(run(quick=True))
