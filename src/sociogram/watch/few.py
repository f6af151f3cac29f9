"""One layer of a streamed recording, ready to be asked: its strongest messages one by one, and all of them as sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sociogram.core.errors import RecordingError
from sociogram.watch.access import CROSS, OUTSIDE, is_own, own_stack, tensor
from sociogram.watch.streamed import KINDS

if TYPE_CHECKING:
    from sociogram.watch.arrays import Arrays


ROUNDING = 1e-6
"""A weight of all others together below this is none."""


def is_streamed(dataset: xr.Dataset) -> bool:
    """Whether a stack's weights were read in blocks and not kept."""
    return "weights" not in dataset and "top_key" in dataset


@dataclass(frozen=True, eq=False)
class Few:
    """A layer's strongest messages, as `account.Messages` has all of them.

    Attributes:
        data: the layer's arrays.
        keys, attention, message: the strongest keys of each reader (-1: none), their weights and the norms of what they told.
        value: `[kv_head, key, d_value]`. matrix: the output projection. out: the branch's output from the sequence's own tokens.
        branch: the whole branch's output. gate, scale: as in `account.Messages`.
    """

    data: xr.Dataset
    keys: Int[Tensor, "head query rank"]
    attention: Float[Tensor, "head query rank"]
    message: Float[Tensor, "head query rank"]
    value: Float[Tensor, "kv_head key d_value"]
    matrix: Float[Tensor, "head d_value d_model"]
    bias: Float[Tensor, "query d_model"]
    out: Float[Tensor, "query d_model"]
    branch: Float[Tensor, "query d_model"]
    gate: Float[Tensor, "head query d_value"] | None
    scale: Float[Tensor, " query"] | None

    @property
    def group(self) -> int:
        """Heads that share a value head."""
        return len(self.matrix) // len(self.value)

    def of(self, head: Tensor, query: Tensor, key: Tensor) -> Float[Tensor, " edge"]:
        """The weights of kept edges."""
        found = self.keys[head, query] == key[:, None]
        return (self.attention[head, query] * found).sum(-1)

    def vectors(self, head: Tensor, query: Tensor, key: Tensor) -> Float[Tensor, "edge d_model"]:
        """The messages of kept edges as vectors."""
        told = self.of(head, query, key)[:, None] * self.value[head // self.group, key]
        if self.gate is not None:
            told = told * self.gate[head, query]
        vectors = torch.empty(len(head), self.matrix.shape[-1], dtype=told.dtype)
        for one in head.unique():
            vectors[head == one] = told[head == one] @ self.matrix[one]
        return vectors if self.scale is None else vectors * self.scale[query][:, None]

    def along(self, directions: Float[Tensor, "query d_model"]) -> Float[Tensor, "head query rank"]:
        """Inner product of every kept message with its reader's direction."""
        rows = []
        for head, keys in enumerate(self.keys):
            turned = directions @ self.matrix[head].T
            if self.gate is not None:
                turned = turned * self.gate[head]
            value = self.value[head // self.group][keys.clamp(min=0).long()]
            rows.append((value @ turned[:, :, None])[..., 0] * self.attention[head])
        along = torch.stack(rows)
        return along if self.scale is None else along * self.scale[None, :, None]

    def contributions(self) -> Float[Tensor, "head query rank"]:
        """(message . D) / (D . D), D the branch's whole output at the reader."""
        return self.along(self.branch / self.branch.square().sum(-1, keepdim=True))

    def from_itself(self) -> Float[Tensor, "query d_model"]:
        """What each reader told itself, heads summed; exact, kept or not. Zero where keys are another sequence's."""
        share = self._number("self_share")
        total = torch.zeros_like(self.out)
        for head, matrix in enumerate(self.matrix):
            told = share[head][:, None] * self.value[head // self.group][-len(self.out) :]
            total += (told if self.gate is None else told * self.gate[head]) @ matrix
        return total if self.scale is None else total * self.scale[:, None]

    def from_others(self) -> Float[Tensor, "query d_model"]:
        """What each reader heard from tokens other than itself: what the branch gave, less the rest; zero if it heard none."""
        others = self._number("attention_sum") - self._number("self_share")
        return (self.out - self.bias - self.from_itself()) * (others > ROUNDING).any(0)[:, None]

    def rows(self, weight: str) -> Float[Tensor, "kind head query"]:
        """All that each reader heard by kind of edge (`streamed.KINDS`), kept or not: norms of messages, or attention.

        Raises:
            RecordingError: of another weight only the kept edges are known, or the numbers were not kept.
        """
        shares = {"itself": self._number("self_share"), "first": self._number("first_share").clone()}
        own = self._own()
        if own:
            shares["first"][:, 0] = 0  # the first token's message to itself is one to itself
        if weight == "attention":
            total = self._number("attention_sum")
        elif weight == "message":
            total = self._number("message_sum")
            size = self._number("value_norm")
            scale = torch.ones(len(self.out)) if self.scale is None else self.scale.abs()
            shares["first"] = shares["first"] * size[:, :1] * scale
            shares["itself"] = shares["itself"] * (size[:, -len(self.out) :] * scale if own else 0)
        else:
            raise RecordingError(f"of {weight!r} a streamed recording knows the kept edges only, not what all of them sum to")
        rest = (total - shares["first"] - shares["itself"]).clamp(min=0)
        return torch.stack([{"between": rest, **shares}[kind] for kind in KINDS])

    def reads_itself_alone(self, query: int) -> bool:
        """Whether a reader hears nobody else in any head, as the first token of a causal model."""
        rest = self._number("attention_sum")[:, query] - self._number("self_share")[:, query]
        return bool((rest.abs() < ROUNDING).all())

    def reads_itself(self, query: int) -> Bool[Tensor, " head"]:
        """In which heads a reader hears itself at all."""
        return self._number("self_share")[:, query] > 0

    def counts(self) -> Int[Tensor, "kind head"]:
        """How many edges there are of each kind."""
        return self._number("edge_count").T.long()

    def columns(self, weight: str) -> Float[Tensor, "head band key"]:
        """What each key told all its readers, or was given by them, by distance."""
        return self._number("influence" if weight == "message" else "received")

    def _own(self) -> bool:
        return bool(self._number("distance").isfinite().any())

    def _number(self, name: str) -> Tensor:
        if name not in self.data:
            raise RecordingError(f'{name} was not kept: record with keep="stream", or with {name!r} among the names in keep')
        return tensor(self.data[name])[: len(self.keys)]


def few_of(rec: Arrays, layer: int, stack: str) -> Few:
    """One layer of a streamed recording of one sequence.

    Raises:
        RecordingError: the layer has no messages, or what is needed was not kept.
    """
    rec._one("few", stack)
    data = rec.stack(stack).isel(layer=rec.layer(layer, stack=stack))
    rec.check_closed(layer, data)
    missing = [name for name in ("top_key", "top_attention", "top_message", "value_vector") if name not in data]
    if missing:
        raise RecordingError(f'{", ".join(missing)} was not kept: record with keep="stream"')
    matrix = rec._matrix(stack, layer, data)
    heads, width = matrix.shape[:2]
    out = branch_out(rec, layer, stack)
    parts = {name: _present(data, name) for name in ("bias", "head_gate", "message_scale")}
    beside = [stack + OUTSIDE] if is_own(stack) else []
    other = [branch_out(rec, layer, name) for name in beside if name in rec.stacks and hears(rec, layer, name)]
    value = tensor(data["value_vector"])
    value = value[~value.isnan().flatten(1).all(1)]
    return Few(
        data=data,
        keys=tensor(data["top_key"])[:heads],
        attention=tensor(data["top_attention"])[:heads],
        message=tensor(data["top_message"])[:heads],
        value=value[..., :width],
        matrix=matrix,
        bias=torch.zeros_like(out) if parts["bias"] is None else parts["bias"],
        out=out,
        branch=out + other[0] if other else out,
        gate=None if parts["head_gate"] is None else parts["head_gate"][:heads, :, :width],
        scale=parts["message_scale"],
    )


def _present(data: xr.Dataset, name: str) -> Tensor | None:
    value = tensor(data[name]) if name in data else None
    return None if value is None or bool(value.isnan().all()) else value


def hears(rec: Arrays, layer: int, name: str) -> bool:
    """Whether anything was heard in a layer of a node of messages from elsewhere."""
    data = rec.stack(name).isel(layer=layer)
    return _present(data, "attention_out" if "attention_out" in data else "lse") is not None


def is_rounded(rec: Arrays) -> bool:
    """Whether places in the stream were rounded when they were kept: what lies between two of them says little then."""
    return rec.tree.attrs.get("residual_dtype", "float32") != "float32"


def entry_move(rec: Arrays, layer: int, name: str) -> Tensor | None:
    """An entry of the main stack's account that was not kept, where it alone made a step between two stops of the stream.

    None where there is no such step, or where the stops were rounded.
    """
    data = rec.stack(rec.main)
    if not is_streamed(data) or "residual" not in data or is_rounded(rec):
        return None
    label = {"mlp_out": "mlp", "opaque": "opaque"}.get(name)
    stops = [i for i, part in enumerate(data["stop_part"].values) if part == label and data["stop_layer"].values[i] == layer]
    moves = [tensor(data["residual"].isel(stop=i)) - tensor(data["residual"].isel(stop=i - 1)) for i in stops]
    return torch.stack(moves).sum(0) if moves else None


def branch_out(rec: Arrays, layer: int, stack: str) -> Float[Tensor, "query d_model"]:
    """What an attention branch gave out: as it was kept, or as the step between two stops of the stream that it alone made.

    NaN where the stops of this layer were not kept, or were rounded.

    Raises:
        RecordingError: neither was kept of any layer.
    """
    data = rec.stack(stack).isel(layer=layer)
    if (kept := _present(data, "attention_out")) is not None:
        return kept
    readers = rec.stack(own_stack(stack))
    if stack.endswith(OUTSIDE) or "residual" not in readers:
        raise RecordingError('attention_out was not kept: record with keep="stream" or "default"')
    parts, layers = readers["stop_part"].values, readers["stop_layer"].values
    label = "cross" if stack.endswith(CROSS) else "attention"
    stops = [i for i in range(len(parts)) if layers[i] == layer and parts[i] == label]
    residual = readers["residual"]
    if not stops or is_rounded(rec):
        return torch.full(residual.shape[1:], torch.nan)
    return tensor(residual.isel(stop=stops[0])) - tensor(residual.isel(stop=stops[0] - 1))
