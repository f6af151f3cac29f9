"""What a flock is compared with: tokens that take steps as long as its own, each in a random direction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sociogram.core.linear import gram, shares_of_few
from sociogram.watch.near import NUMBERS
from sociogram.watch.projection import scatter_of
from sociogram.watch.shape import MEASURES, clusters, cohesion, dispersion, effective_rank
from sociogram.watch.views import Look, Stream

WALKERS = 128
"""So many tokens (besides the first) walk for the measures; of more, each walk takes another sample."""

CROWD = 2048
"""So many tokens at most walk for the variance of their principal components; of more, a sample."""

SPREAD = 5
"""So many walks at most for the variance of their principal components, whose mean is all that is asked for."""

BAND = (0.05, 0.95)


def walk(
    start: Float[np.ndarray, "token d_model"], lengths: Float[np.ndarray, "step token"], rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "token d_model"]]:
    """Where independent walkers are at each stop: from `start`, each step of its own length, in a direction drawn anew."""
    place = start
    yield place
    for length in lengths:
        way = rng.standard_normal(start.shape, dtype=start.dtype)
        factor = length / np.sqrt(np.einsum("td,td->t", way, way))
        place = place + way * factor[:, None].astype(start.dtype)
        yield place


def bands(
    stream: Stream, moved: Float[np.ndarray, "stop token"], walks: int, seed: int
) -> dict[str, Float[np.ndarray, "bound stop"]]:
    """The range (5 % to 95 %) of each measure over matched random walks of the tokens without the first.

    Where the tokens are more than `WALKERS`, each walk takes a sample of them: cohesion and dispersion do not depend on how many
    walk, and the sample's own noise widens their bands; alignment is drawn for as many as moved; nearest, effective_rank and
    clusters would be those of fewer tokens, and are NaN.
    """
    rng = np.random.default_rng(seed)
    tokens = stream.places.shape[1] - 1
    start = stream.places[0].numpy()
    found = {name: np.full((walks, len(stream.parts)), np.nan) for name in MEASURES}
    for number in range(walks):
        who = 1 + np.sort(rng.permutation(tokens)[:WALKERS])
        places = torch.from_numpy(np.stack(list(walk(start[who], moved[1:, who], rng))))
        some = max(1, NUMBERS // max(1, places[0].numel()))
        parts = [_measured(part.double(), sampled=tokens > WALKERS) for part in places.split(some)]
        for name in parts[0]:
            found[name][number] = torch.cat([part[name] for part in parts]).numpy()
    steps = np.array([part != "input" for part in stream.parts]) & (np.arange(len(stream.parts)) > 0)
    found["alignment"] = resultants((moved[:, 1:] > 0).sum(1) * steps, stream.places.shape[2], walks, rng)
    return {name: np.quantile(value, BAND, axis=0) for name, value in found.items()}


def _measured(places: Float[Tensor, "stop token d_model"], *, sampled: bool) -> dict[str, Float[Tensor, " stop"]]:
    """The measures of walkers, but for alignment; of a sample only those that do not depend on how many there are."""
    found = {"cohesion": cohesion(places), "dispersion": dispersion(places)}
    if not sampled:
        found["nearest"] = _nearest(places).mean(-1)
        found |= {"effective_rank": effective_rank(places), "clusters": clusters(places)}
    return found


def _nearest(places: Float[Tensor, "stop token d_model"]) -> Float[Tensor, "stop token"]:
    """How far each walker's nearest other is, from inner products: to 1e-7 of the walkers' norms; NaN where there is none."""
    stops, tokens, _ = places.shape
    if tokens < 2:
        return torch.full((stops, tokens), torch.nan, dtype=torch.float64)
    products = torch.from_numpy(gram(places.numpy()))
    squares = products.diagonal(dim1=1, dim2=2)
    apart = squares[:, :, None] + squares[:, None] - 2 * products
    apart.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return apart.amin(-1).clamp(min=0).sqrt()


def resultants(
    counts: Int[np.ndarray, " stop"], width: int, walks: int, rng: np.random.Generator
) -> Float[np.ndarray, "walk stop"]:
    """Norm of the mean of `counts` independent random directions; NaN for fewer than two.

    Drawn exactly without the vectors: a sum of norm r and one more unit vector at cosine c have norm sqrt(r^2 + 2 r c + 1), and c
    is distributed as one coordinate of a random unit vector, whatever the sum.
    """
    squared = np.zeros((walks, len(counts)))
    for number in range(int(counts.max(initial=0))):
        along = rng.standard_normal(squared.shape)
        beside = rng.chisquare(width - 1, squared.shape) if width > 1 else 0.0
        cosine = along / np.sqrt(along**2 + beside)
        longer = squared + 2 * np.sqrt(squared) * cosine + 1
        squared = np.where(number < counts, longer.clip(min=0), squared)
    means: np.ndarray = np.sqrt(squared) / np.where(counts > 1, counts, np.nan)
    return means


def walk_variance(
    stream: Stream,
    look: Look,
    moved: Float[np.ndarray, "stop token"],
    components: int,
    axes: Float[np.ndarray, "axis d_model"],
    walks: int,
    seed: int,
) -> Float[np.ndarray, " component"]:
    """Share of the variance per component of matched random walks' own joint PCA, seen through the same view; mean over walks.

    All tokens walk, or `CROWD` of those that take part in fits, at most `SPREAD` times; the more they are, the fewer: one walk of
    many tokens says as much as many of few.
    """
    rng = np.random.default_rng(seed)
    stops, tokens, width = stream.places.shape
    who, fitted = np.arange(tokens), stream.fitted
    if tokens > CROWD:  # the first token walks too: views that take out a mean leave it out
        who = np.concatenate([[0], np.sort(rng.permutation(fitted[fitted > 0])[:CROWD])])
        fitted = np.arange(1, len(who))
    shares = []
    for _ in range(max(1, min(walks, SPREAD, NUMBERS // (tokens * width)))):
        places = walk(stream.places[0].numpy()[who], moved[1:, who], rng)
        viewed = (look(torch.from_numpy(p)).numpy()[fitted] for p in places)
        if stops * len(who) < width:
            shares.append(shares_of_few(np.concatenate(list(viewed)), components, axes))
        else:
            shares.append(scatter_of(viewed, width).shares(components, axes))
    mean: np.ndarray = np.mean(shares, axis=0)
    return mean
