"""From a run to its cache: keys and values per slot, and which attention call of the seam reads which slot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sociogram.core.errors import UnsupportedModelError
from sociogram.models.attention import AttentionCall
from sociogram.models.inputs import takes
from sociogram.models.model import Model
from sociogram.models.seam import Editor, watching

Name: TypeAlias = tuple[str, int]


@dataclass(eq=False)
class _Witness:
    """Keeps which keys and values each attention call read last; an editor that stands before all others and changes nothing."""

    calls: dict[Name, AttentionCall] = field(default_factory=dict)

    def prepare(self, call: AttentionCall) -> AttentionCall:
        """Keep the call, as the model made it."""
        self.calls[call.name] = call
        return call

    def wants_weights(self, call: AttentionCall) -> bool:
        """Never."""
        return False

    def reweigh(self, call: AttentionCall, weights: Tensor, sink: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Never asked."""
        return weights, sink


def prefilled(
    model: Model, run: Mapping[str, Any] | Callable[[], Any], editors: Sequence[Editor] = ()
) -> tuple[list[Tensor], list[Tensor], dict[Name, int]]:
    """Run, under edits if there are editors, and take the cache apart.

    Args:
        model: who runs.
        run: the arguments of one pass; or what makes several and gives the output of the last.
        editors: of the edits.

    Returns:
        Per slot of the cache keys `[kv_head, token, d_head]` and values `[kv_head, token, d_value]`, and the slot that each
        attention call read.

    Raises:
        UnsupportedModelError: the model keeps no plain keys and values of all tokens; says what it keeps instead.
    """
    hf = model.hf
    check_caches(hf)
    witness = _Witness()
    with torch.no_grad(), watching(hf, [], [witness, *editors]):
        output = run() if callable(run) else _run(hf, run)
    cache: Any = getattr(output, "past_key_values", None)
    _check_plain(hf, cache)
    slots = {call.name: slot for call in witness.calls.values() if (slot := _slot(cache.layers, call)) is not None}
    if missing := sorted(set(range(len(cache.layers))) - set(slots.values())):
        raise UnsupportedModelError(
            f"{type(hf).__name__} caches something in layer {missing[0]} that its attention is not shown in this form (or its "
            "attention does not pass the seam): there is no past of plain keys and values to edit"
        )
    return [layer.keys[0] for layer in cache.layers], [layer.values[0] for layer in cache.layers], slots


def _run(hf: Any, arguments: Mapping[str, Any]) -> Any:
    """One pass with a cache; a model whose own code fails in making or filling it has none."""
    try:
        return hf(**{**arguments, "use_cache": True})
    except (AttributeError, IndexError) as error:
        raise UnsupportedModelError(f"{type(hf).__name__} fails in its own code when it is to keep a cache ({error})") from error


def check_caches(hf: Any) -> None:
    """Refuse models that have no cache of one sequence, before anything is run."""
    name = type(hf).__name__
    if hf.config.is_encoder_decoder:
        raise UnsupportedModelError(f"{name} is an encoder-decoder: its cache is of two sequences, and a past is of one")
    if not takes(hf, "past_key_values"):
        raise UnsupportedModelError(f"{name} takes no cached keys and values (past_key_values): it has no past to edit")


def _check_plain(hf: Any, cache: Any) -> None:
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    name = type(hf).__name__
    if type(cache) is not DynamicCache:
        kept = "no cache" if cache is None else f"a {type(cache).__name__}"
        raise UnsupportedModelError(f"{name} gives {kept}, not one of plain keys and values: it has no past to edit")
    for i, layer in enumerate(cache.layers):
        if getattr(layer, "is_sliding", False):
            width = getattr(layer, "sliding_window", None)
            raise UnsupportedModelError(
                f"{name} keeps only a window of {width} tokens in layer {i}: what left it cannot be edited, and a hole would "
                "move what is in it. Load a model whose layers keep all tokens (config.sliding_window=None where it may be off)"
            )
        if type(layer) is not DynamicLayer or layer.keys is None:
            raise UnsupportedModelError(
                f"{name} keeps no plain keys and values in layer {i} (a {type(layer).__name__}): there are no tokens to edit"
            )


def _slot(layers: Sequence[Any], call: AttentionCall) -> int | None:
    """The layer of a cache whose keys and values a call read: the very tensors, or equal ones where the model copied them."""
    for same in (_is, _equals):
        for i, layer in enumerate(layers):
            if same(layer.keys, call.key) and same(layer.values, call.value):
                return i
    return None


def _is(kept: Tensor, read: Tensor) -> bool:
    return kept is read


def _equals(kept: Tensor, read: Tensor) -> bool:
    return kept.shape == read.shape and torch.equal(kept, read)


def fresh_cache(keys: list[Tensor] | tuple[Tensor, ...], values: list[Tensor] | tuple[Tensor, ...], copies: int = 1) -> Any:
    """A cache of transformers' that holds copies of these, for so many sequences; gradients flow through the copying."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for slot, (key, value) in enumerate(zip(keys, values, strict=True)):
        cache.update(key[None].expand(copies, -1, -1, -1), value[None].expand(copies, -1, -1, -1), slot)
    return cache
