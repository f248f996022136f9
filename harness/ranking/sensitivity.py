"""What a single answer, or another rule for ties, would do to the order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from harness.document import Document
from harness.ranking.columns import THROUGHPUT
from harness.ranking.points import TIE_RULE, places
from harness.ranking.rank_sum import column_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.ranking.points import TieRule
    from harness.ranking.rank_sum import Standing

SLACK: Final = 1e-9
"""Of scores that were added up."""
OTHER_TIE_RULES: Final[tuple[TieRule, ...]] = ("best", "worst")


class OneItem(Document):
    """One answer that would move an entry."""

    entry: str
    column: str
    change: int
    """+1: one more right answer of one model, -1: one fewer."""
    score: float
    """What the score would be, in the column's scale."""
    place: int
    place_then: int


class TieMove(Document):
    """An entry that another rule for ties would move."""

    entry: str
    rule: str
    """What equal scores would get: the points of the ``best`` or of the ``worst`` of the places that they take."""
    place: int
    place_then: int


def one_item(standing: Standing, count: int) -> tuple[OneItem, ...]:
    """Single answers that would move one of the first ``count`` entries, in the order of the standing."""
    return tuple(
        moved
        for entry in range(min(count, len(standing.entrants)))
        for column in range(len(standing.columns))
        for moved in _moves(standing, entry, column)
    )


def item_step(standing: Standing, entry: int, column: int) -> float | None:
    """The most that one answer of one model weighs in the score, in its scale; None where that is not known."""
    entrant, rule = standing.entrants[entry], standing.columns[column]
    if rule.name == THROUGHPUT or np.isnan(standing.scores[entry, column]):
        return None
    items = entrant.items.get(rule.name)
    if items is not None:
        return rule.scale / (len(items.subset_sizes) * min(items.subset_sizes) * len(items.right))
    count = entrant.item_counts.get(rule.name, 0)
    return rule.scale / (count * max(1, len(entrant.models))) if count else None


def _moves(standing: Standing, entry: int, column: int) -> Iterator[OneItem]:
    rule, step = standing.columns[column], item_step(standing, entry, column)
    if step is None or rule.weight == 0:
        return
    score, place = float(standing.scores[entry, column]), int(standing.places[entry])
    changes = [change for change in (1, -1) if -SLACK <= score + change * step <= rule.scale + SLACK]
    found = standing.place_if(entry, column, [score + change * step for change in changes])
    for change, then in zip(changes, found.tolist(), strict=True):
        if then != place:
            yield OneItem(
                entry=standing.entrants[entry].name,
                column=rule.name,
                change=change,
                score=score + change * step,
                place=place,
                place_then=then,
            )


def ties(standing: Standing, count: int) -> tuple[TieMove, ...]:
    """Which of the first ``count`` entries another rule for ties would move."""
    return tuple(
        TieMove(entry=one.name, rule=rule, place=int(place), place_then=int(then))
        for rule in OTHER_TIE_RULES
        for one, place, then in zip(
            standing.entrants[:count], standing.places, places_under(standing, rule), strict=False
        )
        if place != then
    )


def places_under(standing: Standing, rule: TieRule = TIE_RULE) -> list[int]:
    """The places if equal scores got their points by ``rule``."""
    points = column_points(standing.scores, standing.columns, standing.prizes, rule)
    found: list[int] = places(points.sum(axis=1)[None])[0].tolist()
    return found
