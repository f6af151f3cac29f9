"""What a society is: how its tokens may talk, how large it is, and what it is asked."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from sociogram.grow.checks import check_choices, check_names, check_owners, check_sizes, check_together, fill
from sociogram.grow.kinds import CACHED


class SocietyConfig(PreTrainedConfig):  # type: ignore[misc]
    """A society of tokens. Options that its kind or its objective would ignore are refused.

    Attributes:
        kind: how tokens may talk:
            `"isolated"`: attention in which each token may hear itself alone;
            `"messenger"`: one state passed along by a recurrent `cell`;
            `"flock"`: full attention;
            `"neighbourhood"`: attention within `window` (distances below it), to `far` more tokens at the distances
            2 window, 4 window, 8 window ... (Li et al. 2019), and to the first `global_tokens`, which hear all if not causal;
            `"council"`: `latents` vectors hear the tokens, and the tokens hear them alone (Jaegle et al. 2021); never causal;
            `"routed"`: mixture of depths (Raposo et al. 2024): in every second layer only the `routed_share` of the tokens that a
            router scores highest takes part; which ones depends on the whole sequence, so that it is not causal even if its
            masks are; `routing="random"` is the baseline;
            `"pausing"`: a flock in which `pauses` learned tokens follow each token, whose answer is read at the last of them
            (`answer_at="first"`: at the token itself, so that its own pauses come too late for it: a control);
            `"feedforward"`: in the place of attention an MLP over the positions, the same for every channel;
            `"attention_only"`: a flock without MLPs;
            `"linear_attention"`: sums of values weighted by (signed) products of query and key, without softmax.
        vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings: sizes.
        convolution: each layer hears, instead of each token, a sum of it and of those before it, so many in all, with learned
            weights for each channel (as before the attention of Arora et al. 2023); without it when left out.
        positions: `"none"`, `"learned"`, `"sinusoidal"` (both added to the embeddings) or `"rotary"` (queries and keys turned).
        causal: whether a token hears only what stands before it.
        objective: what is asked: `"token"` (cross-entropy at each label), `"embedding"` (the `distance` of the last state to the
            embedding of the label, which is `"held"` fixed in the gradient or, `target="moving"`, drawn to the state as the state
            to it), `"class"` (one of `classes` for the sequence, read at its first token or off the mean:
            `pool`), `"number"` (a number for each of a sequence of vectors of `vector_size`).
        tie_word_embeddings: whether the unembedding is the embedding.
        initializer_range: standard deviation of embeddings; matrices have 1 / sqrt(inputs).

    What is left out is set to what fits the kind, and can be read afterwards.

    Raises:
        InputError: an option that would be ignored, is missing, unknown or out of range.
    """

    model_type = "society"
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012 - transformers' own name and form

    kind: str = "flock"
    vocab_size: int | None = None
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int | None = None
    intermediate_size: int | None = None
    max_position_embeddings: int = 256
    positions: str | None = None
    causal: bool | None = None
    convolution: int | None = None
    window: int | None = None
    far: int | None = None
    global_tokens: int | None = None
    cell: str | None = None
    latents: int | None = None
    routed_share: float | None = None
    routing: str | None = None
    pauses: int | None = None
    answer_at: str | None = None
    objective: str = "token"
    distance: str | None = None
    target: str | None = None
    pool: str | None = None
    classes: int | None = None
    vector_size: int | None = None
    tie_word_embeddings: bool | None = None
    initializer_range: float = 0.02
    use_cache: bool | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Check every option, fill in what was left out."""
        check_names(kwargs, [field.name for field in fields(SocietyConfig)])
        check_choices(self)
        check_owners(self)
        fill(self)
        check_sizes(self)
        check_together(self)
        super().__post_init__(**kwargs)

    def to_diff_dict(self) -> dict[str, Any]:
        """Every option, for the file: what equals a default may be another kind's default."""
        return self.to_dict()

    @property
    def caches(self) -> bool:
        """Whether the society reads on from a cache."""
        return self.kind in CACHED and bool(self.causal) and self.convolution is None

    @property
    def head_dim(self) -> int:
        """Width of one head's queries, keys and values."""
        return self.hidden_size // (self.num_attention_heads or 1)
