"""Two entries on one task: the difference with its interval, and the chance that it is luck.

    same items, one model          McNemar's exact test on the items that only one of them has right
    same items, several models     the mean difference item by item against its standard error
    other items, or none           two binomial shares, wider and said to be unpaired

Sources: McNemar (1947), exact form; Agresti and Min (2005) for the interval; Holm (1979) over the tasks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeInt

from harness.document import Document
from harness.ranking.columns import number_of
from harness.ranking.intervals import (
    NORMAL_95,
    Interval,
    binomial_interval,
    difference_interval,
    normal_p_value,
    share_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.ranking.columns import Column
    from harness.ranking.entrant import Entrant, Items

Test = Literal["McNemar, exact", "paired by item", "unpaired"]


class TaskPair(Document):
    """Two entries on one task, in the column's scale."""

    column: str
    first: float
    second: float
    difference: float
    """First minus second."""
    standard_error: float
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    test: Test
    p_value: float
    """Two-sided: chance of a difference as large if both were equally good."""
    p_holm: float | None = None
    """The same, corrected for how many tasks were looked at."""
    first_only: NonNegativeInt | None = None
    """Items that only the first has right, of one model."""
    second_only: NonNegativeInt | None = None
    item_count: NonNegativeInt | None = None


def task_pairs(first: Entrant, second: Entrant, columns: Sequence[Column]) -> tuple[TaskPair, ...]:
    """The tasks on which both have a score and something is known of its items."""
    found = [pair for column in columns if (pair := task_pair(first, second, column)) is not None]
    corrected = holm([pair.p_value for pair in found])
    return tuple(pair.model_copy(update={"p_holm": p}) for pair, p in zip(found, corrected, strict=True))


def task_pair(first: Entrant, second: Entrant, column: Column) -> TaskPair | None:
    """Two entries in ``column``; None where one has no score, or nothing is known of its items."""
    numbers = [number_of(one, column) for one in (first, second)]
    if not column.is_task or numbers[0] is None or numbers[1] is None:
        return None
    mine, others = first.items.get(column.name), second.items.get(column.name)
    if mine is not None and others is not None and mine.key == others.key:
        pair = paired(column.name, mine, others, column.scale)
    else:
        intervals = [score_interval(one, column) for one in (first, second)]
        if intervals[0] is None or intervals[1] is None:
            return None
        pair = _unpaired(column, intervals[0], intervals[1])
    stated = {"first": numbers[0].value, "second": numbers[1].value}
    return pair.model_copy(update={**stated, "difference": stated["first"] - stated["second"]})


def score_interval(entrant: Entrant, column: Column) -> Interval | None:
    """The score in ``column`` with its 95 % interval, in its scale; None where nothing is known of its items."""
    number = number_of(entrant, column)
    if number is None or not column.is_task:
        return None
    items, count = entrant.items.get(column.name), entrant.item_counts.get(column.name)
    if items is not None:
        return share_interval(items).times(column.scale)
    share = min(1.0, max(0.0, number.value / column.scale))
    return binomial_interval(share, count).times(column.scale) if count else None


def paired(name: str, first: Items, second: Items, scale: float) -> TaskPair:
    """Two scores on the same items; raises ``ValueError`` where they are not."""
    found = difference_interval(first, second)
    one, other = (share_interval(items).value for items in (first, second))
    described = TaskPair(
        column=name,
        first=one * scale,
        second=other * scale,
        difference=found.value * scale,
        standard_error=found.standard_error * scale,
        low=found.low * scale,
        high=found.high * scale,
        test="paired by item",
        p_value=normal_p_value(found.value, found.standard_error),
        item_count=first.right.shape[1],
    )
    whole = first.counted.all() and second.counted.all()
    if not whole or len(first.right) != 1 or len(second.right) != 1:
        return described
    ahead, behind = int((first.right > second.right).sum()), int((first.right < second.right).sum())
    exact = {"test": "McNemar, exact", "p_value": mcnemar(ahead, behind), "first_only": ahead, "second_only": behind}
    return described.model_copy(update=exact)


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p-value: a fair coin for every item that only one of the two has right."""
    count, fewer = first_only + second_only, min(first_only, second_only)
    log_half = count * math.log(0.5)
    tail = math.fsum(math.exp(_log_choose(count, k) + log_half) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def _log_choose(count: int, k: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in their order (step-down)."""
    ascending = sorted(range(len(p_values)), key=lambda number: p_values[number])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(ascending):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = largest
    return corrected


def _unpaired(column: Column, first: Interval, second: Interval) -> TaskPair:
    difference = first.value - second.value
    # A share of 0 or 1 has no standard error of its own; half the interval is never too small.
    error = math.hypot(*((one.high - one.low) / (2 * NORMAL_95) for one in (first, second)))
    return TaskPair(
        column=column.name,
        first=first.value,
        second=second.value,
        difference=difference,
        standard_error=error,
        low=difference - NORMAL_95 * error,
        high=difference + NORMAL_95 * error,
        test="unpaired",
        p_value=normal_p_value(difference, error),
    )
