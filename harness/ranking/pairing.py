"""Items side by side: for each task the entries that answered the same items, so that they are resampled together.

    task      items   entries with these very items      the others
    gsm8k      1319   A B D   right [items, 3]           C: 311 of 1319, by itself
    bbh        6511   A D     right [items, 2]           B, C

A score is a mean over subsets of the share of right answers, averaged over the models; items are what is sampled.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.ranking.columns import Column
    from harness.ranking.entrant import Entrant, Items

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The entries of one column that share their items."""

    entries: NDArray[np.int64]
    """Which ones, ascending."""
    subset_sizes: tuple[int, ...]
    right: NDArray[np.uint8]
    """``[models, items, entries]``; where the metric leaves nothing out one row, summed over the models."""
    counted: NDArray[np.bool_] | None
    """The same shape; None where the metric leaves nothing out."""
    model_count: int

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """First item and item after the last, of each subset."""
        ends = np.cumsum(self.subset_sizes)
        return tuple(zip((ends - self.subset_sizes).tolist(), ends.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaired:
    """The entries of one column that have a score and none of the shared items."""

    entries: NDArray[np.int64]
    share: Floats
    """0 to 1."""
    item_count: NDArray[np.int64]
    """0 where it is not known: such a score is taken as it is."""


def pair(entrants: Sequence[Entrant], column: Column, scores: Floats) -> tuple[Paired | None, Unpaired]:
    """Who shares items in ``column``: the largest group with the same items; of equal groups the first.

    Args:
        entrants: the ranked ones.
        column: a task.
        scores: ``[entries]`` of that column, NaN where there is none.
    """
    together = sharing(entrants, column.name)
    alone = [number for number in range(len(entrants)) if number not in set(together) and not np.isnan(scores[number])]
    counts = [entrants[number].item_counts.get(column.name, 0) for number in alone]
    unpaired = Unpaired(
        entries=np.array(alone, dtype=np.int64),
        share=np.clip(scores[alone] / column.scale, 0.0, 1.0),
        item_count=np.array(counts, dtype=np.int64),
    )
    items = [entrants[number].items[column.name] for number in together]
    return (_stacked(together, items) if together else None), unpaired


def sharing(entrants: Sequence[Entrant], task: str) -> list[int]:
    """Which entries have the same items of ``task``, the largest group; one entry alone is a group too."""
    items = {number: one.items[task] for number, one in enumerate(entrants) if task in one.items}
    groups = Counter((one.key, len(one.right)) for one in items.values())
    chosen = groups.most_common(1)[0][0] if groups else None
    return [number for number, one in items.items() if (one.key, len(one.right)) == chosen]


def _stacked(entries: Sequence[int], items: Sequence[Items]) -> Paired:
    leaves_out = any(not one.counted.all() for one in items)
    rows = [one.right if leaves_out else one.right.sum(axis=0, keepdims=True, dtype=np.uint8) for one in items]
    return Paired(
        entries=np.array(entries, dtype=np.int64),
        subset_sizes=items[0].subset_sizes,
        right=np.stack(rows, axis=2),
        counted=np.stack([one.counted for one in items], axis=2) if leaves_out else None,
        model_count=len(items[0].right),
    )


def shares(paired: Paired, weights: NDArray[np.float32]) -> Floats:
    """The scores as shares under each row of ``weights``: how often an item was drawn.

    Args:
        paired: ``entries`` of one column.
        weights: ``[rows, items]``, whole numbers.

    Returns:
        ``[rows, entries]``, 0 to 1. Equal counts of right answers make equal shares, to the last bit of a subset.
    """
    total = np.zeros((len(weights), len(paired.entries)))
    for start, end in paired.bounds:
        total += _of_subset(paired, weights[:, start:end], start, end)
    return total / len(paired.subset_sizes)


def _of_subset(paired: Paired, weights: NDArray[np.float32], start: int, end: int) -> Floats:
    """The mean over the models. Sums of whole numbers below 2**24 are exact in float32."""
    right = (weights @ rows[start:end].astype(np.float32) for rows in paired.right)
    if paired.counted is None:
        drawn = weights.sum(axis=1, keepdims=True, dtype=np.float64)
        whole: Floats = sum(right) / (drawn * paired.model_count)
        return whole
    counted = (weights @ rows[start:end].astype(np.float32) for rows in paired.counted)
    each = (
        np.divide(one, drawn, out=np.zeros(one.shape), where=drawn > 0)
        for one, drawn in zip(right, counted, strict=True)
    )
    mean: Floats = sum(each) / np.float64(paired.model_count)
    return mean
