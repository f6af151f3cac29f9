"""Where attributes hang together: corrections after every number was shrunk on its own."""

from __future__ import annotations

from typing import Any

from .patterns import layers_apart, relative
from .rules import HEAD_DIM, KEY_VALUE_HEADS, LAYERS

TINY_RESNET: dict[str, Any] = {
    "model_type": "resnet",
    "embedding_size": 16,
    "hidden_sizes": [16, 32, 32, 64],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
"""Stands in for backbones that need the timm library."""

ROPE = 8
"""The rotary part of a latent-attention head."""


def mend(small: dict[str, Any], fields: dict[str, Any], layers: dict[str, Any], *, multi_axis: bool = False) -> None:
    """Restore the relations between attributes of one config, in place."""
    _latent_attention(small, fields)
    _head_sizes(small)
    _rotary(small, multi_axis)
    _taps(small, fields, layers)
    _stages(small, fields)
    _channels(small)
    if fields.get("per_layer_config"):
        _single_layers(small, fields, layers)


def _latent_attention(small: dict[str, Any], fields: dict[str, Any]) -> None:
    """Latent attention has no grouped queries, and its `head_dim` speaks of the rotary part."""
    rope = fields.get("qk_rope_head_dim")
    if not rope:
        return
    small["qk_rope_head_dim"] = ROPE
    if isinstance(fields.get("head_dim"), int):
        small["head_dim"] = max(fields["head_dim"] * ROPE // rope, ROPE)
    if isinstance(small.get("num_attention_heads"), int) and "num_key_value_heads" in small:
        small["num_key_value_heads"] = small["num_attention_heads"]


def _head_sizes(small: dict[str, Any]) -> None:
    """Fill in what many classes leave open: a head's width, the number of key and value heads."""
    heads, width = small.get("num_attention_heads"), small.get("hidden_size")
    if not isinstance(heads, int) or not isinstance(width, int):
        return
    if "head_dim" in small and small["head_dim"] is None:
        small["head_dim"] = width // heads
    if "num_key_value_heads" in small and small["num_key_value_heads"] is None and heads % KEY_VALUE_HEADS == 0:
        small["num_key_value_heads"] = KEY_VALUE_HEADS


def _rotary(small: dict[str, Any], multi_axis: bool) -> None:
    """Multi-axis rotary sections must fill half a head's rotary part."""
    for rope in _rope_dicts(small.get("rope_parameters")):
        sections = rope.get("mrope_section") or ([2, 1, 1] if multi_axis and "rope_theta" in rope else None)
        if not sections:
            continue
        head = small.get("head_dim") or small["hidden_size"] // small["num_attention_heads"]
        half = int(head * rope.get("partial_rotary_factor", 1.0)) // 2
        shares = [max(1, half * section // sum(sections)) for section in sections]
        shares[0] += half - sum(shares)
        rope["mrope_section"] = shares


def _rope_dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, dict):
        return []
    return [value, *(item for item in value.values() if isinstance(item, dict))]


def _taps(small: dict[str, Any], fields: dict[str, Any], layers: dict[str, Any]) -> None:
    """A backbone of equal layers gives out its last ones; named stages follow from the numbers."""
    taps = fields.get("out_indices")
    if taps and layers["depth"]:
        depth = max(len(layers["kept"]), LAYERS)
        small["out_indices"] = list(range(depth - len(taps) + 1, depth + 1))
        small.pop("out_features", None)


def _stages(small: dict[str, Any], fields: dict[str, Any]) -> None:
    """Hierarchical backbones: a narrow first stage; the last width follows from it."""
    stages = len(fields.get("depths") or ())
    if stages and fields.get("num_hidden_layers") == stages:
        small["num_hidden_layers"] = stages
    if not stages or not isinstance(fields.get("embed_dim"), int):
        return
    small["embed_dim"] = HEAD_DIM
    small.pop("num_layers", None)
    small.pop("hidden_size", None)
    heads = fields.get("num_heads")
    if isinstance(heads, list):
        small["num_heads"] = [2 ** min(stage, 3) for stage in range(len(heads))]


def _channels(small: dict[str, Any]) -> None:
    """Detectors take the widths of their backbone's last stages."""
    if "stage_out_channels" in small and "hidden_sizes" in small:
        small["hidden_sizes"] = small["stage_out_channels"]
    backbone = small.get("backbone_config")
    if not isinstance(backbone, dict) or not isinstance(small.get("encoder_in_channels"), list):
        return
    widths = backbone.get("hidden_sizes") or []
    if widths:
        small["encoder_in_channels"] = widths[-len(small["encoder_in_channels"]) :]


def _single_layers(small: dict[str, Any], fields: dict[str, Any], layers: dict[str, Any]) -> None:
    apart = layers_apart(fields, layers["kept"])
    small["per_layer_config"] = {
        layer: {key: relative(value, fields.get(key), small.get(key)) for key, value in settings.items()}
        for layer, settings in apart.items()
    }
