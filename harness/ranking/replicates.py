"""The ranking again, many times over: on items drawn anew, each drawn for all entries at once.

    paired      items of each subset drawn with replacement, the same ones for every entry that has them
    unpaired    the share drawn from what k of n leave open: Beta(k + 1/2, n - k + 1/2), by itself
    throughput  the repeats of each model drawn with replacement, their median, the mean over the models

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.ranking.pairing import pair, shares
from harness.ranking.points import award, places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from harness.ranking.pairing import Paired, Unpaired
    from harness.ranking.rank_sum import Standing

    Floats = NDArray[np.float64]

REPLICATES: Final = 1000
DECIMALS: Final = 6
"""Of points."""
CHUNK: Final = 250
"""Replicates at once: bounds the memory for drawn items to 4 bytes an item each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicates:
    """What came out of them."""

    totals: NDArray[np.float32]
    """``[replicates, entries]``."""
    places: NDArray[np.int32]
    """``[replicates, entries]``."""


def replicate(standing: Standing, *, seed: int, count: int = REPLICATES) -> Replicates:
    """Rank ``count`` times on drawn items; the same seed gives the same replicates."""
    totals = np.zeros((count, len(standing.entrants)))
    for number, column in enumerate(standing.columns):
        if column.weight == 0 or not standing.entrants:
            continue
        # A stream of its own: a column that is added or left out moves no draw of another one.
        generator = np.random.default_rng([seed, *column.name.encode()])
        for rows, scores in _column(standing, number, generator, count):
            totals[rows] += column.weight * award(scores, standing.prizes)
    # Equal totals are equal, in whatever order their points were added up.
    totals = np.round(totals, DECIMALS)
    return Replicates(totals=totals.astype(np.float32), places=places(totals).astype(np.int32))


def _column(
    standing: Standing, number: int, generator: np.random.Generator, count: int
) -> Iterator[tuple[slice, Floats]]:
    column = standing.columns[number]
    stated = standing.scores[:, number]
    if not column.is_task:
        yield slice(0, count), _throughput(standing, stated, generator, count)
        return
    paired, unpaired = pair(standing.entrants, column, stated)
    for start in range(0, count, CHUNK):
        rows = slice(start, min(start + CHUNK, count))
        scores = np.repeat(stated[None] / column.scale, rows.stop - rows.start, axis=0)
        if paired is not None:
            scores[:, paired.entries] = shares(paired, _drawn(paired, generator, len(scores)))
        scores[:, unpaired.entries] = _beta(unpaired, generator, len(scores))
        yield rows, scores


def _drawn(paired: Paired, generator: np.random.Generator, count: int) -> NDArray[np.float32]:
    """How often each item is drawn, ``[count, items]``; each subset keeps its size."""
    weights = np.empty((count, sum(paired.subset_sizes)), dtype=np.float32)
    rows = np.arange(count)[:, None]
    for start, end in paired.bounds:
        size = end - start
        drawn = generator.integers(0, size, size=(count, size)) + rows * size
        weights[:, start:end] = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
    return weights


def _beta(unpaired: Unpaired, generator: np.random.Generator, count: int) -> Floats:
    items = np.maximum(unpaired.item_count, 1)
    right = unpaired.share * items
    drawn = generator.beta(right + 0.5, items - right + 0.5, size=(count, len(items)))
    return np.where(unpaired.item_count > 0, drawn, unpaired.share)


def _throughput(standing: Standing, stated: Floats, generator: np.random.Generator, count: int) -> Floats:
    scores = np.repeat(stated[None], count, axis=0)
    for number, entrant in enumerate(standing.entrants):
        if entrant.throughput_samples and all(entrant.throughput_samples) and not np.isnan(stated[number]):
            scores[:, number] = _medians(entrant.throughput_samples, generator, count)
    return scores


def _medians(samples: Sequence[Sequence[float]], generator: np.random.Generator, count: int) -> Floats:
    each = [
        np.median(np.asarray(repeats)[generator.integers(0, len(repeats), size=(count, len(repeats)))], axis=1)
        for repeats in samples
    ]
    mean: Floats = np.mean(each, axis=0)
    return mean
