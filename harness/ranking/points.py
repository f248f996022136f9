"""From scores to points, many orders at once: the best gets the first prize, equal scores share what their places give.

    scores   40.1   38.0   38.0   12.5   absent        higher is better
    places      1      2      2      4        -
    points     10    8.5    8.5      7        0        "mean": (9 + 8) / 2 each

Every function works along the last axis: one row of entries, or a row for each replicate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

TieRule = Literal["mean", "best", "worst"]
"""What equal scores get: the mean of the points of the places that they take, those of the first, those of the last."""
TIE_RULE: Final[TieRule] = "mean"
"""The one that ranks. It alone keeps the points of a column constant, so that a tie gives nobody an advantage."""
TOLERANCE: Final = 1e-9
"""Relative to the largest score of the column: what is nearer is equal. One item of BBH weighs 5e-5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Entries from the best to the worst, equal ones in groups; all arrays ``[rows, entries]``, in that order."""

    entry: Integers
    """Which entry stands here."""
    start: Integers
    """Position of the first entry of the group."""
    end: Integers
    """Position after the last entry of the group."""


def order(scores: Floats, tolerance: float = TOLERANCE) -> Order:
    """The order of ``scores``; an absent score (NaN) stands behind all others.

    Args:
        scores: ``[rows, entries]``, higher is better.
        tolerance: two neighbours that differ by no more, relative to the row's largest magnitude, are equal.
    """
    absent = np.isnan(scores)
    largest = np.max(np.abs(np.where(absent, 0.0, scores)), axis=1, keepdims=True, initial=0.0)
    # Absent ones lie further below the least score than any tolerance, all at one place.
    filled = np.where(absent, -3 * largest - 1, scores)
    entry = np.argsort(-filled, axis=1, kind="stable")
    ordered = np.take_along_axis(filled, entry, axis=1)
    opens = np.ones(scores.shape, dtype=bool)
    opens[:, 1:] = ordered[:, :-1] - ordered[:, 1:] > tolerance * largest
    return Order(entry=entry, start=_last_true(opens), end=_next_true(opens))


def _last_true(opens: NDArray[np.bool_]) -> Integers:
    positions = np.arange(opens.shape[1])
    return np.maximum.accumulate(np.where(opens, positions, 0), axis=1)


def _next_true(opens: NDArray[np.bool_]) -> Integers:
    count = opens.shape[1]
    following = np.full(opens.shape, count)
    following[:, :-1] = np.where(opens[:, 1:], np.arange(1, count), count)
    return np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]


def places(scores: Floats) -> Integers:
    """1 + how many entries are better, ``[rows, entries]``; equal entries share a place, absent ones the last."""
    found = order(scores)
    result = np.empty(scores.shape, dtype=np.int64)
    np.put_along_axis(result, found.entry, found.start + 1, axis=1)
    return result


def award(scores: Floats, prizes: Sequence[int], ties: TieRule = TIE_RULE) -> Floats:
    """The points of one column.

    Args:
        scores: ``[rows, entries]``, higher is better, NaN where there is none.
        prizes: for the first place, the second, …; nothing below.
        ties: what equal scores get.

    Returns:
        ``[rows, entries]``; 0 for an absent score.
    """
    found = order(scores)
    count = scores.shape[1]
    by_place = np.zeros(count + 1)
    by_place[: min(len(prizes), count)] = prizes[:count]
    if ties == "best":
        shared = by_place[found.start]
    elif ties == "worst":
        shared = by_place[found.end - 1]
    else:
        sums = np.concatenate(([0.0], np.cumsum(by_place[:count])))
        shared = (sums[found.end] - sums[found.start]) / (found.end - found.start)
    result = np.empty(scores.shape)
    np.put_along_axis(result, found.entry, shared, axis=1)
    return np.where(np.isnan(scores), 0.0, result)
