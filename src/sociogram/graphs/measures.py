"""One number per graph: what statistics of weighted directed networks say of attention, many graphs at once.

Weights are `[..., query, key]`: entry (q, k) is the edge k -> q, from the sender to the reader. `allowed` says which pairs the
mask leaves. Where a number cannot be had or would be the same for every graph of the kind, it is NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from sociogram.core.linear import effective_rank as rank_of_rows
from sociogram.graphs.asked import ratio, shares_of

Weights = Float[np.ndarray, "*graph query key"]
Allowed = Bool[np.ndarray, "*graph query key"]
Number = Float[np.ndarray, "*graph"]
PerToken = Float[np.ndarray, "*graph token"]

ROUNDING = 1e-5
"""A weight that is above another by less than this share is not above it: softmaxes are computed in float32."""
EQUAL = 1e-4
"""Rows whose sums differ by less than this share of their mean have equal sums."""


def density(weights: Weights, allowed: Allowed) -> Number:
    """Share of the allowed pairs that have an edge, 0 to 1. Misleads: a softmax gives an edge to all, until a threshold."""
    return ratio((weights > 0).sum((-2, -1)), allowed.sum((-2, -1)))


def weighted_density(weights: Weights, allowed: Allowed) -> Number:
    """Mean weight of the allowed pairs; NaN where all readers hear equally much in all, as then it only counts tokens."""
    rows = weights.sum(-1)
    mean = rows.mean(-1)
    equal = np.ptp(rows, -1) <= EQUAL * mean
    return np.where(equal, np.nan, ratio(weights.sum((-2, -1)), allowed.sum((-2, -1))))


def above_even(weights: Weights, allowed: Allowed) -> Number:
    """Share of the allowed pairs with more weight than if their reader heard all equally, 0 to 1; choiceless readers apart."""
    count = allowed.sum(-1, keepdims=True)
    even = weights.sum(-1, keepdims=True) / np.maximum(count, 1)
    choice = allowed & (count > 1)
    return ratio((choice & (weights > even * (1 + ROUNDING))).sum((-2, -1)), choice.sum((-2, -1)))


def entropy(weights: Weights, allowed: Allowed) -> Number:
    """Mean over readers of the entropy of what they hear, in nats: 0 (one sender) to log(number of senders)."""
    del allowed
    shares = shares_of(weights)
    each = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1)
    heard = weights.sum(-1) > 0
    return ratio(np.where(heard, each, 0).sum(-1), heard.sum(-1))


def distance(weights: Weights, allowed: Allowed) -> Number:
    """Mean distance in tokens between reader and sender, weighted by the edges."""
    del allowed
    place = np.arange(weights.shape[-1])
    apart = np.abs(place[:, None] - place).astype(np.float64)
    return ratio((weights * apart).sum((-2, -1)), weights.sum((-2, -1)))


def self_share(weights: Weights, allowed: Allowed) -> Number:
    """Share of the weight that tokens give themselves, 0 to 1."""
    del allowed
    return ratio(np.trace(weights, axis1=-2, axis2=-1), weights.sum((-2, -1)))


def sink_share(weights: Weights, allowed: Allowed) -> Number:
    """Share of what all later readers hear that comes from the first token of the graph, 0 to 1."""
    del allowed
    return ratio(weights[..., 1:, 0].sum(-1), weights[..., 1:, :].sum((-2, -1)))


def sender_share(weights: Weights, allowed: Allowed) -> Number:
    """Share of the weight between different tokens that comes from the one strongest sender: 1 / tokens to 1."""
    del allowed
    between = without_self(weights)
    return ratio(between.sum(-2).max(-1), between.sum((-2, -1)))


def reciprocity(weights: Weights, allowed: Allowed) -> Number:
    """Sum of min(w_ij, w_ji) over the sum of w_ij, without the diagonal: 0 to 1 (Squartini et al. 2013).

    NaN where the mask allows no pair both ways, as in causal attention: there it is 0 by construction.
    """
    between = without_self(weights)
    both = without_self(allowed & np.swapaxes(allowed, -1, -2))
    shared = np.minimum(between, np.swapaxes(between, -1, -2)).sum((-2, -1))
    return np.where(both.any((-2, -1)), ratio(shared, between.sum((-2, -1))), np.nan)


def clustering_of_tokens(weights: Weights, allowed: Allowed) -> PerToken:
    """Directed weighted clustering of each token (Fagiolo 2007, eq. 16; weights over the graph's largest): 0 to 1.

    All eight kinds of directed triangles count alike; self-loops don't. 0 for a token without two neighbours.
    """
    del allowed
    between = without_self(weights)
    largest = between.max((-2, -1), keepdims=True)
    roots = np.cbrt(np.divide(between, largest, out=np.zeros_like(between), where=largest > 0))
    both = roots + np.swapaxes(roots, -1, -2)
    triangles = ((both @ both) * np.swapaxes(both, -1, -2)).sum(-1)
    edges = (between > 0).astype(np.float64)
    degree = edges.sum(-1) + edges.sum(-2)
    mutual = (edges * np.swapaxes(edges, -1, -2)).sum(-1)
    pairs = 2 * (degree * (degree - 1) - 2 * mutual)
    return np.divide(triangles, pairs, out=np.zeros_like(triangles), where=pairs > 0)


def clustering(weights: Weights, allowed: Allowed) -> Number:
    """Mean over tokens of `clustering_of_tokens`. Misleads: weights are relative to the largest, often one edge to a sink."""
    return np.asarray(clustering_of_tokens(weights, allowed).mean(-1))


def effective_rank(weights: Weights, allowed: Allowed) -> Number:
    """exp of the entropy of the singular values over their sum (Roy & Vetterli 2007): 1 to the number of tokens."""
    del allowed
    return rank_of_rows(weights)


def without_self(weights: np.ndarray) -> np.ndarray:
    """The same with zeros (or False) on the diagonal."""
    return np.where(np.eye(weights.shape[-1], dtype=bool), weights.dtype.type(0), weights)


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "density": density,
    "weighted_density": weighted_density,
    "above_even": above_even,
    "entropy": entropy,
    "distance": distance,
    "self_share": self_share,
    "sink_share": sink_share,
    "sender_share": sender_share,
    "reciprocity": reciprocity,
    "clustering": clustering,
    "effective_rank": effective_rank,
}
"""Those that many graphs can be asked for at once; `paths.MEASURES` has those that take a graph at a time."""
