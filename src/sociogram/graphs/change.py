"""A series of graphs of the same tokens: how much each differs from the one before, at which tokens, and what is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.asked import check_count, picture, shares_of
from sociogram.graphs.diff import QUESTION, check_same_tokens
from sociogram.graphs.distances import everything, names_of, readers_with_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks

OVER = ("layers", "steps")
UNUSUAL = 3.5
"""Scores beyond this are outliers (Iglewicz & Hoaglin 1993)."""

Pairwise = Float[np.ndarray, "time other token"]


@dataclass(frozen=True, eq=False)
class Change:
    """What `networks.change()` found. All changes are shares of what readers hear that moved: total variation, 0 to 1.

    Attributes:
        table: one row per step from one graph of the series to the next: `step, before, after` (their names), `change` (mean over
            readers), `nearest_before` (the least change from any earlier one: small where an old pattern comes back), `score`
            (how far `change` is from the median step, in robust standard deviations: Iglewicz & Hoaglin 1993), `unusual` (score
            beyond 3.5 either way), and `p, p_corrected` (over steps): that as much changes at once if every reader (of generation
            steps: every graph) made its changes at steps of its own, dealt out anew.
        tokens: one row per step and token: `step, before, after, token, text`, `heard` (how much of what it hears moved), `told`
            (how much moved of what others hear from it, in readers), `change` (half the sum of both: over tokens it sums to all
            that moved), `score` (against the same token's changes in all steps) and `p` (its rank among them: never below 1 /
            steps). Of generation steps `token` is who is heard, and `told` alone is known.
        over: `"layers"`, `"steps"` or `"recordings"`. samples: how many times changes were dealt out.
        readers: how many readers the mean is over.
    """

    table: pd.DataFrame
    tokens: pd.DataFrame
    over: str
    samples: int
    readers: int

    def signal(self, step: int, top: int = 10) -> pd.DataFrame:
        """The tokens whose edges change most in one step: the signal subgraph's nodes, with `share` of all that moved.

        Raises:
            InputError: no such step.
        """
        own = self.tokens[self.tokens["step"] == step]
        if own.empty:
            raise InputError(f"step={step!r}: this series has steps 0 to {len(self.table) - 1}")
        total = own["change"].sum()
        own = own.assign(share=own["change"] / total if total > 0 else np.nan)
        return own.sort_values("change", ascending=False, kind="stable", ignore_index=True).head(top)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """The change of every step, unusual ones marked; see `sg.plot.change`."""
        return picture("change", self, ax=ax)

    def __repr__(self) -> str:
        """How many steps, the largest, and how many are unusual."""
        largest = self.table.iloc[int(self.table["change"].argmax())]
        return (
            f"Change({len(self.table)} steps over {self.over}; largest {largest['change']:.3f} from {largest['before']} to "
            f"{largest['after']} (score {largest['score']:.1f}); {int(self.table['unusual'].sum())} unusual)"
        )


def change(
    networks: Networks, others: Sequence[Networks] | None = None, *, over: str | None = None, samples: int = 200, seed: int = 0
) -> Change:
    """How a series of graphs changes, and where unusually much.

    Args:
        networks: the graphs; the first of the series if `others` are given.
        others: recordings of the same tokens that follow, in order (training steps of a model, say): graphs with the same names
            are compared, changes averaged over them.
        over: `"layers"` (needs networks by layer: heads of two layers are not each other's) or `"steps"` (what the tokens that a
            model wrote hear, one after the other, in a recording made with `generate=`; averaged over graphs). `"layers"` when
            left out.
        samples: how often changes are dealt out anew over steps; p-values are never below 1 / (samples + 1). seed: of that.

    Raises:
        InputError: networks that are no series, other tokens or another question.
        RecordingError: `"steps"` of a recording in which nothing, or one token, was written; what is needed was not kept.

    Misleads: p says that many readers changed together, `score` that they changed much. A small change is no sign of nothing
    happening. A written token has one more token to hear than the one before: itself, which counts as a change. With few steps
    the median and its deviation are not known well.
    """
    if over is not None and (others is not None or over not in OVER):
        raise InputError(f"over={over!r}: choose one of {', '.join(OVER)}, and leave it out where others are given")
    check_count("samples", samples)
    if over == "steps":
        return _over_steps(networks, samples, seed)
    series, names, readers = _layers(networks) if others is None else _recordings(networks, list(others))
    heard, told = pairwise(series)
    steps, after = _steps(names), np.arange(1, len(names))
    together = _together(heard[after, after - 1], samples, np.random.default_rng([seed, 3]))
    table = steps.assign(**_scored(heard.sum(-1) / readers), **together)
    tokens = _token_rows(networks, steps, heard, told)
    return Change(table, tokens, "layers" if others is None else "recordings", samples, readers)


def pairwise(series: Float[np.ndarray, "time graph query key"]) -> tuple[Pairwise, Pairwise]:
    """Between every two times, for each token: half the summed change of what it hears, and of what others hear from it, mean
    over graphs. Rows are shares."""
    times, tokens = len(series), series.shape[-1]
    heard, told = np.zeros((times, times, tokens)), np.zeros((times, times, tokens))
    for i in range(times):
        for j in range(i):
            moved = np.abs(series[i] - series[j]) / 2
            heard[i, j] = heard[j, i] = moved.sum(-1).mean(0)
            told[i, j] = told[j, i] = moved.sum(-2).mean(0)
    return heard, told


def robust_scores(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """(x - median) / (1.4826 median |x - median|) (Iglewicz & Hoaglin 1993); by mean absolute deviation (1.2533) where more than
    half of the values are alike, NaN where all are."""
    apart = values - np.median(values)
    spread = 1.482602 * np.median(np.abs(apart))
    if spread <= 1e-12 * np.abs(values).max():
        spread = 1.253314 * np.abs(apart).mean()
    return apart / spread if spread > 1e-12 * np.abs(values).max() else np.full(len(values), np.nan)


def _scored(apart: Float[np.ndarray, "time other"]) -> dict[str, np.ndarray]:
    """Change, least change from any earlier one, and score of each step."""
    after = np.arange(1, len(apart))
    changes = apart[after, after - 1]
    scores = robust_scores(changes)
    nearest = np.array([apart[i, :i].min() for i in after])
    return {"change": changes, "nearest_before": nearest, "score": scores, "unusual": np.abs(scores) > UNUSUAL}


def _together(
    changes: Float[np.ndarray, "step unit"], samples: int, rng: np.random.Generator
) -> dict[str, Float[np.ndarray, " step"]]:
    """p-values, upwards, of each step's sum against each unit's changes dealt out anew over the steps."""
    own = changes.sum(1)
    made = np.stack([rng.permuted(changes, axis=0).sum(1) for _ in range(samples)])
    least = own * (1 - 1e-9)
    p = (1 + (made >= least).sum(0)) / (samples + 1)
    corrected = (1 + (made.max(1)[:, None] >= least).sum(0)) / (samples + 1)
    return {"p": p, "p_corrected": corrected}


def _steps(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"step": np.arange(len(names) - 1), "before": names[:-1], "after": names[1:]})


def _token_rows(networks: Networks, steps: pd.DataFrame, heard: Pairwise, told: Pairwise) -> pd.DataFrame:
    count, tokens = len(steps), len(networks.tokens)
    after = np.arange(1, count + 1)
    one, two = (part[after, after - 1].ravel() for part in (heard, told))
    rows = steps.loc[steps.index.repeat(tokens)].reset_index(drop=True)
    place = np.arange(tokens) + int(networks.source.drop_first)
    rows = rows.assign(token=np.tile(place, count), text=networks.tokens * count, heard=one, told=two, change=(one + two) / 2)
    changes = rows["change"].to_numpy().reshape(count, tokens)
    scores = np.stack([robust_scores(own) for own in changes.T], 1)
    ranks = (changes[:, None] <= changes[None] * (1 + 1e-9)).mean(1)
    return rows.assign(score=scores.ravel(), p=ranks.ravel())


def _layers(networks: Networks) -> tuple[np.ndarray, list[str], int]:
    if networks.source.by != "layer":
        raise InputError(
            f'by="{networks.source.by}": change() follows layers, and heads of two layers are not each other\'s: make the '
            'networks with by="layer", or ask over="steps"'
        )
    weights, allowed = everything(networks, "change()")
    return _series([weights[i : i + 1] for i in range(len(weights))], [allowed], names_of(networks.labels))


def _recordings(networks: Networks, others: list[Networks]) -> tuple[np.ndarray, list[str], int]:
    for number, other in enumerate(others, 1):
        for name in QUESTION:
            a, b = getattr(networks.source, name), getattr(other.source, name)
            if a != b:
                raise InputError(f"change(): {name}={a!r} in recording 0 and {b!r} in {number}: ask all the same question")
        check_same_tokens(f"change(), recording {number}", networks.tokens, other.tokens)
        if not networks.labels.equals(other.labels):
            raise InputError(
                f"change(): {len(networks)} graphs in recording 0 and {len(other)} in {number}: they are not the same heads"
            )
    found = [everything(one, "change()") for one in (networks, *others)]
    return _series([weights for weights, _ in found], [allowed for _, allowed in found], [str(i) for i in range(len(found))])


def _series(weights: list[np.ndarray], allowed: list[np.ndarray], names: list[str]) -> tuple[np.ndarray, list[str], int]:
    if len(weights) < 3:
        raise InputError(f"change(): a series of {len(weights)} graphs has no step to compare with others; give at least three")
    readers = int(np.logical_or.reduce([readers_with_choice(mask) for mask in allowed]).sum())
    return np.stack([shares_of(one) for one in weights]), names, max(readers, 1)


def _over_steps(networks: Networks, samples: int, seed: int) -> Change:
    """What each written token hears, beside the one before."""
    rec, first = networks.source.rec, int(networks.source.drop_first)
    begin = rec.tree.attrs.get("prompt_tokens")
    count = len(networks.tokens) + first
    if begin is None or count - int(begin) < 3:
        written = 0 if begin is None else count - int(begin)
        raise RecordingError(
            f'over="steps" needs a recording of at least three written tokens, and this has {written}: '
            "sg.record(model, text, generate=20)"
        )
    rows = np.arange(int(begin), count) - first
    total, alone = np.zeros((len(rows), len(rows), len(networks.tokens))), []
    for batch in networks.source.batches():
        shares = shares_of(batch.weights)[:, rows]
        total += np.abs(shares[:, :, None] - shares[:, None]).sum(0) / 2
        alone.append(np.abs(np.diff(shares, axis=1)).sum(-1) / 2)
    each = np.concatenate(alone).T
    apart = total / each.shape[1]
    steps = _steps([f"{i + first} {networks.tokens[i]}" for i in rows])
    together = _together(each, samples, np.random.default_rng([seed, 3]))
    table = steps.assign(**_scored(apart.sum(-1)), **together)
    tokens = _token_rows(networks, steps, np.zeros_like(apart), 2 * apart)
    tokens = tokens.assign(heard=np.nan, told=tokens["change"])
    heard = np.tile(np.arange(len(networks.tokens)), len(steps)) <= np.repeat(rows[1:], len(networks.tokens))
    return Change(table, tokens[heard].reset_index(drop=True), "steps", samples, 1)
