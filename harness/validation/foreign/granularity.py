"""Whether a printed accuracy can be k of n items, and which task's n it betrays.

    40.24 of HumanEval:  66 / 164 = 40.2439 rounds to it       fits
    40.24 of GSM8K:      530 / 1319 = 40.18, 531 / 1319 = 40.26   does not

Brown and Heathers, "The GRIM test" (2017): a mean of whole numbers can only have certain decimals. A mean over three
models of k/n is K/(3n). A value that is printed so coarsely that it fits anything says nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TELLING_CHANCE: Final = 0.5
"""A test that a random number passes more often says nothing."""
CERTAIN_CHANCE: Final = 0.02
"""A column is said to be another task's only where it fits that by less than this chance."""
_SLACK: Final = 1e-9


def fits(share: float, half_step: float, item_counts: Iterable[int]) -> bool:
    """Whether ``share`` in 0..1, exact to ``half_step``, is k of one of ``item_counts``."""
    return any(abs(share - round(share * count) / count) <= half_step + _SLACK for count in item_counts)


def chance(half_step: float, item_counts: Iterable[int]) -> float:
    """Of a random share that it fits: how much of a step between two possible values is covered."""
    return min(1.0, sum(2 * half_step * count for count in item_counts))


def contradicts(share: float, half_step: float, item_counts: Sequence[int]) -> bool:
    """Whether ``share`` cannot be k of any of ``item_counts``, by a test that tells."""
    if not item_counts or chance(half_step, item_counts) > TELLING_CHANCE:
        return False
    return not fits(share, half_step, item_counts)


def betrays(values: Sequence[tuple[float, float]], tasks: Mapping[str, Sequence[int]]) -> str | None:
    """The task whose items all ``values`` (share, half step) fit, if chance cannot explain it; the least likely one."""
    best: tuple[float, str] | None = None
    for task, item_counts in tasks.items():
        if not item_counts or not all(fits(share, half_step, item_counts) for share, half_step in values):
            continue
        likelihood = math.prod(chance(half_step, item_counts) for share, half_step in values if 0 < share < 1)
        if likelihood < CERTAIN_CHANCE and (best is None or likelihood < best[0]):
            best = (likelihood, task)
    return None if best is None else best[1]
