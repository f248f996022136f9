"""How many units each layer keeps when all layers compete: ladders of legal widths, climbed as far as a limit goes.

    layer 0   128 ─> 256 ─> 384 ─> 500          a ladder: widths that are multiples, and the layer's own
    layer 1   128 ─> 256 ─> ...                 a step up is worth the mean score of the units that it brings
    order     1, 0, 1, 1, 0, ...                every step of every ladder, the worthiest first
    climb     the longest beginning of the order within the limit, then each later step that still fits

A layer's units come best first, so that steps of one ladder fall in worth and climbing never skips one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from harness.errors import BudgetUnreachable
from harness.methods.selection import keep_top, legal_widths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

Normalization = Literal["none", "mean", "norm"]
"""Of one layer's scores before they are compared with another's. ``none``: as they are, right for scores that estimate
a loss. ``mean``: divided by their mean. ``norm``: by their L2 norm (Molchanov et al. 2017)."""

DEFAULT_MULTIPLE: Final = 128
"""Widths that are multiples of it run fastest on the devices that the models are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The widths that one layer may have along one axis."""

    widths: tuple[int, ...]
    """Ascending; the last is what the layer has."""
    worth: tuple[float, ...]
    """Of each step from a width to the next: mean score of the units it brings."""


def keep_across(
    scores: Sequence[NDArray[Any]],
    unit_count: int,
    *,
    normalization: Normalization = "none",
    multiple: int = DEFAULT_MULTIPLE,
    minimum_fraction: float = 0.0,
) -> list[NDArray[np.int64]]:
    """The units that stay when at most ``unit_count`` of all layers together may, ascending, one array a layer.

    No more units could be kept: whichever layer were to get its next legal width, there would be too many.

    Args:
        scores: Of each layer ``[units]``, finite; higher stays.
        unit_count: Units of all layers together, at most.
        normalization: Before layers are compared.
        multiple: A layer keeps a multiple of it, or all of its units.
        minimum_fraction: Share of its units that every layer keeps at least, 0..1; one legal width in any case.

    Raises:
        ValueError: no layers, a score that is not finite, or an option out of range.
        BudgetUnreachable: the smallest legal widths are more units than that; the message has their number.
    """
    ladders = [
        make_ladder(each, multiple=multiple, minimum_fraction=minimum_fraction)
        for each in normalized(scores, normalization)
    ]

    def units(climbed: Mapping[int, int]) -> int:
        return sum(ladder.widths[climbed.get(number, 0)] for number, ladder in enumerate(ladders))

    climbed = climb(by_worth(ladders), units, unit_count)
    if climbed is None:
        raise BudgetUnreachable(
            f"{unit_count:,} units of all {len(ladders)} layers cannot be reached: the smallest legal widths are "
            f"{units({}):,} units; ask for more, or lower multiple ({multiple}) or minimum_fraction"
        )
    return [
        keep_top(each, ladder.widths[climbed[n]]) for n, (each, ladder) in enumerate(zip(scores, ladders, strict=True))
    ]


def normalized(scores: Sequence[NDArray[Any]], normalization: Normalization) -> list[NDArray[np.float64]]:
    """Every layer's scores, divided as asked; a layer whose scores are all zero stays so.

    Raises:
        ValueError: no layers, or a score that is not finite.
    """
    if not scores or not all(np.isfinite(each).all() for each in scores):
        raise ValueError("scores must be finite, of at least one layer")
    if normalization == "none":
        return [each.astype(np.float64) for each in scores]
    divisors = [np.abs(each).mean() if normalization == "mean" else np.linalg.norm(each) for each in scores]
    return [each / (divisor or 1.0) for each, divisor in zip(scores, divisors, strict=True)]


def make_ladder(scores: NDArray[Any], *, multiple: int, minimum_fraction: float = 0.0) -> Ladder:
    """The legal widths of a layer with these ``scores``, and what each step up is worth.

    Raises:
        ValueError: an option is out of range.
    """
    if multiple < 1 or not 0 <= minimum_fraction <= 1:
        raise ValueError(
            f"multiple must be at least 1 and minimum_fraction in 0..1, got {multiple} and {minimum_fraction}"
        )
    least = math.ceil(minimum_fraction * len(scores))
    widths = tuple(width for width in legal_widths(len(scores), multiple) if width >= least)
    best_first = np.sort(scores)[::-1]
    return Ladder(widths=widths, worth=tuple(float(best_first[low:high].mean()) for low, high in pairwise(widths)))


def by_worth(ladders: Sequence[Ladder], unit_costs: Sequence[float] | None = None) -> tuple[int, ...]:
    """The order of steps: the ladder that each belongs to, the most worth for its cost first, then the lower ladder.

    Args:
        ladders: Of every layer and axis.
        unit_costs: What one unit of each ladder costs; None: all the same.
    """
    costs = unit_costs or [1.0] * len(ladders)
    steps = [(-worth / costs[number], number) for number, ladder in enumerate(ladders) for worth in ladder.worth]
    return tuple(number for _, number in sorted(steps))


def climb(order: Sequence[int], cost: Callable[[Mapping[int, int]], int], limit: int) -> Counter[int] | None:
    """Steps taken on each ladder, as many in ``order`` as ``limit`` allows; None where it does not allow the lowest.

    What comes out costs at most ``limit``, and with one more step on any ladder it would cost more.

    Args:
        order: The ladder of each step, the steps of one in the order in which it is climbed.
        cost: Of the steps taken; grows with each, and by no less when others have been taken before.
        limit: The most that it may be.
    """
    fitting = bisect_right(range(len(order) + 1), limit, key=lambda count: cost(Counter(order[:count])))
    if fitting == 0:
        return None
    climbed = Counter(order[: fitting - 1])
    _climb_on(order[fitting - 1 :], climbed, cost, limit)
    return climbed


def _climb_on(
    order: Iterable[int], climbed: Counter[int], cost: Callable[[Mapping[int, int]], int], limit: int
) -> None:
    """Take, in ``climbed``, every step that still fits; a ladder is done with the first that does not."""
    done: set[int] = set()
    for number in order:
        if number in done:
            continue
        climbed[number] += 1
        if cost(climbed) > limit:
            climbed[number] -= 1
            done.add(number)
