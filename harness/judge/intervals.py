"""The median of a few repeats, and an interval for it that assumes no distribution.

    samples, sorted   x1  x2  x3  x4  x5      of 5 repeats the median of all runs that could have been made lies in
                      [───── median ─────]    x1..x5 with 1 - 2 / 2**5 = 93.75 % (order statistics, binomial)

The interval is the narrowest symmetric pair of order statistics that reaches 95 %; fewer than 6 repeats cannot, and
then it is the whole range, with the confidence that the range has.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Final

from pydantic import Field

from harness.document import Document

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE: Final = 0.95


class MedianInterval(Document):
    """A median and where it lies, in the unit of the samples."""

    median: float
    low: float
    """A sample: the lower end of the interval."""
    high: float
    """A sample: the upper end of the interval."""
    confidence: float = Field(ge=0, le=1)
    """Chance that such an interval covers the true median, exact for independent repeats; 0 for one sample."""
    sample_count: int = Field(gt=0)


def median_interval(samples: Sequence[float]) -> MedianInterval:
    """The median of ``samples`` and its order-statistics interval.

    Source: David and Nagaraja, Order Statistics, 3rd edition, section 7.1.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("the median of no samples was asked for; at least one repeat is needed")
    ordered, count = sorted(samples), len(samples)
    trimmed = max((k for k in range((count + 1) // 2) if coverage(count, k) >= CONFIDENCE), default=0)
    return MedianInterval(
        median=median(ordered),
        low=ordered[trimmed],
        high=ordered[count - 1 - trimmed],
        confidence=coverage(count, trimmed),
        sample_count=count,
    )


def coverage(count: int, trimmed: int) -> float:
    """Chance that the median lies between the sorted samples ``trimmed`` and ``count - 1 - trimmed``."""
    tail = sum(math.comb(count, k) for k in range(trimmed + 1))
    outcomes: int = 1 << count
    return max(0.0, 1 - 2 * tail / outcomes)
