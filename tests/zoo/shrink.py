"""A config with its defaults, rewritten as a tiny one of the same shape."""

from __future__ import annotations

import random
import zlib
from typing import Any

from transformers import PreTrainedConfig

from .mending import TINY_RESNET, mend
from .overrides import overrides_for
from .patterns import DEPTH_NAMES, depth_of, doubling, kept_layers, per_layer_lists, squeeze_indices
from .rules import LAYERS, is_multiplier, shrink_number
from .tokens import Relabelling, is_token_id

_DROPPED = {
    "transformers_version",
    "architectures",
    "dtype",
    "torch_dtype",
    "id2label",
    "label2id",
    "stage_names",
    "_name_or_path",
    "_attn_implementation",
}
_NEEDS_TIMM = {"timm_backbone", "timm_wrapper"}
_INDEX_LISTS = ("indexes", "indices", "_ids", "_idxs", "only_layers", "hook", "_layers", "feature_layer")


def tiny_config(config_class: type[PreTrainedConfig]) -> PreTrainedConfig:
    """A small config of this class; raises whatever the class raises when it refuses."""
    name = config_class.model_type
    starting = overrides_for(name).get("__defaults__", {})
    default = config_class(**starting)
    relabel = Relabelling()
    fields = _shrink(default, relabel)
    _apply_dotted(fields, overrides_for(name))
    fields.pop("model_type", None)
    config = config_class(**fields)
    _without_cache(config)
    return config


def _without_cache(config: PreTrainedConfig) -> None:
    """Turn caching off in a config and its parts."""
    for value in [*vars(config).values()]:
        if isinstance(value, PreTrainedConfig):
            _without_cache(value)
    if "use_cache" in vars(config):
        config.use_cache = False


def _shrink(config: PreTrainedConfig, relabel: Relabelling) -> dict[str, Any]:
    """The constructor arguments of a small counterpart, sub-configs as dicts."""
    if config.model_type in _NEEDS_TIMM:
        return dict(TINY_RESNET)
    fields = {key: value for key, value in config.to_dict().items() if _is_argument(key)}
    parts = {key: vars(config).get(key) for key in fields}
    layers = _layer_choice(fields, config.model_type)
    small: dict[str, Any] = {}
    for key, value in fields.items():
        part = parts[key]
        if isinstance(part, PreTrainedConfig):
            small[key] = _shrink(part, relabel)
        elif key in layers["lists"]:
            small[key] = [_shrink_value(key, value[layer], layers, relabel) for layer in layers["kept"]]
        elif key in DEPTH_NAMES and value == layers["depth"]:
            small[key] = len(layers["kept"])
        else:
            small[key] = _shrink_value(key, value, layers, relabel)
    multi_axis = "mrope_section" in (getattr(config, "ignore_keys_at_rope_validation", None) or ())
    mend(small, fields, layers, multi_axis=multi_axis)
    _apply_local(small, overrides_for(config.model_type))
    return small


def _is_argument(key: str) -> bool:
    return key not in _DROPPED and not key.startswith("_") and not key.startswith("ignore_keys")


def _layer_choice(fields: dict[str, Any], model_type: str) -> dict[str, Any]:
    """Which layers stay, and which lists follow them."""
    depth = depth_of(fields)
    if depth is None:
        return {"depth": None, "lists": {}, "kept": []}
    lists = per_layer_lists(fields, depth)
    apart = fields.get("per_layer_config")
    kinds = {**lists, "apart": [str(apart.get(f"{i:02d}", apart.get(str(i)))) for i in range(depth)]} if apart else lists
    taps = fields.get("out_indices")
    wanted = overrides_for(model_type).get("__layers__", max(LAYERS, len(taps) if taps else 0))
    return {"depth": depth, "lists": lists, "kept": kept_layers(kinds, depth, wanted)}


def _shrink_value(key: str, value: Any, layers: dict[str, Any], relabel: Relabelling) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if is_token_id(key):
        return relabel(value)
    if isinstance(value, int):
        return shrink_number(key, value)
    if isinstance(value, float):
        return _jitter(key, value)
    if isinstance(value, list | tuple) and value and all(type(item) is int for item in value):
        return _shrink_list(key, list(value), layers)
    return value


def _shrink_list(key: str, values: list[int], layers: dict[str, Any]) -> list[int]:
    """A list of integers: layer numbers, widths per stage, or sizes."""
    if layers["depth"] and any(mark in key for mark in _INDEX_LISTS):
        return squeeze_indices(values, layers["depth"], len(layers["kept"]))
    if key in ("depths", "out_indices"):
        return [min(value, 2) for value in values] if key == "depths" else values
    if len(values) > 1 and any(mark in key for mark in ("hidden_sizes", "embed_dim", "widths", "neck_hidden", "dims")):
        return doubling(values, 16)
    if len(values) > 1 and "heads" in key:
        return doubling(values, 1)
    if key == "conv_dim":
        return [32 for _ in values]
    return [int(shrink_number(key, value)) for value in values]


def _jitter(key: str, value: float) -> float:
    """Numbers that multiply activations leave 1, where they would hide what they do."""
    if value != 1.0 or not is_multiplier(key):
        return value
    return round(random.Random(zlib.crc32(key.encode())).uniform(0.7, 1.3), 2)


def _apply_local(fields: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Write the plain entries of an override (no dots, no dunders)."""
    fields.update({key: value for key, value in overrides.items() if "." not in key and not key.startswith("__")})


def _apply_dotted(fields: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Write the entries of an override that reach into sub-configs."""
    for path, value in overrides.items():
        if "." not in path:
            continue
        *parents, last = path.split(".")
        place = fields
        for parent in parents:
            place = place[parent]
        place[last] = value
