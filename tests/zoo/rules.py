"""How a number in a config shrinks, judged by the attribute's name alone.

Each rule is a pattern and a target. The first pattern that matches wins, so the narrow ones stand above the broad ones.
A target never enlarges: sizes that are already smaller than the target stay, unless the rule says "exactly".
"""

from __future__ import annotations

import re
from collections.abc import Callable

Number = int | float
Rule = tuple[re.Pattern[str], Callable[[Number], Number]]


def at_most(limit: int) -> Callable[[Number], Number]:
    """A target that caps a number."""
    return lambda value: min(value, limit)


def exactly(target: int) -> Callable[[Number], Number]:
    """A target that replaces a number (0 and negative numbers mean "off" or "all" and stay)."""
    return lambda value: target if value > 0 else value


def keep(value: Number) -> Number:
    """A target that leaves a number alone."""
    return value


HIDDEN = 64
HEADS = 4
KEY_VALUE_HEADS = 2
HEAD_DIM = 16
LAYERS = 2
VOCABULARY = 160

_TABLE: tuple[tuple[str, Callable[[Number], Number]], ...] = (
    # words, positions
    (r"type_vocab_size|token_type|num_labels|n_langs", at_most(4)),
    (r"codebook_size|num_codevectors_per_group", at_most(32)),
    (r"vocab_size|vocabulary_size|num_embeddings|n_words", at_most(VOCABULARY)),
    (r"max_source_positions|max_audio_positions", at_most(24)),
    (r"num_position_embeddings", exactly(16)),
    (r"max_(text_|speech_|2d_|encoder_|decoder_)?position|n_positions|n_ctx|max_seq_len|max_text_length", at_most(128)),
    (r"max_target_positions|model_max_length|max_relative_positions|context_length|max_len", at_most(128)),
    (r"relative_attention_num_buckets|position_bias_num_buckets", at_most(8)),
    (r"relative_attention_max_distance|position_bias_max_distance", at_most(16)),
    # windows and sparse selections: small enough to matter for a dozen tokens
    (r"sliding_window(_size)?$|attention_window_size|attention_chunk_size|local_window", exactly(6)),
    (r"local_attention$", exactly(8)),
    (r"^window_size$", lambda value: 4 if value < 50 else 32),  # in patches, or in pixels
    (r"index_topk$|indexer_budget", at_most(4)),
    (r"index_n_heads|indexer_n_heads", at_most(2)),
    # experts
    (r"(experts|topk|top_k)(_per_tok.*)?_per_tok|experts_per_tok|num_selected_experts|moe_topk|moe_k$", at_most(2)),
    (r"n_shared_experts|num_shared_experts|zero_expert_num", at_most(1)),
    (r"^(n_group|num_expert_group)$", at_most(2)),
    (r"^topk_group$", at_most(1)),
    (r"(num|n)_(\w+_)?experts$|moe_num_experts|expert_num", at_most(4)),
    (r"first_k_dense_replace|num_dense_layers", at_most(1)),
    (r"expert_capacity", keep),
    # which layers are special
    (
        r"(layer|full_attention|cross_layer|rope_layer)_?(period|interval)$|every_n_layers|cross_attention_frequency",
        at_most(2),
    ),
    (r"layer_offset$", at_most(1)),
    (r"sliding_window_pattern|sparse_step|moe_layer_freq|layer_step", at_most(2)),
    (r"num_nextn_predict_layers|num_mtp_layers|num_kv_shared_layers|num_feat_extract_layers", keep),
    # heads
    (r"key_value_heads|kv_heads|key_value_attention_heads|multi_query_group", at_most(KEY_VALUE_HEADS)),
    (r"mamba_n_heads|mamba_num_heads|n_mamba_heads", at_most(8)),
    (r"linear_num_key_heads", at_most(2)),
    (r"linear_num_value_heads", at_most(4)),
    (r"num_key_value_groups|n_groups$|num_groups$", keep),
    (r"heads?$|n_heads|num_attention_heads|attention_heads", at_most(HEADS)),
    # widths of one head
    (r"qk_rope_head_dim", at_most(8)),
    (r"qk_nope_head_dim", at_most(16)),
    (r"qk_head_dim", at_most(24)),
    (r"v_head_dim", at_most(12)),
    (r"rotary_dim$", at_most(8)),
    (r"head_dim|head_size|d_kv$|kv_channels|dim_head$|d_head$|attention_key_dim|mamba_d_head", at_most(HEAD_DIM)),
    (r"q_lora_rank", at_most(32)),
    (r"lora_rank|_rank$", at_most(16)),
    # state-space parts
    (r"d_state$|state_size|ssm_state", at_most(8)),
    (r"chunk_size$", at_most(8)),
    (r"d_ssm$|d_inner$", at_most(2 * HIDDEN)),
    # images, sound, video
    (r"image_size$|img_size|input_image", exactly(32)),
    (r"patch_size$", at_most(8)),
    (r"num_mel_bins|n_mel_bins|mel_bins", at_most(16)),
    (r"num_frames|frames_per_clip", at_most(4)),
    (r"image_seq_length|mm_tokens_per_image|image_seq_len", exactly(16)),
    (r"num_quer(y|ies)(_tokens)?$|num_latents|n_latents|latent_query_num", at_most(8)),
    (r"conv_pos_embeddings$", at_most(8)),
    (r"conv_pos_embedding_groups$", at_most(4)),
    (r"(output|decoder_in|base|initial)_channels?$|upsample_groups|d_latents", at_most(HIDDEN)),
    (r"^(num|n)_filters$", at_most(8)),
    (r"^n_window$", at_most(8)),
    (r"^n_window_infer$", at_most(32)),
    (r"hash_byte_group_vocab", at_most(VOCABULARY)),
    (r"num_denoising", keep),
    # depth
    (r"layers?$|n_layer|depth$|num_blocks$|^layers$", at_most(LAYERS)),
    # inner widths, then every other width
    (r"moe_intermediate|expert_(intermediate|ffn|dim)|share_expert_dim", at_most(48)),
    (
        r"intermediate|ffn|d_ff$|dff$|mlp_dim|n_inner|feed_?forward|inner_dim|dim_ff$|mlp_hidden|linear_units",
        at_most(96),
    ),
    (r"hidden_size|d_model|n_embd|emb(ed)?(ding)?_?(dim|size)|hidden_dim|hidden_channels", at_most(HIDDEN)),
    (
        r"projection|proj_dim|output_dim|out_dim|pooler|feature_size|codevector_dim|_width$|num_pos_feats",
        at_most(HIDDEN),
    ),
)

RULES: tuple[Rule, ...] = tuple((re.compile(pattern), target) for pattern, target in _TABLE)

FREE_WIDTH = 512
"""A number above this that no rule knows is taken for a width."""


def shrink_number(name: str, value: Number) -> Number:
    """The small counterpart of one integer attribute."""
    for pattern, target in RULES:
        if pattern.search(name):
            return target(value)
    return HIDDEN if value >= FREE_WIDTH and ("size" in name or "dim" in name or "channels" in name) else value


_MULTIPLIER = re.compile(
    r"multiplier|^scale$|scaling$|scaling_factor|scale_emb|scale_depth|_scale$|_alpha(_factor)?$|beta_factor"
)
_NO_MULTIPLIER = re.compile(r"init|rope|dropout|loss|rescale|layer_scale|floor|noise|focal")


def is_multiplier(name: str) -> bool:
    """Whether a float attribute scales activations (and would hide a rule while it is 1)."""
    return bool(_MULTIPLIER.search(name)) and not _NO_MULTIPLIER.search(name)
