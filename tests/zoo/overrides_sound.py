"""Overrides for models that hear and speak, and for time series."""

from __future__ import annotations

from typing import Any

import torch

from .inputs import BATCH, FRAMES, Pantry


def _wide_frames(attribute: str, *, frames: int = FRAMES) -> Any:
    """Frames as wide as an attribute says: batch, frames, width."""
    return lambda pantry: pantry.noise(BATCH, frames, pantry.find(attribute))


def _codes(books: int) -> Any:
    """Codes of several books, one row per prompt and book."""
    return lambda pantry: pantry.text(12 * books).view(BATCH * books, 12)


def _whole(value: int) -> Any:
    return lambda pantry: torch.full((BATCH,), value)


def _joined(pantry: Pantry) -> torch.Tensor:
    """Spectrograms of all prompts one after the other: bins, frames."""
    return pantry.noise(pantry.find("num_mel_bins"), BATCH * 32)


_JOINED: dict[str, Any] = {
    "__inputs__": ("input_features", "feature_lens", "aftercnn_lens"),
    "__make__": {"input_features": _joined, "feature_lens": _whole(32), "aftercnn_lens": _whole(16)},
}
_SERIES: dict[str, Any] = {
    "prediction_length": 4,
    "context_length": 12,
    "num_time_features": 1,
    "__defaults__": {"prediction_length": 4, "context_length": 12, "num_time_features": 1},
    "__inputs__": (
        "past_values",
        "past_time_features",
        "past_observed_mask",
        "future_values",
        "future_time_features",
    ),
    "__make__": {
        "past_values": lambda pantry: pantry.noise(BATCH, 19),
        "past_time_features": lambda pantry: pantry.noise(BATCH, 19, 1),
        "past_observed_mask": lambda pantry: torch.ones(BATCH, 19),
        "future_values": lambda pantry: pantry.noise(BATCH, 4),
        "future_time_features": lambda pantry: pantry.noise(BATCH, 4, 1),
    },
}
_NOT_GROUPED = {"num_key_value_heads": 4}

SOUND: dict[str, dict[str, Any]] = {
    "audio-spectrogram-transformer": {"max_length": 48},
    "audioflamingo3_encoder": {
        "__inputs__": ("input_features", "input_features_mask"),
    },
    "autoformer": {**_SERIES, "label_length": 4, "moving_average": 5},
    "clvp_encoder": {"num_attention_heads": 2},
    "dac": {"encoder_hidden_size": 8},
    "dia": {"__make__": {"decoder_input_ids": lambda pantry: pantry.text(12 * 9).view(2, 12, 9)}},
    "dia_decoder": {
        "__inputs__": ("input_ids", "encoder_hidden_states"),
        "__make__": {"input_ids": lambda pantry: pantry.text(12 * 9).view(2, 12, 9)},
    },
    "fun_asr_nano": {
        "adaptor_config.intermediate_size": 16,
        "__make__": {"input_features": lambda pantry: pantry.noise(BATCH, FRAMES, 112)},
    },
    "fun_asr_nano_encoder": {"__make__": {"input_features": lambda pantry: pantry.noise(BATCH, FRAMES, 112)}},
    "gemma4_audio": {"__make__": {"input_features": lambda pantry: pantry.noise(BATCH, FRAMES, 128)}},
    "granite_speech5_ctc": {"__make__": {"input_features": lambda pantry: pantry.noise(BATCH, FRAMES, 64)}},
    "granite_speech5_encoder": {
        "num_key_value_heads": 4,
        "__make__": {"input_features": lambda pantry: pantry.noise(BATCH, FRAMES, 64)},
    },
    "granite_speech": {"__make__": {"input_features": lambda pantry: pantry.noise(BATCH, 12, 160)}},
    "granite_speech_plus": {"__make__": {"input_features": lambda pantry: pantry.noise(BATCH, 12, 160)}},
    "granite_speech_encoder": {"__make__": {"hidden_states": _wide_frames("input_dim", frames=12)}},
    "granite_speech_plus_encoder": {"__make__": {"hidden_states": _wide_frames("input_dim", frames=12)}},
    "informer": _SERIES,
    "mimi": {"vector_quantization_hidden_dimension": 64, "codebook_dim": 64},
    "moonshine": {"encoder_num_key_value_heads": 4, "decoder_num_key_value_heads": 4},
    "moonshine_streaming": {"num_key_value_heads": 4},
    "moshi_depth": {
        "__inputs__": ("input_ids", "last_hidden_state"),
        "__make__": {
            "input_ids": lambda pantry: pantry.text(4),
            "last_hidden_state": lambda pantry: pantry.noise(BATCH, 1, pantry.find("input_size")),
        },
    },
    "muse_spark_audio": {"__make__": {"input_values": lambda pantry: pantry.noise(BATCH, 3840)}},
    "musicgen": {
        "__class__": "MusicgenForConditionalGeneration",
        "__inputs__": ("input_ids", "decoder_input_ids"),
        "__make__": {"decoder_input_ids": _codes(4)},
    },
    "musicgen_decoder": {"__make__": {"input_ids": _codes(4)}},
    "musicgen_melody": {
        "__class__": "MusicgenMelodyForConditionalGeneration",
        "__inputs__": ("input_ids", "decoder_input_ids"),
        "__make__": {"decoder_input_ids": _codes(4)},
    },
    "musicgen_melody_decoder": {"__make__": {"input_ids": _codes(4)}},
    "nemotron3_diarization_audio": _NOT_GROUPED,
    "nemotron3_5_transcribe_asr_audio": _NOT_GROUPED,
    "nemotron3_5_transcribe_audio": _NOT_GROUPED,
    "nemotron3_5_transcribe_word_timestamp": _NOT_GROUPED,
    "patchtsmixer": {"__make__": {"past_values": lambda pantry: pantry.noise(BATCH, 32, 1)}},
    "patchtst": {"__make__": {"past_values": lambda pantry: pantry.noise(BATCH, 32, 1)}},
    "phi4_multimodal_audio": {
        "nemo_final_size": 10,
        "nemo_conv_channels": 64,
        "ext_pw_out_channel": 64,
        "depthwise_separable_out_channel": 64,
        "__make__": {
            "hidden_states": lambda pantry: pantry.noise(BATCH, 96, pantry.find("input_size")),
            "mask": lambda pantry: torch.ones(BATCH, 96, dtype=torch.bool),
        },
    },
    "qwen2_5_omni_audio_encoder": _JOINED,
    "qwen3_omni_moe_audio_encoder": {**_JOINED, "max_source_positions": 64},
    "speech-encoder-decoder": {"__inputs__": ("input_values", "decoder_input_ids")},
    "time_series_transformer": _SERIES,
    "voxtral": {"audio_token_id": 150},
    "voxtral_realtime": {"__make__": {"input_features": lambda pantry: pantry.noise(BATCH, 16, 96)}},
    "voxtral_realtime_text": {
        "__inputs__": ("input_ids", "t_cond"),
        "__make__": {"t_cond": lambda pantry: pantry.noise(1, 1, pantry.find("hidden_size"))},
    },
    "wav2vec2-bert": {
        "vocab_size": 100,
        "__make__": {"input_features": _wide_frames("feature_projection_input_dim", frames=12)},
    },
}
