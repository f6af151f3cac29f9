"""A task on words with two senses: a word among others tells which sense is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from sociogram.grow.answers import NOTHING
from sociogram.grow.tasks import Batch, distinct, refuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SENSES: tuple[tuple[str, tuple[str, str], tuple[str, str]], ...] = (
    ("nail", ("iron", "hammer plank ship carpenter"), ("finger", "hand thumb polish manicure")),
    ("bank", ("money", "loan account cashier deposit"), ("river", "water shore ferry reeds")),
    ("bat", ("animal", "cave wings night insects"), ("club", "ball pitcher innings glove")),
    ("bark", ("tree", "trunk oak moss beetle"), ("dog", "puppy leash kennel growl")),
    ("spring", ("season", "april blossom thaw tulips"), ("coil", "mattress steel clock tension")),
    ("seal", ("animal", "ice fish flipper arctic"), ("stamp", "wax letter king envelope")),
    ("crane", ("bird", "marsh nest feathers heron"), ("machine", "harbour cargo tower hook")),
    ("pitcher", ("jug", "juice kitchen pour handle"), ("player", "inning mound strike catcher")),
    ("organ", ("music", "church pipes hymn pedals"), ("body", "liver surgeon kidney transplant")),
    ("bolt", ("screw", "wrench nut thread washer"), ("lightning", "storm thunder sky flash")),
    ("pupil", ("student", "teacher school desk homework"), ("eye", "iris lens dark retina")),
    ("mint", ("herb", "tea leaf garden lamb"), ("coins", "gold press currency emperor")),
    ("palm", ("tree", "desert dates island coconut"), ("hand", "fist glove wrist fortune")),
    ("match", ("fire", "candle box smoke fuse"), ("game", "referee stadium goal team")),
    ("pen", ("ink", "paper signature notebook nib"), ("fence", "sheep farm pigs gate")),
    ("ring", ("jewel", "bride diamond finger jeweller"), ("sound", "bell phone alarm doorbell")),
    ("scale", ("fish", "carp skin fin reptile"), ("weight", "kilogram butcher balance grams")),
    ("star", ("sky", "telescope galaxy orbit comet"), ("actor", "film stage fame premiere")),
    ("trunk", ("elephant", "tusk zoo calf savanna"), ("luggage", "journey attic suitcase lid")),
    ("log", ("wood", "axe fireplace saw forest"), ("record", "captain diary entry voyage")),
)
"""Written for this task: a word, and for each of two senses its name and words that point to it."""
NEUTRAL = (
    "the", "a", "of", "and", "was", "old", "new", "very", "small", "there", "then", "again", "today", "near", "one", "this",
    "that", "our", "some", "quite",
)  # fmt: skip


@dataclass(frozen=True)
class Senses:
    """Which sense has the last word? One word before it points there, among neutral words and pointers to other words' senses.

    At the last place the answer is the token of the sense (`nail/iron`). Words that point to two words' senses are used for
    each; nothing else in the sequence points to a sense of the last word.
    """

    length: int = 12
    distractors: int = 2
    asks: ClassVar[Literal["token"]] = "token"
    leaks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check that everything finds its place."""
        if not 0 <= self.distractors <= self.length - 2:
            raise refuse(self, "distractors", f"{self.length - 2} places are left for them", "Give fewer, or a greater length.")

    @property
    def vocab_size(self) -> int:
        """Neutral words, pointers, words and senses."""
        return len(_vocabulary())

    @property
    def chance(self) -> float:
        """One of the word's two senses."""
        return 0.5

    @property
    def blind(self) -> float:
        """One of all senses."""
        return 1 / (2 * len(SENSES))

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Word by word."""
        return _tokenizer()

    def batch(self, count: int, generator: torch.Generator | None = None) -> Batch:
        """So many sequences."""
        words, cues, senses, allowed = _tables()
        neutral = torch.tensor([_vocabulary()[word] for word in NEUTRAL])
        ids = neutral[torch.randint(len(NEUTRAL), (count, self.length), generator=generator)]
        word, sense = (torch.randint(size, (count,), generator=generator) for size in (len(SENSES), 2))
        cue = cues[word, sense, torch.randint(cues.shape[-1], (count,), generator=generator)]
        others = torch.multinomial(allowed[word], max(1, self.distractors), generator=generator)[:, : self.distractors]
        places = distinct(count, 1 + self.distractors, self.length - 1, generator)
        ids.scatter_(1, places, torch.cat((cue[:, None], others), 1))
        ids[:, -1] = words[word]
        labels = torch.full((count, self.length), NOTHING)
        labels[:, -1] = senses[word, sense]
        return {"input_ids": ids, "labels": labels}

    def oracle(self, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch query"]:
        """The sense that one of the words points to."""
        words, cues, senses, _ = _tables()
        ids = batch["input_ids"]
        word = (ids[:, -1:] == words).int().argmax(-1)
        points = (cues[word][:, :, :, None] == ids[:, None, None, :-1]).any(-1).any(-1)
        answers = torch.full_like(ids, NOTHING)
        answers[:, -1] = senses[word].gather(1, points.int().argmax(-1, keepdim=True))[:, 0]
        return answers


@cache
def _vocabulary() -> dict[str, int]:
    """Every token and its id."""
    cues = [cue for _, *senses in SENSES for _, words in senses for cue in words.split()]
    names = [f"{word}/{sense}" for word, *senses in SENSES for sense, _ in senses]
    every = dict.fromkeys([*NEUTRAL, *(word for word, *_ in SENSES), *cues, *names])
    return {token: number for number, token in enumerate(every)}


@cache
def _tables() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids of words `[word]`, their cues `[word, sense, cue]`, senses `[word, sense]`, and who may distract `[word, token]`."""
    ids = _vocabulary()
    words = torch.tensor([ids[word] for word, *_ in SENSES])
    cues = torch.tensor([[[ids[cue] for cue in told.split()] for _, told in senses] for _, *senses in SENSES])
    senses = torch.tensor([[ids[f"{word}/{name}"] for name, _ in both] for word, *both in SENSES])
    allowed = torch.zeros(len(SENSES), len(ids))
    allowed[:, cues.flatten()] = 1.0
    for number in range(len(SENSES)):
        allowed[number, cues[number].flatten()] = 0.0
    return words, cues, senses, allowed


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel(_vocabulary(), unk_token=NEUTRAL[0]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend)
