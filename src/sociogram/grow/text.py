"""Language: Python's own documentation, letter by letter or in pieces of words; and tokens masked in any task's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.core.errors import InputError
from sociogram.grow.answers import NOTHING
from sociogram.grow.tasks import Batch, Task, refuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

HELD = 0.1
"""The share of the text, at its end, that is held out."""


@dataclass(frozen=True)
class Language:
    """The next token in the texts of Python's help (`pydoc_data.topics`), which comes with Python itself.

    Attributes:
        level: `"character"`, or `"subword"` (byte-level BPE of `pieces` tokens, learned on the part to train on).
        length: tokens of each sequence, cut anywhere.
        part: `"train"`, or `"held"` (the last tenth of the text).
        pieces: how many subwords.

    Nobody knows the right answers: there is no oracle. Texts differ between versions of Python (`digest`).
    """

    level: str = "character"
    length: int = 64
    part: str = "train"
    pieces: int | None = None
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the words."""
        if self.level not in ("character", "subword"):
            raise refuse(self, "level", "there are two", "Choose 'character' or 'subword'.")
        if self.part not in ("train", "held"):
            raise refuse(self, "part", "there are two", "Choose 'train' or 'held'.")
        if (self.pieces is not None) != (self.level == "subword"):
            raise refuse(self, "pieces", f"level={self.level!r}", "Say how many pieces for subwords, and only for those.")
        if self.pieces is not None and self.pieces < 300:
            raise refuse(self, "pieces", "the 256 bytes are among them", "Give 300 or more.")

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.tokenizer)

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """What makes tokens of texts."""
        return _characters() if self.pieces is None else _subwords(self.pieces)

    @property
    def digest(self) -> str:
        """sha256 of the text."""
        import hashlib

        return hashlib.sha256(help_text().encode()).hexdigest()

    @property
    def chance(self) -> float:
        """The commonest token's share of the part."""
        ids = _ids(self.pieces, self.part)
        return float(ids.bincount().max()) / len(ids)

    @property
    def blind(self) -> float:
        """The commonest token's share of the part."""
        return self.chance

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many cuttings."""
        ids = _ids(self.pieces, self.part)
        starts = torch.randint(len(ids) - self.length, (count, 1), generator=generator)
        cut = ids[starts + torch.arange(self.length + 1)]
        return {"input_ids": cut[:, :-1].contiguous(), "labels": cut[:, 1:].contiguous()}

    def oracle(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Refused."""
        raise InputError(
            f"{self!r}.oracle(...): nobody knows how a text goes on. Compare with task.chance, or with another model."
        )


@dataclass(frozen=True)
class Masked:
    """A task's inputs with some tokens replaced by a mask (the last of the vocabulary, one more than the task's): restore them.

    At least one token of each sequence is masked. What the task itself asked is forgotten.
    """

    task: Task
    share: float = 0.15
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the share, and that there are tokens."""
        if self.task.vocab_size is None:
            raise refuse(self, "task", "its inputs are vectors, which nothing can mask", "Choose a task on tokens.")
        if not 0 < self.share < 1:
            raise refuse(self, "share", "a share lies between 0 and 1", "Give for instance 0.15.")

    @property
    def vocab_size(self) -> int:
        """The task's tokens and the mask."""
        return int(self.task.vocab_size or 0) + 1

    @property
    def length(self) -> int:
        """As the task's."""
        return self.task.length

    @property
    def chance(self) -> float:
        """The commonest token's share, in a thousand sequences."""
        ids = self.task.batch(1000, torch.Generator().manual_seed(0))["input_ids"]
        return float(ids.flatten().bincount().max()) / ids.numel()

    @property
    def blind(self) -> float:
        """The commonest token's share."""
        return self.chance

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        ids = self.task.batch(count, generator)["input_ids"]
        draw = torch.rand(ids.shape, generator=generator)
        hidden = (draw < self.share) | (draw == draw.min(-1, keepdim=True).values)
        return {"input_ids": ids.masked_fill(hidden, self.vocab_size - 1), "labels": torch.where(hidden, ids, NOTHING)}

    def oracle(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Refused."""
        raise InputError(f"{self!r}.oracle(...): what was masked cannot be known for certain. Compare with task.chance.")


@cache
def help_text() -> str:
    """The texts of Python's help, in order of their names."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _part(part: str) -> str:
    text = help_text()
    edge = int(len(text) * (1 - HELD))
    return text[:edge] if part == "train" else text[edge:]


@cache
def _ids(pieces: int | None, part: str) -> Int[Tensor, " token"]:
    if pieces is None:
        known = _characters().get_vocab()
        return torch.tensor([known[letter] for letter in _part(part)])
    return torch.tensor(_subwords(pieces).backend_tokenizer.encode(_part(part)).ids)


@cache
def _characters() -> PreTrainedTokenizerFast:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(set(help_text()))
    backend = Tokenizer(models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token=" "))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@cache
def _subwords(pieces: int) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=pieces, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([_part("train")], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend)
