"""Deep stacks without norms or skips, and a warm-up that gives each layer mean 0 and variance 1 by gradient, not by formula."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Stack(nn.Module):
    """Linear layers with a ReLU between them, no norms, no skips: nothing repairs what an initialisation does."""

    def __init__(self, depth: int, width: int, outputs: int, first: str, seed: int) -> None:
        """Weights by `first`: `He`, `Glorot` (biases zero) or `torch's default` (with its biases)."""
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
            self.read = nn.Linear(width, outputs)
            for layer in self.layers if first != "torch's default" else ():
                assert isinstance(layer, nn.Linear)
                if first == "He":
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                else:
                    nn.init.xavier_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def layered(self, x: Float[Tensor, "item width"]) -> list[Tensor]:
        """What each layer gives out, before its ReLU."""
        found: list[Tensor] = []
        for number, layer in enumerate(self.layers):
            x = layer(x.relu() if number else x)
            found.append(x)
        return found

    def forward(self, x: Float[Tensor, "item width"]) -> Float[Tensor, "item output"]:
        """The outputs."""
        read: Float[Tensor, "item output"] = self.read(self.layered(x)[-1].relu())
        return read


def balance(outputs: list[Tensor]) -> Float[Tensor, ""]:
    """How far layers are from mean 0 and variance 1: mean over layers of mean^2 / variance + (log variance)^2.

    In logarithms, since the variances of a bad start are apart by many powers of ten, and 1 - v has no slope left at 0; the mean
    is taken in units of the layer's own deviation.
    """
    parts = []
    for out in outputs:
        variance = out.var(correction=0) + 1e-30
        parts.append(out.mean().square() / variance + variance.log().square())
    return torch.stack(parts).mean()


def warm_up(model: Stack, x: Float[Tensor, "item width"], rounds: int, rate: float = 3e-3) -> float:
    """Bring the layers towards mean 0 and variance 1 on these inputs, by Adam on `balance`; returns what is left of it.

    No target is seen: the stack learns nothing but its scales.
    """
    adam = torch.optim.Adam(model.layers.parameters(), lr=rate)
    for _ in range(rounds):
        adam.zero_grad()
        loss = balance(model.layered(x))
        loss.backward()
        adam.step()
    with torch.no_grad():
        return float(balance(model.layered(x)))


def learn(model: Stack, x: Tensor, y: Tensor, rounds: int, rate: float) -> float:
    """Mean squared error on these items after so many steps of Adam on all of them."""
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(rounds):
        adam.zero_grad()
        (model(x) - y).square().mean().backward()
        adam.step()
    with torch.no_grad():
        return float((model(x) - y).square().mean())
