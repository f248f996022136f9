"""How sure the order is: intervals on places, chances that one entry beats another, places that are shared.

    place     as the points have it                                       1  2  3  4
    interval  2.5 to 97.5 % of the replicates                             1-1  2-3  2-4  3-4
    shared    1 + how many entries are ahead in 97.5 % of the replicates  1  2  2  2

Two entries share a place where neither, nor who stands between, can be told apart from what is ahead of them: an entry
counts as ahead only with more points in at least 97.5 % of the replicates. For two equally good entries that happens in
at most 5 % of competitions, either way round (``bench/ranking.py`` measures it); nothing corrects for how many pairs
there are, so among many entries some pair is told apart by luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.ranking.rank_sum import Standing
    from harness.ranking.replicates import Replicates

ERROR: Final = 0.05
"""Two-sided, for each pair."""
PERCENTILES: Final = (100 * ERROR / 2, 100 * (1 - ERROR / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """How sure a standing is; arrays in its order."""

    place_low: NDArray[np.int64]
    """The better end of the interval on the place; the place itself lies within."""
    place_high: NDArray[np.int64]
    total_low: NDArray[np.float64]
    total_high: NDArray[np.float64]
    shared_places: NDArray[np.int64]
    beats: NDArray[np.floating]
    """``[entries, entries]``: share of the replicates in which the first has more points, half of the equal ones."""


def uncertainty_of(standing: Standing, replicates: Replicates) -> Uncertainty:
    """What ``replicates`` say of ``standing``."""
    ahead = _ahead(replicates)
    observed = standing.places
    low, high = _percentiles(replicates.places)
    total_low, total_high = _percentiles(replicates.totals)
    return Uncertainty(
        place_low=np.minimum(observed, np.floor(low)).astype(np.int64),
        place_high=np.maximum(observed, np.ceil(high)).astype(np.int64),
        total_low=np.minimum(standing.totals, total_low),
        total_high=np.maximum(standing.totals, total_high),
        shared_places=shared_places(ahead),
        beats=(ahead + (1 - ahead.T)) / 2,
    )


def shared_places(ahead: NDArray[np.float32]) -> NDArray[np.int64]:
    """1 + how many entries are confidently ahead, ``[entries]``.

    Args:
        ahead: ``[entries, entries]``, share of the replicates in which the first is strictly ahead of the second.
    """
    confident = ahead >= 1 - ERROR / 2
    np.fill_diagonal(confident, val=False)
    found: NDArray[np.int64] = 1 + confident.sum(axis=0, dtype=np.int64)
    return found


def _ahead(replicates: Replicates) -> NDArray[np.float32]:
    totals = np.ascontiguousarray(replicates.totals)
    count, entries = totals.shape
    found = np.zeros((entries, entries), dtype=np.float32)
    for other in range(entries):
        found[:, other] = np.count_nonzero(totals > totals[:, other : other + 1], axis=0) / max(count, 1)
    return found


def _percentiles(values: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends, at values that were drawn: the lower from below, the upper from above."""
    if values.shape[1] == 0:
        return np.zeros(0), np.zeros(0)
    ordered = np.sort(values, axis=0).astype(np.float64)
    last = len(ordered) - 1
    low, high = (percentile / 100 * last for percentile in PERCENTILES)
    return ordered[int(np.floor(low))], ordered[int(np.ceil(high))]
