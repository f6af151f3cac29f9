"""Who may attend to whom, as a rule instead of a T x T tensor.

transformers asks a registered mask function for a mask once per kind of layer and pass. Ours answers with a `LazyMask`: a
tensor by type, shape and dtype, but without storage. The seam asks it for its *rule*; code of a model that touches it (adds it,
slices it, casts it) gets the additive tensor it would have had from transformers' own eager path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

Kind = Literal["causal", "full", "rule"]


@dataclass(frozen=True, eq=False)
class MaskRule:
    """What transformers said about one mask: an index rule, padding, and where queries and keys stand.

    Attributes:
        kind: `"causal"` and `"full"` where the rule is known to be just that (no padding, no window that bites), else `"rule"`.
        rule: `(batch, head, query, key) -> bool`, true where the query may read the key (transformers' own convention).
        padding: `[batch, key]`, true where a key is a real token, or None.
        use_vmap: whether the rule must be evaluated element by element (rules that users of a model pass in).
        to_itself: whether it is certain that each query reads all keys up to its own and none behind, its own being the last
            queries' keys: `"causal"`, or a causal rule after a cached past.
    """

    kind: Kind
    batch: int
    queries: int
    keys: int
    query_offset: int
    key_offset: int
    rule: Callable[..., Tensor]
    padding: Tensor | None
    use_vmap: bool
    device: torch.device
    to_itself: bool = False

    def allowed(self, start: int = 0, stop: int | None = None) -> Bool[Tensor, "batch 1 query key"]:
        """The boolean mask for the queries from `start` to `stop` (all of them when left out)."""
        from transformers.masking_utils import sdpa_mask

        stop = self.queries if stop is None else stop
        mask = sdpa_mask(
            batch_size=self.batch,
            q_length=stop - start,
            kv_length=self.keys,
            q_offset=self.query_offset + start,
            kv_offset=self.key_offset,
            mask_function=self.rule,
            attention_mask=self.padding,
            allow_is_causal_skip=False,
            allow_is_bidirectional_skip=False,
            use_vmap=self.use_vmap,
            device=self.device,
        )
        assert mask is not None  # both skips are off
        return mask


class LazyMask(torch.Tensor):
    """A mask that is computed when somebody touches it: shape `[batch, 1, query, key]`, additive values.

    `mask.rule` is the `MaskRule`; `mask.dense()` the boolean tensor, computed once.
    """

    rule: MaskRule
    _dense: Tensor | None
    _own: Tensor | None

    @staticmethod
    def __new__(cls, rule: MaskRule, dtype: torch.dtype) -> LazyMask:
        """Make the empty shell; no T x T memory is taken."""
        shape = (rule.batch, 1, rule.queries, rule.keys)
        mask: LazyMask = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=rule.device)
        mask.rule, mask._dense, mask._own = rule, None, None
        return mask

    def dense(self) -> Tensor:
        """The boolean mask, true where the query may read the key."""
        if self._dense is None:
            self._dense = self.rule.allowed()
        return self._dense

    def additive(self) -> Tensor:
        """The tensor that transformers' eager path adds to the scores: 0, or the dtype's most negative number. Made once."""
        if self._own is None:
            allowed = self.dense()
            zero = torch.zeros((), dtype=self.dtype, device=allowed.device)
            self._own = torch.where(allowed, zero, torch.finfo(self.dtype).min)
        return self._own

    def sequence(self, number: int) -> LazyMask:
        """The mask of one sequence of several."""
        whole = self.rule
        padding = None if whole.padding is None else whole.padding[number : number + 1]

        def rule(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return whole.rule(batch + number, head, query, key)

        return LazyMask(replace(whole, batch=1, padding=padding, rule=rule), self.dtype)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        """Short, without evaluating the rule."""
        return f"LazyMask({self.rule.kind}, shape={tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Whoever computes with the mask computes with the additive tensor."""
        from torch.utils._pytree import tree_map_only

        args, kwargs = tree_map_only(LazyMask, LazyMask.additive, (tuple(args), kwargs or {}))
        return func(*args, **kwargs)

    def settled(self) -> Tensor:
        """The mask as the seam should read it: the rule while nobody touched it, else the tensor, which they may have changed."""
        return self if self._own is None else self._own


def _all_real(padding: Tensor | None) -> bool:
    return padding is None or bool(padding.all())


def _kind(causal: bool, full: bool, rule: dict[str, Any], window: int | None) -> Kind:
    """Causal or full where that is certain, `"rule"` otherwise. Errs on the side of evaluating the rule."""
    if not (causal or full) or not _all_real(rule["padding"]) or (window is not None and rule["keys"] >= window):
        return "rule"
    if full:
        return "full"
    if rule["query_offset"] + rule["queries"] != rule["key_offset"] + rule["keys"]:
        return "rule"
    if rule["queries"] == 1:
        return "full"
    return "causal" if rule["queries"] == rule["keys"] else "rule"


def lazy_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int | Tensor = 0,
    mask_function: Callable[..., Tensor] | None = None,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    allow_is_bidirectional_skip: bool = False,
    dtype: torch.dtype = torch.float32,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **_: Any,
) -> Tensor | None:
    """Sociogram's mask function for transformers' `AttentionMaskInterface`.

    Returns None, meaning that every query may read every key, only where transformers' own eager mask does so; else a `LazyMask`.
    """
    from transformers.masking_utils import causal_mask_function

    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 4:
        return attention_mask
    parts: dict[str, Any] = {
        "batch": batch_size,
        "queries": q_length,
        "keys": kv_length,
        "query_offset": int(q_offset),
        "key_offset": int(kv_offset),
        "rule": mask_function or causal_mask_function,
        "padding": attention_mask,
        "use_vmap": use_vmap,
        "device": torch.device(device),
    }
    kind = _kind(allow_is_causal_skip, allow_is_bidirectional_skip, parts, local_size)
    if kind == "full" and allow_is_bidirectional_skip:
        return None
    ended = parts["query_offset"] + q_length == parts["key_offset"] + kv_length
    bites = local_size is not None and kv_length >= local_size
    to_itself = allow_is_causal_skip and ended and not bites and _all_real(attention_mask)
    return LazyMask(MaskRule(kind=kind, to_itself=to_itself, **parts), dtype)
