"""How many weights a rank search leaves, from sizes alone: before a weight is read, and without running it.

everything fits     all of them, exactly
one rank at a time  (limit - one step of the largest linear, limit]       top-K, by error
whole rounds        (limit - the K largest steps, limit]                  top-K as the original ends it
one threshold       [every linear at its smallest share, limit]           ASVD's search
never               a limit below the smallest ranks: ``BudgetUnreachable``, as the search would say it
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.errors import BudgetUnreachable
from harness.methods import rank_search, ranks
from harness.methods.ranks import THRESHOLD_MINIMUM, count_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.methods.rank_search import TopKSettings
    from harness.methods.ranks import LinearSize


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightBounds:
    """Weights of all linears together after a search, both ends included."""

    least: int
    most: int

    @property
    def is_exact(self) -> bool:
        """Whether sizes alone decide."""
        return self.least == self.most


def bounds_of_top_k(linears: Sequence[LinearSize], weight_limit: int, settings: TopKSettings) -> WeightBounds:
    """Of ``rank_search.search_top_k``; raises ``BudgetUnreachable`` where its smallest shares are more."""
    walks = {linear.path: rank_search.possible_ranks(linear, settings) for linear in linears}
    least = _least(linears, {path: walk[-1] for path, walk in walks.items()}, weight_limit)
    if not settings.whole_rounds:
        return _close_to(linears, weight_limit, least, settings.multiple)
    drops = sorted(
        max((linear.weights(high) - linear.weights(low) for high, low in pairwise(walks[linear.path])), default=0)
        for linear in linears
    )
    return _bounds(linears, weight_limit, max(least, weight_limit - sum(drops[-settings.top_k :]) + 1))


def bounds_by_error(
    linears: Sequence[LinearSize], weight_limit: int, *, multiple: int = 1, minimum_fraction: float = 0.0
) -> WeightBounds:
    """Of ``ranks.ranks_by_error``, whatever the errors are; raises ``BudgetUnreachable`` as it does."""
    first = {linear.path: ranks.possible_ranks(linear, multiple, minimum_fraction)[0] for linear in linears}
    return _close_to(linears, weight_limit, _least(linears, first, weight_limit), multiple)


def bounds_by_threshold(
    linears: Sequence[LinearSize], weight_limit: int, fractions: Sequence[float], *, multiple: int = 1
) -> WeightBounds:
    """Of ``ranks.ranks_by_threshold`` with losses at ``fractions``; raises ``BudgetUnreachable`` as it does."""
    smallest = min(fraction for fraction in fractions if fraction >= THRESHOLD_MINIMUM)
    each = {linear.path: linear.rank_of(smallest, multiple) for linear in linears}
    return _bounds(linears, weight_limit, _least(linears, each, weight_limit))


def _close_to(linears: Sequence[LinearSize], weight_limit: int, least: int, multiple: int) -> WeightBounds:
    """Of a search that fills the limit up: no linear has room for one more step."""
    step = multiple * max((linear.rank_count for linear in linears), default=1)
    return _bounds(linears, weight_limit, max(least, weight_limit - step + 1))


def _bounds(linears: Sequence[LinearSize], weight_limit: int, least: int) -> WeightBounds:
    whole = count_weights(linears, {})
    if whole <= weight_limit:
        return WeightBounds(least=whole, most=whole)
    return WeightBounds(least=least, most=weight_limit)


def _least(linears: Sequence[LinearSize], smallest: ranks.Ranks, weight_limit: int) -> int:
    """Weights at the smallest ranks that a search may give."""
    least = count_weights(linears, smallest)
    if least > weight_limit:
        raise BudgetUnreachable(
            f"{weight_limit:,} weights of {len(linears)} linears cannot be reached by factorising them: the smallest "
            f"ranks that are tried leave {least:,}; raise the budget, or cut widths or vocabulary first"
        )
    return least
