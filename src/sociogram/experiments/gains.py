"""What each common kind of layer does to mean and variance at initialisation: a sample of it, and the closed form.

The gain is E[out^2] / E[in^2] for inputs from N(0, 1), over the weights too: one draw of the weights says little, so that samples
are means over many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

WIDTH, TOKENS, BLOCKS = 64, 16, 12
"""Channels, tokens of a draw, blocks of the deep ones."""

Sample = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One kind of layer with one initialisation: its gain in closed form, and outputs with freshly drawn weights and inputs."""

    layer: str
    weights: str
    gain: float
    sample: Sample


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0)."""
    return np.maximum(x, 0)


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + e^-x)."""
    out: np.ndarray = x / (1 + np.exp(-x))
    return out


def gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution function."""
    from scipy.special import ndtr

    out: np.ndarray = x * ndtr(x)
    return out


def second_moment(function: Callable[[np.ndarray], np.ndarray]) -> float:
    """E f(z)^2 for z from N(0, 1), by Gauss-Legendre quadrature, 400 nodes on each side of the kink at zero."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    edge = 12.0  # beyond it the density is below 1e-31
    total = 0.0
    for low, high in ((-edge, 0.0), (0.0, edge)):
        z = (high - low) / 2 * nodes + (high + low) / 2
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        total += float((high - low) / 2 * (weights * density * function(z) ** 2).sum())
    return total


def he(fan_in: int) -> float:
    """Variance of the weights behind a ReLU (He et al. 1502.01852)."""
    return 2 / fan_in


def glorot(fan_in: int, fan_out: int) -> float:
    """Variance of the weights by Glorot & Bengio (2010)."""
    return 2 / (fan_in + fan_out)


def lecun(fan_in: int) -> float:
    """Variance of the weights that keeps that of a linear layer."""
    return 1 / fan_in


def cases() -> list[Case]:
    """All of them."""
    return [*_linear(), *_activated(), *_attention(), *_deep()]


def _drawn(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def _dense(variance: float, before: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> Sample:
    """A linear layer behind an activation of N(0, 1)."""
    return lambda rng: before(_drawn(rng, TOKENS, WIDTH)) @ _drawn(rng, WIDTH, WIDTH) * np.sqrt(variance)


def _torch_default(rng: np.random.Generator) -> np.ndarray:
    """Weights and biases uniform in +-1 / sqrt(fan_in)."""
    edge = WIDTH**-0.5
    return _drawn(rng, TOKENS, WIDTH) @ rng.uniform(-edge, edge, (WIDTH, WIDTH)) + rng.uniform(-edge, edge, WIDTH)


def _convolved(rng: np.random.Generator) -> np.ndarray:
    """A causal convolution of width 3 behind a ReLU, at the tokens that have two before them."""
    x, kernel = relu(_drawn(rng, TOKENS, WIDTH)), _drawn(rng, 3, WIDTH, WIDTH) * np.sqrt(he(3 * WIDTH))
    out: np.ndarray = sum(x[k : TOKENS - 2 + k] @ kernel[k] for k in range(3))
    return out


def _linear() -> list[Case]:
    third = 1 / 3
    return [
        Case("linear", "1 / fan_in", 1.0, _dense(lecun(WIDTH))),
        Case("linear", "Glorot, square", 1.0, _dense(glorot(WIDTH, WIDTH))),
        Case("linear", "torch's default, with bias", third + third / WIDTH, _torch_default),
        Case("embedding", "N(0, 0.02^2)", 0.02**2, lambda rng: 0.02 * _drawn(rng, TOKENS, WIDTH)),
    ]


def _gated(rng: np.random.Generator) -> np.ndarray:
    x, (gate, up, down) = _drawn(rng, TOKENS, WIDTH), _drawn(rng, 3, WIDTH, WIDTH) * np.sqrt(lecun(WIDTH))
    out: np.ndarray = (silu(x @ gate) * (x @ up)) @ down
    return out


def _activated() -> list[Case]:
    half = glorot(WIDTH, WIDTH)
    moments = {"ReLU": (relu, 0.5), "GELU": (gelu, second_moment(gelu)), "SiLU": (silu, second_moment(silu))}
    found = [Case(f"{n}, linear", "He", 2 * m, _dense(he(WIDTH), f)) for n, (f, m) in moments.items()]
    found += [Case(f"{n}, linear", "Glorot", m, _dense(half, f)) for n, (f, m) in moments.items()]
    found += [Case(f"{n}, linear", "1 / (fan_in E f^2)", 1.0, _dense(1 / (WIDTH * m), f)) for n, (f, m) in moments.items()]
    tanh = second_moment(np.tanh)
    return [
        *found,
        Case("tanh, linear", "Glorot", tanh, _dense(half, np.tanh)),
        Case("ReLU, convolution of 3", "He", 1.0, _convolved),
    ]


def _attending(spread: float, shared: float = 0.0) -> Sample:
    """A mean of tokens by softmax of scores from N(0, spread^2); `shared` of their variance is a direction that all have."""

    def sample(rng: np.random.Generator) -> np.ndarray:
        tokens = np.sqrt(1 - shared) * _drawn(rng, TOKENS, WIDTH) + np.sqrt(shared) * _drawn(rng, 1, WIDTH)
        weights = np.exp(spread * _drawn(rng, TOKENS, TOKENS))
        out: np.ndarray = weights / weights.sum(1, keepdims=True) @ tokens
        return out

    return sample


def _normed(x: np.ndarray, *, centre: bool) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True) if centre else x
    out: np.ndarray = x / np.sqrt((x**2).mean(-1, keepdims=True))
    return out


def _attention() -> list[Case]:
    def scaled(rng: np.random.Generator) -> np.ndarray:
        return 3 * _drawn(rng, TOKENS, WIDTH) + 1

    return [
        Case(f"attention over {TOKENS}", "scores 0", 1 / TOKENS, _attending(0.0)),
        Case(f"attention over {TOKENS}", "scores N(0, 0.1^2)", float(np.exp(0.01 * (1 - 1 / TOKENS))) / TOKENS, _attending(0.1)),
        Case(f"attention over {TOKENS}, half of the variance shared", "scores 0", 0.5 + 0.5 / TOKENS, _attending(0.0, 0.5)),
        Case("layer norm of N(1, 3^2)", "gain 1, bias 0", 1.0, lambda rng: _normed(scaled(rng), centre=True)),
        Case("RMS norm of N(1, 3^2)", "gain 1", 1.0, lambda rng: _normed(scaled(rng), centre=False)),
        Case("dropout of 0.1", "", 1 / 0.9, lambda rng: _drawn(rng, TOKENS, WIDTH) * (rng.random((TOKENS, WIDTH)) < 0.9) / 0.9),
    ]


def _residual(scale: float, *, normed: bool) -> Sample:
    """Blocks x + scale * f(x), f a ReLU and a linear layer by He (gain 1), behind a norm or not."""

    def sample(rng: np.random.Generator) -> np.ndarray:
        x = _drawn(rng, TOKENS, WIDTH)
        for _ in range(BLOCKS):
            seen = _normed(x, centre=False) if normed else x
            inner = seen @ (_drawn(rng, WIDTH, WIDTH) * np.sqrt(lecun(WIDTH)))
            x = x + scale * relu(inner) @ (_drawn(rng, WIDTH, WIDTH) * np.sqrt(he(WIDTH)))
        return x

    return sample


def _deep() -> list[Case]:
    blocks, small = f"{BLOCKS} residual blocks", BLOCKS**-0.5
    return [
        Case(blocks, "He", 2.0**BLOCKS, _residual(1.0, normed=False)),
        Case(blocks, "He, branches / sqrt(blocks)", (1 + 1 / BLOCKS) ** BLOCKS, _residual(small, normed=False)),
        Case(f"{blocks}, pre-norm", "He", 1.0 + BLOCKS, _residual(1.0, normed=True)),
        Case(f"{blocks}, pre-norm", "He, branches / sqrt(blocks)", 2.0, _residual(small, normed=True)),
    ]


def measured(case: Case, draws: int, rng: np.random.Generator) -> Float[np.ndarray, 4]:
    """Gain, its standard error, mean of the outputs, its standard error; over draws of weights and inputs."""
    outputs = [case.sample(rng) for _ in range(draws)]
    squares, means = np.array([(out**2).mean() for out in outputs]), np.array([out.mean() for out in outputs])
    return np.array([f for v in (squares, means) for f in (v.mean(), v.std(ddof=1) / np.sqrt(draws))])
