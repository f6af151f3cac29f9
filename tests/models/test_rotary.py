"""Keys at other positions: what is called a rotation is one, by the model's own run at those positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM

import sociogram as sg
from sociogram.models.rotary import Rotation, _equal, find_rotation
from sociogram.models.seam import watching
from sociogram.models.turning import Capture, capture, find_turn
from tests.models.conftest import tiny_llama
from tests.watch.conftest import specimen

IDS = torch.tensor([[5, 9, 17, 3, 44]])
_NAMES = "llama gemma2 gemma3_text olmo2 gpt_neox deepseek_v3 deepseek_v2 gpt_oss cohere glm smollm3 phi qwen2_vl stablelm"
ROTARY = tuple(_NAMES.split())


def keys_of(hf: Any, positions: torch.Tensor, *, seam: bool = False) -> dict[Any, torch.Tensor]:
    """The oracle: keys in transformers' own cache after a plain run at these positions."""
    ids = IDS.remainder(hf.config.get_text_config().vocab_size)
    given = {"input_ids": ids, "position_ids": positions[None], "attention_mask": torch.ones_like(ids), "use_cache": True}
    with torch.no_grad():
        if not seam:
            return {i: layer.keys[0] for i, layer in enumerate(hf(**given).past_key_values.layers)}
        seen = Capture()
        with watching(hf, [seen]):
            hf(**given)
    return {name: call.key[0] for name, call in seen.calls.items()}


@pytest.mark.parametrize("name", ROTARY)
@pytest.mark.filterwarnings("ignore")
def test_moved_keys_are_those_of_a_run_at_the_new_positions(name: str) -> None:
    """A text read at shifted positions hears the same in every layer, so that all its keys differ by the shift alone."""
    hf = specimen(name).model
    rotation = find_rotation(sg.load(hf))
    assert rotation.kind == "rotary"
    old, new = torch.arange(5), torch.arange(5) + 7
    there = keys_of(hf, new, seam=name.startswith("deepseek"))  # which caches latents
    moved = {call: rotation.move(call, key, old, new) for call, key in keys_of(hf, old, seam=True).items()}
    assert len(moved) == len(there)
    for ours, theirs in zip(moved.values(), there.values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)
    stayed = keys_of(hf, old, seam=name.startswith("deepseek"))
    assert any(float((stayed[i] - there[i]).abs().max()) > 1e-2 for i in there)


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "deepseek_v3", "cohere"])
def test_stripped_and_placed_again_is_the_identity(name: str) -> None:
    hf = specimen(name).model
    rotation = find_rotation(sg.load(hf))
    at = torch.tensor([0, 9, 4, 4, 11])
    for call, key in keys_of(hf, torch.arange(5), seam=True).items():
        bare = rotation.strip(call, key, at)
        torch.testing.assert_close(rotation.place(call, bare, at), key, atol=1e-6 * float(key.abs().max()), rtol=0)
        assert float((bare - key).abs().max()) > 1e-3
        there = rotation.move(call, key, at, at + 3)
        torch.testing.assert_close(rotation.move(call, there, at + 3, at), key, atol=2e-6 * float(key.abs().max()), rtol=0)


@pytest.fixture
def rotation() -> Rotation:
    return find_rotation(sg.load(tiny_llama()))


NAME = ("model.layers.0.self_attn", 0)


def test_who_stays_keeps_every_bit_and_several_leading_dims_do(rotation: Rotation) -> None:
    keys = torch.randn(3, 2, 5, 4)
    moved = rotation.move(NAME, keys, [0, 1, 2, 3, 4], [0, 1, 6, 3, 4])
    assert torch.equal(moved[..., [0, 1, 3, 4], :], keys[..., [0, 1, 3, 4], :])
    assert not torch.equal(moved[..., 2, :], keys[..., 2, :])
    torch.testing.assert_close(
        rotation.move(NAME, keys[1, 0], range(5), range(1, 6)), rotation.move(NAME, keys, range(5), range(1, 6))[1, 0]
    )
    assert rotation.move(NAME, keys, range(5), range(5)) is keys


def test_queries_move_as_keys_do() -> None:
    model = sg.load(tiny_llama())
    rotation = find_rotation(model)
    seen = []
    for start in (0, 6):
        captured = Capture()
        with torch.no_grad(), watching(model.hf, [captured]):
            model.hf(input_ids=IDS, position_ids=torch.arange(start, start + 5)[None])
        seen.append({name: call.query[0] for name, call in captured.calls.items()})
    for name, query in seen[0].items():
        torch.testing.assert_close(rotation.move(name, query, range(5), range(6, 11)), seen[1][name], atol=1e-5, rtol=0)


def test_half_precision_is_moved_in_single_and_handed_back_in_half() -> None:
    keys = torch.randn(2, 5, 4)
    wide = find_rotation(sg.load(tiny_llama())).move(NAME, keys.bfloat16().float(), range(5), range(7, 12))
    narrow = find_rotation(sg.load(tiny_llama().bfloat16())).move(NAME, keys.bfloat16(), range(5), range(7, 12))
    assert narrow.dtype == torch.bfloat16
    assert float((narrow.float() - wide).abs().max()) < 0.03


@pytest.mark.parametrize("name", ["gpt2", "opt", "gpt_bigcode", "bert"])
@pytest.mark.filterwarnings("ignore")
def test_learned_positions_cannot_be_moved(name: str) -> None:
    rotation = find_rotation(sg.load(specimen(name).model))
    assert rotation.kind == "absolute"
    assert rotation.given
    with pytest.raises(sg.InputError, match=r"cannot be moved to other positions in this model: in .* by no rotation"):
        rotation.move(("any", 0), torch.zeros(1, 2, 4), [0, 1], [1, 2])


def nope(**settings: Any) -> SmolLM3ForCausalLM:
    torch.manual_seed(0)
    config = SmolLM3Config(
        vocab_size=60, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, bos_token_id=None, eos_token_id=None, pad_token_id=None, **settings,
    )  # fmt: skip
    return SmolLM3ForCausalLM(config).eval()


def test_keys_without_positions_are_free() -> None:
    rotation = find_rotation(sg.load(nope(no_rope_layers=[0, 0])))
    assert (rotation.kind, rotation.by_index) == ("free", False)
    keys = torch.randn(2, 3, 4)
    assert torch.equal(rotation.move(NAME, keys, [0, 1, 2], [5, 9, 3]), keys)
    mixed = find_rotation(sg.load(nope(no_rope_layers=[1, 0])))
    assert mixed.kind == "rotary"
    assert [turn is None for turn in mixed.turns.values()] == [False, True]


@pytest.fixture
def deaf() -> Iterator[sg.Model]:
    """A rotary model that goes its own way about positions."""
    hf = tiny_llama()
    hook = hf.register_forward_pre_hook(lambda _, args, kwargs: (args, kwargs | {"position_ids": None}), with_kwargs=True)
    yield sg.load(hf)
    hook.remove()


def test_a_model_that_does_not_listen_to_positions_is_not_taken_for_free(deaf: sg.Model) -> None:
    rotation = find_rotation(deaf)
    assert (rotation.kind, rotation.given) == ("absolute", False)
    assert "keys of one repeated token differ from place to place" in rotation.reason


def test_the_wrong_pairing_of_channels_is_not_accepted() -> None:
    """The same keys and tables, and the function of a family that pairs other channels."""
    hf = specimen("llama").model
    shown = []
    for place in (0, 3, 7):
        with torch.no_grad():
            captured = capture(hf, {"input_ids": IDS, "position_ids": torch.full_like(IDS, place), "use_cache": False})
        name = next(iter(captured.calls))
        shown.append((captured.calls[name].key[0], captured.tables[name]))
    own, other = hf.model.layers[0].self_attn, specimen("cohere").model.model.layers[0].self_attn
    assert find_turn(own, shown, _equal) is not None
    assert find_turn(other, shown, _equal) is None
    assert find_turn(own, [shown[0], (shown[1][0] * 1.01, shown[1][1])], _equal) is None


def test_frequencies_that_depend_on_the_length_have_a_limit() -> None:
    torch.manual_seed(0)
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
            "original_max_position_embeddings": 24}  # fmt: skip
    config = Phi3Config(
        vocab_size=60, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=4,
        max_position_embeddings=64, original_max_position_embeddings=24, rope_parameters=rope, pad_token_id=0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    rotation = find_rotation(sg.load(Phi3ForCausalLM(config).eval()))
    assert (rotation.kind, rotation.limit) == ("rotary", 24)
    keys = torch.randn(4, 2, 8)
    rotation.move(NAME, keys, [0, 1], [22, 23])
    with pytest.raises(sg.InputError, match="position 24 cannot be moved to: from position 24 on this model turns all its keys"):
        rotation.move(NAME, keys, [0, 1], [23, 24])


def test_what_cannot_be_meant_is_refused(rotation: Rotation) -> None:
    keys = torch.zeros(2, 3, 4)
    with pytest.raises(sg.InputError, match=r"no attention call \('x', 0\); there are \('model.layers.0.self_attn', 0\)"):
        rotation.move(("x", 0), keys, [0, 1, 2], [1, 2, 3])
    with pytest.raises(sg.InputError, match="3 tokens need as many positions, and \\[2\\] were given"):
        rotation.move(NAME, keys, [0, 1], [1, 2])
    with pytest.raises(sg.InputError, match="position 64 does not exist: LlamaForCausalLM has positions from 0 to 63"):
        rotation.move(NAME, keys, [0, 1, 2], [62, 63, 64])
    with pytest.raises(sg.InputError, match="position 64 does not exist"):
        rotation.move(NAME, keys, [0, 1, 2], [-64, 0, 1])


def test_before_the_first_place_distances_go_on(rotation: Rotation) -> None:
    """A query at 2 and a key at -3 meet as a query at 6 and a key at 1 do, and turning back is the inverse."""
    query, key = torch.randn(2, 4, 1, 4, generator=torch.Generator().manual_seed(3)).unbind(0)
    asked = {place: rotation.move(NAME, query, [0], [place]) for place in (2, 6)}
    told = {place: rotation.move(NAME, key, [0], [place]) for place in (-3, 1)}
    torch.testing.assert_close((asked[2] * told[-3]).sum(-1), (asked[6] * told[1]).sum(-1), atol=1e-6, rtol=1e-5)
    assert float((told[-3] - told[1]).abs().max()) > 0.1
    torch.testing.assert_close(rotation.move(NAME, told[-3], [-3], [0]), key, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("name", "message"), [("t5", "is an encoder-decoder"), ("bloom", "never called the attention function")])
@pytest.mark.filterwarnings("ignore")
def test_models_without_visible_positions_are_refused(name: str, message: str) -> None:
    with pytest.raises(sg.UnsupportedModelError, match=message):
        find_rotation(sg.load(specimen(name).model))


def test_it_is_found_once_and_forgotten_with_the_model() -> None:
    import gc
    import weakref

    model = sg.load(tiny_llama())
    assert find_rotation(model) is find_rotation(model)
    gone = weakref.ref(model.hf)
    del model
    gc.collect()
    assert gone() is None


def test_tables_that_no_module_makes_are_refused() -> None:
    """The model hands its attention tables that it changed after making them: they could not be made anew."""
    hf = tiny_llama()
    hf.model.rotary_emb.register_forward_hook(lambda _, __, output: output)
    assert find_rotation(sg.load(hf)).kind == "rotary"

    def changed(_: object, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        cos, sin = kwargs["position_embeddings"]
        return args, kwargs | {"position_embeddings": (cos * 1.0, sin * 1.0)}

    for layer in hf.model.layers:
        layer.register_forward_pre_hook(changed, with_kwargs=True)
    rotation = find_rotation(sg.load(hf))
    assert rotation.kind == "absolute"
    assert "by tables that no module of the model makes from positions alone" in rotation.reason


def test_tables_that_differ_when_asked_anew_are_refused() -> None:
    """A rotary module with a memory: what it gives alone is not what it gave in the model's own passes."""
    hf = tiny_llama()
    asked = []

    def forgets(_: object, __: object, output: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(1)
        return output[0], output[1] if len(asked) <= 4 else -output[1]

    hf.model.rotary_emb.register_forward_hook(forgets)
    rotation = find_rotation(sg.load(hf))
    assert rotation.kind == "absolute"
    assert "tables asked for anew do not carry keys elsewhere" in rotation.reason
