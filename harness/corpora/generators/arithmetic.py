r"""Arithmetic, worked out step by step; the last number of a text is the answer, as GSM8K's scoring reads it.

    "What is (7 + 5) * 3?"                          "7 + 5 = 12\n12 * 3 = 36\nThe answer is 36."
    "Mia has 12 pens. Mia buys 5 more. ..."         "Mia has 12 pens.\n12 + 5 = 17\n...The answer is 17."

Integers only: what is divided can be divided.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from harness.corpora.generators.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARENT: Final = "rules:arithmetic@1"
LARGEST: Final = 99
"""Of a number in an expression or a story's beginning."""
NAMES: Final = ("Mia", "Tom", "Wei", "Ana", "Omar", "Lena", "Raj", "Yuki")
THINGS: Final = ("pens", "apples", "marbles", "stickers", "coins", "books", "shells", "cards")
SHARES: Final = (2, 3, 4, 5)

Expression = tuple[str, int, list[str]]
"""As it is written, its value, the steps to it."""


def arithmetic(*, seed: int, depth: int = 3) -> Iterator[Problem]:
    """Expressions and stories in turns, of at most ``depth`` operations each, without end."""
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    rng = Random(f"arithmetic {seed}")
    while True:
        yield expression(rng, rng.randint(1, depth))
        yield story(rng, rng.randint(1, depth))


def expression(rng: Random, operations: int) -> Problem:
    """An expression of so many operations."""
    written, value, steps = _tree(rng, operations)
    return Problem(prompt=f"What is {written}?", text=_worked(steps, value), answer=str(value))


def story(rng: Random, operations: int) -> Problem:
    """Somebody has things, and so many things happen to them."""
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    count = rng.randint(2, LARGEST)
    told, steps = [f"{name} has {count} {things}."], [f"{name} has {count} {things}."]
    for _ in range(operations):
        sentence, step, count = rng.choice(_possible(count))(rng, name, count)
        told.append(sentence)
        steps.append(step)
    question = f"How many {things} does {name} have now?"
    return Problem(prompt=" ".join([*told, question]), text=_worked(steps, count), answer=str(count))


def _worked(steps: list[str], value: int) -> str:
    return "\n".join([*steps, f"The answer is {value}."])


def _tree(rng: Random, operations: int) -> Expression:
    if operations == 0:
        number = rng.randint(1, LARGEST)
        return str(number), number, []
    left_operations = rng.randrange(operations)
    left, right = _tree(rng, left_operations), _tree(rng, operations - 1 - left_operations)
    sign = rng.choice("+-*" if right[1] == 0 or left[1] % right[1] else "+-*/")
    value = {"+": left[1] + right[1], "-": left[1] - right[1], "*": left[1] * right[1]}.get(sign)
    if value is None:
        value = left[1] // right[1]
    step = f"{_signed(left[1])} {sign} {_signed(right[1])} = {value}"
    return f"{_part(left)} {sign} {_part(right)}", value, [*left[2], *right[2], step]


def _part(expression: Expression) -> str:
    return f"({expression[0]})" if expression[2] else expression[0]


def _signed(value: int) -> str:
    return f"({value})" if value < 0 else str(value)


Event = tuple[str, str, int]
"""What is told, the step that works it out, how many there are then."""


def _possible(count: int) -> list[Callable[[Random, str, int], Event]]:
    possible: list[Callable[[Random, str, int], Event]] = [_buys, _trebles]
    if count > 1:
        possible.append(_gives)
    if any(count % share == 0 for share in SHARES):
        possible.append(_shares)
    return possible


def _buys(rng: Random, name: str, count: int) -> Event:
    more = rng.randint(1, LARGEST)
    return f"{name} buys {more} more.", f"{count} + {more} = {count + more}", count + more


def _gives(rng: Random, name: str, count: int) -> Event:
    fewer = rng.randint(1, count - 1)
    return f"{name} gives {fewer} away.", f"{count} - {fewer} = {count - fewer}", count - fewer


def _trebles(rng: Random, name: str, count: int) -> Event:
    times = rng.randint(2, 5)
    return f"Then {name} gets {times} times as many.", f"{count} * {times} = {count * times}", count * times


def _shares(rng: Random, name: str, count: int) -> Event:
    parts = rng.choice([share for share in SHARES if count % share == 0])
    told = f"{name} divides them into {parts} equal parts and keeps one part."
    return told, f"{count} / {parts} = {count // parts}", count // parts
