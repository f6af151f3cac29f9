"""Graph matching: are tokens recognised by their place among the others alone, from one graph to the next?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.asked import check_count, picture
from sociogram.graphs.matrices import place_of, streamed
from sociogram.graphs.nulls import NULLS
from sociogram.graphs.source import Batch, Source
from sociogram.graphs.spectrum import fitted
from sociogram.watch.progress import bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sociogram.graphs.networks import Networks
    from sociogram.watch.arrays import Address

ROUNDS = 100
"""The most steps of one search."""


class Found(NamedTuple):
    """The best matching of several searches: token i of the first graph is matched to `permutation[i]` of the second."""

    permutation: Int[np.ndarray, " token"]
    objective: float


@dataclass(frozen=True, eq=False)
class Matching:
    """What `networks.match` found.

    Attributes:
        table: one row per token of the first graph: `token, text, matched, matched_text, itself`, and `seed` (it was given).
        itself: the share of tokens, seeds left out, that were matched to themselves; a permutation at random has one such token.
        objective: sum over pairs of weight times weight of the matched pair, as a share of the product of the graphs' norms: 1
            for graphs that are the same but for the order. `objective_itself`: the same if every token is matched to itself.
        random, random_sd: mean and standard deviation of the objective over random permutations (seeds kept).
        null_itself: `itself` with the second graph's null in its place, a number per sample; empty without a null.
        null: its name. p: how often the null does as well (no smaller than 1 / (samples + 1)); NaN without a null.
    """

    table: pd.DataFrame
    itself: float
    objective: float
    objective_itself: float
    random: float
    random_sd: float
    null_itself: Float[np.ndarray, " sample"]
    null: str | None
    p: float

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Tokens and their matches as a picture; see `sg.plot.matching`."""
        return picture("matching", self, ax=ax)

    def __repr__(self) -> str:
        """How many tokens were matched to themselves, here and under the null."""
        null = f", {self.null_itself.mean():.0%} under the null {self.null!r} (p = {self.p:.3g})" if self.null else ""
        return (
            f"Matching({self.itself:.0%} of {int((~self.table['seed']).sum())} tokens matched to themselves{null}; objective "
            f"{self.objective:.3f}, themselves {self.objective_itself:.3f}, at random {self.random:.3f} +- {self.random_sd:.3f})"
        )


def faq(
    first: Float[np.ndarray, "token other"],
    second: Float[np.ndarray, "token other"],
    *,
    seeds: Int[np.ndarray, " seed"] | None = None,
    restarts: int = 10,
    rng: np.random.Generator,
) -> Found:
    """Fast approximate quadratic assignment (Vogelstein et al. 2015) from the middle of all matchings and random starts.

    A random start lies anywhere between the middle and a matching at random.

    Returns:
        The best of all starts: a local optimum, not always the best there is.
    """
    from scipy.optimize import quadratic_assignment

    fixed = np.zeros((0, 2), int) if seeds is None else np.stack([seeds, seeds], 1)
    best: Found | None = None
    for start in range(restarts):
        options = {"maximize": True, "partial_match": fixed, "rng": rng, "maxiter": ROUNDS, "shuffle_input": True}
        options["P0"] = "barycenter" if start == 0 else _start(len(first) - len(fixed), rng)
        result = quadratic_assignment(first, second, method="faq", options=options)
        if best is None or result.fun > best.objective:
            best = Found(np.asarray(result.col_ind), float(result.fun))
    assert best is not None
    return best


def _start(tokens: int, rng: np.random.Generator) -> Float[np.ndarray, "token other"]:
    share = rng.random()
    return np.asarray((1 - share) / tokens + share * np.eye(tokens)[rng.permutation(tokens)])


def match(
    networks: Networks,
    a: tuple[int, int] | int,
    b: tuple[int, int] | int,
    *,
    seeds: Sequence[Address] = (),
    restarts: int = 10,
    permutations: int = 1000,
    null: str | None = "positional",
    samples: int = 20,
    seed: int = 0,
) -> Matching:
    """Match the tokens of one graph to those of another by weights alone, blind to which token is which.

    Args:
        networks: the graphs.
        a, b: `(layer, head)`, or a layer where graphs are layers.
        seeds: tokens that are told to the search, by number or text.
        restarts: from how many starts it searches.
        permutations: how many random matchings the objective is compared with.
        null: what takes the second graph's place to see how many tokens are recognised anyway (see `networks.test`), or None.
        samples: how many of those.
        seed: of the random numbers.

    Raises:
        InputError: no such graph, token or null, or numbers out of range.
        RecordingError: the weights were not kept.

    Misleads: a causal mask alone gives tokens away (the first is read by all, the last by none), and so does the fall-off with
    distance: compare `itself` with `null_itself`, not with chance. The search finds local optima: a low `itself` with an
    `objective` below `objective_itself` is the search's failure, not the graphs'.
    """
    _check(networks, restarts, permutations, null, samples)
    batches = [networks.graph(*(name if isinstance(name, tuple) else (name,))) for name in (a, b)]
    first = int(networks.source.drop_first)
    given = np.array(sorted({place_of(token, networks.tokens, first) for token in seeds}), int)
    rng = np.random.default_rng(seed)
    return _matched(networks, (batches[0], batches[1]), given, restarts, permutations, null, samples, rng)


def match_layers(
    networks: Networks,
    *,
    step: int = 1,
    restarts: int = 5,
    null: str | None = "positional",
    samples: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Match each layer's graph (all heads together) to that of the layer `step` further: does it get harder in deeper layers?

    Args:
        networks: the graphs; by head or layer alike.
        step: how many layers further.
        restarts, null, samples, seed: see `match`.

    Returns:
        `layer, other, itself, objective, objective_itself, random, random_sd, null_itself` (mean) and `p`; `attrs["trend"]` is
        Spearman's correlation of `itself` with the layer, and `attrs["trend_p"]` its p-value (as if layers were independent).

    Raises:
        InputError: a step that leaves no pair, or as `match`.
        RecordingError: the weights were not kept.

    Misleads: as `match`; the average over heads is no head.
    """
    from scipy.stats import spearmanr

    _check(networks, restarts, 1, null, samples)
    layers = networks.source.layers
    if isinstance(step, bool) or not isinstance(step, int) or not 1 <= step < len(layers):
        raise InputError(f"step={step!r}: 1 to {len(layers) - 1}, as {len(layers)} layers have graphs")
    wholes = by_layer(networks.source)
    rng = np.random.default_rng(seed)
    rows = []
    with bar("matching", len(layers), len(layers)) as advance:
        for one, other in zip(layers, layers[step:], strict=False):
            pair = wholes.layer(one), wholes.layer(other)
            found = _matched(networks, pair, np.zeros(0, int), restarts, 200, null, samples, rng)
            names = ("itself", "objective", "objective_itself", "random", "random_sd", "p")
            mean = float(found.null_itself.mean()) if null else np.nan
            rows.append({"layer": one, "other": other, **{name: getattr(found, name) for name in names}, "null_itself": mean})
            advance(1)
    table = pd.DataFrame(rows)
    varies = len(table) > 2 and table["itself"].nunique() > 1
    trend, p = spearmanr(table["layer"], table["itself"]) if varies else (np.nan, np.nan)
    table.attrs |= {"trend": float(trend), "trend_p": float(p)}
    return table


def by_layer(source: Source) -> Source:
    """The same graphs, one for each layer."""
    return Source(source.rec, source.weight, "layer", source.stack, source.drop_first, source.threshold, source.toward)


def _matched(
    networks: Networks,
    pair: tuple[Batch, Batch],
    seeds: np.ndarray,
    restarts: int,
    permutations: int,
    null: str | None,
    samples: int,
    rng: np.random.Generator,
) -> Matching:
    first, second = pair[0].weights[0], pair[1].weights[0]
    free = np.setdiff1d(np.arange(len(first)), seeds)
    if len(free) < 2:
        raise InputError(f"{len(free)} of {len(first)} tokens are left to be matched: give fewer seeds")
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    if norm == 0:
        raise InputError("one of the two graphs has no edges, so that every matching is as good")
    best = faq(first, second, seeds=seeds, restarts=restarts, rng=rng)
    chance = np.array([_objective(first, second, _shuffled(len(first), free, rng)) for _ in range(permutations)]) / norm
    itself = float((best.permutation == np.arange(len(first)))[free].mean())
    null_itself = np.zeros(0)
    if null is not None:
        made = fitted(null, second, pair[1].allowed[0], rng)
        others = [faq(first, made(1, rng)[0], seeds=seeds, restarts=restarts, rng=rng).permutation for _ in range(samples)]
        null_itself = np.array([(one == np.arange(len(first)))[free].mean() for one in others])
    return Matching(
        table=_table(networks, best.permutation, seeds),
        itself=itself,
        objective=best.objective / norm,
        objective_itself=_objective(first, second, np.arange(len(first))) / norm,
        random=float(chance.mean()),
        random_sd=float(chance.std(ddof=1)) if permutations > 1 else np.nan,
        null_itself=null_itself,
        null=null,
        p=(1 + int((null_itself >= itself).sum())) / (samples + 1) if null else np.nan,
    )


def _objective(first: np.ndarray, second: np.ndarray, permutation: np.ndarray) -> float:
    return float((first * second[np.ix_(permutation, permutation)]).sum())


def _shuffled(tokens: int, free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    permutation = np.arange(tokens)
    permutation[free] = rng.permutation(free)
    return permutation


def _table(networks: Networks, permutation: np.ndarray, seeds: np.ndarray) -> pd.DataFrame:
    first, texts = int(networks.source.drop_first), np.array(networks.tokens, dtype=object)
    numbers = np.arange(len(permutation))
    return pd.DataFrame(
        {
            "token": numbers + first,
            "text": texts,
            "matched": permutation + first,
            "matched_text": texts[permutation],
            "itself": permutation == numbers,
            "seed": np.isin(numbers, seeds),
        }
    )


def _check(networks: Networks, restarts: int, permutations: int, null: str | None, samples: int) -> None:
    if streamed(networks):
        raise RecordingError(
            'matching needs the weights of both graphs, and a streamed recording has none: record with keep="default"'
        )
    if null is not None and null not in NULLS:
        raise InputError(f"null={null!r}: choose one of {', '.join(NULLS)}, or None")
    for name, value in {"restarts": restarts, "permutations": permutations, "samples": samples}.items():
        check_count(name, value)
