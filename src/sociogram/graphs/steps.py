"""What one layer does to all tokens as a matrix whose rows sum to 1: how much of each reader comes from each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from sociogram.core.errors import InputError, RecordingError
from sociogram.graphs.layered import Layered
from sociogram.watch.audit import stream

if TYPE_CHECKING:
    from sociogram.graphs.source import Source

KINDS = ("weights", "alti")


def layered(source: Source, kind: str = "weights", residual: int | float = 0.5) -> Layered:
    """All layers one after the other, for rollout, flow, cuts and routes from the first to the last.

    Args:
        source: the graphs; their level (`by`) does not matter, all heads of a layer are one step.
        kind: `"weights"`: each layer is `residual` parts the token itself and the rest what it hears, all heads together, rows
            scaled to 1 (with attention and one half: Abnar & Zuidema 2020); `"alti"`: how near each token's part comes to what
            the reader is after attention, in L1 norm, its own past included (Ferrando et al. 2022).
        residual: the share that stays, for `"weights"`; `"alti"` finds it out.

    Raises:
        InputError: an unknown kind, or a share outside 0 to 1.
        RecordingError: what is needed was not kept.

    Misleads: MLPs are not in it; between attention layers each token is taken for what it was.
    """
    steps = steps_of(source, kind, residual)
    first = int(source.drop_first)
    allowed = np.stack([source.together([layer])[1] for layer in source.layers])[:, first:, first:]
    return Layered(steps, tuple(source.layers), tuple(source.tokens), first, allowed, kind)


def steps_of(source: Source, kind: str, residual: int | float) -> Float[np.ndarray, "layer query key"]:
    """One matrix per layer that has messages; see `layered`.

    Raises:
        InputError: an unknown kind, or a share of the residual outside 0 to 1.
        RecordingError: what is needed was not kept.
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: choose one of {', '.join(KINDS)}")
    if isinstance(residual, bool) or not isinstance(residual, int | float) or not 0 <= residual <= 1:
        raise InputError(f"residual={residual!r}: the share of each token that stays as it is, 0 to 1")
    step = alti if kind == "alti" else lambda s, layer: weighted(s, layer, residual)
    return np.stack([step(source, layer) for layer in source.layers])


def weighted(source: Source, layer: int, residual: int | float) -> Float[np.ndarray, "query key"]:
    """`residual` of the token itself, and for the rest what it hears, rows scaled to 1 (Abnar & Zuidema 2020 at one half)."""
    weights, _ = source.together([layer])
    kept = np.where(weights > source.threshold, weights, 0.0)
    return mixed(kept[1:, 1:] if source.drop_first else kept, residual)


def mixed(weights: Float[np.ndarray, "query key"], residual: int | float) -> Float[np.ndarray, "query key"]:
    """`residual` times the identity and the rest of each row's shares; a reader that hears nothing stays as it is."""
    rows = weights.sum(-1, keepdims=True)
    own = np.eye(len(weights))
    heard = np.where(rows > 0, np.divide(weights, rows, out=np.zeros_like(weights), where=rows > 0), own)
    return residual * own + (1 - residual) * heard


def alti(source: Source, layer: int) -> Float[np.ndarray, "query key"]:
    """How near each token's part comes to what the reader is after attention (ALTI, Ferrando et al. 2022), rows scaled to 1.

    With y the reader's stream after the branch, and T(k) what came from token k in all heads (for the reader itself also what it
    was before): max(0, |y| - |y - T(k)|), in L1 norms. The branch's biases are in y, and no token's part.
    """
    messages = source.rec.messages(layer, stack=source.stack)
    before, _ = stream(source.rec, source.stack, layer)
    after = before + messages.branch
    queries, keys = messages.weights.shape[1:]
    told = None if messages.gate is not None else messages.value @ messages.matrix
    near = np.zeros((queries, keys))
    for q in range(queries):
        vectors = told if told is not None else (messages.value * messages.gate[:, q, None]) @ messages.matrix  # type: ignore[index]
        parts = torch.einsum("hk,hkd->kd", messages.weights[:, q], vectors)
        parts = parts if messages.scale is None else parts * messages.scale[q]
        parts[q] += before[q]
        size = after[q].abs().sum()
        near[q] = (size - (after[q] - parts).abs().sum(-1)).clamp_min(0).double().numpy()
    if not np.isfinite(near).all():
        raise RecordingError(f"the stream of layer {layer} holds numbers that are not finite")
    return mixed(near[1:, 1:] if source.drop_first else near, 0.0)
