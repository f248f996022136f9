"""How far a score of a task can be trusted: the standard error over its items, and a 95 % interval.

    one data set       right answers are a binomial draw: p (1 - p) / (n - 1), and Wilson's interval, which is honest at
                       0 and at 100 % too
    a mean of several  errors add up in squares: sqrt(sum of squared errors) / number of data sets

Items are taken for a sample of the questions that could have been asked; the data set itself is fixed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.judge.results import NORMAL_95

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.submission.measurements import TaskScore


def standard_error(shares: Sequence[tuple[float, int]]) -> float | None:
    """Of the mean of several shares of right answers, each with its number of items; None where one has a single item.

    The same unit as the shares.
    """
    if not shares or any(count < 2 for _, count in shares):  # noqa: PLR2004 - one item shows no spread
        return None
    squares = math.fsum(share * (1 - share) / (count - 1) for share, count in shares)
    return math.sqrt(max(0.0, squares)) / len(shares)


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``count`` items (Wilson 1927; Agresti and Coull 1998), within 0 and 1."""
    square = NORMAL_95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = NORMAL_95 / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def interval(score: TaskScore) -> tuple[float, float] | None:
    """The 95 % interval of ``score`` in its own unit; None where it has no error."""
    if len(score.subsets) > 1:
        if score.standard_error is None:
            return None
        half = NORMAL_95 * score.standard_error
        return max(0.0, score.score - half), min(score.scale, score.score + half)
    low, high = wilson(score.score / score.scale, score.item_count)
    return low * score.scale, high * score.scale
