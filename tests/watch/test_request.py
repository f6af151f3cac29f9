"""Settings that have no meaning, or that nothing would come of, are refused with words."""

from __future__ import annotations

from pathlib import Path

import pytest

import sociogram as sg
from tests.models.conftest import tiny_llama

IDS = [5, 9, 17, 3, 44, 21, 8, 30]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"generate": -1}, "generate=-1: a number of tokens"),
        ({"generate": {"do_sample": True}}, "say how many tokens to write"),
        ({"chunk": 0}, "chunk=0: read at least one"),
        ({"chunk": 2, "generate": 2}, "chunk=2: a text that is written on .* leave chunk out"),
        ({"keep": "stream", "top": 0}, "top=0: keep at least one"),
        ({"keep": "stream", "by": "size"}, "by='size': choose one of message, attention"),
        ({"top": 3}, "top=3, by='message': keep='default' keeps no strongest keys"),
        ({"keep": ("received", "residual"), "by": "attention"}, "by='attention': .* keeps no strongest keys"),
        ({"keep": ("weights",), "residual_layers": [0]}, "keeps no stream: with residual= or residual_layers="),
        ({"keep": ("received",), "residual": "bfloat16"}, "keeps no stream"),
        ({"residual": "bfloat16"}, "residual='bfloat16': with keep=\"stream\" places .* accounts would not add up"),
        ({"keep": ("stream", "weights"), "residual": "bfloat16"}, "beside all weights they are kept as they were computed"),
        ({"keep": "stream", "residual": "float8"}, "residual='float8': choose one of"),
        ({"keep": "stream", "to": "x", "memory_limit": 10**9}, "memory_limit=1000000000: .* leave memory_limit out"),
        ({"to": "x"}, "anything else is recorded first"),
    ],
)
def test_settings_without_meaning_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(sg.InputError, match=words):
        sg.record(sg.load(tiny_llama()), IDS, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "setting",
    [{"num_beams": 2}, {"use_cache": False}, {"cache_implementation": "static"}, {"guidance_scale": 2.0},
     {"return_dict_in_generate": True}, {"prompt_lookup_num_tokens": 2}, {"num_return_sequences": 2}],
)  # fmt: skip
def test_settings_of_generation_that_are_no_plain_growth_are_refused(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(sg.InputError, match=rf"{name} may make several sequences or passes .* min_p"):
        sg.record(sg.load(tiny_llama()), IDS, generate={"max_new_tokens": 2, **setting})


@pytest.mark.parametrize(("name", "value"), [("num_beams", 4), ("cache_implementation", "static"), ("guidance_scale", 1.5)])
def test_so_are_those_that_a_model_brings_along(name: str, value: object) -> None:
    hf = tiny_llama()
    setattr(hf.generation_config, name, value)
    with pytest.raises(sg.InputError, match=f"brings along {name}={value!r}, .* set model.hf.generation_config.{name} = "):
        sg.record(sg.load(hf), IDS, generate=2)


def test_output_settings_that_a_model_brings_along_do_no_harm() -> None:
    hf = tiny_llama()
    hf.generation_config.return_dict_in_generate = True
    hf.generation_config.use_cache = False
    assert sg.record(sg.load(hf), IDS, generate=2).dataset.sizes["query"] == len(IDS) + 2


def test_what_is_refused_leaves_no_folder_behind(tmp_path: Path) -> None:
    """The corrected second try may have the same name."""
    model, folder = sg.load(tiny_llama()), tmp_path / "a.zarr"
    with pytest.raises(sg.InputError, match="no layer 77"):
        sg.record(model, IDS, keep="stream", to=folder, residual_layers=[77])
    assert not folder.exists()
    assert sg.record(model, IDS, keep="stream", to=folder, residual_layers=[1]).dataset.sizes["query"] == len(IDS)
