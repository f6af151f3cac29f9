"""Small inputs for any signature: one maker per argument name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from .tokens import ORDINARY

BATCH = 2
TOKENS = 12
FRAMES = 48


@dataclass
class Pantry:
    """What the makers draw from: the config, a seeded generator and what earlier attempts taught."""

    config: PreTrainedConfig
    seed: int = 0
    tokens: int = TOKENS
    placeholders: dict[int, int] = field(default_factory=dict)
    """Token id -> how many of it each prompt must hold (image tokens and the like)."""

    def __post_init__(self) -> None:
        """Seed the generator."""
        self.reset()

    def reset(self) -> None:
        """Start the random numbers again."""
        self.generator = torch.Generator().manual_seed(1000 + self.seed)

    def noise(self, *shape: int) -> Tensor:
        """Normal numbers."""
        return torch.randn(*shape, generator=self.generator)

    def find(self, *names: str, default: Any = None, prefer: tuple[str, ...] = ()) -> Any:
        """The first attribute of one of these names in the config or its parts (preferred parts first)."""
        for config in _walk(self.config, prefer):
            for name in names:
                value = getattr(config, name, None)
                if value is not None:
                    return value
        return default

    def text(self, length: int | None = None) -> Tensor:
        """Ordinary token ids."""
        vocabulary = self.find("vocab_size", prefer=("text_config",), default=ORDINARY.stop)
        low, high = (ORDINARY.start, min(ORDINARY.stop, vocabulary)) if vocabulary > 40 else (3, vocabulary)
        return torch.randint(low, high, (BATCH, length or self.tokens), generator=self.generator)


def _walk(config: PreTrainedConfig, prefer: tuple[str, ...]) -> list[PreTrainedConfig]:
    parts = {k: v for k, v in vars(config).items() if isinstance(v, PreTrainedConfig)}
    ordered = [parts[k] for k in prefer if k in parts]
    rest = [v for k, v in parts.items() if k not in prefer]
    mine = [config] if not ordered else []
    tail = [config] if ordered else []
    nested = [deep for part in [*ordered, *rest] for deep in _walk(part, prefer)]
    return [*mine, *ordered, *nested, *tail]


_VISION = ("vision_config", "backbone_config", "encoder", "encoder_config", "image_config", "vlm_config")


def _side(value: Any) -> tuple[int, int]:
    return (value[0], value[-1]) if isinstance(value, list | tuple) else (value, value)


def input_ids(pantry: Pantry) -> Tensor:
    """Ordinary text, with the placeholders some models demand put in after the first token."""
    extra = sum(pantry.placeholders.values())
    ids = pantry.text()
    if not extra:
        return ids
    marks = torch.tensor([token for token, count in pantry.placeholders.items() for _ in range(count)])
    return torch.cat([ids[:, :1], marks.expand(BATCH, -1), ids[:, 1:]], dim=1)


def pixel_values(pantry: Pantry) -> Tensor:
    """Square images."""
    height, width = _side(pantry.find("image_size", "input_size", "img_size", default=32, prefer=_VISION))
    channels = pantry.find("num_channels", "in_channels", "in_chans", default=3, prefer=_VISION)
    return pantry.noise(BATCH, channels, height, width)


def video(pantry: Pantry) -> Tensor:
    """Clips: batch, time, channel, height, width."""
    image = pixel_values(pantry)
    frames = pantry.find("num_frames", "frames_per_clip", default=4, prefer=_VISION)
    return pantry.noise(BATCH, frames, *image.shape[1:])


def flat_patches(pantry: Pantry) -> Tensor:
    """One row per patch for all images together, as Qwen-VL and its relatives take them."""
    patch = _side(pantry.find("patch_size", default=8, prefer=_VISION))[0]
    channels = pantry.find("in_channels", "in_chans", "num_channels", default=3, prefer=_VISION)
    time = pantry.find("temporal_patch_size", "patch_temporal", "temporal_patch", default=1, prefer=_VISION)
    return pantry.noise(BATCH * 16, channels * time * patch * patch)


def features(pantry: Pantry) -> Tensor:
    """A spectrogram: batch, mel bins, frames."""
    bins = pantry.find("num_mel_bins", "n_mels", "input_dim", "feature_size", default=16, prefer=("audio_config",))
    positions = pantry.find("max_source_positions", prefer=("audio_config", "encoder_config"))
    return pantry.noise(BATCH, bins, 2 * positions if positions else FRAMES)


def frames_first(pantry: Pantry) -> Tensor:
    """A spectrogram: batch, frames, mel bins."""
    return features(pantry).transpose(1, 2).contiguous()


def waveform(pantry: Pantry) -> Tensor:
    """Raw audio, about a dozen frames of it."""
    return pantry.noise(BATCH, 4000)


def boxes(pantry: Pantry) -> Tensor:
    """Layout boxes with x0 <= x1 and y0 <= y1."""
    corners = torch.randint(0, 50, (BATCH, pantry.tokens, 2), generator=pantry.generator)
    sizes = torch.randint(1, 50, (BATCH, pantry.tokens, 2), generator=pantry.generator)
    return torch.cat([corners, corners + sizes], dim=-1)


def ones_like_text(pantry: Pantry) -> Tensor:
    """A mask that hides nothing."""
    return torch.ones(BATCH, pantry.tokens + sum(pantry.placeholders.values()), dtype=torch.long)


def grid(pantry: Pantry) -> Tensor:
    """Time, height and width of each image in patches."""
    return torch.tensor([[1, 4, 4]] * BATCH)


def image_sizes(pantry: Pantry) -> Tensor:
    """Height and width of each image in pixels."""
    return torch.tensor([list(pixel_values(pantry).shape[-2:])] * BATCH)


def single_image_clips(pantry: Pantry) -> Tensor:
    """One image per prompt with an axis for the number of images."""
    return pixel_values(pantry).unsqueeze(1)


def patch_squares(pantry: Pantry) -> Tensor:
    """All patches of all images, each a small image."""
    patch = _side(pantry.find("patch_size", default=8, prefer=_VISION))[0]
    return flat_patches(pantry).view(BATCH * 16, -1, patch, patch)


def embeddings(*names: str, tokens: int = TOKENS) -> Callable[[Pantry], Tensor]:
    """A maker of vectors as wide as the first of these attributes."""
    return lambda pantry: pantry.noise(BATCH, tokens, pantry.find(*names))


def zeros_like_text(pantry: Pantry) -> Tensor:
    """Token types and the like."""
    return torch.zeros_like(ones_like_text(pantry))


def patch_places(pantry: Pantry) -> Tensor:
    """Coordinates of a four by four grid of patches."""
    places = torch.cartesian_prod(torch.arange(4), torch.arange(4))
    return places.expand(BATCH, -1, -1).contiguous()


def patch_rows(pantry: Pantry) -> Tensor:
    """A four by four grid of patches per image, each a row of pixels."""
    return flat_patches(pantry).view(BATCH, 16, -1)


def placeholder_types(pantry: Pantry) -> Tensor:
    """1 where the prompt holds a placeholder."""
    return torch.isin(input_ids(pantry), torch.tensor([*pantry.placeholders], dtype=torch.long)).long()


COMPANIONS = ("image_sizes", "input_features_mask", "feature_attention_mask", "spatial_shapes", "pixel_attention_mask")
"""Arguments that go with images and sounds; added when something turns out to be None."""

GRIDS = ("image_grid_thw", "grid_thw")

MAKERS: dict[str, Callable[[Pantry], Any]] = {
    "input_ids": input_ids,
    "decoder_input_ids": lambda pantry: pantry.text(),
    "qformer_input_ids": lambda pantry: pantry.text(),
    "attention_mask": ones_like_text,
    "decoder_attention_mask": lambda pantry: torch.ones(BATCH, pantry.tokens, dtype=torch.long),
    "token_type_ids": zeros_like_text,
    "mm_token_type_ids": placeholder_types,
    "pixel_values": pixel_values,
    "pixel_values_videos": video,
    "image": pixel_values,
    "image_grid_thw": grid,
    "grid_thw": grid,
    "image_sizes": image_sizes,
    "spatial_shapes": lambda pantry: torch.tensor([[4, 4]] * BATCH),
    "pixel_attention_mask": lambda pantry: torch.ones(BATCH, 16, dtype=torch.long),
    "pixel_position_ids": patch_places,
    "input_features": features,
    "input_features_mask": lambda pantry: torch.ones(BATCH, features(pantry).shape[-1], dtype=torch.long),
    "feature_attention_mask": lambda pantry: torch.ones(BATCH, features(pantry).shape[-1], dtype=torch.long),
    "input_values": waveform,
    "bbox": boxes,
    "inputs_embeds": embeddings("hidden_size", "d_model"),
    "hidden_states": embeddings("hidden_size", "d_model"),
    "encoder_hidden_states": embeddings("encoder_hidden_size", "hidden_size", "d_model"),
    "image_embeds": embeddings("encoder_hidden_size", "hidden_size", tokens=16),
    "query_embeds": embeddings("hidden_size", tokens=8),
    "context": embeddings("hidden_size", tokens=16),
    "past_values": lambda pantry: pantry.noise(BATCH, pantry.find("context_length", default=32)),
}
"""Every argument the zoo can make."""

ALTERNATIVES: dict[str, list[Callable[[Pantry], Any]]] = {
    "input_features": [frames_first, lambda pantry: frames_first(pantry).unsqueeze(1)],
    "input_values": [lambda pantry: waveform(pantry).unsqueeze(1), frames_first],
    "pixel_values": [
        video,
        single_image_clips,
        patch_rows,
        flat_patches,
        patch_squares,
        lambda pantry: patch_squares(pantry)[None],
    ],
}
"""Other forms of the same argument, tried in turn when the first is refused."""
