"""Which entries nobody beats in everything: more score, less memory, more throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.ranking.rank_sum import Standing


def front(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether a row is on the front: no other row is at least as good in every column and better in one.

    Args:
        values: ``[entries, criteria]``, higher is better; a row with a NaN is compared with nobody and is not on it.
    """
    known = ~np.isnan(values).any(axis=1)
    found = np.zeros(len(values), dtype=bool)
    rivals = values[known]
    for row in np.flatnonzero(known):
        as_good = (rivals >= values[row]).all(axis=1)
        better = (rivals > values[row]).any(axis=1)
        found[row] = not (as_good & better).any()
    return found


def criteria(standing: Standing) -> NDArray[np.float64]:
    """Score, memory and throughput of every entry, ``[entries, 3]``, higher is better.

    The score is the mean over the ranked tasks as shares of a perfect model; NaN where an entry lacks one. Memory is
    the peak of the model that needs most, negative, in bytes. Where nobody has a throughput it is the same for all.
    """
    speed = [one.throughput.value if one.throughput else np.nan for one in standing.entrants]
    if all(np.isnan(speed)):
        speed = [0.0] * len(speed)
    memory = [-one.peak_memory.value if one.peak_memory else np.nan for one in standing.entrants]
    return np.array([mean_shares(standing), memory, speed], dtype=np.float64).T


def mean_shares(standing: Standing) -> Sequence[float]:
    """The mean over the ranked tasks as shares, 0 to 1; NaN where an entry lacks one."""
    tasks = [number for number, column in enumerate(standing.columns) if column.is_task and column.weight]
    scales = np.array([standing.columns[number].scale for number in tasks])
    found: list[float] = (standing.scores[:, tasks] / scales).mean(axis=1).tolist() if tasks else []
    return found
