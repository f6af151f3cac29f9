"""Attention over vectors instead of tokens, as small as the theorems need it: linear or softmax, several heads, several layers.

A sequence is one regression task: tokens (x_j, y_j) for the examples, then (x_q, 0) for the query. Only examples are heard: keys
and values come from them alone, and everybody (the query too) asks. A layer adds to each token what its heads tell it; no norm,
no MLP.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Layer(nn.Module):
    """One layer: to each token the sum over heads of P W_V E f(E^T W_K^T W_Q e), f the identity or a softmax over examples.

    Only the products matter for what is told, so that each head has two matrices: `asked` = W_Q^T W_K and `told` = (P W_V)^T,
    both from the right of rows.
    """

    def __init__(self, width: int, heads: int = 1, *, softmax: bool = False) -> None:
        """All weights zero; `scatter` draws others."""
        super().__init__()
        self.softmax = softmax
        self.asked = nn.Parameter(torch.zeros(heads, width, width))
        self.told = nn.Parameter(torch.zeros(heads, width, width))

    def forward(
        self, tokens: Float[Tensor, "task token width"], examples: Float[Tensor, "task example width"]
    ) -> Float[Tensor, "task token width"]:
        """The tokens, moved by what the examples tell them."""
        scores = (tokens[:, None] @ self.asked) @ examples[:, None].mT
        weights = scores.softmax(-1) if self.softmax else scores
        return tokens + (weights @ (examples[:, None] @ self.told)).sum(1)


class Attention(nn.Module):
    """Layers one after the other; the prediction is minus the query's last channels, as gradient descent from zero makes it."""

    def __init__(self, layers: Sequence[Layer], targets: int = 1) -> None:
        """Take the layers, and how many channels are targets."""
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.targets = targets

    def moved(self, tokens: Float[Tensor, "task token width"], *, heard: int | None = None) -> Float[Tensor, "task token width"]:
        """The tokens after all layers; the first `heard` of them are heard, all but the last where left out."""
        count = tokens.shape[1] - 1 if heard is None else heard
        for layer in self.layers:
            tokens = layer(tokens, tokens[:, :count])
        return tokens

    def forward(
        self,
        x: Float[Tensor, "task example inputs"],
        y: Float[Tensor, "task example targets"],
        query: Float[Tensor, "task inputs"],
    ) -> Float[Tensor, "task targets"]:
        """What is predicted for the query."""
        return -self.moved(tokens_of(x, y, query))[:, -1, -self.targets :]


def tokens_of(
    x: Float[Tensor, "task example inputs"], y: Float[Tensor, "task example targets"], query: Float[Tensor, "task inputs"]
) -> Float[Tensor, "task token width"]:
    """The sequence (x_1, y_1), ..., (x_n, y_n), (x_q, 0)."""
    asking = torch.cat([query, query.new_zeros(len(query), y.shape[2])], 1)
    return torch.cat([torch.cat([x, y], 2), asking[:, None]], 1)


def constructed(
    steps: Sequence[float], inputs: int, start: Float[Tensor, "targets inputs"], curvature: Sequence[float] | None = None
) -> Attention:
    """Layers that do gradient descent by their weights: W_Q = W_K = [[I, 0], [0, 0]], W_V = [[0, 0], [W_0, -I]], P = step * I.

    von Oswald et al. (2212.07677), proposition 1, for the loss 1/2 sum over examples |W x - y|^2 from W_0 = `start`. A layer
    moves each token's y by the step's change of W at its x, so that the next layer sees the residuals that the next step sees.
    With `curvature` a layer also takes x to (I - c X X^T) x (their GD++).

    The prediction of `Attention` is W_K x_q for a start of zero; in general it is (W_K - W_0) x_q.
    """
    targets = len(start)
    model = Attention([Layer(inputs + targets) for _ in steps], targets).to(start.dtype)
    with torch.no_grad():
        for number, (layer, step) in enumerate(zip(model.layers, steps, strict=True)):
            assert isinstance(layer, Layer)
            layer.asked[0, :inputs, :inputs] = torch.eye(inputs, dtype=start.dtype)
            layer.told[0, :inputs, inputs:] = step * start.T
            layer.told[0, inputs:, inputs:] = -step * torch.eye(targets, dtype=start.dtype)
            if curvature is not None:
                layer.told[0, :inputs, :inputs] = -curvature[number] * torch.eye(inputs, dtype=start.dtype)
    return model


def scattered(layers: int, heads: int, inputs: int, *, softmax: bool, std: float, seed: int) -> Attention:
    """Layers with weights drawn from N(0, std^2)."""
    model = Attention([Layer(inputs + 1, heads, softmax=softmax) for _ in range(layers)])
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(std * torch.randn(parameter.shape, generator=draw))
    return model
