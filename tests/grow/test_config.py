"""Options: what a kind would ignore is refused, what is left out is filled in, everything survives a file."""

from __future__ import annotations

from pathlib import Path

import pytest

import sociogram as sg
from sociogram.grow import SocietyConfig

from .making import SPECIES, config

REFUSED = [
    ({"kind": "choir"}, r"SocietyConfig\(kind='choir', kind='choir'\): kind is not one of those there are. Choose from isolated"),
    ({"kind": "flock", "window": 3}, r"window=3\): it would be ignored, only neighbourhood knows it. Leave out window."),
    ({"kind": "isolated", "cell": "rnn"}, "only messenger knows it"),
    ({"kind": "flock", "latents": 3}, "only council knows it"),
    ({"kind": "flock", "routed_share": 0.5}, "only routed knows it"),
    ({"kind": "routed", "routed_share": 1.5}, "a share lies above 0 and up to 1"),
    ({"kind": "routed", "routed_share": 0.5, "num_hidden_layers": 1}, "every second layer is routed"),
    ({"kind": "flock", "pauses": 3}, "only pausing knows it"),
    ({"kind": "neighbourhood"}, "window=None.*cannot be left out. Say window="),
    ({"kind": "messenger"}, "Say cell="),
    ({"kind": "council"}, "Say latents="),
    ({"kind": "pausing"}, "Say pauses="),
    ({"kind": "messenger", "cell": "lstm", "num_attention_heads": 2}, "nothing in it has heads"),
    ({"kind": "feedforward", "num_attention_heads": 2}, "nothing in it has heads"),
    ({"kind": "attention_only", "intermediate_size": 8}, "it has no MLP"),
    ({"kind": "messenger", "cell": "rnn", "positions": "rotary"}, "no queries and keys of different tokens to turn"),
    ({"kind": "isolated", "positions": "rotary"}, "no queries and keys of different tokens to turn"),
    ({"kind": "messenger", "cell": "rnn", "causal": False}, "its state goes from first to last"),
    ({"kind": "isolated", "causal": False}, "nobody hears anybody"),
    ({"kind": "council", "latents": 3, "causal": True}, "its latents hear all tokens"),
    ({"kind": "messenger", "cell": "rnn", "use_cache": True}, "it reads every token anew"),
    ({"hidden_size": 30}, "30 channels cannot be dealt out evenly among 4 heads"),
    ({"hidden_size": 12}, "heads are 3 wide"),
    ({"hidden_size": 0}, "Give a whole number from 1 on"),
    ({"kind": "neighbourhood", "window": 2, "far": -1}, "Give a whole number from 0 on"),
    ({"distance": "cosine"}, "the objective is 'token'. Leave out distance, or choose objective='embedding'"),
    ({"objective": "class"}, "Say classes="),
    ({"objective": "class", "classes": 2, "pool": "cls", "causal": True}, "has heard nobody"),
    ({"objective": "number"}, "Say vector_size="),
    ({"objective": "number", "vector_size": 3, "vocab_size": 5}, "vectors, which have no vocabulary"),
    ({"objective": "class", "classes": 2, "tie_word_embeddings": True}, "nothing to tie"),
    ({"distance": "mse", "target": "held"}, "the objective is 'token'"),
    ({"target": "held"}, "Leave out target, or choose objective='embedding'"),
    ({"objective": "embedding", "target": "frozen"}, "Choose from held, moving"),
    ({"convolution": 1}, "a sum of one token is the token. Give a whole number from 2 on"),
    ({"convolution": True}, "Give a whole number from 2 on"),
    ({"kind": "isolated", "convolution": 3}, "its tokens hear nobody, and by sums they would"),
    ({"kind": "routed", "routed_share": 0.5, "convolution": 3}, "those passed over are not heard, and by sums they would"),
    ({"convolution": 3, "use_cache": True}, "it reads every token anew.*causal and without convolution"),
    ({"windw": 3}, r"windw=3\): there is no such option; did you mean window="),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_would_be_ignored_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(sg.InputError, match=message):
        SocietyConfig(**options)


def test_what_is_left_out_fits_the_kind() -> None:
    assert (SocietyConfig().positions, SocietyConfig().causal, SocietyConfig().use_cache) == ("rotary", True, True)
    council = SocietyConfig(kind="council", latents=4)
    assert (council.positions, council.causal, council.use_cache) == ("learned", False, False)
    assert SocietyConfig(kind="messenger", cell="lstm").num_attention_heads is None
    assert SocietyConfig(objective="class", classes=3).causal is False


@pytest.mark.parametrize("name", SPECIES)
@pytest.mark.parametrize("more", [{}, {"intermediate_size": 256}, {"objective": "class", "classes": 3}])
def test_a_config_survives_its_file(name: str, more: dict[str, object], tmp_path: Path) -> None:
    """256 is what another config's default would be: only options that are written are kept."""
    if name == "attention_only" and more:
        more = {"initializer_range": 0.5}
    before = config(name, **more)
    before.save_pretrained(tmp_path)
    after = SocietyConfig.from_pretrained(tmp_path)
    for option in SocietyConfig.__dataclass_fields__:
        if option not in ("transformers_version", "architectures", "dtype"):
            assert getattr(after, option) == getattr(before, option), option


def test_a_causal_class_stays_causal(tmp_path: Path) -> None:
    SocietyConfig(objective="class", classes=3, causal=True).save_pretrained(tmp_path)
    assert SocietyConfig.from_pretrained(tmp_path).causal is True
