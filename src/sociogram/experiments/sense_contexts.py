"""Words of two senses, each in two contexts that end with the word, and a continuation that fits each; written for this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Twice:
    """One word twice: `contexts` that end with it, and for each the `continuations` that fits there and not in the other."""

    word: str
    contexts: tuple[str, str]
    continuations: tuple[str, str]


_ROWS = (
    ("nail", "the carpenter hammered the {}", "the manicurist painted the {}", " into the wooden board", " of her little finger"),
    ("bank", "they paddled the canoe to the {}", "she cashed her cheque at the {}", " of the river", " and took the money"),
    ("bolt", "the mechanic tightened the {}", "the storm brought a {}", " with a wrench", " of lightning"),
    ("bat", "in the cave hung a {}", "the cricketer swung his {}", " with folded wings", " and hit the ball"),
    ("crane", "in the marsh stood a {}", "in the harbour stood a {}", " with white feathers", " lifting heavy cargo"),
    ("seal", "on the ice lay a {}", "on the letter was a {}", " eating a fish", " of red wax"),
    ("spring", "the snow melted in the {}", "the mattress had a broken {}", " and the flowers bloomed", " made of steel wire"),
    ("pitcher", "she filled the {}", "the coach praised the {}", " with cold water", " after the baseball game"),
    ("organ", "in the church they played the {}", "the surgeon removed the {}", " during the hymn", " from the patient"),
    ("bark", "the beetles lived under the {}", "the puppy gave a loud {}", " of the old tree", " at the stranger"),
    ("mint", "the cook chopped the {}", "the coins came from the {}", " and added parsley", " where money is made"),
    ("palm", "on the desert island grew a {}", "the fortune teller read her {}", " with coconuts", " and held her hand"),
    ("match", "he lit the candle with a {}", "the team won the {}", " and burned his thumb", " by two goals"),
    ("trunk", "the elephant raised its {}", "he packed his clothes in the {}", " to drink water", " and closed the lid"),
    ("log", "he threw another {}", "the captain kept a {}", " on the fire", " of the voyage"),
    ("ring", "the bride wore a {}", "the telephone gave a {}", " of gold and diamonds", " and he answered"),
    ("star", "through the telescope they saw a {}", "the director hired a {}", " in a distant galaxy", " for his new film"),
    ("plant", "the gardener watered the {}", "the workers went on strike at the {}", " in its pot", " that made cars"),
    ("cell", "the biologist looked at the {}", "the prisoner slept in his {}", " under the microscope", " behind iron bars"),
    ("key", "the burglar turned the {}", "the pianist struck the {}", " in the lock", " and a note sounded"),
    ("bill", "the senator voted for the {}", "the waiter brought the {}", " to become law", " for the dinner"),
    ("date", "the fruit seller tasted the {}", "the historian found the {}", " and it was sweet", " of the battle"),
    ("bass", "the fisherman caught a {}", "the musician played the {}", " in the lake", " in a jazz band"),
    ("wave", "the surfer waited for a {}", "she greeted him with a {}", " on the sea", " of her hand"),
    ("pupil", "the teacher praised the {}", "the light narrowed the {}", " for his homework", " of the eye"),
    ("mouse", "the cat chased the {}", "the programmer clicked the {}", " into its hole", " beside the keyboard"),
    ("sentence", "the judge passed a {}", "the writer corrected the {}", " of ten years in prison", " with too many words"),
    ("scale", "the fish lost a {}", "the butcher put the meat on the {}", " from its skin", " to weigh it"),
)  # fmt: skip

CONTEXTS = tuple(Twice(word, (one.format(word), other.format(word)), (fits, then)) for word, one, other, fits, then in _ROWS)
"""All of them."""
