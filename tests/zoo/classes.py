"""Twelve kinds of structure (and two more), each with one or two entries that are quick to build.

Tests that must hold for every kind of account run over these; the sweep over all entries is for breadth.
"""

from __future__ import annotations

CLASSES: dict[str, tuple[str, ...]] = {
    "pre-norm": ("llama", "gpt2"),
    "post-norm": ("bert",),
    "sandwich": ("gemma3_text", "olmo2"),
    "parallel": ("gpt_neox", "cohere"),
    "grouped": ("qwen2",),
    "latent": ("deepseek_v3",),
    "cross-attention": ("bart", "whisper"),
    "sinks": ("gpt_oss",),
    "softcap": ("gemma2",),
    "position bias": ("t5",),
    "hybrid": ("lfm2", "bamba"),
    "vision": ("vit", "siglip_vision_model"),
    "gated output": ("qwen3_next", "afmoe"),
    "norm before projection": ("bitnet",),
}
"""Kind -> entries, the first one the plainest."""


def representatives() -> tuple[str, ...]:
    """Every entry named above, once, in order."""
    return tuple(dict.fromkeys(name for names in CLASSES.values() for name in names))
