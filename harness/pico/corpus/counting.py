"""Counting the things of one class in a list, with a running total.

I have two apples, a dog and three plums. How many fruits do I have?
two apples 2. three plums 5. So the answer is 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.pico.corpus.item import Item
from harness.pico.corpus.world import NUMBER_WORDS, article, groups, plural, things

if TYPE_CHECKING:
    from random import Random


def objects(rng: Random) -> Item:
    """A list of three to five things of two classes and the count of one class."""
    wanted, other = rng.sample(groups(), 2)
    hits = [(noun, rng.choice((1, 1, 2, 3, 4))) for noun in rng.sample(things(wanted), rng.randint(1, 3))]
    misses = [(noun, rng.choice((1, 1, 2, 3, 4))) for noun in rng.sample(things(other), rng.randint(1, 2))]
    listed = [*hits, *misses]
    rng.shuffle(listed)
    owned = _listing(listed)
    question = f"I have {owned}. How many {wanted}s do I have?"
    steps, total = _running(listed, {noun for noun, _ in hits})
    return Item(
        kind="counting",
        language="en",
        content=f"{wanted} {listed}",
        document=f"I have {owned}. I have {_spelled(total)} {plural(wanted, total)}: {steps}",
        user=question,
        answer=f"{steps} So the answer is {total}.",
        record={"input": question, "target": str(total)},
    )


def _spelled(count: int) -> str:
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)


def _listing(listed: list[tuple[str, int]]) -> str:
    words = [_owned(noun, count) for noun, count in listed]
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _owned(noun: str, count: int) -> str:
    return article(noun) if count == 1 else f"{NUMBER_WORDS[count]} {plural(noun, count)}"


def _running(listed: list[tuple[str, int]], wanted: set[str]) -> tuple[str, int]:
    """The wanted things in their order, each with the total so far."""
    total, steps = 0, []
    for noun, count in listed:
        if noun in wanted:
            total += count
            steps.append(f"{_owned(noun, count)} {total}.")
    return " ".join(steps), total
