"""Who must be allowed to talk: perplexity of the default model as a function of the pairs of tokens that may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, ClassVar

from benchmarks.report import Table
from sociogram import edits

if TYPE_CHECKING:
    from torch import Tensor


MODEL = "smollm2-135m"
LENGTH, PASSAGES = 512, 6
WIDTHS = (8, 16, 32, 64, 128)
PLOT = Path(__file__).parents[1] / "docs" / "images" / "topology.png"


@dataclass(frozen=True, kw_only=True)
class Kept(edits.Topology):
    """A window, and some tokens that everybody hears as well: the control for keeping the first ones."""

    name: ClassVar[str] = "kept"
    width: int
    tokens: tuple[int, ...]

    def keeps(self, query: Tensor, key: Tensor) -> Tensor:
        import torch

        return ((query - key).abs() < self.width) | torch.isin(key, torch.tensor(self.tokens))


def run(*, quick: bool) -> list[Table]:
    """The same passages under every rule."""
    import sociogram as sg

    model = sg.load(MODEL)
    assert model.tokenizer is not None
    ids = model.tokenizer.encode(" ".join(topics.values()))
    count = 1 if quick else PASSAGES
    passages = [ids[i * LENGTH : (i + 1) * LENGTH] for i in range(count)]
    table = Table(f"Perplexity of {MODEL} when fewer pairs may talk", ("rule", "pairs", "of all pairs", "perplexity"))
    everything = LENGTH * (LENGTH + 1) // 2
    plain = _perplexity(lambda passage: model.logits(passage), passages)
    table.rows.append(("everybody", everything, 1.0, plain))
    for rule in _rules()[: 2 if quick else None]:
        with sg.steer(model, rule) as steered:
            found = _perplexity(lambda passage, steered=steered: steered.logits(passage), passages)  # type: ignore[misc]
        pairs = rule.pairs(LENGTH) if isinstance(rule, edits.Topology) else _kept(steered)
        table.rows.append((str(rule), pairs, pairs / everything, found))
    table.notes = [
        f"{count} passages of {LENGTH} tokens of Python's documentation; over the tokens after the first {max(WIDTHS)}, where "
        "every window has dropped some.",
        "The rule holds in all layers and heads; of `clusters` the pairs are a head's average in the last passage.",
        "`kept` keeps four tokens further on instead of the first four.",
    ]
    if not quick:
        _plot(table)
    return [table]


def _kept(steered: object) -> int:
    """The pairs that a head was left on average: who is in which cluster depends on the text."""
    rows = steered.receipt.edits  # type: ignore[attr-defined]
    return round(float((rows["addressed"] - rows["changed"]).mean()))


def _rules() -> list[edits.Edit]:
    rules: list[edits.Edit] = []
    for width in WIDTHS:
        rules += [edits.window(width=width), edits.window(width=width, sinks=4), Kept(width=width, tokens=(20, 21, 22, 23))]
    rules += [edits.window(width=64, sinks=1), edits.isolate(), edits.blocks(size=64)]
    rules += [edits.strided(stride=8, local=32), edits.random(p=0.25, seed=0), edits.bottleneck(council=tuple(range(0, 512, 32)))]
    rules += [edits.clusters(count=8), edits.clusters(count=32)]
    return rules


def _perplexity(logits: object, passages: list[list[int]]) -> float:
    import torch

    losses = []
    for passage in passages:
        said = torch.log_softmax(logits(passage)[:-1].float(), -1)  # type: ignore[operator]
        losses.append(-said[torch.arange(len(passage) - 1), torch.tensor(passage[1:])][max(WIDTHS) :])
    return float(torch.cat(losses).mean().exp())


def _plot(table: Table) -> None:
    from matplotlib.figure import Figure

    ax = Figure(figsize=(7, 4.5), layout="constrained").add_subplot()
    kinds = {"window": "o", "kept": "s", "everybody": "*"}
    for kind, colour, label in (
        ("sinks=4", "#0072B2", "window and the first four tokens"),
        ("width=", "#D55E00", "window"),
        ("kept", "#999999", "window and four other tokens"),
    ):
        rows = [r for r in table.rows if _is(r[0], kind)]
        ax.plot(
            [r[2] for r in rows], [r[3] for r in rows], marker=kinds.get(rows[0][0].split()[0], "o"), color=colour, label=label
        )
    shown = [r for r in table.rows if not any(_is(r[0], kind) for kind in ("sinks=4", "width=", "kept"))]
    for name, _, share, perplexity in shown:
        ax.plot(share, perplexity, "k.")
        ax.annotate(
            name if len(name) < 40 else name.split()[0],
            (share, perplexity),
            fontsize=7,
            xytext=(4, 4),
            textcoords="offset points",
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("share of the pairs that may talk")
    ax.set_ylabel("perplexity")
    ax.legend(frameon=False, fontsize=8)
    PLOT.parent.mkdir(exist_ok=True)
    ax.figure.savefig(PLOT, dpi=140)


def _is(name: str, kind: str) -> bool:
    if kind == "kept":
        return name.startswith("kept")
    if kind == "sinks=4":
        return "sinks=4" in name
    return name.startswith("window") and "sinks" not in name
