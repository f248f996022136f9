"""The grid that float values stand on by themselves, before any quantisation: its spacing, and what it can hold.

    binade  |    2^e … 2^(e+1)    |  2^(precision - 1) numbers, evenly spaced
            |---|---|---|---|---|-|

A tensor that was once BF16 has 8 significant bits, whatever it is stored in. Such a grid is a lattice binade by binade;
it must not be mistaken for one of a quantiser, which has the same step from zero to its largest value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float32]
    Counts = NDArray[np.int64]

BF16_PRECISION: Final = 8
F16_PRECISION: Final = 11
F32_PRECISION: Final = 24
F16_SMALLEST: Final = 2.0**-24
"""Spacing of FP16 below its smallest normal number: there it has one lattice of its own."""
_FRACTION_BITS: Final = 23
_FEW: Final = 4
_EXCEPTIONS: Final = 1e-3
"""Share of values that may have more bits than the others, e.g. rows that were added later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How finely values can stand."""

    precision: int
    """Significant bits, the leading one included."""
    smallest: float
    """No two numbers are closer than this."""

    def spacing(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance from each of ``values`` to the next number."""
        _, exponents = np.frexp(values)
        spacing: NDArray[np.float64] = np.ldexp(1.0, exponents - self.precision)
        return np.maximum(spacing, self.smallest)


def grid_of(values: Values, dtype: str) -> Grid:
    """The coarsest of the grids of BF16, FP16 and FP32 on which ``values``, stored as ``dtype``, stand."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    precision = F32_PRECISION
    for candidate in (BF16_PRECISION, F16_PRECISION):
        finer = bits & np.uint32((1 << (_FRACTION_BITS + 1 - candidate)) - 1)
        if np.count_nonzero(finer) <= _EXCEPTIONS * bits.size:
            precision = candidate
            break
    return Grid(precision=precision, smallest=F16_SMALLEST if dtype == "F16" or _was_half(values, precision) else 0.0)


def _was_half(values: Values, precision: int) -> bool:
    """Whether ``values`` may have been FP16 before: then the small ones have its lattice."""
    multiples = values.astype(np.float64) / F16_SMALLEST
    return precision < F32_PRECISION and bool((multiples == np.rint(multiples)).all())


def expected_distinct(values: Values, grid: Grid) -> float:
    """How many different values so many that are smoothly spread would have.

    Within a binade, ``n`` values that fall evenly on ``m`` numbers take ``m (1 - (1 - 1/m)^n)`` of them. The first and
    the last binade of each sign reach only as far as there are values, since pruning cuts the one short and the
    distribution's end the other; very few different values say nothing of where others could be.

    Args:
        values: flat, none of them zero.
        grid: where they can stand.
    """
    distinct, counts = np.unique(values, return_counts=True)
    return sum(
        _expected(*part, grid, whole=len(distinct) <= _FEW) for part in _by_sign(distinct, counts) if len(part[0])
    )


def _by_sign(distinct: Values, counts: Counts) -> tuple[tuple[Values, Counts], ...]:
    """Magnitudes, ascending, and how often each is there, of the negative and of the positive values."""
    first = int(np.searchsorted(distinct, 0))
    return (-distinct[:first][::-1], counts[:first][::-1]), (distinct[first:], counts[first:])


def _expected(magnitudes: Values, counts: Counts, grid: Grid, *, whole: bool) -> float:
    """The part of ``expected_distinct`` that one sign makes; ``whole``: all binades reach from end to end."""
    exponents = np.frexp(magnitudes)[1].astype(np.int64)
    starts = np.flatnonzero(np.diff(exponents, prepend=exponents[0] - 1))
    low, high = np.ldexp(1.0, exponents[starts] - 1), np.ldexp(1.0, exponents[starts])
    spacing = grid.spacing(low)
    if not whole:
        low[0], high[-1] = magnitudes[0], magnitudes[-1] + spacing[-1]
    room = np.maximum((high - low) / spacing, 1 + 1e-9)
    return float(-(room * np.expm1(np.add.reduceat(counts, starts) * np.log1p(-1 / room))).sum())
