"""Which layers of a deep model a tiny one keeps, and what happens to the lists that speak about layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DEPTH_NAMES = (
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "encoder_layers",
    "num_encoder_layers",
    "depth",
    "decoder_layers",
    "num_decoder_layers",
)


def depth_of(config: dict[str, Any]) -> int | None:
    """The number of layers a config declares, under whatever name."""
    if "depths" in config or "stage_num_blocks" in config:
        return None
    for name in DEPTH_NAMES:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def per_layer_lists(config: dict[str, Any], depth: int) -> dict[str, Sequence[Any]]:
    """The list attributes with one item per layer."""
    found: dict[str, Sequence[Any]] = {}
    for name, value in config.items():
        if isinstance(value, list | tuple) and len(value) == depth and depth > 1 and not _speaks_of_stages(name):
            found[name] = value
    return found


def _speaks_of_stages(name: str) -> bool:
    return name in {"depths", "hidden_sizes", "out_indices", "out_features"} or "conv" in name or "kernel" in name


def kept_layers(lists: dict[str, Sequence[Any]], depth: int, wanted: int) -> list[int]:
    """Indices of the layers to keep: the first of every kind, in order, then the earliest others.

    A layer's kind is what all per-layer lists say about it together; where that gives more than five kinds
    (numbers that differ in every layer), the lists of words alone decide.
    """
    kinds = _kinds(lists, depth)
    if len(set(kinds)) > 5:
        kinds = _kinds({k: v for k, v in lists.items() if v and isinstance(v[0], str)}, depth)
    firsts = [kinds.index(kind) for kind in dict.fromkeys(kinds)][:5]
    if len(firsts) == 1:
        return list(range(min(wanted, depth)))
    wanted = max(wanted, len(firsts))
    fillers = [layer for layer in range(depth) if layer not in firsts]
    return sorted(firsts + fillers[: max(0, wanted - len(firsts))])


def _kinds(lists: dict[str, Sequence[Any]], depth: int) -> list[str]:
    return [repr([items[layer] for items in lists.values()]) for layer in range(depth)]


def layers_apart(config: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """The settings of single layers (`per_layer_config`), renumbered for the layers that stay.

    Numbers keep their order relative to the model-wide value: twice it, half of it, or equal.
    """
    apart = {}
    for number, layer in enumerate(kept):
        settings = {int(key): value for key, value in config.get("per_layer_config", {}).items()}.get(layer, {})
        if settings:
            apart[str(number)] = settings
    return apart


def relative(value: Any, reference: Any, small: Any) -> Any:
    """A small number that stands to `small` roughly as `value` stands to `reference`."""
    if any(isinstance(item, bool) or not isinstance(item, int) for item in (value, reference, small)):
        return value
    if value == reference:
        return small
    return small * 2 if value > reference else max(small // 2, 1)


def squeeze_indices(indices: Sequence[int], depth: int, new_depth: int) -> list[int]:
    """Layer numbers of a deep model mapped into a shallow one, without repetitions."""
    mapped = [index if index < 0 else min(index * new_depth // max(depth, 1), new_depth - 1) for index in indices]
    return list(dict.fromkeys(mapped))


def doubling(values: Sequence[int], start: int) -> list[int]:
    """A rising list of the same shape, in powers of two: equal items stay equal, larger ones double."""
    ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
    return [start * 2 ** min(ranks[value], 4) for value in values]
