"""Two multiple-choice kinds: the colour of a thing on a table, and the order of three things in a row.

On the table the cup is red, the book is blue and the map is green. What color is the book?
Options: blue A, green B, orange C ...      The book is blue. blue A. So the answer is (A).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item
from harness.pico.corpus.world import article, things

if TYPE_CHECKING:
    from random import Random

COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
_LETTERS = "ABCDEFG"


def colours(rng: Random) -> Item:
    """Three or four coloured things; the question names one; the six colours are the options, by alphabet."""
    listed = list(zip(rng.sample(things("tool"), rng.randint(3, 4)), rng.sample(COLOURS, 4), strict=False))
    thing, colour = rng.choice(listed)
    seen = [f"the {noun} is {shade}" for noun, shade in listed]
    scene = f"On the table {', '.join(seen[:-1])} and {seen[-1]}."
    return _multiple_choice(
        ("colours", f"{listed} {thing}"),
        scene=f"{scene} What color is the {thing}?",
        options=sorted(COLOURS),
        right=colour,
        reason=f"The {thing} is {colour}.",
    )


def order(rng: Random) -> Item:
    """Three animals in a row, two clues, and which of them stands at a place."""
    row = rng.sample(things("animal"), 3)
    clues = [f"The {row[0]} is left of the {row[1]}.", f"The {row[1]} is left of the {row[2]}."]
    ends = [f"The {row[0]} is the leftmost.", f"The {row[2]} is the rightmost."]
    pick = rng.randrange(4)
    told = (clues, clues, [ends[0], clues[1]], [ends[1], clues[0]])[pick]
    rng.shuffle(told)
    named = rng.sample(row, 3)
    place = rng.randrange(3)
    where = ("leftmost", "second from the left", "rightmost")[place]
    scene = f"There is {article(named[0])}, {article(named[1])} and {article(named[2])} in a row. {' '.join(told)}"
    return _multiple_choice(
        ("order", f"{row} {sorted(told)} {place}"),
        scene=f"{scene} Which is the {where}?",
        options=rng.sample(row, 3),
        right=row[place],
        reason=f"The order is {', '.join(row)}. The {where} is the {row[place]}.",
    )


def _multiple_choice(identity: tuple[str, str], *, scene: str, options: list[str], right: str, reason: str) -> Item:
    kind, content = identity
    listed = "\n".join(f"{option} {letter}" for letter, option in zip(_LETTERS, options, strict=False))
    user = f"{scene}\nOptions:\n{listed}"
    letter = _LETTERS[options.index(right)]
    return Item(
        kind=kind,
        language="en",
        content=content,
        document=f"{scene} {reason}",
        user=user,
        answer=f"{reason} {right} {letter}. So the answer is ({letter}).",
        record={"input": user, "target": f"({letter})"},
    )
