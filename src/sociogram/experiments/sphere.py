"""Attention as the motion of particles: on the sphere in continuous time, and layer by layer with random weights."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp


def velocity(places: Float[np.ndarray, "token d_model"], beta: float) -> Float[np.ndarray, "token d_model"]:
    """Where attention pulls each token, along the sphere: the mean of all by softmax(beta x_i . x_j), less what lies along x_i.

    Geshkovski et al. (2312.10794) with W_Q^T W_K = W_V = I.
    """
    scores = beta * places @ places.T
    weights = np.exp(scores - scores.max(1, keepdims=True))
    pull = weights @ places / weights.sum(1, keepdims=True)
    along: Float[np.ndarray, "token d_model"] = pull - (pull * places).sum(1, keepdims=True) * places
    return along


def flow(
    start: Float[np.ndarray, "token d_model"], beta: float, times: Float[np.ndarray, " time"], *, tolerance: float = 1e-12
) -> Float[np.ndarray, "time token d_model"]:
    """The tokens at the given times (the first is the start's), by an eighth-order Runge-Kutta method."""
    shape = start.shape

    def pulled(_: float, state: np.ndarray) -> np.ndarray:
        return velocity(state.reshape(shape), beta).ravel()

    found = solve_ivp(pulled, (times[0], times[-1]), start.ravel(), "DOP853", times, rtol=tolerance, atol=tolerance)
    if not found.success:
        raise ArithmeticError(found.message)
    moved: Float[np.ndarray, "time token d_model"] = found.y.T.reshape(len(times), *shape)
    return moved


def common_cosine(tokens: int, beta: float, times: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """The cosine that all pairs share, started orthogonal: the solution of

    g' = 2 e^(beta g) (1 - g) ((n - 1) g + 1) / (e^beta + (n - 1) e^(beta g)),   g(0) = 0.
    """

    def slope(_: float, g: np.ndarray) -> np.ndarray:
        near = np.exp(beta * (g - 1))  # numerator and denominator over e^beta
        result: np.ndarray = 2 * near * (1 - g) * ((tokens - 1) * g + 1) / (1 + (tokens - 1) * near)
        return result

    found = solve_ivp(slope, (times[0], times[-1]), np.zeros(1), "DOP853", times, rtol=1e-12, atol=1e-13)
    if not found.success:
        raise ArithmeticError(found.message)
    cosine: Float[np.ndarray, " time"] = found.y[0]
    return cosine


def attended(places: Float[np.ndarray, "token d_model"], rng: np.random.Generator) -> Float[np.ndarray, "token d_model"]:
    """One head of attention with random weights: queries, keys and values by matrices from N(0, 1 / d_model)."""
    width = places.shape[1]
    asked, answered, told = rng.standard_normal((3, width, width)) / np.sqrt(width)
    scores = (places @ asked) @ (places @ answered).T / np.sqrt(width)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    heard: Float[np.ndarray, "token d_model"] = weights / weights.sum(1, keepdims=True) @ (places @ told)
    return heard


def thought(places: Float[np.ndarray, "token d_model"], rng: np.random.Generator) -> Float[np.ndarray, "token d_model"]:
    """A token's own step: an MLP of two layers, four times as wide inside, ReLU, weights by He."""
    width = places.shape[1]
    inner = rng.standard_normal((width, 4 * width)) * np.sqrt(2 / width)
    outer = rng.standard_normal((4 * width, width)) * np.sqrt(1 / (4 * width))
    moved: Float[np.ndarray, "token d_model"] = np.maximum(places @ inner, 0) @ outer
    return moved


def layers(
    start: Float[np.ndarray, "token d_model"], count: int, rng: np.random.Generator, *, skip: bool, mlp: bool
) -> Float[np.ndarray, "stop token d_model"]:
    """The tokens before the first layer and after each, of random attention with or without skip connections and MLPs."""
    stops = [start]
    for _ in range(count):
        places = stops[-1]
        places = attended(places, rng) + (places if skip else 0)
        if mlp:
            places = thought(places, rng) + (places if skip else 0)
        stops.append(places)
    return np.stack(stops)


def unlike(places: Float[np.ndarray, "*stop token d_model"]) -> Float[np.ndarray, "*stop"]:
    """How far the tokens are from being one and the same: |X - 1 mean^T| / |X|, Frobenius norms (Dong et al. 2103.03404)."""
    rest = places - places.mean(-2, keepdims=True)
    share: Float[np.ndarray, "*stop"]
    share = np.asarray(np.linalg.norm(rest, axis=(-2, -1)) / np.linalg.norm(places, axis=(-2, -1)))
    return share
