"""Which options of a society go with which: what would be ignored, is missing or out of range is refused."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from sociogram.core.errors import InputError
from sociogram.grow.kinds import ATTENDING, CACHED, KINDS

if TYPE_CHECKING:
    from sociogram.grow.config import SocietyConfig as Config

_CHOICES = {
    "kind": KINDS,
    "positions": ("none", "learned", "sinusoidal", "rotary"),
    "cell": ("rnn", "lstm", "xlstm"),
    "routing": ("learned", "random"),
    "answer_at": ("last", "first"),
    "objective": ("token", "embedding", "class", "number"),
    "distance": ("cosine", "mse", "mae"),
    "target": ("held", "moving"),
    "pool": ("cls", "mean"),
}
_OF_KIND = {
    "window": ("neighbourhood",),
    "far": ("neighbourhood",),
    "global_tokens": ("neighbourhood",),
    "cell": ("messenger",),
    "latents": ("council",),
    "routed_share": ("routed",),
    "routing": ("routed",),
    "pauses": ("pausing",),
    "answer_at": ("pausing",),
}
"""Options that one kind alone understands."""
_NEEDED = {"neighbourhood": "window", "messenger": "cell", "council": "latents", "routed": "routed_share", "pausing": "pauses"}
_OF_OBJECTIVE = {"distance": "embedding", "target": "embedding", "pool": "class", "classes": "class", "vector_size": "number"}
_SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
    "window", "latents", "classes", "vector_size",
)  # fmt: skip
_THEIRS = {
    "model_type",
    "name_or_path",
    "attn_implementation",
    "torch_dtype",
    "num_labels",
    "output_attentions",
    "experts_implementation",
}
"""What transformers hands to a configuration besides its fields."""


def refusal(config: Config, option: str, why: str, fix: str) -> InputError:
    """The error for one option of a config: the user's call, the cause, the way out."""
    value = getattr(config, option)
    return InputError(f"SocietyConfig(kind={config.kind!r}, {option}={value!r}): {why}. {fix}")


def check_names(kwargs: dict[str, Any], known: list[str]) -> None:
    """Refuse options that there are none of."""
    unknown = [name for name in kwargs if name not in _THEIRS and not name.startswith("_")]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, 1)
        meant = f"; did you mean {close[0]}=?" if close else ""
        raise InputError(f"SocietyConfig({unknown[0]}={kwargs[unknown[0]]!r}): there is no such option{meant}")


def check_choices(config: Config) -> None:
    """Refuse words that are none of those there are."""
    for option, choices in _CHOICES.items():
        value = getattr(config, option)
        if value is not None and value not in choices:
            raise refusal(config, option, f"{option} is not one of those there are", f"Choose from {', '.join(choices)}.")


def check_owners(config: Config) -> None:
    """Refuse what the kind or the objective would ignore, ask for what it needs."""
    for option, kinds in _OF_KIND.items():
        if getattr(config, option) is not None and config.kind not in kinds:
            raise refusal(config, option, f"it would be ignored, only {kinds[0]} knows it", f"Leave out {option}.")
    for option, objective in _OF_OBJECTIVE.items():
        if getattr(config, option) is not None and config.objective != objective:
            why = f"it would be ignored, the objective is {config.objective!r}"
            raise refusal(config, option, why, f"Leave out {option}, or choose objective={objective!r}.")
    needed = [_NEEDED[config.kind]] if config.kind in _NEEDED else []
    needed += {"class": ["classes"], "number": ["vector_size"]}.get(config.objective, [])
    for option in needed:
        if getattr(config, option) is None:
            raise refusal(config, option, "this cannot be left out", f"Say {option}=...")
    _check_ignored(config)


def _check_ignored(config: Config) -> None:
    """Sizes and positions that nothing in this society would read."""
    headless = config.kind == "feedforward" or config.cell in ("rnn", "lstm")
    if headless and config.num_attention_heads is not None:
        raise refusal(config, "num_attention_heads", "nothing in it has heads", "Leave it out.")
    if config.kind == "attention_only" and config.intermediate_size is not None:
        raise refusal(config, "intermediate_size", "it has no MLP", "Leave it out, or choose kind='flock'.")
    if config.positions == "rotary" and config.kind not in (ATTENDING | {"linear_attention"}) - {"isolated"}:
        why = "there are no queries and keys of different tokens to turn, so that it would be ignored"
        raise refusal(config, "positions", why, "Choose 'none', 'learned' or 'sinusoidal'.")
    if config.vector_size is not None and config.vocab_size is not None:
        raise refusal(config, "vocab_size", "its inputs are vectors, which have no vocabulary", "Leave out vocab_size.")
    if config.objective != "token" and config.tie_word_embeddings:
        raise refusal(config, "tie_word_embeddings", "without logits there is nothing to tie", "Leave it out.")


def fill(config: Config) -> None:
    """What was left out, as it fits the kind."""
    rotary = config.kind in (ATTENDING | {"linear_attention"}) - {"isolated"}
    headless = config.kind == "feedforward" or config.cell in ("rnn", "lstm")
    plain = "none" if config.kind in ("messenger", "feedforward") else "learned"
    defaults: dict[str, Any] = {
        "positions": "rotary" if rotary else plain,
        "causal": config.kind != "council" and config.objective != "class",
        "num_attention_heads": None if headless else 4,
        "intermediate_size": None if config.kind == "attention_only" else 4 * config.hidden_size,
        "vocab_size": None if config.vector_size is not None else 256,
        "tie_word_embeddings": config.objective == "token",
    }
    if config.kind in ("messenger", "isolated"):
        defaults["causal"] = True
    if config.kind == "neighbourhood":
        defaults |= {"far": 0, "global_tokens": 0}
    if config.kind == "routed":
        defaults["routing"] = "learned"
    if config.kind == "pausing":
        defaults["answer_at"] = "last"
    if config.objective == "embedding":
        defaults |= {"distance": "cosine", "target": "held"}
    if config.objective == "class":
        defaults["pool"] = "mean"
    for option, value in defaults.items():
        if getattr(config, option) is None:
            setattr(config, option, value)
    if config.use_cache is None:
        config.use_cache = config.caches


def check_sizes(config: Config) -> None:
    """Refuse numbers out of range."""
    for option in _SIZES:
        value = getattr(config, option)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise refusal(config, option, "this is a number of things", "Give a whole number from 1 on.")
    for option in ("far", "global_tokens", "pauses"):
        value = getattr(config, option)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise refusal(config, option, "this is a number of tokens", "Give a whole number from 0 on.")
    width = config.convolution
    if width is not None and (not isinstance(width, int) or isinstance(width, bool) or width < 2):
        raise refusal(config, "convolution", "a sum of one token is the token", "Give a whole number from 2 on.")
    share = config.routed_share
    if share is not None and not 0 < share <= 1:
        raise refusal(config, "routed_share", "a share lies above 0 and up to 1", "Give for instance 0.125.")
    heads = config.num_attention_heads
    if heads is not None and config.hidden_size % heads:
        why = f"{config.hidden_size} channels cannot be dealt out evenly among {heads} heads"
        raise refusal(config, "num_attention_heads", why, "Choose a divisor of hidden_size.")
    if config.positions == "rotary" and config.head_dim % 2:
        why = f"rotations turn pairs of channels, and heads are {config.head_dim} wide"
        raise refusal(config, "num_attention_heads", why, "Choose sizes that make heads of even width.")


def check_together(config: Config) -> None:
    """Refuse options that do not go together."""
    if config.causal and config.kind == "council":
        why = "its latents hear all tokens, and all tokens hear them"
        raise refusal(config, "causal", why, "Leave out causal, or choose another kind.")
    if not config.causal and config.kind in ("messenger", "isolated"):
        why = (
            "its state goes from first to last" if config.kind == "messenger" else "nobody hears anybody, so nothing would change"
        )
        raise refusal(config, "causal", why, "Leave out causal.")
    if config.convolution is not None and config.kind in ("isolated", "routed"):
        whom = "its tokens hear nobody" if config.kind == "isolated" else "those passed over are not heard"
        raise refusal(config, "convolution", f"{whom}, and by sums they would", "Leave it out, or choose another kind.")
    if config.pool == "cls" and config.causal:
        raise refusal(
            config, "pool", "the first token of a causal society has heard nobody", "Choose causal=False or pool='mean'."
        )
    if config.kind == "routed" and config.num_hidden_layers < 2:
        raise refusal(config, "num_hidden_layers", "every second layer is routed", "Give at least two layers.")
    if config.use_cache and not config.caches:
        why = "it reads every token anew, and would ignore a cache"
        raise refusal(
            config,
            "use_cache",
            why,
            f"Leave it out; kinds with a cache: {', '.join(sorted(CACHED))}, causal and without convolution.",
        )
