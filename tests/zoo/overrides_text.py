"""Overrides for language models."""

from __future__ import annotations

from typing import Any

from . import inputs as made

_MAMBA2: dict[str, Any] = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 2}
_AXES = {"rope_type": "default", "rope_theta": 10000.0}
_ZAMBA: dict[str, Any] = {
    "num_hidden_layers": 4,
    "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    "attention_hidden_size": 128,
    "attention_head_dim": 32,
    "num_key_value_heads": 4,
}

TEXT: dict[str, dict[str, Any]] = {
    "blt": {"encoder_hash_byte_group_size": [2, 3]},
    "bamba": {**_MAMBA2, "attn_layer_indices": [1]},
    "bros": {"dim_bbox_sinusoid_emb_2d": 16, "dim_bbox_sinusoid_emb_1d": 2, "dim_bbox_projection": 16},
    "dbrx": {"attn_config.rope_theta": 10000.0, "attn_config.clip_qkv": 8.0},
    "cohere_compass_text": {
        "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {**_AXES, "mrope_section": [4, 2, 2]},
            "full_attention": {**_AXES, "mrope_section": [4, 2, 2]},
        },
    },
    "deepseek_ocr2_text": {"mlp_layer_types": ["dense", "sparse"], "num_experts_per_tok": 2},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "diffusion_gemma_text": {"num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 48},
    "diffusion_gemma": {"__inputs__": ("input_ids", "decoder_input_ids"), "canvas_length": 12},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "dots3_note_text": {
        "head_dim": 32,
        "qk_nope_head_dim": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_hidden_layers": 4,
        "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
        "layer_types": ["indexed_attention", "sliding_attention"] * 2,
        "per_layer_config": {
            layer: {"num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 32, "qk_nope_head_dim": 24}
            for layer in ("1", "3")
        },
    },
    "ernie4_5_vl_moe_text": {"rope_parameters": {**_AXES, "mrope_section": [3, 3, 2]}},
    "esm": {"vocab_size": 160, "pad_token_id": 1, "mask_token_id": 2},
    "esmc": {"num_key_value_heads": 4},
    "falcon_h1": {**_MAMBA2, "mamba_d_ssm": 128},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        "intermediate_size": [96] * 4,
        "num_kv_shared_layers": 2,
    },
    "glm5_next_text": {"num_key_value_heads": 4, "index_kpool": 2},
    "granitemoehybrid": {**_MAMBA2, "layer_types": ["linear_attention", "full_attention"]},
    "layoutlmv3": {"coordinate_size": 12, "shape_size": 8},
    "laguna": {"num_attention_heads_per_layer": [4, 8]},
    "lfm2": {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]},
    "lfm2_moe": {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]},
    "lilt": {"hidden_size": 96},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "mobilebert": {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    "mpnet": {"relative_attention_num_buckets": 32},
    "paddleocr_vl_text": {"rope_parameters": {**_AXES, "mrope_section": [4, 2, 2]}},
    "qwen3_omni_moe_talker_code_predictor": {"__inputs__": ("inputs_embeds",)},
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": 48, "__inputs__": ("inputs_embeds",)},
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 16,
        "indexer_budget": 4,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"__layers__": 3, "num_hidden_layers": 3},
    "reformer": {
        "axial_pos_embds": False,
        "hash_seed": 0,
        "attn_layers": ["local", "lsh"],
        "num_hidden_layers": 2,
        "lsh_attn_chunk_length": 4,
        "local_attn_chunk_length": 4,
    },
    "shieldgemma2": {"yes_token_index": 30, "no_token_index": 31},
    "step3p5": {"sliding_window": 6},
    "t5gemma2_decoder": {"dropout_rate": 0.0},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "udop": {
        "__inputs__": ("input_ids", "bbox", "decoder_input_ids"),
        "__make__": {"bbox": lambda pantry: made.boxes(pantry) / 100},
    },
    "unlimited_ocr_text": {"num_key_value_heads": 4},
    "xlnet": {"d_head": 16},
    "xmod": {"default_language": "en_XX"},
    "zamba": {**_ZAMBA, "n_mamba_heads": 2},
    "zamba2": {
        **_ZAMBA,
        "n_mamba_heads": 8,
        "mamba_headdim": 16,
        "kv_channels": 16,
        "num_query_groups": 4,
        "hybrid_layer_ids": [1, 3],
    },
}
