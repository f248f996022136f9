"""Which units stay, and how many the parameter budget leaves.

scores [units] ──keep_top──> kept units, ascending
budget ──solve_budget──> (KV groups, intermediate channels), the same in every layer
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import BudgetUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """The widths of every layer."""

    kv_groups: int
    intermediate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthSearch:
    """What may be searched: the base's widths and what is legal."""

    base: Widths
    round_to: int
    """The intermediate width is a multiple of this, or the base's own."""
    cut_kv_groups: bool
    cut_intermediate: bool
    count: Callable[[Widths], int]
    """Parameters of the model at these widths; grows with either."""
    is_legal: Callable[[Widths], bool]
    """Whether the model can have these widths at all."""


def keep_top(scores: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The ``count`` units with the highest ``scores``, ascending; of equal scores the lower unit stays.

    Args:
        scores: ``[units]``, finite.
        count: units to keep.

    Raises:
        ValueError: ``count`` is not in 1..units, or a score is not finite.
    """
    if not 1 <= count <= len(scores):
        raise ValueError(f"count must be in 1..{len(scores)}, got {count}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    order = np.argsort(-scores, kind="stable")
    return np.sort(order[:count]).astype(np.int64)


def solve_budget(search: WidthSearch, budget: int) -> Widths:
    """The widest legal model of at most ``budget`` parameters whose axes are cut by nearly the same share.

    For every legal number of KV groups, the largest intermediate width that fits is found exactly. Of these, the pair
    whose kept shares differ least is taken; if several do, the one with the most parameters.

    Raises:
        BudgetUnreachable: no legal pair is within ``budget``; the message has the smallest reachable count.
    """
    fitting = [widths for groups in _group_counts(search) if (widths := _widest(search, groups, budget)) is not None]
    if not fitting:
        raise BudgetUnreachable(_unreachable(search, budget))
    return min(fitting, key=lambda widths: (_imbalance(search, widths), -search.count(widths)))


def legal_widths(base: int, round_to: int) -> tuple[int, ...]:
    """Intermediate widths up to ``base``, ascending: multiples of ``round_to``, and ``base`` itself."""
    return (*range(round_to, base, round_to), base)


def _group_counts(search: WidthSearch) -> range:
    groups = search.base.kv_groups
    return range(1, groups + 1) if search.cut_kv_groups else range(groups, groups + 1)


def _candidates(search: WidthSearch, groups: int) -> list[Widths]:
    """Legal widths with ``groups`` KV groups, ascending."""
    base = search.base.intermediate
    widths = legal_widths(base, search.round_to) if search.cut_intermediate else (base,)
    pairs = [Widths(kv_groups=groups, intermediate=width) for width in widths]
    return [pair for pair in pairs if search.is_legal(pair)]


def _widest(search: WidthSearch, groups: int, budget: int) -> Widths | None:
    """By bisection: the count grows with the width."""
    candidates = _candidates(search, groups)
    low, high = 0, len(candidates)
    while low < high:
        middle = (low + high) // 2
        if search.count(candidates[middle]) <= budget:
            low = middle + 1
        else:
            high = middle
    return candidates[low - 1] if low else None


def _imbalance(search: WidthSearch, widths: Widths) -> float:
    """How far apart the kept shares of both axes are; 0 where only one axis may be cut."""
    if not (search.cut_kv_groups and search.cut_intermediate):
        return 0.0
    return math.fabs(widths.kv_groups / search.base.kv_groups - widths.intermediate / search.base.intermediate)


def _other_axis(search: WidthSearch) -> str:
    return "" if search.cut_kv_groups and search.cut_intermediate else ", or cut the other axis as well"


def _unreachable(search: WidthSearch, budget: int) -> str:
    smallest = [pairs[0] for groups in _group_counts(search) if (pairs := _candidates(search, groups))]
    if not smallest:
        return f"no legal widths at all within the base's {search.base.kv_groups} KV groups"
    least = min(smallest, key=search.count)
    return (
        f"the parameter budget of {budget:,} cannot be reached: the smallest legal shape has {search.count(least):,} "
        f"({least.kv_groups} KV groups, intermediate size {least.intermediate}); raise the budget{_other_axis(search)}"
    )
