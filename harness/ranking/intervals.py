"""How far a score can be trusted, and the difference of two: 95 % intervals over items.

    one score      Wilson's interval with as many items as its scatter over items is worth:
                   n' = p (1 - p) / SE^2; several models on the same items are worth less than their number times n
    two scores     the difference item by item, with one pseudo-item for and one against (Agresti and Min 2005): without
                   them an interval on few right answers is too short

Sources: Wilson (1927); Korn and Graubard (1998) for n'; Agresti and Min, Statistics in Medicine 24 (2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.ranking.entrant import Items

    Floats = NDArray[np.float64]

NORMAL_95: Final = 1.959964
PSEUDO_ITEMS: Final = 2.0
"""One that the first answers right and the second wrong, one the other way round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value, its standard error and its 95 % interval, all in one unit."""

    value: float
    standard_error: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """The same in another unit."""
        numbers = (self.value, self.standard_error, self.low, self.high)
        value, error, low, high = (number * factor for number in numbers)
        return Interval(value=value, standard_error=error, low=low, high=high)


def share_interval(items: Items) -> Interval:
    """The score of one task as a share, 0 to 1, with the scatter over its items."""
    each, shares = _influence(items)
    sizes = np.array(items.subset_sizes)
    squares = _by_subset(each**2, items.subset_sizes)
    share, variance = float(shares.mean()), float((squares / np.maximum(sizes - 1, 1) / sizes).sum()) / len(sizes) ** 2
    binomial = share * (1 - share)
    # Nothing right, or everything: the items show no scatter, and each counts as one.
    worth = binomial / variance if variance > 0 and binomial > 0 else float(sizes.sum())
    return _wilson(share, worth, math.sqrt(variance))


def binomial_interval(share: float, item_count: int) -> Interval:
    """The score of one task of which nothing but the number of items is known."""
    return _wilson(share, item_count, math.sqrt(max(0.0, share * (1 - share)) / item_count))


def difference_interval(first: Items, second: Items) -> Interval:
    """``first`` minus ``second`` as shares, item by item.

    Raises:
        ValueError: they are not over the same items.
    """
    if first.key != second.key:
        raise ValueError("only scores on the same items can be paired")
    (each_first, shares_first), (each_second, shares_second) = _influence(first), _influence(second)
    sizes = np.array(first.subset_sizes)
    apart = shares_first - shares_second
    each = each_first - each_second + np.repeat(apart, sizes)
    # The two pseudo-items are spread over the subsets; with several models the two differ on one model of them.
    counts = sizes + PSEUDO_ITEMS / len(sizes)
    means = _by_subset(each, first.subset_sizes) / counts
    squares = _by_subset(each**2, first.subset_sizes) + PSEUDO_ITEMS / len(sizes) / len(first.right) ** 2
    adjusted = float(means.mean())
    variance = float((np.maximum(squares / counts - means**2, 0.0) / counts).sum()) / len(sizes) ** 2
    half = NORMAL_95 * math.sqrt(variance)
    return Interval(
        value=float(apart.mean()), standard_error=math.sqrt(variance), low=adjusted - half, high=adjusted + half
    )


def normal_p_value(value: float, standard_error: float) -> float:
    """Chance of a value as far from 0, or farther, on either side."""
    if standard_error <= 0:
        return 1.0 if value == 0 else 0.0
    return math.erfc(abs(value) / standard_error / math.sqrt(2))


def _influence(items: Items) -> tuple[Floats, Floats]:
    """What each item adds to its subset's share over the models, around 0, ``[items]``; and the shares ``[subsets]``.

    A share of the items that count is a ratio; its linearisation is Cochran's (Sampling Techniques, section 6.4).
    """
    sizes = np.array(items.subset_sizes)
    counted = _by_subset(items.counted, items.subset_sizes)
    shares = _by_subset(items.right * items.counted, items.subset_sizes) / np.maximum(counted, 1)
    weights = items.counted * np.repeat(sizes / np.maximum(counted, 1), sizes, axis=1)
    each: Floats = ((items.right - np.repeat(shares, sizes, axis=1)) * weights).mean(axis=0)
    mean: Floats = shares.mean(axis=0)
    return each, mean


def _by_subset(values: NDArray[np.generic], sizes: Sequence[int]) -> Floats:
    """Sums over each subset, along the last axis."""
    starts = np.cumsum(sizes) - np.array(sizes)
    found: Floats = np.add.reduceat(values.astype(np.float64), starts, axis=-1)
    return found


def _wilson(share: float, worth: float, standard_error: float) -> Interval:
    square = NORMAL_95**2
    middle = (share + square / (2 * worth)) / (1 + square / worth)
    half = NORMAL_95 / (1 + square / worth) * math.sqrt(share * (1 - share) / worth + square / (4 * worth**2))
    # At the ends the two terms cancel; rounding must not lift nothing above nothing.
    low, high = (0.0 if share <= 0 else middle - half), (1.0 if share >= 1 else middle + half)
    return Interval(value=share, standard_error=standard_error, low=max(0.0, low), high=min(1.0, high))
