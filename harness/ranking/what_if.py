"""What would move an entry: a point on a task, a token per second, a gigabyte; and the least that gains a place.

Everything is ranked again with one number of one entry changed and all else as it is: which entry of each team takes
part is not chosen anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from harness.document import Document
from harness.errors import UsageError
from harness.ranking.rank_sum import standing as rank
from harness.ranking.sensitivity import item_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.ranking.entrant import Entrant
    from harness.ranking.rank_sum import Standing
    from harness.rules.edition import Edition

GIGABYTE: Final = 10**9
POINT: Final = 0.01
"""Of a perfect score: one point of a percentage."""


class Change(Document):
    """One number changed."""

    column: str
    """A task, ``throughput`` or ``peak_memory``."""
    unit: str
    value: float | None
    """As it is."""
    value_then: float
    points: float
    """Of the column, weighted."""
    points_then: float
    place: int | None
    """None: it is not ranked."""
    place_then: int | None


class WhatIf(Document):
    """What would move one entry."""

    entry: str
    team: str
    place: int | None
    """None: it is not ranked, for ``barred``."""
    barred: str | None = None
    total: float
    steps: tuple[Change, ...]
    """One point more on each task, one token per second more, one gigabyte less."""
    least: tuple[Change, ...]
    """For each column the least that gains a place, where any does; the smallest share of what there is first."""


def what_if(standing: Standing, entrants: Sequence[Entrant], edition: Edition, name: str) -> WhatIf:
    """What would move the entry, or the ranked entry of the team, called ``name``.

    Args:
        standing: the ranking.
        entrants: all that it was made from.
        edition: the rules.
        name: entry or team.

    Raises:
        UsageError: there is no such entry or team.
    """
    found = _named(standing, name)
    entry = standing.index(found.name)
    memory = _less_memory(standing, entrants, edition, found)
    if entry is None:
        lighter = () if memory is None else (memory,)
        return WhatIf(
            entry=found.name, team=found.team, place=None, barred=found.barred, total=0, steps=lighter, least=()
        )
    columns = [number for number, column in enumerate(standing.columns) if column.weight]
    steps = tuple(_step(standing, entry, number) for number in columns)
    least = [change for number in columns if (change := least_change(standing, entry, number)) is not None]
    return WhatIf(
        entry=found.name,
        team=found.team,
        place=int(standing.places[entry]),
        total=float(standing.totals[entry]),
        steps=steps if memory is None else (*steps, memory),
        least=tuple(sorted(least, key=lambda change: _effort(standing, change))),
    )


def _named(standing: Standing, name: str) -> Entrant:
    everyone = (*standing.entrants, *standing.barred)
    by_name = [one for one in everyone if one.name == name]
    team = "".join(name.casefold().split())
    found = by_name or [one for one in everyone if one.team_key == team]
    if not found:
        known = ", ".join(sorted(one.name for one in everyone)[:20]) or "none"
        raise UsageError(f"--what-if {name}: no such entry or team; there are the entries {known}")
    return found[0]


def _step(standing: Standing, entry: int, column: int) -> Change:
    rule = standing.columns[column]
    now = float(np.nan_to_num(standing.scores[entry, column]))
    return _change(standing, entry, column, min(now + POINT * rule.scale, rule.scale) if rule.is_task else now + 1)


def least_change(standing: Standing, entry: int, column: int) -> Change | None:
    """The least increase in ``column`` that gains ``entry`` a place; None where even the most does not.

    A place can only be gained where the entry draws level with another one in this column, or passes it by the least
    there is: one item, or a thousandth of a token per second. More never hurts, so the least is found by halving.
    """
    values = _thresholds(standing, entry, column)
    place = int(standing.places[entry])
    gains = (standing.place_if(entry, column, [value])[0] < place for value in values[-1:])
    if not values or not next(gains):
        return None
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if standing.place_if(entry, column, [values[middle]])[0] < place:
            high = middle
        else:
            low = middle + 1
    return _change(standing, entry, column, values[low])


def _thresholds(standing: Standing, entry: int, column: int) -> list[float]:
    """Level with each better score, and just above it, ascending."""
    rule, scores = standing.columns[column], standing.scores[:, column]
    # Without a score, having any at all is the first thing that there is to gain.
    now = -np.inf if np.isnan(scores[entry]) else scores[entry]
    step = (item_step(standing, entry, column) or rule.scale * 1e-4) if rule.is_task else 1e-3
    rivals = np.delete(scores, entry)
    level = rivals[rivals >= now]
    any_score = [0.0 if rule.is_task else step] if np.isinf(now) else []
    both = np.concatenate((any_score, level[level > now], level + step))
    capped = np.minimum(both, rule.scale) if rule.is_task else both
    found: list[float] = np.unique(capped[capped > now]).tolist()
    return found


def _change(standing: Standing, entry: int, column: int, value: float) -> Change:
    rule = standing.columns[column]
    rows = standing.scores[None, :, column].copy()
    rows[0, entry] = value
    now = standing.scores[entry, column]
    gained = standing.totals_if(column, rows)[0, entry] - standing.totals[entry]
    points = float(standing.points[entry, column])
    return Change(
        column=rule.name,
        unit=f"of {rule.scale:g}" if rule.is_task else "tokens/s",
        value=None if np.isnan(now) else float(now),
        value_then=value,
        points=points,
        points_then=round(points + float(gained), 9),
        place=int(standing.places[entry]),
        place_then=int(standing.place_if(entry, column, [value])[0]),
    )


def _less_memory(standing: Standing, entrants: Sequence[Entrant], edition: Edition, one: Entrant) -> Change | None:
    """One gigabyte less: nothing is ranked by memory, but what is not below the limit is not ranked at all."""
    peak = one.peak_memory
    if peak is None or peak.value <= GIGABYTE:
        return None
    lighter = peak.model_copy(update={"value": peak.value - GIGABYTE})
    others = [entrant for entrant in entrants if entrant.name != one.name]
    barred = next((entrant.barred for entrant in entrants if entrant.name == one.name), None)
    then = rank([*others, replace(one, peak_memory=lighter, barred=barred)], edition)
    now, after = standing.index(one.name), then.index(one.name)
    return Change(
        column="peak_memory",
        unit="bytes",
        value=peak.value,
        value_then=lighter.value,
        points=0.0 if now is None else float(standing.totals[now]),
        points_then=0.0 if after is None else float(then.totals[after]),
        place=None if now is None else int(standing.places[now]),
        place_then=None if after is None else int(then.places[after]),
    )


def _effort(standing: Standing, change: Change) -> float:
    """The change as a share of a perfect score, or of the throughput that there is."""
    column = next(column for column in standing.columns if column.name == change.column)
    before = change.value or 0.0
    whole = column.scale if column.is_task else max(before, 1e-9)
    return (change.value_then - before) / whole
