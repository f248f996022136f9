"""Whether a few values lie on one lattice: ``offset + step * q``, with at most 256 whole numbers ``q``.

    values     |   |       |   | |         |          different ones, ascending
    lattice    .   .   .   .   . . .   .   .          step = (last - first) / k,  k = 1 … 255

The smallest and the largest value are lattice points, so the step has at most 255 candidates. A second search takes
zero for a lattice point and one value of middling size for another: small values are stored more finely, so it still
sees a lattice of 8 bits after BF16 has rounded it.

A candidate fits if every value lies within its own rounding of a point, each on another one. ``evidence`` is how
unlikely that is for values that fall anywhere, in decades: each of them hits by chance with twice its tolerance by the
step; the number of candidates is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.validation.smuggling.grid import BF16_PRECISION, F16_PRECISION, F32_PRECISION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.validation.smuggling.grid import Grid

MAX_STEPS: Final = 255
"""Of a lattice of 8 bits, from its first point to its last."""
MIN_DISTINCT: Final = 4
_SLACK: Final = {BF16_PRECISION: 1.6, F16_PRECISION: 1.6, F32_PRECISION: 8.0}
"""Roundings that a value may have behind it, by its precision; there is room for many where the spacing is fine."""
_FIRST_LOOK: Final = 10
"""Values that a candidate is tried on first; hardly any wrong one survives."""
_PRIOR: Final = float(np.log10(np.log(MAX_STEPS)))
_REFERENCE: Final = 0.25
"""Size of the value that the second search takes for a point, by the largest: rounded finely, still many steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A lattice that values lie on."""

    step: float
    steps: int
    """From the smallest to the largest value."""
    evidence: float
    """Decades by which chance is unlikely to place the values so."""

    @property
    def bits(self) -> int:
        """Bits that number the points that were seen."""
        return self.steps.bit_length()


def fit(distinct: NDArray[np.float64], grid: Grid) -> Fit | None:
    """The likeliest lattice of ``distinct`` values, none of them zero, ascending; None where no candidate fits."""
    if len(distinct) < MIN_DISTINCT:
        return None
    found = [one for one in (_from_ends(distinct, grid), _from_zero(distinct, grid)) if one is not None]
    return max(found, key=lambda one: one.evidence, default=None)


def _from_ends(distinct: NDArray[np.float64], grid: Grid) -> Fit | None:
    """The lattice between the smallest and the largest value; zero need not be on it."""
    span = distinct[-1] - distinct[0]
    share = (distinct - distinct[0]) / span
    spacing = grid.spacing(distinct)
    tolerance = spacing + (1 - share) * spacing[0] + share * spacing[-1]
    inner = slice(1, -1)
    return _best(distinct[inner] - distinct[0], _SLACK[grid.precision] / 2 * tolerance[inner], span, MAX_STEPS, span)


def _from_zero(distinct: NDArray[np.float64], grid: Grid) -> Fit | None:
    """The lattice through zero and a value of middling size."""
    magnitudes = np.unique(np.abs(distinct))
    largest = magnitudes[-1]
    place = max(int(np.searchsorted(magnitudes, _REFERENCE * largest, side="right")) - 1, 0)
    reference = magnitudes[place]
    others = np.delete(magnitudes, place)
    tolerance = grid.spacing(others) + others / reference * grid.spacing(reference)
    most = int(MAX_STEPS * reference / largest + 0.5)
    return _best(others, _SLACK[grid.precision] / 2 * tolerance, reference, most, distinct[-1] - min(distinct[0], 0.0))


def _best(
    offsets: NDArray[np.float64], tolerance: NDArray[np.float64], length: float, most: int, span: float
) -> Fit | None:
    """The best of the steps ``length / 1`` to ``length / most`` of which every offset is a whole number."""
    if most < 1 or not len(offsets):
        return None
    counts = np.arange(1, most + 1)
    first = np.linspace(0, len(offsets) - 1, min(_FIRST_LOOK, len(offsets))).astype(int)
    counts = counts[_hits(offsets[first], tolerance[first], length / counts).all(axis=0)]
    counts = counts[_hits(offsets, tolerance, length / counts).all(axis=0)]
    return _likeliest(offsets, tolerance, length / counts, counts, span)


def _hits(
    offsets: NDArray[np.float64], tolerance: NDArray[np.float64], steps: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which offsets are multiples of which steps: ``[offsets, steps]``."""
    multiples = offsets[:, None] / steps
    return np.abs(multiples - np.rint(multiples)) * steps <= tolerance[:, None]


def _likeliest(
    offsets: NDArray[np.float64],
    tolerance: NDArray[np.float64],
    steps: NDArray[np.float64],
    counts: NDArray[np.int64],
    span: float,
) -> Fit | None:
    """Of steps that fit, the one with the most evidence on whose points the offsets lie one by one."""
    chances = np.minimum(2 * tolerance[:, None] / steps, 1.0)
    evidence = -np.log10(chances).sum(axis=0) - np.log10(counts) - _PRIOR
    for number in np.argsort(-evidence, kind="stable"):
        points = np.unique(np.rint(offsets / steps[number]))
        if len(points) >= np.count_nonzero(chances[:, number] < 1):
            step = float(steps[number])
            return Fit(step=step, steps=max(1, round(span / step)), evidence=float(evidence[number]))
    return None  # values crowd on few points: what lies there is small, not whole
