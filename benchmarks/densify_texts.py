"""Texts to be made denser, each with prompts that are read after it and were never seen while it was pressed."""

from __future__ import annotations

from typing import NamedTuple


class Block(NamedTuple):
    """A text and what is asked after it."""

    name: str
    text: str
    prompts: tuple[str, ...]


INSTRUCTION = """\
You answer for the night desk of the Harbour Library in Osterfjord. Follow these rules in every answer.
1. Begin every answer with the words "Night desk:" and nothing before them.
2. Answer in one sentence, in plain words, and never make a list.
3. The library is open from noon until two in the morning, every day but Monday.
4. Books may be kept for three weeks, films for one week, and maps must stay in the building.
5. A lost book costs forty crowns; a late book costs one crown a day.
6. Coffee is allowed on the ground floor only, in a cup with a lid.
7. The reading room on the third floor is silent; telephones must be left in the lockers at the door.
8. Children under ten come with an adult after eight in the evening.
9. If you do not know the answer, say that Ingrid at the front office knows, and that she is there from nine to five.
10. Never speak of the weather, of politics, or of other libraries.
Now answer the visitors.
"""

ASKED = (
    "How long may I keep a film?",
    "What do I pay for a book that I have lost?",
    "Is the library open on Monday?",
    "May I drink coffee in the reading room?",
    "Where do I leave my telephone?",
    "Can I take a map home for the weekend?",
    "Who can tell me about the old photographs?",
    "My son is eight years old. May he come at nine in the evening?",
    "When do you close tonight?",
    "Will it rain tomorrow?",
)

PAIRS = (
    "France: Paris", "Japan: Tokyo", "Egypt: Cairo", "Canada: Ottawa", "Norway: Oslo", "Kenya: Nairobi", "Greece: Athens",
    "Thailand: Bangkok", "Cuba: Havana", "Austria: Vienna", "Peru: Lima", "Ireland: Dublin", "Turkey: Ankara", "Iraq: Baghdad",
    "Poland: Warsaw", "Nepal: Kathmandu", "Sweden: Stockholm", "Chile: Santiago", "Hungary: Budapest", "Ghana: Accra",
)  # fmt: skip
COUNTRIES = ("Spain", "Italy", "Germany", "Russia", "China", "Portugal", "Denmark", "Finland", "Belgium", "Lebanon")

STORY = """\
The lighthouse at Skarn has been kept by the Aldous family for a hundred and four years. Marten Aldous, who is seventy-
one, climbs the two hundred and twelve steps each evening at dusk, winds the brass clockwork, and lights the lamp. His
daughter Elsbet repairs engines in the village of Toll, four miles down the coast, and comes on Sundays with bread,
tobacco and the newspapers. Her son Piet is nine. He has a grey cat named Bishop, who is afraid of gulls and sleeps in
the oil store. Last winter a storm took the roof from the boathouse and sank the yellow boat, the Wren, with which
Marten used to fish for mackerel. Since then the family has been saving for another one. The mayor of Toll, a tall woman
named Hanne Dorr, wants to put an electric lamp in the tower and pension the old man off. Marten has said that he will
leave when the clockwork stops, and not a day before. Piet winds it with him now.
"""

TOLD = (
    "The name of the cat is",
    "The boat that sank in the storm was called the",
    "Every evening at dusk, Marten climbs",
    "On Sundays, Elsbet brings her father",
    "The mayor of Toll wants to",
    "Piet's grandfather has said that he will leave when",
    "The lighthouse has been kept by the family for",
    "Bishop is afraid of",
    "The village lies down the coast, at a distance of",
    "Since the storm, the family has been saving for",
)

BLOCKS = (
    Block("instruction", INSTRUCTION, tuple(f"Visitor: {one}\nAnswer:" for one in ASKED)),
    Block("examples", "".join(f"{one}\n" for one in PAIRS), tuple(f"{one}:" for one in COUNTRIES)),
    Block("story", STORY, tuple(f"{one}" for one in TOLD)),
)
