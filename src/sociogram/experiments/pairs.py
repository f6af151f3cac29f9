"""Sentences in which a word's meaning hangs on an earlier one: pronouns and their persons, words of two senses and their context.

Each has a cue in two versions, a distractor in two versions, the word that hangs on the cue (its last occurrence), and a word for
what it means with each cue. Written for this.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """One sentence in its versions.

    Attributes:
        kind: `pronoun` or `sense`.
        frame: the sentence up to and with the target; `{cue}` and `{other}` stand for the cue and the distractor.
        target: the word that hangs on the cue.
        cues: the two versions of the cue.
        others: the two versions of the distractor, which does not tell what the target means.
        meanings: what the target means with each cue.
    """

    kind: str
    frame: str
    target: str
    cues: tuple[str, str]
    others: tuple[str, str]
    meanings: tuple[str, str]

    def text(self, cue: int = 0, other: int = 0) -> str:
        """The sentence with these versions."""
        return self.frame.format(cue=self.cues[cue], other=self.others[other])


def _pronouns() -> list[Pair]:
    """The pronoun can only be the cue's; the distractor is of the other gender."""
    women = (("Alice", "Mary"), ("Emma", "Anna"), ("Sarah", "Laura"), ("Jane", "Lucy"), ("Kate", "Helen"), ("Maria", "Julia"))
    men = (("Tom", "Paul"), ("John", "David"), ("Mark", "Peter"), ("James", "Robert"), ("George", "Henry"), ("Jack", "Daniel"))
    hers = (
        "Yesterday {cue} met {other} at the station, and before the train left she",
        "When {cue} and {other} came home from the lake, she",
        "In the evening {other} asked {cue} about the letter, but she",
        "At the market {cue} saw {other} behind the stall, and quietly she",
        "For a year {other} wrote to {cue} every week, until she",
        "In the garden {cue} stood beside {other} while it rained, and then she",
        "On Sunday {other} lent {cue} the old car, and on Monday she",
        "At school {cue} sat behind {other} for three years, and in the end she",
        "After dinner {other} played a song for {cue}, and when it was over she",
        "Near the bridge {cue} waited for {other} in the cold, and at last she",
        "In her letter {cue} told {other} about the house by the sea, where she",
        "That morning {other} found {cue} asleep on the boat, and later she",
    )
    found = []
    for number, frame in enumerate(hers):
        woman, man = women[number % 6], men[number % 6]
        found.append(Pair("pronoun", frame, "she", woman, man, woman))
        his = frame.replace("In her letter", "In his letter").removesuffix("she") + "he"
        found.append(Pair("pronoun", his, "he", men[(number + 1) % 6], women[(number + 2) % 6], men[(number + 1) % 6]))
    return found


def _senses() -> list[Pair]:
    """The word's sense hangs on the cue; the distractor is a day, a colour or a number that leaves it open."""
    rows = (
        ("On {other} the {cue} looked at the nail", "nail", ("carpenter", "manicurist"), ("screw", "finger")),
        ("It was {other} when the {cue} walked along the bank", "bank", ("fisherman", "investor"), ("river", "money")),
        ("Last {other} the {cue} talked about the bat", "bat", ("zoologist", "cricketer"), ("animal", "club")),
        ("Every {other} the {cue} checked the crane", "crane", ("ornithologist", "builder"), ("bird", "machine")),
        ("That {other} the {cue} bought a new mouse", "mouse", ("programmer", "zookeeper"), ("keyboard", "rat")),
        ("On {other} the {cue} wrote about the cell", "cell", ("biologist", "prisoner"), ("tissue", "jail")),
        ("By {other} the {cue} had finished the bridge", "bridge", ("engineer", "dentist"), ("road", "tooth")),
        ("Since {other} the {cue} has had a new pitcher", "pitcher", ("coach", "cook"), ("player", "jug")),
        ("Until {other} the {cue} worked on the plant", "plant", ("gardener", "industrialist"), ("flower", "factory")),
        ("On {other} the {cue} asked for the bill", "bill", ("senator", "diner"), ("law", "payment")),
        ("Last {other} the {cue} was proud of the key", "key", ("pianist", "burglar"), ("note", "lock")),
        ("Every {other} the {cue} prepared the organ", "organ", ("surgeon", "choirmaster"), ("kidney", "music")),
        ("That {other} the {cue} watched the star", "star", ("astronomer", "director"), ("planet", "actor")),
        ("On {other} the {cue} repaired the trunk", "trunk", ("driver", "forester"), ("car", "tree")),
        ("By {other} the {cue} had tasted the date", "date", ("grocer", "bachelor"), ("fruit", "evening")),
        ("Since {other} the {cue} has studied the wave", "wave", ("physicist", "surfer"), ("signal", "sea")),
        ("Last {other} the {cue} drew the table", "table", ("statistician", "joiner"), ("data", "wood")),
        ("On {other} the {cue} explained the root", "root", ("mathematician", "gardener"), ("number", "tree")),
        ("Every {other} the {cue} looked for the bass", "bass", ("angler", "guitarist"), ("fish", "music")),
        ("That {other} the {cue} held the club", "club", ("golfer", "dancer"), ("stick", "party")),
    )
    days = (("Monday", "Friday"), ("Tuesday", "Sunday"), ("Thursday", "Saturday"))
    return [Pair("sense", f, t, cues, days[n % 3], meanings) for n, (f, t, cues, meanings) in enumerate(rows)]


PAIRS = (*_pronouns(), *_senses())
"""All of them, pronouns first."""
