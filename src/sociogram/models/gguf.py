"""GGUF files: quantised weights, unpacked by transformers' own reader."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def open_gguf(file: Path, dtype: "torch.dtype | str") -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """The model and the tokenizer that a GGUF file carries, its weights unpacked to ordinary tensors.

    Args:
        file: the `.gguf` file.
        dtype: of the unpacked weights; "auto" for the file's own floating-point type.

    Raises whatever transformers raises for a file that it cannot read.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    from sociogram.models.quiet import quiet

    with quiet(stderr=True):
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        auto = AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModel
        hf = auto.from_pretrained(file.parent, gguf_file=file.name, config=config, dtype=dtype, **_unpacked())
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return hf, tokenizer


def _unpacked() -> dict[str, object]:
    """What tells transformers to unpack the weights where it would otherwise keep them in their blocks."""
    import transformers

    config = getattr(transformers, "GgufConfig", None)
    return {} if config is None else {"quantization_config": config(dequantize=True)}
