"""The arithmetic of one attention call, with every variation that transformers' families bring to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sociogram.models.masks import LazyMask
from sociogram.models.outside import Outside, apart, told_less, widened


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call of a model's attention function: what was asked, advertised and told, and under which rules.

    Attributes:
        path: the attention module's path in the model (`"model.layers.3.self_attn"`); with `number`, the call's name.
        number: how often this module called before in this pass (0 for the first call; shared modules call several times).
        query: `[batch, head, query, d_head]`, after position encoding.
        key: `[batch, kv_head, key, d_head]`, after position encoding, cached keys included.
        value: `[batch, kv_head, key, d_value]`.
        mask: what the model passed: None (all may be read), a `LazyMask`, a boolean or an additive tensor.
        scale: factor on the dot products.
        bias: added to the scaled dot products before the mask (relative positions), or None.
        softcap: scores are squashed to `softcap * tanh(scores / softcap)` before the mask, or None.
        sink: a score per head (`[head]`) or per query that takes part in the softmax and tells nothing, or None.
        indices: `[batch, query, n]`, the only keys each query may read (sparse families), or None.
        dropout: probability on the weights; 0 in evaluation.
        cut: `[1 or batch, 1 or head, query, key]`, true where an edit took the key away from the query, or None.
        outside: what the last keys are, where an edit appended keys that belong to no token of the sequence.
        projections: for heads that an edit put in another's place, the output projection `[d_value, d_model]` they speak through.
        reweighed: whether an edit put other weights in the place of the softmax's.
        linear: whether there is no softmax: a weight is its score, which may be negative, over how many keys the query may hear.
    """

    path: str
    number: int
    module: nn.Module = field(repr=False)
    query: Float[Tensor, "batch head query d_head"] = field(repr=False)
    key: Float[Tensor, "batch kv_head key d_head"] = field(repr=False)
    value: Float[Tensor, "batch kv_head key d_value"] = field(repr=False)
    mask: Tensor | None = field(repr=False)
    scale: float
    bias: Tensor | None = field(default=None, repr=False)
    softcap: float | None = None
    sink: Tensor | None = field(default=None, repr=False)
    indices: Tensor | None = field(default=None, repr=False)
    dropout: float = 0.0
    cut: Bool[Tensor, "#batch #head query key"] | None = field(default=None, repr=False)
    outside: tuple[Outside, ...] = field(default=(), repr=False)
    projections: Mapping[int, Tensor] = field(default_factory=dict, repr=False)
    reweighed: bool = False
    linear: bool = False

    @property
    def keys(self) -> int:
        """How many of the keys are the sequence's own: all but those that an edit appended."""
        return self.key.shape[2] - sum(one.count for one in self.outside)

    @property
    def name(self) -> tuple[str, int]:
        """The call's name within one pass: module path and call number."""
        return self.path, self.number

    @property
    def group(self) -> int:
        """Query heads per key/value head: query head `h` reads key/value head `h // group`."""
        return self.query.shape[1] // self.key.shape[1]


def per_group(rows: Tensor, columns: Tensor) -> Tensor:
    """`rows` `[batch, head, query, x]` times `columns` `[batch, kv_head, x, y]`: query heads of a group share a product.

    The heads of a group are laid under each other, so that no key or value is repeated in memory.
    """
    batch, heads, queries, width = rows.shape
    groups = columns.shape[1]
    return (rows.reshape(batch, groups, heads // groups * queries, width) @ columns).view(batch, heads, queries, -1)


def raw_scores(call: AttentionCall) -> Float[Tensor, "batch head query key"]:
    """Scaled dot products of queries and keys, with position bias, soft cap and what sources add, before any mask."""
    scores = per_group(call.query * call.scale, call.key.transpose(-1, -2))
    if call.bias is not None:
        scores = scores + widened(call.bias[..., : call.keys], call.outside, 0.0)
    if call.softcap is not None:
        scores = torch.tanh(scores / call.softcap) * call.softcap
    less = told_less(call.keys, call.outside, scores)
    return scores if less is None else scores + less


def _indexed(call: AttentionCall) -> Bool[Tensor, "batch 1 query key"] | None:
    if call.indices is None:
        return None
    batch, _, queries, _ = call.query.shape
    keys = call.keys
    index = call.indices.reshape(batch, queries, -1).long()
    listed = torch.zeros(batch, queries, keys + 1, dtype=torch.bool, device=index.device)
    listed.scatter_(-1, torch.where((index >= 0) & (index < keys), index, keys), True)
    return listed[..., :keys].unsqueeze(1)


def allowed(call: AttentionCall) -> Bool[Tensor, "batch 1 query key"] | None:
    """True where the query may read the key, or None where the call has no boolean mask (all, or an additive one).

    About the sequence's own keys; those from outside are not masked.
    """
    mask = call.mask
    if isinstance(mask, LazyMask):
        permitted: Tensor | None = None if mask.rule.kind == "full" else mask.dense()
    else:
        permitted = mask if mask is not None and mask.dtype == torch.bool else None
    listed = _indexed(call)
    if permitted is None or listed is None:
        return listed if permitted is None else permitted
    return permitted & listed


def additive(call: AttentionCall) -> Float[Tensor, "batch heads query key"] | None:
    """The mask that the model itself had made additive, or None."""
    mask = call.mask
    return None if mask is None or isinstance(mask, LazyMask) or mask.dtype == torch.bool else mask


def masked_scores(call: AttentionCall) -> Float[Tensor, "batch head query key"]:
    """Scores as the softmax sees them: minus infinity where the query may not read the key."""
    scores = raw_scores(call)
    if (extra := additive(call)) is not None:
        extra = widened(extra[..., : call.keys], call.outside, 0.0)
        scores = scores + extra
        if call.cut is not None:  # or the softmax of a reader that loses all would go to what the mask hides
            scores = _hidden(scores, is_hidden(extra))
    if (permitted := allowed(call)) is not None:
        scores = _hidden(scores, ~widened(permitted[..., : call.keys], call.outside, True))
    return scores if call.cut is None else _hidden(scores, call.cut)


def is_hidden(additive: Tensor) -> Tensor:
    """Where an additive mask hides a key: the families add their dtype's most negative number."""
    return additive <= torch.finfo(additive.dtype).min / 2


def _hidden(scores: Tensor, where: Tensor) -> Tensor:
    return scores.masked_fill(where, -torch.inf) if scores.requires_grad else scores.masked_fill_(where, -torch.inf)


def sink_column(call: AttentionCall, scores: Tensor) -> Float[Tensor, "batch head query 1"]:
    """The sink's score for every row of scores."""
    assert call.sink is not None
    sink = call.sink.to(scores)
    if sink.ndim <= 1:
        sink = sink.reshape(1, -1, 1, 1)
    return sink.expand(*scores.shape[:-1], 1)


def weights_of(
    call: AttentionCall,
) -> tuple[Float[Tensor, "batch head query key"], Float[Tensor, "batch head query"] | None]:
    """Attention weights after the softmax, and the weight that went into the sink where the softmax has one.

    Each row of weights, its sink entry included, sums to 1; a query that may read nothing has a row of zeros, as in torch's
    scaled_dot_product_attention. Half precision is raised to float32 inside the softmax, as the families do. Of linear attention
    the weights are signed and sum to nothing in particular.
    """
    weights, sink = normalised(call, masked_scores(call))
    return weights.to(call.value.dtype), None if sink is None else sink.to(call.value.dtype)


def normalised(
    call: AttentionCall, scores: Float[Tensor, "batch head query key"]
) -> tuple[Float[Tensor, "batch head query key"], Float[Tensor, "batch head query"] | None]:
    """Weights and sink weights of a call's masked scores, in the softmax's own dtype (float32 at least)."""
    if call.linear:
        return torch.where(torch.isneginf(scores), 0.0, scores) / _heard(call), None
    if any(not one.joined for one in call.outside):
        return apart(scores, call.outside, partial(_softmax, call))
    return _softmax(call, scores, own=True)


def _softmax(call: AttentionCall, scores: Tensor, *, own: bool) -> tuple[Tensor, Tensor | None]:
    """Softmax over rows of scores; `own` rows have the model's sink beside them."""
    sunk = call.sink is not None and own
    columns = torch.cat([scores, sink_column(call, scores)], dim=-1) if sunk else scores
    wide = columns.float() if columns.dtype in (torch.float16, torch.bfloat16) else columns
    weights = torch.softmax(wide, dim=-1)
    if not sunk and (not own or _has_empty_rows(call)):
        weights = weights.masked_fill(torch.isneginf(wide).all(-1, keepdim=True), 0.0)
    return (weights[..., :-1], weights[..., -1]) if sunk else (weights, None)


def _heard(call: AttentionCall) -> Int[Tensor, "batch 1 query 1"] | int:
    """How many keys each query may hear by the model's own mask (at least 1, for rows that hear nobody)."""
    permitted = allowed(call)
    if (extra := additive(call)) is not None:
        seen = ~is_hidden(extra[..., : call.keys])
        permitted = seen if permitted is None else permitted & seen
    if permitted is None:
        return call.keys
    return permitted.expand(*permitted.shape[:-1], call.keys).sum(-1, keepdim=True).clamp_min(1)


def log_sum_exp(call: AttentionCall) -> Float[Tensor, "batch head query"]:
    """Logarithm of each row's sum of exponentiated scores, the sink included: `weight = exp(score - log_sum_exp)`.

    NaN for linear attention, which has no such sum.
    """
    return totals(call, masked_scores(call))


def totals(call: AttentionCall, scores: Float[Tensor, "batch head query key"]) -> Float[Tensor, "batch head query"]:
    """`log_sum_exp` of a call whose masked scores are at hand."""
    if call.linear:
        return scores.new_full(scores.shape[:-1], torch.nan)
    columns = scores if call.sink is None else torch.cat([scores, sink_column(call, scores)], dim=-1)
    return torch.logsumexp(columns.float() if columns.dtype in (torch.float16, torch.bfloat16) else columns, dim=-1)


def _has_empty_rows(call: AttentionCall) -> bool:
    """Whether some query may read nothing. A plain causal or full rule never has such a row."""
    if call.cut is not None:
        return True
    if isinstance(call.mask, LazyMask) and call.mask.rule.kind != "rule" and call.indices is None:
        return False
    permitted = allowed(call)
    empty = permitted is not None and not bool(permitted.any(-1).all())
    if (extra := additive(call)) is not None:
        empty = empty or bool(torch.isneginf(extra).all(-1).any())
    return empty


def mix(weights: Tensor, call: AttentionCall) -> Float[Tensor, "batch query head d_value"]:
    """The weighted sum of values per query and head, in the layout that transformers expects back."""
    if call.dropout:
        weights = F.dropout(weights, call.dropout, training=True)
    out = per_group(weights, call.value)
    return out.transpose(1, 2).contiguous()


def plain_channels(
    call: AttentionCall,
) -> tuple[Float[Tensor, "batch head query d_head"], Float[Tensor, "batch kv_head key d_head"]]:
    """Queries and keys as the model made them, where a source without positions doubled their channels."""
    if not any(one.turned for one in call.outside):
        return call.query, call.key
    (query, _), (first, second) = call.query.chunk(2, -1), call.key.chunk(2, -1)
    return query, first + second  # each key is in one half, the other is zero


def needs_scores(call: AttentionCall) -> bool:
    """Whether a call is beyond what torch's scaled_dot_product_attention can do."""
    gated = any(not one.joined for one in call.outside)
    return call.softcap is not None or call.sink is not None or call.indices is not None or gated or call.linear
