"""What a recording keeps, by name, and how much memory that takes before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sociogram.core.errors import InputError, MemoryLimitError
from sociogram.watch.streamed import BANDS

ENTRIES = ("attention_out", "mlp_out", "bias", "rescaling", "opaque", "edited")
DEFAULT = ("residual", "weights", "value_norm", "value_vector", *ENTRIES)
QKV = ("query_vector", "key_vector", "value_vector", "output_projection", "lse")
_ROWS = ("entropy", "self_share", "first_share", "distance", "attention_sum", "message_sum", "kept_share")
STREAM = (
    "residual", "value_norm", "value_vector", "top_key", "top_attention", "top_message", "lse", *_ROWS, "received", "influence",
    "edge_count", "sink_weight", "bias", "edited",
)  # fmt: skip
STREAMED = frozenset(STREAM) - {"residual", "value_norm", "value_vector", "lse", "sink_weight", *ENTRIES}
"""Variables for which attention calls are read in blocks of readers."""
NAMES = tuple(dict.fromkeys((*DEFAULT, *QKV, *STREAM)))

Keep = str | tuple[str, ...]


def kept_names(keep: Keep) -> frozenset[str]:
    """The variables that a `keep` stands for.

    `"default"` keeps the account, `"qkv"` the account with queries, keys and output projections, `"stream"` what long contexts
    leave room for; a tuple names variables (and may hold these words).

    Raises:
        InputError: an unknown name.
    """
    words = (keep,) if isinstance(keep, str) else tuple(keep)
    names: set[str] = set()
    for word in words:
        if word == "default":
            names |= set(DEFAULT)
        elif word == "qkv":
            names |= {*DEFAULT, *QKV}
        elif word == "stream":
            names |= set(STREAM)
        elif word in NAMES:
            names.add(word)
        else:
            raise InputError(
                f'keep={keep!r}: {word!r} is nothing to keep. Choose "default", "qkv", "stream", or names from '
                f"{', '.join(NAMES)}."
            )
    return frozenset(names)


def is_streaming(names: Iterable[str]) -> bool:
    """Whether attention calls are read in blocks of readers."""
    return not STREAMED.isdisjoint(names)


@dataclass(frozen=True)
class Extent:
    """How large one stack of a run is, as far as it can be told before running."""

    sequences: int
    layers: int
    stops: int
    queries: int
    keys: int
    heads: int
    d_head: int
    d_model: int
    kv_heads: int = 0
    top: int = 8


def bytes_of(names: Iterable[str], extent: Extent, width: int = 4) -> dict[str, int]:
    """Bytes that each kept variable takes for one stack, `width` bytes a number."""
    e = extent
    per_token = e.sequences * e.layers * e.queries
    sizes = {
        "residual": e.sequences * e.stops * e.queries * e.d_model,
        "weights": per_token * e.heads * e.keys,
        "value_norm": e.sequences * e.layers * e.heads * e.keys,
        "lse": per_token * e.heads,
        "output_projection": e.layers * e.heads * e.d_head * e.d_model,
    }
    sizes |= dict.fromkeys(("query_vector", "key_vector", "value_vector"), per_token * e.heads * e.d_head)
    per_key = e.sequences * e.layers * e.heads * e.keys
    sizes |= dict.fromkeys(_ROWS, per_token * e.heads)
    sizes |= dict.fromkeys(("top_key", "top_attention", "top_message"), per_token * e.heads * e.top)
    sizes |= dict.fromkeys(("received", "influence"), per_key * len(BANDS))
    if is_streaming(names):
        sizes["value_vector"] = e.sequences * e.layers * e.kv_heads * e.keys * e.d_head
    sizes |= dict.fromkeys(("edge_count", "sink_weight"), 0)
    sizes |= dict.fromkeys(("attention_out", "mlp_out"), per_token * e.d_model)
    sizes |= dict.fromkeys(("bias", "rescaling", "opaque", "edited"), 0)  # counted where a family has them: see `check_memory`
    return {name: sizes[name] * width for name in names}


def check_memory(needs: Mapping[str, int], limit: int | None, keep: Keep) -> None:
    """Refuse a recording that would not fit.

    Args:
        needs: bytes by variable.
        limit: bytes allowed; None for half of the memory that is free now.
        keep: as the user wrote it, for the message.

    Raises:
        MemoryLimitError: says how much is needed, what takes it, and what to drop.
    """
    allowed = allowed_bytes(limit)
    total = sum(needs.values())
    if total <= allowed:
        return
    largest = sorted(needs, key=lambda name: -needs[name])
    parts = ", ".join(f"{name} {readable(needs[name])}" for name in largest[:3] if needs[name])
    rest = tuple(name for name in DEFAULT if name in needs and name != largest[0])
    long = ' Or keep="stream", which holds nothing of the size tokens x tokens.' if largest[0] == "weights" else ""
    raise MemoryLimitError(
        f"record(..., keep={keep!r}) would take {readable(total)} ({parts}), more than the {readable(allowed)} allowed. "
        f"Record fewer tokens, keep less (without {largest[0]}: keep={rest!r} takes {readable(total - needs[largest[0]])}), "
        f"or raise memory_limit (bytes).{long}"
    )


def allowed_bytes(limit: int | None) -> int:
    """A limit in bytes; half of the memory that is free now where none is given."""
    import psutil

    return psutil.virtual_memory().available // 2 if limit is None else limit


def readable(size: int) -> str:
    """Bytes as people read them."""
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
