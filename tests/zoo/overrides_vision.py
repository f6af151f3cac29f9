"""Overrides for models that see."""

from __future__ import annotations

from typing import Any

import torch

from . import inputs as made
from .inputs import BATCH, Pantry

_ROWS = {"pixel_values": made.patch_rows}
_GROUPS_OF_32: dict[str, Any] = {"base_channels": 32, "channel_multiplier": [1, 2], "attn_resolutions": []}


def _stripe(pantry: Pantry) -> torch.Tensor:
    """All patches of two images in one long stripe."""
    return pantry.noise(1, 3, 8, 8 * 16 * BATCH)


def _tiles(pantry: Pantry) -> torch.Tensor:
    """One image per prompt, cut in four tiles."""
    return pantry.noise(BATCH, 1, 4, 3, 32, 32)


def _levels(count: int) -> Any:
    """Feature maps of falling size, flat over places."""
    return lambda pantry: [pantry.noise(BATCH, 64, 8 // 2**level, 8 // 2**level) for level in range(count)]


def _flattened_patches(pantry: Pantry) -> torch.Tensor:
    """Rows of row number, column number and pixels."""
    places = made.patch_places(pantry)[:, :12] + 1
    return torch.cat([places.float(), pantry.noise(BATCH, 12, pantry.find("patch_embed_hidden_size"))], dim=-1)


_PIX2STRUCT = {"flattened_patches": _flattened_patches}
_STRIPE: dict[str, Any] = {
    "__inputs__": ("pixel_values", "target_sizes"),
    "__make__": {"pixel_values": _stripe, "target_sizes": lambda pantry: torch.tensor([[4, 4]] * BATCH)},
}
_TWO_VIEWS: dict[str, Any] = {
    "image_grid_pinpoints": [[32, 32]],
    "__inputs__": ("input_ids", "pixel_values", "image_sizes"),
    "__make__": {"pixel_values": lambda pantry: pantry.noise(BATCH, 2, 3, 32, 32)},
}
_SAM_SIZES = [[8, 8], [4, 4], [2, 2]]
_SAM3_SIZES = [[16, 16], [8, 8], [4, 4]]

VISION: dict[str, dict[str, Any]] = {
    "aria": {"projector_patch_to_query_dict": {"16": 8}},
    "blip-2": {"image_token_index": 150},
    "chameleon": {"vocabulary_map": {"<image>": 150, "IMGIMGA": 10}, "__class__": "ChameleonModel"},
    "chameleon_vqgan": _GROUPS_OF_32,
    "clap_audio_model": {
        "patch_embeds_hidden_size": 16,
        "hidden_size": 32,
        "depths": [1, 2],
        "num_hidden_layers": 2,
        "num_attention_heads": [1, 2],
        "spec_size": 64,
        "window_size": 4,
    },
    "cvt": {"depth": [1, 2, 3]},
    "depth_pro": {
        "patch_size": 32,
        "intermediate_hook_ids": [1, 0],
        "__make__": {"pixel_values": lambda pantry: pantry.noise(BATCH, 3, 128, 128)},
    },
    "donut-swin": {"depths": [1, 2], "num_heads": [1, 2]},
    "emu3_vqgan": {**_GROUPS_OF_32, "channel_multiplier": [1, 1]},
    "florence_vision": {"__make__": {"hidden_states": made.pixel_values}},
    "idefics": {
        "__inputs__": ("input_ids", "pixel_values", "image_attention_mask"),
        "__make__": {
            "pixel_values": made.single_image_clips,
            "image_attention_mask": lambda pantry: torch.ones(BATCH, pantry.tokens, 1, dtype=torch.long),
        },
    },
    "inkling2_vision": {
        "__make__": {
            "pixel_values": lambda pantry: pantry.noise(BATCH * 4, 16, 16, 3),
            "image_grid_thw": lambda pantry: torch.tensor([[1, 2, 2]] * BATCH),
        }
    },
    "instructblip": {"image_token_index": 150},
    "instructblipvideo": {"video_token_index": 150},
    "janus_vqgan": _GROUPS_OF_32,
    "kosmos-2": {
        "__inputs__": ("input_ids", "pixel_values", "image_embeds_position_mask"),
        "__make__": {"image_embeds_position_mask": lambda pantry: (torch.arange(pantry.tokens) < 8).long().expand(BATCH, -1)},
    },
    "kosmos_2_5_vision_model": {"__inputs__": ("flattened_patches", "attention_mask"), "__make__": _PIX2STRUCT},
    "llama4_vision_model": {"intermediate_size": 256},
    "llava_next": _TWO_VIEWS,
    "llava_next_video": _TWO_VIEWS,
    "llava_onevision": _TWO_VIEWS,
    "lightglue": {"__make__": {"pixel_values": lambda pantry: pantry.noise(BATCH, 2, 1, 64, 64)}},
    "lw_detr": {"projector_scale_factors": [1.0], "projector_in_channels": [64], "num_feature_levels": 1},
    "lw_detr_vit": {"num_windows": 4, "num_windows_side": 2},
    "lxmert": {
        "__inputs__": ("input_ids", "visual_feats", "visual_pos"),
        "__make__": {
            "visual_feats": lambda pantry: pantry.noise(BATCH, 6, pantry.find("visual_feat_dim")),
            "visual_pos": lambda pantry: pantry.noise(BATCH, 6, 4).sigmoid(),
        },
    },
    "minicpm_ocr_vision": _STRIPE,
    "minicpmv4_6_vision": _STRIPE,
    "minicpmv4_7_vision": _STRIPE,
    "mllama_vision_model": {
        "__make__": {
            "pixel_values": _tiles,
            "aspect_ratio_ids": lambda pantry: torch.full((BATCH, 1), 6),
            "aspect_ratio_mask": lambda pantry: torch.ones(BATCH, 1, 4, dtype=torch.long),
        }
    },
    "mllama": {
        "__inputs__": ("input_ids", "pixel_values", "aspect_ratio_ids", "aspect_ratio_mask"),
        "__make__": {
            "pixel_values": _tiles,
            "aspect_ratio_ids": lambda pantry: torch.full((BATCH, 1), 6),
            "aspect_ratio_mask": lambda pantry: torch.ones(BATCH, 1, 4, dtype=torch.long),
        },
    },
    "molmo2": {"adapter_config.vision_feature_layer": [1, 0]},
    "pix2struct": {
        "__inputs__": ("flattened_patches", "decoder_input_ids"),
        "__make__": _PIX2STRUCT,
    },
    "pix2struct_text_model": {"initializer_range": 0.02},
    "pix2struct_vision_model": {"__make__": _PIX2STRUCT},
    "sam2_hiera_det_model": {
        "hidden_size": 16,
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
    },
    "sam2_prompt_encoder": {"patch_size": 16},
    "sam2_vision_model": {"backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": _SAM_SIZES},
    "sam3_detr_decoder": {
        "__make__": {
            "vision_features": lambda pantry: pantry.noise(BATCH, 16, 64),
            "text_features": lambda pantry: pantry.noise(BATCH, 6, 64),
            "vision_pos_encoding": lambda pantry: pantry.noise(BATCH, 16, 64),
            "spatial_shapes": lambda pantry: torch.tensor([[4, 4]]),
        },
        "__inputs__": ("vision_features", "text_features", "vision_pos_encoding", "spatial_shapes"),
    },
    "sam3_detr_encoder": {
        "__make__": {
            "vision_features": lambda pantry: [pantry.noise(BATCH, 64, 4, 4)],
            "text_features": lambda pantry: pantry.noise(BATCH, 6, 64),
            "vision_pos_embeds": lambda pantry: [pantry.noise(BATCH, 64, 4, 4)],
            "spatial_sizes": lambda pantry: [(4, 4)],
        },
        "__inputs__": ("vision_features", "text_features", "vision_pos_embeds", "spatial_sizes"),
    },
    "sam3_vision_model": {"backbone_feature_sizes": _SAM3_SIZES},
    "sam_hq_prompt_encoder": {"image_embedding_size": 4},
    "sam_prompt_encoder": {"image_embedding_size": 4},
    "sam_hq_vision_model": {"num_pos_feats": 32},
    "sam_vision_model": {"num_pos_feats": 32},
    "seggpt": {
        "num_hidden_layers": 3,
        "intermediate_hidden_state_indices": [1, 2],
        "merge_index": 0,
        "__make__": {"prompt_pixel_values": made.pixel_values, "prompt_masks": made.pixel_values},
    },
    "siglip2": {
        "__inputs__": ("input_ids", "pixel_values", "pixel_attention_mask", "spatial_shapes"),
        "__make__": _ROWS,
    },
    "siglip2_vision_model": {"__make__": _ROWS},
    "superglue": {"__make__": {"pixel_values": lambda pantry: pantry.noise(BATCH, 2, 1, 64, 64)}},
    "video_llama_3": {
        "__make__": {
            "image_merge_sizes": lambda pantry: torch.tensor([2, 2]),
        },
        "__inputs__": ("input_ids", "pixel_values", "image_merge_sizes"),
    },
    "video_llama_3_vision": {"__make__": {"merge_sizes": lambda pantry: torch.tensor([1, 1])}},
    "vit_mae": {
        "__inputs__": ("pixel_values", "noise"),
        "__make__": {"noise": lambda pantry: pantry.noise(BATCH, 16).sigmoid()},
    },
    "xclip_vision_model": {"__make__": {"pixel_values": lambda pantry: pantry.noise(8, 3, 32, 32)}},
    "vipllava": {"vision_feature_layers": [-2, -1]},
    "zoedepth": {"bottleneck_features": 64},
}
VISION["sam3_lite_text_detr_decoder"] = VISION["sam3_detr_decoder"]
VISION["sam3_lite_text_detr_encoder"] = VISION["sam3_detr_encoder"]
