"""Python on lists and dictionaries: what does it print? The answer is a literal, as ``ast.literal_eval`` reads it.

    x = [3, 1, 2]        x = {'pear': 4, 'fig': 1}
    x.sort()             x['kiwi'] = 9
    print(repr(x[0:2]))  print(repr(sorted(x)))
    -> [1, 2]            -> ['fig', 'kiwi', 'pear']

A generator computes the value by its own operations beside the text; the text is never run to get it.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from harness.corpora.generators.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

PARENT: Final = "rules:snippets@1"
WORDS: Final = ("fig", "pear", "kiwi", "plum", "lime", "date", "nut", "pea", "oat", "rye")

Line = tuple[str, object]
"""A statement, and the value after it."""


def snippets(*, seed: int, statements: int = 3) -> Iterator[Problem]:
    """Lists and dictionaries in turns, at most so many statements each before the last, without end."""
    if statements < 1:
        raise ValueError(f"statements must be at least 1, got {statements}")
    rng = Random(f"snippets {seed}")
    while True:
        yield of_list(rng, rng.randint(1, statements))
        yield of_dictionary(rng, rng.randint(1, statements))


def of_list(rng: Random, statements: int) -> Problem:
    """A list of numbers or words that changes so many times."""
    words = rng.random() < 0.5  # noqa: PLR2004 - half of them
    value: list[object] = [*(rng.sample(WORDS, rng.randint(3, 6)) if words else rng.choices(range(50), k=5))]
    lines = [f"x = {value!r}"]
    lines.extend(_list_statement(rng, value, words=words) for _ in range(statements))
    asked, answer = _list_question(rng, value)
    return _problem([*lines, f"print(repr({asked}))"], answer)


def of_dictionary(rng: Random, statements: int) -> Problem:
    """A dictionary of words and numbers that changes so many times."""
    value = {word: rng.randint(0, 50) for word in rng.sample(WORDS, rng.randint(3, 5))}
    lines = [f"x = {value!r}"]
    lines.extend(_dictionary_statement(rng, value) for _ in range(statements))
    asked, answer = _dictionary_question(rng, value)
    return _problem([*lines, f"print(repr({asked}))"], answer)


def _problem(lines: list[str], answer: object) -> Problem:
    code = "\n".join(lines)
    prompt = f"What does this Python program print?\n\n```python\n{code}\n```"
    return Problem(prompt=prompt, text=repr(answer), answer=repr(answer))


def _list_statement(rng: Random, value: list[object], *, words: bool) -> str:
    """One statement, carried out on ``value``."""
    item: object = rng.choice(WORDS) if words else rng.randrange(50)
    match rng.randrange(5):
        case 0:
            value.sort(key=lambda each: (str(each) if words else "", 0 if words else int(str(each))))
            return "x.sort()"
        case 1:
            value[:] = value[::-1]
            return "x.reverse()"
        case 2:
            value += [item]
            return f"x.append({item!r})"
        case 3:
            place = rng.randrange(len(value))
            value[place : place + 1] = [item]
            return f"x[{place}] = {item!r}"
        case _:
            value[0:0] = [item]
            return f"x.insert(0, {item!r})"


def _list_question(rng: Random, value: list[object]) -> Line:
    place = rng.randrange(len(value))
    start = rng.randrange(len(value))
    stop = rng.randint(start, len(value))
    first = value[place]
    questions: list[Line] = [
        (f"x[{place}]", value[place]),
        (f"x[{place - len(value)}]", value[place]),
        (f"x[{start}:{stop}]", value[start:stop]),
        ("len(x)", sum(1 for _ in value)),
        (f"x.index({first!r})", min(at for at, each in enumerate(value) if each == first)),
        (f"x.count({first!r})", sum(each == first for each in value)),
        (f"[a for a in x if a != {first!r}]", list(filter(lambda each: each != first, value))),
        ("x[::2]", [each for at, each in enumerate(value) if at % 2 == 0]),
    ]
    return rng.choice(questions)


def _dictionary_statement(rng: Random, value: dict[str, int]) -> str:
    """One statement, carried out on ``value``."""
    word, number = rng.choice(WORDS), rng.randint(0, 50)
    match rng.randrange(3):
        case 0:
            value[word] = number
            return f"x[{word!r}] = {number}"
        case 1:
            value |= {word: number}
            return f"x.update({{{word!r}: {number}}})"
        case _:
            value[word] = value.get(word, 0) + number
            return f"x[{word!r}] = x.get({word!r}, 0) + {number}"


def _dictionary_question(rng: Random, value: dict[str, int]) -> Line:
    known, any_word, bound = rng.choice(list(value)), rng.choice(WORDS), rng.randint(0, 50)
    questions: list[Line] = [
        (f"x[{known!r}]", value[known]),
        (f"x.get({any_word!r}, -1)", value.get(any_word, -1)),
        ("sorted(x)", sorted(value)),
        ("list(x.values())", [value[word] for word in value]),
        (f"{any_word!r} in x", any(word == any_word for word in value)),
        ("sum(x.values())", sum(value[word] for word in value)),
        (f"[k for k in x if x[k] > {bound}]", [word for word, number in value.items() if number > bound]),
        (f"{{'a': x}}['a'].get({known!r})", value[known]),
    ]
    return rng.choice(questions)
