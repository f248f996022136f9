"""Whether a matrix was quantised before it was stored as floats: a cheap look first, a thorough one where that trips.

blocks ──a few groups along both axes──> nothing: done
          │ one of them trips
          v
       copies of rows and columns out ──groups of every size──> the largest that still fits names the kind
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from harness.validation.smuggling.grid import grid_of
from harness.validation.smuggling.group import Look, look
from harness.validation.smuggling.lines import AXES, Axis, Block, groups, some_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from harness.validation.smuggling.grid import Grid
    from harness.validation.smuggling.lattice import Fit

GROUP_SIZES: Final = (128, 64, 32)
SHORTEST: Final = 16
"""A line that is shorter than the smallest group is one itself, down to this."""
SURE_SHARE: Final = 0.25
SUSPECTED_SHARE: Final = 0.05
_CLEAR_SHARE: Final = 0.95
WHOLE: Final = "the tensor"
_SCREENED: Final = ((32, 5), (128, 3))
"""Groups of the first look, by size, along each axis of each block."""
_SCREENED_LINES: Final = 2
_EXAMINED: Final = 48
_EXAMINED_LINES: Final = 16
_SAMPLE: Final = 8192
"""Values that stand for a whole tensor."""
_LINE_VALUES: Final = 4096
_MIN_HITS: Final = 3
_MIN_JUDGED: Final = 4
_QUANTILE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found in a matrix."""

    is_sure: bool
    """At least a quarter of the groups are quantised; else some are."""
    kind: Literal["lattice", "codebook"]
    bits: int
    """4 or 8: what numbers the values that a group uses."""
    unit: str
    """What shares a scale, e.g. ``group of 128 along rows``."""
    distinct: int
    """Different values of such a group, zero left out, at most (90 % of the groups)."""
    share: float
    """Of the groups that were judged."""
    judged: int
    first: int
    """Flat index in the tensor of the first quantised group that was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Groups of one kind that were judged."""

    unit: str
    looks: tuple[Look, ...]
    firsts: tuple[int, ...]

    @property
    def hits(self) -> list[int]:
        """Which of them look quantised."""
        return [number for number, one in enumerate(self.looks) if one.is_hit]

    @property
    def share(self) -> float:
        """Of those that look quantised."""
        return len(self.hits) / max(1, len(self.looks))

    @property
    def lattices(self) -> list[Fit]:
        """Those that were found."""
        return [one.lattice for one in self.looks if one.lattice is not None]

    @property
    def is_lattice(self) -> bool:
        """Whether most of what was found is a lattice; else it is a codebook."""
        return 2 * len(self.lattices) >= len(self.hits)

    @property
    def distinct(self) -> int:
        """Different values of a group that looks quantised."""
        return _most(self.looks[number].distinct for number in self.hits)

    @property
    def bits(self) -> int:
        """4 or 8: what numbers the values of a group."""
        points = _most(one.steps + 1 for one in self.lattices) if self.is_lattice else self.distinct
        return 4 if points <= 16 else 8  # noqa: PLR2004 - what 4 bits number


def _most(counts: Iterable[int]) -> int:
    """What nine of ten of ``counts`` do not exceed; 0 where there is none."""
    ordered = sorted(counts)
    return ordered[int(_QUANTILE * (len(ordered) - 1))] if ordered else 0


def judge(blocks: Sequence[Block], seed: int = 0) -> Verdict | None:
    """What ``blocks`` of one matrix say; None where they look like weights that nobody quantised.

    Args:
        blocks: pieces of one matrix, of one dtype of F16, BF16 or F32; they should hold 128 rows where the matrix does.
        seed: of the choice of groups.
    """
    random = np.random.default_rng(seed)
    sample = _sample(blocks, random)
    present = sample[sample != 0]
    if not len(present) or not np.isfinite(present).all():
        return None  # what is not finite is found elsewhere
    grid = grid_of(present, blocks[0].dtype)
    if not _Eye(blocks=tuple(blocks), grid=grid, random=random).is_suspicious():
        return None
    return _Eye(blocks=tuple(block.without_copies() for block in blocks), grid=grid, random=random).examine()


def _sample(blocks: Sequence[Block], random: np.random.Generator) -> NDArray[np.float32]:
    """Values from anywhere, that stand for the whole."""
    return np.concatenate([some_values(block, _SAMPLE // len(blocks), random) for block in blocks])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Eye:
    """Looks at groups of blocks."""

    blocks: tuple[Block, ...]
    grid: Grid
    random: np.random.Generator

    def is_suspicious(self) -> bool:
        """Whether one of a few groups looks quantised, or the sample does."""
        if self._whole().hits:
            return True
        kinds = (
            self._look(axis, size, count)
            for axis in AXES
            for size, count in (*_SCREENED, (self._line_length(axis), _SCREENED_LINES))
        )
        return any(kind.hits for kind in kinds)

    def examine(self) -> Verdict | None:
        """The kind of which most groups are quantised; of several, that of the fewest bits, then the largest unit."""
        kinds = []
        for kind in self._kinds():
            if len(kind.looks) >= (1 if kind.unit == WHOLE else _MIN_JUDGED):
                if len(kind.lattices) >= _CLEAR_SHARE * len(kind.looks):
                    return _verdict(kind, is_sure=True)
                kinds.append(kind)
        most = max((kind.share for kind in kinds), default=0.0)
        alike = [kind for kind in kinds if kind.hits and kind.share >= _CLEAR_SHARE * most]
        if not alike or most < SUSPECTED_SHARE:
            return None
        best = min(alike, key=lambda kind: kind.bits)
        enough = best.unit == WHOLE or len(best.hits) >= _MIN_HITS
        return _verdict(best, is_sure=most >= SURE_SHARE) if enough else None

    def _kinds(self) -> Iterator[_Kind]:
        """From the largest unit to the smallest."""
        yield self._whole()
        for axis in AXES:
            kind = self._look(axis, self._line_length(axis), _EXAMINED_LINES)
            yield replace(kind, unit=f"line along {axis}")
        for size in GROUP_SIZES:
            for axis in AXES:
                yield self._look(axis, size, _EXAMINED)

    def _line_length(self, axis: Axis) -> int:
        return min(*(block.length(axis) for block in self.blocks), _LINE_VALUES)

    def _whole(self) -> _Kind:
        first = self.blocks[0].first_row * self.blocks[0].width + self.blocks[0].first_column
        seen = look(_sample(self.blocks, self.random), self.grid)
        return _Kind(unit=WHOLE, looks=() if seen is None else (seen,), firsts=(first,))

    def _look(self, axis: Axis, size: int, count: int) -> _Kind:
        """Look at up to ``count`` groups of ``size`` along ``axis`` of each block."""
        looks, firsts = [], []
        for block in self.blocks:
            if SHORTEST <= size <= block.length(axis):
                lines = groups(block, axis, size, count, self.random)
                for values, first in zip(lines.values, lines.firsts, strict=True):
                    seen = look(values, self.grid)
                    if seen is not None:
                        looks.append(seen)
                        firsts.append(int(first))
        return _Kind(unit=f"group of {size} along {axis}", looks=tuple(looks), firsts=tuple(firsts))


def _verdict(kind: _Kind, *, is_sure: bool) -> Verdict:
    return Verdict(
        is_sure=is_sure,
        kind="lattice" if kind.is_lattice else "codebook",
        bits=kind.bits,
        unit=kind.unit,
        distinct=kind.distinct,
        share=kind.share,
        judged=len(kind.looks),
        first=min(kind.firsts[number] for number in kind.hits),
    )
