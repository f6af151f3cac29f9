"""The ways of talking."""

KINDS = (
    "isolated",
    "messenger",
    "flock",
    "neighbourhood",
    "council",
    "routed",
    "pausing",
    "feedforward",
    "attention_only",
    "linear_attention",
)
"""The ways of talking; `SocietyConfig` says what each is."""
ATTENDING = frozenset({"isolated", "flock", "neighbourhood", "routed", "pausing", "attention_only"})
"""Kinds whose tokens hear each other by softmax attention among themselves."""
CACHED = frozenset({"isolated", "flock", "neighbourhood", "attention_only"})
"""Kinds that, when causal, read on from a cache of keys and values."""
