"""Ways of talking made comparable: societies of equal parameters or equal state, and what each of them costs."""

from __future__ import annotations

from typing import Any

import sociogram as sg

LATENTS, WINDOW, SUMMED = 8, 16, 3
"""Latents of the council, window of the neighbourhood, tokens that the convolution sums."""

SPEAKERS: dict[str, dict[str, Any]] = {
    "isolated": {"kind": "isolated"},
    "rnn": {"kind": "messenger", "cell": "rnn"},
    "lstm": {"kind": "messenger", "cell": "lstm"},
    "xlstm": {"kind": "messenger", "cell": "xlstm"},
    "linear attention": {"kind": "linear_attention"},
    "council": {"kind": "council", "latents": LATENTS},
    "neighbourhood": {"kind": "neighbourhood", "window": WINDOW},
    "flock": {"kind": "flock"},
}
"""Each by its name; all but the isolated hear sums of three tokens, which for them would be hearing."""

HEARS = {
    "isolated": "itself",
    "council": "all, by latents that hear all",
    "neighbourhood": f"{WINDOW} tokens up to itself",
    "rnn": "a state of all before",
    "lstm": "a state of all before",
    "xlstm": "a state of all before",
    "linear attention": "sums over all before",
    "flock": "all before",
}
"""Whom a token may hear in words."""


def society(name: str, *, vocab: int, places: int, width: int, inner: int, heads: int = 4) -> sg.grow.SocietyConfig:
    """The config of one layer: channels of the stream, of the MLP, heads where there are some."""
    own = dict(SPEAKERS[name])
    if name != "isolated":
        own["convolution"] = SUMMED
    if own.get("cell") not in ("rnn", "lstm"):
        own["num_attention_heads"] = heads
    sizes = {"vocab_size": vocab, "max_position_embeddings": places, "hidden_size": width, "intermediate_size": inner}
    if own["kind"] in ("isolated", "council"):
        own["positions"] = "none" if own["kind"] == "isolated" else "sinusoidal"
    return sg.grow.SocietyConfig(num_hidden_layers=1, **own, **sizes)


def parameters(config: sg.grow.SocietyConfig) -> int:
    """How many there are."""
    return sum(parameter.numel() for parameter in sg.grow.Society(config).parameters())


def equal_parameters(name: str, *, vocab: int, places: int, width: int) -> sg.grow.SocietyConfig:
    """A society of this width with as many parameters as a flock whose MLP is four times as wide: its own MLP makes it even."""
    wanted = parameters(society("flock", vocab=vocab, places=places, width=width, inner=4 * width))

    def off(inner: int) -> int:
        return parameters(society(name, vocab=vocab, places=places, width=width, inner=inner)) - wanted

    slope = off(2) - off(1)
    inner = max(1, round(1 - off(1) / slope))
    return society(name, vocab=vocab, places=places, width=width, inner=inner)


def equal_state(name: str, *, vocab: int, places: int, tokens: int, size: int, inner: int) -> sg.grow.SocietyConfig:
    """The society whose state after so many tokens is nearest to `size` bytes, over widths and 1, 2 or 4 heads."""
    heads = (4,) if name in ("rnn", "lstm") else (1, 2, 4)
    options = [(width, few) for few in heads for width in range(2 * few, 1 + size // 4, 2 * few)]
    if name in ("rnn", "lstm"):
        options = [(width, 4) for width in range(1, 1 + size // 4)]

    def off(option: tuple[int, int]) -> float:
        made = society(name, vocab=vocab, places=places, width=option[0], inner=inner, heads=option[1])
        return abs(4 * (state(made, tokens) or 0) - size)

    width, few = min(options, key=lambda option: (off(option), -option[1]))  # of equal ones, that with more heads
    return society(name, vocab=vocab, places=places, width=width, inner=inner, heads=few)


def state(config: sg.grow.SocietyConfig, tokens: int) -> int | None:
    """Numbers that must be kept of so many tokens to read on without reading them again; None where that cannot be done.

    Keys and values; the cell's state; the sums of keys times values (and, of an xlstm, of keys, with their scale). A convolution
    keeps its inputs of the tokens that later sums hold. The number of tokens read is not counted.
    """
    width, heads = config.hidden_size, config.num_attention_heads or 1
    wide = width // heads
    kept = {
        "isolated": 0,
        "flock": 2 * width * tokens,
        "neighbourhood": 2 * width * min(tokens, int(config.window or 1) - 1),
        "linear_attention": heads * wide * wide,
        "messenger": {"rnn": width, "lstm": 2 * width, "xlstm": heads * ((wide // 2) * wide + wide // 2 + 1)}.get(
            config.cell or ""
        ),
        "council": None,
    }[config.kind]
    return None if kept is None else kept + width * min(tokens, (config.convolution or 1) - 1)


def flops(config: sg.grow.SocietyConfig, tokens: int) -> float:
    """Floating-point operations of reading so many tokens, for each of them: two for each multiplication in a matrix product.

    As the code computes them: scores of attention for every pair, heard or not; an xlstm in pieces of 16 tokens. Norms, sums and
    softmax are no matrix products, and are not counted.
    """
    width, inner = config.hidden_size, int(config.intermediate_size or 0)
    mlp, unembedding = 4 * width * inner, 2 * width * int(config.vocab_size or 0)
    if config.kind == "council":
        few = int(config.latents or 0)
        both = 4 * width**2 * (1 + few / tokens) + 4 * few * width + mlp * few / tokens  # latents hear tokens
        return both + 4 * width**2 * (1 + few / tokens) + 4 * few * width + mlp + unembedding
    if config.kind == "messenger":
        return _passing(config, tokens) + 2 * width**2 + mlp + unembedding
    return 8 * width**2 + 4 * width * tokens + mlp + unembedding


def _passing(config: sg.grow.SocietyConfig, tokens: int) -> float:
    """Of a recurrent cell."""
    width, heads = config.hidden_size, config.num_attention_heads or 1
    if config.cell != "xlstm":
        return (4 if config.cell == "rnn" else 16) * width**2
    value, key, piece = width // heads, width // heads // 2, 16 if tokens >= 16 else 0
    memory = heads * (2 * piece * (key + value) + 4 * key * value + 2 * key)
    return 2 * width * (2 * heads * key + 3 * width) + 4 * width * heads + memory
