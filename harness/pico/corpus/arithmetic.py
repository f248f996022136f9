"""Word problems in one or two steps, with the steps written out, in English and Chinese.

Tom has 7 apples. He buys 5 more and gives 3 to Anna. How many apples does he have now?
7 + 5 = 12
12 - 3 = 9
#### 9
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item
from harness.pico.corpus.world import NAMES, NAMES_ZH

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_OBJECTS = ("apples", "books", "coins", "cards", "eggs", "pencils", "stones", "cakes", "shells", "stamps")
_OBJECTS_ZH = ("个苹果", "本书", "个鸡蛋", "支铅笔", "张卡片", "块石头")

# One entry a shape: the operations after the first number, English wording, Chinese wording (n, m names; o objects).
_SHAPES: tuple[tuple[str, str, str], ...] = (
    (
        "+",
        "{n} has {a} {o}. {n} buys {b} more. How many {o} does {n} have?",
        "{n}有{a}{o}，又买了{b}{o}。{n}一共有多少{o}？",
    ),
    (
        "-",
        "{n} has {a} {o}. {n} gives {b} to {m}. How many {o} does {n} have left?",
        "{n}有{a}{o}，给了{m}{b}{o}。{n}还有多少{o}？",
    ),
    (
        "*",
        "{n} has {a} boxes with {b} {o} in each box. How many {o} does {n} have?",
        "{n}有{a}个盒子，每个盒子里有{b}{o}。{n}一共有多少{o}？",
    ),
    (
        "++",
        "{n} has {a} {o}. {n} finds {b} {o} and {m} brings {c} more. How many {o} are there now?",
        "{n}有{a}{o}，找到{b}{o}，{m}又拿来{c}{o}。现在有多少{o}？",
    ),
    (
        "+-",
        "{n} has {a} {o}. {n} buys {b} more and then gives {c} to {m}. How many {o} does {n} have left?",
        "{n}有{a}{o}，又买了{b}{o}，然后给了{m}{c}{o}。{n}还有多少{o}？",
    ),
    (
        "-+",
        "{n} has {a} {o}. {n} loses {b} of them and then gets {c} from {m}. How many {o} does {n} have?",
        "{n}有{a}{o}，丢了{b}{o}，{m}又给{n}{c}{o}。{n}有多少{o}？",
    ),
    (
        "--",
        "There were {a} {o} on the table. {n} took {b} and {m} took {c}. How many {o} are left?",
        "桌上有{a}{o}，{n}拿走{b}{o}，{m}拿走{c}{o}。还有多少{o}？",
    ),
    (
        "*+",
        "{n} has {a} bags with {b} {o} in each bag. {m} gives {n} {c} more. How many {o} does {n} have?",
        "{n}有{a}个袋子，每个袋子里有{b}{o}，{m}又给{n}{c}{o}。{n}有多少{o}？",
    ),
    (
        "*-",
        "{n} has {a} bags with {b} {o} in each bag. {n} sells {c} of them. How many {o} are left?",
        "{n}有{a}个袋子，每个袋子里有{b}{o}，卖了{c}{o}。还有多少{o}？",
    ),
)

_APPLY: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}


def english(rng: Random) -> Item:
    """An English word problem."""
    return _item(rng, language="en")


def chinese(rng: Random) -> Item:
    """A Chinese word problem."""
    return _item(rng, language="zh")


def _item(rng: Random, *, language: str) -> Item:
    operations, wording, wording_zh = rng.choice(_SHAPES)
    numbers = _numbers(rng, operations)
    steps, total = _work(numbers, operations)
    chosen, objects, names = (wording, _OBJECTS, NAMES) if language == "en" else (wording_zh, _OBJECTS_ZH, NAMES_ZH)
    name, other = rng.sample(names, 2)
    fields = dict(zip("abc", numbers, strict=False))
    question = chosen.format(n=name, m=other, o=rng.choice(objects), **fields)
    answer = "\n".join([*steps, f"#### {total}"])
    return Item(
        kind="arithmetic" if language == "en" else "arithmetic_zh",
        language="en" if language == "en" else "zh",
        content=f"{operations} {numbers}",
        document=f"{question}\n" + "\n".join(steps),
        user=question,
        answer=answer,
        record={"question": question, "answer": answer},
    )


def _numbers(rng: Random, operations: str) -> list[int]:
    """Numbers small enough that no step leaves 0 to 40."""
    first = [rng.randint(2, 5), rng.randint(2, 6)] if operations[0] == "*" else _pair(rng, operations[0])
    if len(operations) == 1:
        return first
    total = _APPLY[operations[0]](*first)
    if operations[1] == "-":
        return [*first, rng.randint(1, min(total, 10)) if total else 0]
    return [*first, rng.randint(2, 9)]


def _pair(rng: Random, operation: str) -> list[int]:
    if operation == "+":
        return [rng.randint(2, 20), rng.randint(2, 10)]
    left = rng.randint(6, 25)
    return [left, rng.randint(2, min(left - 1, 10))]


def _work(numbers: list[int], operations: str) -> tuple[list[str], int]:
    total, steps = numbers[0], []
    for operation, number in zip(operations, numbers[1:], strict=True):
        after = _APPLY[operation](total, number)
        steps.append(f"{total} {operation} {number} = {after}")
        total = after
    return steps, total
