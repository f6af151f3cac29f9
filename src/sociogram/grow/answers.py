"""What a society says, and how far it is from what it should have said: one pair of functions for each objective."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError

NOTHING = -100
"""The label where nothing is asked."""


def logits(society: Any, hidden: Float[Tensor, "batch query d_model"], padding: Tensor | None) -> Float[Tensor, batch * rest]:
    """The answers of the last states.

    `token`, `number`: the unembedding. `class`: of the first token, or of the mean over real tokens. `embedding`: minus the
    distance to each token's embedding, so that the largest is the nearest.
    """
    config = society.config
    if config.objective == "embedding":
        return -distances(hidden, society.embed_tokens.weight, config.distance)
    if config.objective == "class":
        hidden = hidden[:, 0] if config.pool == "cls" else _mean(hidden, padding)
    return society.lm_head(hidden)


def _mean(hidden: Tensor, padding: Tensor | None) -> Tensor:
    if padding is None:
        return hidden.mean(1)
    real = padding.to(hidden)[..., None]
    return (hidden * real).sum(1) / real.sum(1).clamp_min(1)


def distances(
    hidden: Float[Tensor, "batch query d_model"], table: Float[Tensor, "vocab d_model"], distance: str
) -> Float[Tensor, "batch query vocab"]:
    """The distance of each state to each row of a table: 1 - cosine, or the mean square or absolute difference of channels."""
    if distance == "cosine":
        return 1 - F.normalize(hidden, dim=-1) @ F.normalize(table, dim=-1).T
    if distance == "mse":
        width = hidden.shape[-1]
        return (hidden.square().sum(-1, keepdim=True) - 2 * hidden @ table.T + table.square().sum(-1)) / width
    return torch.cdist(hidden, table.expand(len(hidden), -1, -1), p=1) / hidden.shape[-1]


def loss(society: Any, hidden: Tensor, said: Tensor, labels: Tensor) -> Float[Tensor, ""]:
    """The mean over what is asked of: cross-entropy; the distance to the label's embedding; half the squared error.

    The embedding that a distance is taken to is held fixed in the gradient unless `target="moving"`. Raises InputError where
    nothing is asked.

    Misleads: with `embedding`, losses of different distances are not comparable, and embeddings that training pulls together
    make small distances without any right answer (to one point, if targets move: a loss of 0). Look at accuracy.
    """
    config = society.config
    asked = ~labels.isnan() if labels.is_floating_point() else labels != NOTHING
    expected = said.shape[:1] if config.objective == "class" else said.shape[:2]
    if labels.shape != expected or not bool(asked.any()):
        raise InputError(
            f"Society(objective={config.objective!r})(labels=...): labels have the shape {list(expected)} with something asked, "
            f"and these are {list(labels.shape)}, {int(asked.sum())} asked. They are aligned with the answers, not shifted."
        )
    if config.objective == "number":
        return (said[..., 0][asked] - labels[asked]).square().mean() / 2
    if config.objective == "embedding":
        table = society.embed_tokens.weight
        target = (table.detach() if config.target == "held" else table)[labels[asked]]
        return _to_label(hidden[asked], target, config.distance).mean()
    return F.cross_entropy(said[asked], labels[asked])


def _to_label(state: Tensor, target: Tensor, distance: str) -> Float[Tensor, " asked"]:
    if distance == "cosine":
        return 1 - F.cosine_similarity(state, target, dim=-1)
    difference = state - target
    return (difference.square() if distance == "mse" else difference.abs()).mean(-1)
