"""What routers choose, and what follows from how they may choose (mixture of depths, Raposo et al. 2404.02258).

A router lets the highest scores of a whole sequence take part, so that whether a token does may tell of what comes after it. The
readings here take that away in three ways, and measure what it was worth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Rule = Callable[[int, Float[Tensor, "batch query"]], Bool[Tensor, "batch query"]]
"""From a layer's number and its router's scores to who takes part there."""


def routers_of(society: Any) -> dict[int, Any]:
    """The routers, by the number of their layer; none where all tokens take part everywhere."""
    return {number: layer.router for number, layer in enumerate(society.layers) if hasattr(layer, "router")}


@contextmanager
def choosing(society: Any, rule: Rule) -> Iterator[None]:
    """Inside, learned routers let those take part that the rule names; factors stay what the scores say. In evaluation alone."""

    def replaced(number: int) -> Callable[..., tuple[Tensor, Tensor]]:
        def hook(router: Any, given: tuple[Tensor], told: object) -> tuple[Tensor, Tensor]:
            scores = router.score(given[0])[..., 0]
            takes_part = rule(number, scores)
            return (torch.sigmoid(scores) * takes_part)[..., None], takes_part

        return hook

    with ExitStack() as stack:
        for number, router in routers_of(society).items():
            stack.callback(router.register_forward_hook(replaced(number)).remove)
        yield


def choices(society: Any, ids: Int[Tensor, "batch query"]) -> dict[int, Bool[Tensor, "batch query"]]:
    """Who takes part in each routed layer when the whole sequences are read."""
    found: dict[int, Tensor] = {}
    with ExitStack() as stack, torch.no_grad():
        for number, router in routers_of(society).items():
            stack.callback(router.register_forward_hook(lambda _, __, told, n=number: found.update({n: told[1]})).remove)
        society.eval()(ids, use_cache=False)
    return found


def thresholds(society: Any, ids: Int[Tensor, "batch query"]) -> dict[int, float]:
    """For each learned router the score that the routed share of all tokens is above, layers below choosing by theirs already.

    A choice by a fixed score looks at the token alone: it is causal, and its number of tokens varies.
    """
    found: dict[int, float] = {}

    def fitting(number: int, scores: Tensor) -> Tensor:
        found[number] = float(scores.flatten().quantile(1 - society.config.routed_share))
        return scores > found[number]

    with choosing(society, fitting), torch.no_grad():
        society.eval()(ids, use_cache=False)
    return found


def above(limits: dict[int, float]) -> Rule:
    """Those take part whose score is above their layer's."""
    return lambda number, scores: scores > limits[number]


def drawn(share: float, generator: torch.Generator) -> Rule:
    """As many as a router would choose, drawn by lot."""

    def rule(number: int, scores: Tensor) -> Tensor:
        count = max(1, int(share * scores.shape[1] + 1e-9))
        chosen = torch.rand(scores.shape, generator=generator).topk(count, dim=-1).indices
        return torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)

    return rule


def losses(society: Any, ids: Int[Tensor, "batch query"], labels: Int[Tensor, "batch query"]) -> Float[Tensor, "batch query"]:
    """Cross-entropy at every token of sequences that are read whole; 0 where nothing is asked."""
    with torch.no_grad():
        said = society.eval()(ids, use_cache=False).logits
    return F.cross_entropy(said.transpose(1, 2), labels, reduction="none")


def prefix_losses(
    society: Any, ids: Int[Tensor, "batch query"], labels: Int[Tensor, "batch query"]
) -> Float[Tensor, "batch query"]:
    """Cross-entropy at every token when nothing after it exists: each prefix is read anew and its last token answers."""
    ends = range(1, ids.shape[1] + 1)
    return torch.cat([losses(society, ids[:, :end], labels[:, :end])[:, -1:] for end in ends], dim=1)


def other_future(ids: Int[Tensor, "batch query"]) -> Int[Tensor, "batch query"]:
    """Each sequence with the second half of another (of the one before it)."""
    half = ids.shape[1] // 2
    return torch.cat([ids[:, :half], ids.roll(1, 0)[:, half:]], dim=1)
