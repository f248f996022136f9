"""One group of values: does it lie on a lattice, or does it draw on a few values only?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.validation.smuggling.grid import expected_distinct
from harness.validation.smuggling.lattice import Fit, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.validation.smuggling.grid import Grid

MIN_VALUES: Final = 12
"""Of a group that can be judged; zeros, which pruning and padding leave, do not count."""
MIN_EVIDENCE: Final = 5.0
"""Decades that a lattice needs in one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codebook:
    entries: int
    values: int
    share: float


_CODEBOOKS: Final = (
    _Codebook(entries=6, values=12, share=0.6),
    _Codebook(entries=16, values=24, share=0.7),
    _Codebook(entries=256, values=96, share=0.65),
)
"""So many different values, among at least so many, where smooth ones would have 1 / share times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of one group."""

    distinct: int
    """Different values, zero left out."""
    lattice: Fit | None
    is_codebook: bool

    @property
    def is_hit(self) -> bool:
        """Whether the group looks quantised."""
        return self.lattice is not None or self.is_codebook


def look(values: NDArray[np.float32], grid: Grid) -> Look | None:
    """What ``values``, flat, look like; None where there are too few to tell, or all are equal."""
    present = values[values != 0]
    distinct = np.unique(present)
    if len(present) < MIN_VALUES or len(distinct) <= 1 or not np.isfinite(distinct).all():
        return None
    lattice = fit(distinct.astype(np.float64), grid)
    if lattice is not None and lattice.evidence < MIN_EVIDENCE:
        lattice = None
    return Look(distinct=len(distinct), lattice=lattice, is_codebook=_is_codebook(present, len(distinct), grid))


def _is_codebook(present: NDArray[np.float32], distinct: int, grid: Grid) -> bool:
    sizes = [book for book in _CODEBOOKS if distinct <= book.entries and len(present) >= book.values]
    return any(distinct <= book.share * expected_distinct(present, grid) for book in sizes)
