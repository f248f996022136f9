"""Finding a thing again: lettered lists, with several letters asked for.

cat A, saw B, plum C      Give the letters of plum and cat.      plum C. cat A.

The other multiple-choice kinds need this skill once an item; here it is needed several times, which teaches it sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.idioms import IDIOMS
from harness.pico.corpus.item import Item
from harness.pico.corpus.world import facts, groups, things

if TYPE_CHECKING:
    from random import Random

    from harness.pico.corpus.item import Language

_THINGS = tuple(thing for group in groups() for thing in things(group))
_WORDS = (*_THINGS, *sorted({fact.value for fact in facts()} - set(_THINGS)))
_LETTERS = "ABCDEFG"


def english(rng: Random) -> Item:
    """Three to six English words and the letters of all of them but one."""
    options = rng.sample(_WORDS, rng.randint(3, 6))
    asked = rng.sample(options, len(options) - 1)
    question = f"Give the letters of {', '.join(asked[:-1])} and {asked[-1]}."
    pairs = [f"{word} {_LETTERS[options.index(word)]}." for word in asked]
    return _item("lookup", "en", listed=_listed(options), question=question, answer=" ".join(pairs))


def chinese(rng: Random) -> Item:
    """Seven idioms and the letters of four of them."""
    options = rng.sample(IDIOMS, len(_LETTERS))
    asked = rng.sample(options, 4)
    answer = "".join(f"{idiom} {_LETTERS[options.index(idiom)]}。" for idiom in asked)
    question = f"请选择{'、'.join(asked)}"
    return _item("lookup_zh", "zh", listed=_listed(options), question=question, answer=answer)


def _listed(options: list[str]) -> str:
    return "\n".join(f"{option} {letter}" for letter, option in zip(_LETTERS, options, strict=False))


def _item(kind: str, language: Language, *, listed: str, question: str, answer: str) -> Item:
    return Item(
        kind=kind,
        language=language,
        content=f"{listed} {question}",
        document=f"{listed}\n{answer}",
        user=f"{question}\n{listed}",
        answer=answer,
    )
