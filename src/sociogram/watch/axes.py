"""Directions with a meaning, to see the flock along: a token's unembedding, and what a head reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sociogram.core.errors import InputError, RecordingError
from sociogram.core.linear import orthonormal, with_fixed_signs
from sociogram.models.anatomy import Heard, Layer
from sociogram.models.attention import AttentionCall
from sociogram.models.examine import forward_arguments
from sociogram.models.seam import Session, watching
from sociogram.models.trace import Site, at_slot
from sociogram.watch.access import check_index
from sociogram.watch.toward import token_id

if TYPE_CHECKING:
    from sociogram.watch.recording import Recording

Axis = tuple[str, Float[np.ndarray, " d_model"]]

DEPENDENT = 1e-6
"""An axis of which less than this is left beside those before it adds nothing."""


def given_axes(axes: Any, width: int, components: int) -> tuple[tuple[str, ...], Float[np.ndarray, "axis d_model"]]:
    """Labels and orthonormal rows of the axes that a caller gave.

    Raises:
        InputError: more axes than components, a label twice, a vector of another width or that is zero or not finite, or an
            axis that lies in the span of those before it.
    """
    if axes is None:
        return (), np.zeros((0, width))
    pairs = list(axes.items()) if isinstance(axes, Mapping) else list(axes)
    if any(not isinstance(pair, Sequence) or len(pair) != 2 for pair in pairs):
        raise InputError("axes= takes pairs (label, vector), or a mapping from labels to vectors")
    labels = tuple(str(label) for label, _ in pairs)
    if len(set(labels)) < len(labels):
        raise InputError(f"axes={list(labels)}: each axis needs a label of its own")
    if len(labels) > min(components, width):
        raise InputError(f"{len(labels)} axes do not fit into components={min(components, width)}")
    vectors = [np.asarray(vector.detach().cpu() if isinstance(vector, Tensor) else vector, np.float64) for _, vector in pairs]
    for label, vector in zip(labels, vectors, strict=True):
        if vector.shape != (width,):
            raise InputError(f"axis {label!r} has shape {list(vector.shape)}, and the stream is [{width}] wide")
        if not np.isfinite(vector).all() or not vector.any():
            raise InputError(f"axis {label!r} has no direction: it is zero or not finite")
    rows, left = orthonormal(np.stack(vectors) if vectors else np.zeros((0, width)))
    for label, share in zip(labels, left, strict=True):
        if share < DEPENDENT:
            raise InputError(f"axis {label!r} lies in the span of the axes before it: leave it out")
    return labels, rows


def unembedding_axis(rec: Recording, token: str | int, minus: str | int | None = None) -> Axis:
    """The direction in which a token's logit grows after the final norm; with `minus`, its logit less another token's.

    Returns:
        Label and vector: the row of the unembedding, or the difference of two rows, as they are (not of unit length), so that
        its product with a token of the `normed` view at the last stop is the logit (or the difference), biases apart.

    Raises:
        InputError: a text that is not exactly one token, an id outside the vocabulary, or a model without an unembedding.
        RecordingError: the model is not at hand.

    Misleads: made for `view="normed"`; in other views the final norm's gains and scale are not in it.
    """
    model = rec.model
    if model is None:
        raise RecordingError("unembedding_axis() needs the model: open the recording with sg.open_recording(path, model=...)")
    embedding = model.hf.get_output_embeddings()
    weight = getattr(embedding, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise InputError(f"{type(model.hf).__name__} has no unembedding with a row per token")
    ids = [_token(rec, name, word) for name, word in (("token", token), ("minus", minus)) if word is not None]
    rows = weight[ids].detach().cpu().double().numpy()
    texts = [model.spell([i])[0] for i in ids]
    return " − ".join(texts), rows[0] - rows[1] if len(ids) > 1 else rows[0]


def _token(rec: Recording, name: str, word: str | int) -> int:
    assert rec.model is not None
    try:
        return token_id(rec.model, word)
    except InputError as error:
        raise InputError(str(error).replace("toward=", f"{name}=", 1)) from None


def head_axis(rec: Recording, layer: int, head: int, side: str = "write") -> Axis:
    """The direction that a head writes most strongly into its readers' streams, or the one it reads from its senders'.

    A sender at `x` tells `weight * value(x) @ W_O`. With J the Jacobian of the head's value with respect to the stream before the
    layer (through norm and value projection, averaged over the tokens without the first), `J^T W_O` maps a small change of the
    sender to the change of what it tells: its first right singular vector is written, its first left one is read.

    Returns:
        Label and unit vector, its largest number positive.

    Raises:
        InputError: no such layer, head or side.
        RecordingError: the model is not at hand; the layer has no messages, or its values are no function of each token's own
            stream before the layer; or the head's output passes a gate that differs between readers.

    Misleads: one direction of up to d_value; a change through the norm's scale is in it, so the stream's own direction is read
    as nothing.
    """
    if side not in ("write", "read"):
        raise InputError(f'side={side!r}: choose "write" or "read"')
    messages = rec.messages(layer)
    index, number = rec.layer(layer), check_index("head", head, messages.matrix.shape[0])
    if messages.gate is not None:
        raise RecordingError(f"layer {index} passes its heads' outputs through a gate that differs between readers: no one map")
    written = messages.matrix[number].double().numpy()
    reading = value_jacobian(rec, index, number).numpy()
    left, right = (np.linalg.qr(matrix.T) for matrix in (reading, written))
    u, _, v = np.linalg.svd(left.R @ right.R.T)
    vector = right.Q @ v[0] if side == "write" else left.Q @ u[:, 0]
    return f"layer {index} head {number} {side}s", with_fixed_signs(vector[None])[0]


class _Seen(Exception):  # noqa: N818 - no error: what was needed has been seen, the rest of the pass is not
    """Ends a pass early."""


class _Values:
    """An observer that follows the stream before a layer to the values at the seam, with gradients on that stretch alone."""

    def __init__(self, layer: Layer, step: Heard) -> None:
        assert layer.before is not None
        self.site: Site = layer.before
        self.call = step.calls[0]
        self.calls = 0
        self.stream: Tensor | None = None
        self.value: Tensor | None = None

    def attach(self, session: Session) -> None:
        if self.site.end == "in":
            session.on_input(self.site.path, lambda args, kwargs: self._reached((args, kwargs)))
        else:
            session.on_output(self.site.path, self._reached)

    def _reached(self, where: Any) -> None:
        if self.calls == self.site.number:
            self.stream = at_slot(where, self.site.slot).requires_grad_()
            torch.set_grad_enabled(True)
        self.calls += 1

    def wants_weights(self, call: AttentionCall) -> bool:
        return False

    def observe(self, call: AttentionCall, weights: Tensor | None, sink: Tensor | None, output: Tensor) -> None:
        if call.name == self.call:
            self.value = call.value
            raise _Seen


def value_jacobian(rec: Recording, layer: int, head: int) -> Float[Tensor, "d_value d_model"]:
    """Derivative of a head's value with respect to its token's stream before the layer, mean over tokens without the first.

    The model runs up to the layer's attention call, with a graph from the stream before the layer on.

    Raises:
        RecordingError: see `head_axis`.
    """
    if rec.model is None:
        raise RecordingError("head_axis() runs the model: open the recording with sg.open_recording(path, model=...)")
    own = rec.layer_anatomy(layer, rec.main)
    step = next(step for step in own.heard if not step.cross)
    seen = _Values(own, step)
    with torch.no_grad(), watching(rec.model.hf, [seen]) as session:
        seen.attach(session)
        with suppress(_Seen):
            rec.model.hf(**forward_arguments(rec.model.hf, rec.inputs))
    stream, value = seen.stream, seen.value
    tokens = rec.dataset.sizes["query"]
    if (
        stream is None
        or value is None
        or stream.numel() != tokens * stream.shape[-1]
        or value.shape[0] * value.shape[2] != tokens
    ):
        raise RecordingError(f"layer {layer} does not take its values one by one from the tokens of the stream before it")
    heads = rec.anatomy.heads[step.calls[0]][0]
    with torch.enable_grad():
        return _mean_jacobian(stream, value[0, head // (heads // value.shape[1])], layer)


def _mean_jacobian(stream: Tensor, value: Float[Tensor, "token d_value"], layer: int) -> Float[Tensor, "d_value d_model"]:
    last = _gradient(value[-1].sum(), stream, layer)
    if bool((last[:-1] != 0).any()):
        raise RecordingError(f"the values of layer {layer} depend on other tokens' streams, so that no head has a map of its own")
    rest = value[1:] if len(value) > 1 else value
    return torch.stack([_gradient(column.sum(), stream, layer).sum(0) / len(rest) for column in rest.unbind(1)])


def _gradient(what: Tensor, stream: Tensor, layer: int) -> Float[Tensor, "token d_model"]:
    found = torch.autograd.grad(what, stream, retain_graph=True, allow_unused=True)[0] if what.requires_grad else None
    if found is None:
        raise RecordingError(f"the values of layer {layer} do not come from the stream before it (shared with another layer)")
    return found.reshape(-1, found.shape[-1]).double().cpu()
