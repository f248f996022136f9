"""Small Python functions over a list or a dict, with a docstring, and snippets with their values.

    change x test x total   ->   def name(numbers): \"\"\"Return the sum of the even numbers, doubled.\"\"\"

A function is a change of each number, a test that picks numbers and a way to bring them together, so a held-out
function is a new combination of known parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item

if TYPE_CHECKING:
    from random import Random

# (words after "the numbers", Python test)
_TESTS = (
    ("", ""),
    ("that are even", "x % 2 == 0"),
    ("that are odd", "x % 2 == 1"),
    ("greater than {k}", "x > {k}"),
    ("less than {k}", "x < {k}"),
    ("not equal to {k}", "x != {k}"),
    ("that can be divided by {d}", "x % {d} == 0"),
)
# (words, Python expression)
_CHANGES = (
    ("", "x"),
    ("doubled", "x * 2"),
    ("plus {k}", "x + {k}"),
    ("minus {k}", "x - {k}"),
    ("times {d}", "x * {d}"),
    ("squared", "x * x"),
    ("negated", "-x"),
)
# (words, Python call around the generator)
_TOTALS = (
    ("the sum of", "sum({g})"),
    ("a list of", "[{g}]"),
    ("the count of", "len([{g}])"),
    ("a sorted list of", "sorted({g})"),
    ("the largest of", "max([0, *({g})])"),
    ("the set of", "set({g})"),
    ("a reversed list of", "[{g}][::-1]"),
)
_SOURCES = (("numbers", "the numbers"), ("items", "the items"), ("table", "the values of the dict"))
_NAMES = ("solve", "work", "run_list", "compute", "make", "total_up", "get_result", "answer")
_CASE_COUNT = 3


def function(rng: Random) -> Item:
    """A function to complete, with its solution and a check that calls it."""
    argument, source = rng.choice(_SOURCES)
    number, divisor = rng.randint(1, 9), rng.randint(2, 5)
    total, test, change = rng.choice(_TOTALS), rng.choice(_TESTS), rng.choice(_CHANGES)
    words = " ".join(part for part in (total[0], source, test[0]) if part) + (
        f", each {change[0]}" if change[0] else ""
    )
    body = f"return {_expression(argument, total[1], test[1], change[1])}".format(k=number, d=divisor)
    words = words.format(k=number, d=divisor)
    name = rng.choice(_NAMES)
    head = f"def {name}({argument}):\n"
    prompt = f'{head}    """Return {words}."""\n'
    solution = f"    {body}\n"
    return Item(
        kind="function",
        language="en",
        content=f"{argument} {words}",
        document=prompt + solution,
        user=f"Complete the following python code:\n{prompt}",
        answer=f"```python\n{head}{solution}```",
        record={
            "prompt": prompt,
            "entry_point": name,
            "canonical_solution": solution,
            "test": _check(rng, argument=argument, expression=body.removeprefix("return ")),
        },
    )


def _expression(argument: str, total: str, test: str, change: str) -> str:
    walked = f"{argument}.values()" if argument == "table" else argument
    generator = f"{change} for x in {walked}" + (f" if {test}" if test else "")
    return total.format(g=generator)


def _check(rng: Random, *, argument: str, expression: str) -> str:
    """The text of HumanEval's `check(candidate)`, its expected values worked out from the expression."""
    lines = ["def check(candidate):"]
    for _ in range(_CASE_COUNT):
        numbers = [rng.randint(-3, 12) for _ in range(rng.randint(4, 7))]
        value: object = dict(zip("abcdefg", numbers, strict=False)) if argument == "table" else numbers
        # The expression is one of this module's own rules, so evaluating it runs no foreign text.
        expected = eval(expression, {argument: value})  # noqa: S307
        lines.append(f"    assert candidate({value!r}) == {expected!r}")
    return "\n".join(lines) + "\n"


def snippet(rng: Random) -> Item:
    """An expression over a short list or dict and its value."""
    numbers = [rng.randint(0, 9) for _ in range(rng.randint(3, 5))]
    table = {key: rng.randint(0, 9) for key in rng.sample("abcdefgh", rng.randint(2, 4))}
    key, place = rng.choice(list(table)), rng.randrange(len(numbers))
    text, value = rng.choice(
        (
            (f"sorted({numbers})", sorted(numbers)),
            (f"max({numbers})", max(numbers)),
            (f"min({numbers})", min(numbers)),
            (f"len({numbers})", len(numbers)),
            (f"{numbers}[::-1]", numbers[::-1]),
            (f"{numbers}[{place}]", numbers[place]),
            (f"[x for x in {numbers} if x > {key_limit(numbers)}]", [x for x in numbers if x > key_limit(numbers)]),
            (f"{table}[{key!r}]", table[key]),
            (f"list({table})", list(table)),
        )
    )
    return Item(
        kind="snippet",
        language="en",
        content=text,
        document=f">>> {text}\n{value}",
        user=f"What is the value of this python expression?\n{text}",
        answer=f"The value is {value}.",
    )


def key_limit(numbers: list[int]) -> int:
    """The limit a filter snippet compares with: the first number of its list."""
    return numbers[0]
