"""One vector for a text, its first token's or the mean of all: how far one more token moves it, and what can be read off it."""

from __future__ import annotations

import re
from itertools import product
from pydoc_data.topics import topics

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

import sociogram as sg

READINGS = ("cls", "mean")


def last_states(model: sg.Model, ids: Int[Tensor, "text token"]) -> Float[Tensor, "text token d_model"]:
    """Where tokens are in the end: behind a society's last norm, of another encoder as its last layer leaves them."""
    found = []
    for some in ids.split(500):
        states = torch.from_numpy(sg.record(model, some, keep=("residual",)).dataset["residual"].values)
        states = states[:, -1] if states.dim() == 4 else states[None, -1]
        with torch.no_grad():
            found.append(model.hf.norm(states) if isinstance(model.hf, sg.grow.Society) else states)
    return torch.cat(found)


def pooled(states: Float[Tensor, "text token d_model"], reading: str) -> Float[Tensor, "text d_model"]:
    """The first token's state, or the mean of all."""
    return states[:, 0] if reading == "cls" else states.mean(1)


def moves(
    before: Float[Tensor, "text token d_model"], after: Float[Tensor, "text more d_model"], reading: str
) -> dict[str, float]:
    """How far texts' vectors go when one token joins.

    Returns:
        `moved`: mean square of the move. `relative`: the same over the variance of such vectors over texts (mean square distance
        from their mean), in which scales drop out; 1 / (n + 1) for means of independent vectors. `median`: the same of the median
        text, which a few that move far do not decide. `independent`: of means, the move
        over what it is for independent vectors of the variance that the tokens of each text have; above 1 the token that joined
        moved the others too, below 1 it is more like them than they are like each other.
    """
    double, count = before.double(), before.shape[1]
    one, other = pooled(double, reading), pooled(after.double(), reading)
    squares = (other - one).square().sum(-1)
    moved = float(squares.mean())
    over_texts = float(one.var(0, correction=1).sum())
    within = float(double.var(1, correction=1).sum(-1).mean()) / (count * (count + 1))
    parts = {"relative": moved / over_texts, "median": float(squares.median()) / over_texts}
    return {"moved": moved, **parts, "independent": moved / within if reading == "mean" else float("nan")}


def expected(tokens: int, channels: int, change: str) -> float:
    """The mean square move of a mean of independent vectors with variance 1 in each channel, in closed form.

    One more: the mean of n goes a (n + 1)-th of the way to a vector that is independent of it: d (1 + 1 / n) / (n + 1)^2, which
    is d / (n (n + 1)). One replaced: 2 d / n^2. Distances fall like 1 / n.
    """
    return channels / (tokens * (tokens + 1)) if change == "added" else 2 * channels / tokens**2


def changed_means(vectors: Float[Tensor, "draw more d_model"], change: str) -> Float[Tensor, " draw"]:
    """The square move of the mean of all but the last vector, when the last is added or takes the place of the first."""
    before = vectors[:, :-1].mean(1)
    after = vectors.mean(1) if change == "added" else vectors[:, 1:].mean(1)
    return (after - before).square().sum(-1)


def all_signs(tokens: int) -> Float[Tensor, "pattern more 1"]:
    """Every pattern of signs of so many tokens and one more: independent vectors of variance 1, and nothing left to chance."""
    return torch.tensor(list(product((-1.0, 1.0), repeat=tokens + 1)), dtype=torch.float64)[..., None]


def probe(
    vectors: Float[Tensor, "text d_model"], labels: Int[Tensor, " text"], asked: Float[Tensor, "more d_model"], classes: int
) -> Int[Tensor, " more"]:
    """The classes that a logistic regression, fitted on vectors with labels, gives to others.

    Channels are scaled to variance 1; the penalty is 1e-3 times half the squared weights. Convex, so that no start matters.
    """
    mean, scale = vectors.mean(0), vectors.std(0).clamp_min(1e-6)
    known, others = ((each - mean) / scale for each in (vectors, asked))
    weights = torch.zeros(classes, known.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe", tolerance_grad=1e-5)

    def loss() -> Tensor:
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(known @ weights.T + bias, labels) + 5e-4 * weights.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return (others @ weights.detach().T + bias.detach()).argmax(-1)


def help_pieces(model: sg.Model, texts: int, tokens: int) -> Int[Tensor, "text tokens"]:
    """The beginnings of so many topics of Python's help as token ids, without what the tokenizer adds, in order of their names.

    Lines of fewer than five words (titles, rules, examples) are left out.

    Raises:
        InputError: fewer topics have so many tokens.
    """
    found = []
    for name in sorted(topics):
        prose = [line for line in topics[name].splitlines() if len(re.findall("[A-Za-z]{2,}", line)) > 4]
        ids = _bare(model, " ".join(" ".join(prose).split()[: 2 * tokens]))
        if len(ids) >= tokens:
            found.append(ids[:tokens])
        if len(found) == texts:
            return torch.tensor(found)
    raise sg.InputError(f"passages={texts}: only {len(found)} topics of Python's help have {tokens} tokens or more")


def _bare(model: sg.Model, text: str) -> list[int]:
    assert model.tokenizer is not None
    ids: list[int] = model.tokenizer(text, add_special_tokens=False, truncation=True, max_length=400)["input_ids"]
    return ids


def wrapped(model: sg.Model, pieces: Int[Tensor, "text token"]) -> Int[Tensor, "text more"]:
    """With the tokens that stand at the beginning and the end of every text this model reads.

    Raises:
        InputError: a model whose texts have no such tokens.
    """
    ends = [getattr(model.tokenizer, f"{name}_token_id", None) for name in ("cls", "sep")]
    if not all(isinstance(token, int) for token in ends):
        raise sg.InputError(
            f"model={model.name!r}: its texts begin with no token that stands for them; choose an encoder (minilm-l6)"
        )
    first, last = (torch.full((len(pieces), 1), int(token or 0)) for token in ends)
    return torch.cat([first, pieces, last], 1)


def found_halves(one: Float[Tensor, "text d_model"], other: Float[Tensor, "text d_model"]) -> float:
    """The share of vectors whose nearest by cosine among the others is the one of the same row."""
    near = torch.nn.functional.normalize(one, dim=-1) @ torch.nn.functional.normalize(other, dim=-1).T
    return float((near.argmax(-1) == torch.arange(len(one))).double().mean())


def mean_and_range(values: list[float]) -> dict[str, float]:
    """Over seeds."""
    return {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}
