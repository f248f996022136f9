"""The letter of an option: a word of the small world has the same one wherever it is offered.

    letter_of("desert") = B     every question that offers the desert offers it as B

So the letter is a fact to learn beside the answer. Finding it anew in the listed options is a skill of its own, which
models of this size acquire only after far more text than minutes of training have (docs/pico.md).
"""

from __future__ import annotations

from functools import cache

from harness.pico.corpus.world import Fact, facts, groups, things, values

CHOICE_LETTERS = "ABCDE"


@cache
def letters() -> dict[str, str]:
    """Every value and thing of the world to its letter; within each relation and class the letters take turns."""
    every, found = facts(), dict[str, str]()
    domains = [tuple(values(every, relation)) for relation in dict.fromkeys(fact.relation.name for fact in every)]
    domains += [things(group) for group in groups()]
    for domain in domains:
        for place, word in enumerate(domain):
            found.setdefault(word, CHOICE_LETTERS[place % len(CHOICE_LETTERS)])
    return found


def letter_of(word: str) -> str:
    """The letter of a value or a thing.

    Raises:
        KeyError: it is no word of the world.
    """
    return letters()[word]


def false_values(fact: Fact) -> dict[str, tuple[str, ...]]:
    """For each letter but the true one: values that are false of a fact, of its own relation where there are any."""
    own = [value for value in values(facts(), fact.relation.name) if value != fact.value]
    other = sorted({each.value for each in facts() if each.value != fact.value})
    return {letter: _with_letter(own, letter) or _with_letter(other, letter) for letter in _others(fact.value)}


def false_things(fact: Fact) -> dict[str, tuple[str, ...]]:
    """For each letter but the true one: things of the fact's class that have another value; may be empty."""
    unlike = [
        other.thing for other in facts() if other.relation.name == fact.relation.name and other.value != fact.value
    ]
    return {letter: _with_letter(unlike, letter) for letter in _others(fact.thing)}


def _others(word: str) -> str:
    return CHOICE_LETTERS.replace(letter_of(word), "")


def _with_letter(words: list[str], letter: str) -> tuple[str, ...]:
    return tuple(word for word in words if letter_of(word) == letter)
