"""How the parameters that a model may have are shared out among its linears as ranks.

    uniform      every linear keeps the same share of its parameters                                 nothing measured
    by error     the rank that lowers the summed output error most for its parameters comes next     factorisations
    binary       ASVD: one threshold on the loss that each linear at each share causes alone         forward passes
    (top-k       NICS: a little from the linears that mind least, again and again: ``harness.methods.rank_search``)

A rank of None is dense. Ranks whose factors would have more weights than the matrix are never given: dense is better.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from harness.errors import BudgetUnreachable
from harness.methods.low_rank import break_even_rank, rank_of_fraction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Ranks: TypeAlias = "dict[str, int | None]"
"""Of each linear, by path; None where it stays dense."""
THRESHOLD_MINIMUM: Final = 0.4
"""Smallest share that ASVD's search may give (NICS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSize:
    """A linear that may be factorised."""

    path: str
    out_count: int
    in_count: int

    @property
    def dense_count(self) -> int:
        """Weights as one matrix."""
        return self.out_count * self.in_count

    @property
    def rank_count(self) -> int:
        """Weights of one rank."""
        return self.out_count + self.in_count

    @property
    def largest_rank(self) -> int:
        """The largest rank that saves anything, at least 1."""
        return max(1, break_even_rank(self.out_count, self.in_count))

    def weights(self, rank: int | None) -> int:
        """Weights at ``rank``."""
        return self.dense_count if rank is None else rank * self.rank_count

    def rank_of(self, fraction: float, multiple: int = 1) -> int | None:
        """The rank that keeps ``fraction`` of the weights, rounded up to a multiple; None where that saves nothing."""
        if fraction >= 1:
            return None
        rank = rank_of_fraction(self.out_count, self.in_count, fraction)
        rounded = -(-rank // multiple) * multiple
        return rounded if rounded <= self.largest_rank else None


def count_weights(linears: Sequence[LinearSize], ranks: Mapping[str, int | None]) -> int:
    """Weights of all ``linears`` at ``ranks``; those that it does not name are dense."""
    return sum(linear.weights(ranks.get(linear.path)) for linear in linears)


def uniform_ranks(linears: Sequence[LinearSize], weight_limit: int, *, multiple: int = 1) -> Ranks:
    """The same share of its weights for every linear, as large as ``weight_limit`` allows.

    Raises:
        BudgetUnreachable: one rank each is more already.
    """
    fractions = sorted({(r * s.rank_count) / s.dense_count for s in linears for r in range(1, s.largest_rank + 1)})

    def ranks_at(place: int) -> Ranks:
        if place == len(fractions):
            return {linear.path: None for linear in linears}
        # A rank's own share must give that rank back, whatever the division rounds to.
        return {linear.path: linear.rank_of(fractions[place] * (1 + 1e-12), multiple) for linear in linears}

    low, high = 0, len(fractions) + 1
    while low < high:
        middle = (low + high) // 2
        if count_weights(linears, ranks_at(middle)) <= weight_limit:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        raise _unreachable(linears, weight_limit, count_weights(linears, ranks_at(0)))
    return ranks_at(low - 1)


def ranks_by_error(
    linears: Sequence[LinearSize],
    weight_limit: int,
    errors: Mapping[str, NDArray[np.float64]],
    *,
    multiple: int = 1,
    minimum_fraction: float = 0.0,
) -> Ranks:
    """Ranks that lower the sum of ``errors`` most for their weights, as many as ``weight_limit`` allows.

    The error of a linear falls with its rank, and each rank by no more than the one before (singular values are
    sorted), so taking the best next step is optimal but for the last one.

    Args:
        linears: That may be factorised.
        weight_limit: Weights of all of them together, at most.
        errors: By path, of every rank from 0 on, on one scale; dense has none.
        multiple: Ranks are multiples of it.
        minimum_fraction: Share of its weights that every linear keeps at least.

    Raises:
        BudgetUnreachable: the smallest ranks are more already.
    """
    ladders = {linear.path: possible_ranks(linear, multiple, minimum_fraction) for linear in linears}
    sizes = {linear.path: linear for linear in linears}
    places = dict.fromkeys(ladders, 0)
    used = sum(sizes[path].weights(ladder[0]) for path, ladder in ladders.items())
    if used > weight_limit:
        raise _unreachable(linears, weight_limit, used)

    def step(path: str) -> tuple[float, str, int] | None:
        ladder, place = ladders[path], places[path]
        if place + 1 == len(ladder):
            return None
        cost = sizes[path].weights(ladder[place + 1]) - sizes[path].weights(ladder[place])
        gain = _error(errors[path], ladder[place]) - _error(errors[path], ladder[place + 1])
        return (-gain / max(cost, 1), path, cost)

    heap = [found for path in sorted(ladders) if (found := step(path)) is not None]
    heapq.heapify(heap)
    while heap:
        _, path, cost = heapq.heappop(heap)
        if used + cost > weight_limit:
            continue
        used += cost
        places[path] += 1
        found = step(path)
        if found is not None:
            heapq.heappush(heap, found)
    return {path: ladder[places[path]] for path, ladder in ladders.items()}


def even_ranks(linears: Sequence[LinearSize], weight_limit: int, *, multiple: int = 1) -> Ranks:
    """Shares as even as ``uniform_ranks`` has them, and what that leaves of ``weight_limit`` handed out as well.

    Raises:
        BudgetUnreachable: the smallest ranks are more already.
    """
    shares = {each.path: np.arange(each.largest_rank + 1) * each.rank_count / each.dense_count for each in linears}
    # With this error a weight is worth the more, the smaller its linear's share is.
    errors = {each.path: each.dense_count * np.square(1.0 - shares[each.path]) for each in linears}
    return ranks_by_error(linears, weight_limit, errors, multiple=multiple)


def ranks_by_threshold(
    linears: Sequence[LinearSize],
    weight_limit: int,
    losses: Mapping[str, Mapping[float, float]],
    *,
    minimum_fraction: float = THRESHOLD_MINIMUM,
    multiple: int = 1,
) -> Ranks:
    """ASVD's search: of all pairs of a linear and a share, those whose loss is under one threshold may be used.

    Every linear gets the smallest share that it may have; the threshold is the lowest that the limit allows, found by
    bisection over the pairs sorted by loss.

    Args:
        linears: That may be factorised.
        weight_limit: Weights of all of them together, at most.
        losses: By path and share, with that linear alone factorised.
        minimum_fraction: Smaller shares are left out.
        multiple: Ranks are multiples of it.

    Raises:
        BudgetUnreachable: the smallest shares of all are more already.
    """
    entries = sorted(
        (-loss, path, fraction)
        for path, by_fraction in losses.items()
        for fraction, loss in by_fraction.items()
        if fraction >= minimum_fraction
    )

    def ranks_after(cut: int) -> Ranks:
        shares: dict[str, float] = {}
        for _, path, fraction in entries[cut:]:
            shares[path] = min(fraction, shares.get(path, 1.0))
        return {linear.path: linear.rank_of(shares.get(linear.path, 1.0), multiple) for linear in linears}

    low, high = 0, len(entries) + 1
    while low < high:
        middle = (low + high) // 2
        if count_weights(linears, ranks_after(middle)) <= weight_limit:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        raise _unreachable(linears, weight_limit, count_weights(linears, ranks_after(0)))
    return ranks_after(low - 1)


def possible_ranks(linear: LinearSize, multiple: int, minimum_fraction: float) -> list[int | None]:
    """Ranks that ``ranks_by_error`` may give a linear, ascending, then dense."""
    least = max(1, rank_of_fraction(linear.out_count, linear.in_count, minimum_fraction)) if minimum_fraction else 1
    first = -(-least // multiple) * multiple
    return [*range(first, linear.largest_rank + 1, multiple), None]


def _error(errors: NDArray[np.float64], rank: int | None) -> float:
    return 0.0 if rank is None else float(errors[min(rank, len(errors) - 1)])


def _unreachable(linears: Sequence[LinearSize], limit: int, least: int) -> BudgetUnreachable:
    return BudgetUnreachable(
        f"{limit:,} weights of {len(linears)} linears cannot be reached by factorising them: the smallest ranks leave "
        f"{least:,}; raise the budget, or cut widths or vocabulary first"
    )
