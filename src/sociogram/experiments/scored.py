"""Scores that mean the same for every objective: nearest embeddings, perplexities, how alike embeddings are; and frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import sociogram as sg

if TYPE_CHECKING:
    from sociogram.grow import Language, Society

SHARPNESS = np.geomspace(0.1, 1000, 41)
"""Factors of distances among which the best is looked for."""
NAN = float("nan")


@dataclass(frozen=True)
class Scores:
    """Of one society on one text.

    Attributes:
        loss: of its own objective.
        accuracy: of its own answer: the largest logit, or the embedding nearest by its own distance.
        nearest: of the embedding nearest to the last state by cosine.
        perplexity: exp of the cross-entropy; NaN where there are no probabilities.
        fitted: exp of the cross-entropy of softmax(b answers), b the best on the text to train on.
        cosine, rank: mean cosine between the embeddings of common letters, and their effective rank (1: all on one line).
    """

    loss: float
    accuracy: float
    nearest: float = NAN
    perplexity: float = NAN
    fitted: float = NAN
    cosine: float = NAN
    rank: float = NAN


def scored(society: Society, text: Language, held: Language, count: int, seed: int) -> Scores:
    """Everything about a society on `count` sequences held out; what is fitted is fitted on as many of the text to train on."""
    states, said, labels = _answers(society, held, count, seed)
    table = embedding_of(society)
    near = torch.nn.functional.normalize(states, dim=-1) @ torch.nn.functional.normalize(table, dim=-1).T
    plain = society.config.objective == "token"
    _, fitting, wanted = _answers(society, text, count, seed)
    sharp = min(SHARPNESS, key=lambda factor: cross_entropy(factor * fitting, wanted))
    return Scores(
        loss=sg.grow.score(society, held, count=count, seed=seed)["loss"],
        accuracy=float((said.argmax(-1) == labels).double().mean()),
        nearest=float((near.argmax(-1) == labels).double().mean()),
        perplexity=float(np.exp(cross_entropy(said, labels))) if plain else NAN,
        fitted=float(np.exp(cross_entropy(float(sharp) * said, labels))),
        **embedded(society),
    )


def cross_entropy(said: Float[Tensor, "asked vocab"], labels: Int[Tensor, " asked"]) -> float:
    """Mean over what is asked."""
    return float(torch.nn.functional.cross_entropy(said, labels))


def _answers(society: Society, task: Language, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Last states `[asked, d_model]`, answers `[asked, vocab]` and labels `[asked]` on sequences of a text."""
    batch, states = task.batch(count, torch.Generator().manual_seed(seed + 77)), list[Tensor]()
    norm: Any = society.norm
    hook = norm.register_forward_hook(lambda module, args, output: states.append(output))
    reading: Any = society.eval()
    try:
        with torch.no_grad():
            said = reading(batch["input_ids"], use_cache=False).logits
    finally:
        hook.remove()
    return states[0].flatten(0, 1), said.flatten(0, 1), batch["labels"].flatten()


def embedded(society: Society) -> dict[str, float]:
    """How alike the embeddings of the common letters are: mean cosine of pairs, and effective rank."""
    table = embedding_of(society)[common()]
    found: Any = sg.measure_flock(table.double().numpy()[None]).iloc[0]
    return {"cosine": float(found["cohesion"]), "rank": float(found["effective_rank"])}


@cache
def common(share: float = 0.99) -> list[int]:
    """The letters that make up this share of the text, the commonest first."""
    counts = sg.grow.Language().batch(4096, torch.Generator().manual_seed(0))["input_ids"].flatten().bincount()
    order = counts.argsort(descending=True)
    before = counts[order].cumsum(0) - counts[order]
    found: list[int] = order[before < share * counts.sum()].tolist()
    return found


def frequencies(text: Language, held: Language, order: int, count: int = 4096) -> Scores:
    """Scores of one who knows how often each letter occurs (order 1), or occurs after each letter (order 2), in the text."""
    size = held.vocab_size
    counts = torch.full((size, size), 0.01, dtype=torch.float64)
    for number in range(8):
        batch = text.batch(count, torch.Generator().manual_seed(1000 + number))
        pairs = (batch["input_ids"] * size + batch["labels"]).flatten()
        counts += pairs.bincount(minlength=size * size).view(size, size)
    if order == 1:
        counts = counts.sum(0, keepdim=True).expand(size, size)
    chances = counts / counts.sum(1, keepdim=True)
    batch = held.batch(count, torch.Generator().manual_seed(77))
    known, labels = chances[batch["input_ids"].flatten()], batch["labels"].flatten()
    accuracy = float((known.argmax(-1) == labels).double().mean())
    loss = -float(known.gather(1, labels[:, None]).log().mean())
    return Scores(loss=loss, accuracy=accuracy, perplexity=float(np.exp(loss)), fitted=float(np.exp(loss)))


def embedding_of(society: Society) -> Float[Tensor, "vocab d_model"]:
    """The matrix, apart from its gradient."""
    embedding: Any = society.get_input_embeddings()
    matrix: Tensor = embedding.weight.detach()
    return matrix
