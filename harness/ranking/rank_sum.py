"""The official rank-sum: points by place in every column, throughput twice, the best entry of each team.

    1  barred       rules broken, peak memory not below the limit, beyond the entries that a team may have
    2  one team     all that are left are ranked; of each team the entry with most points stays
    3  the ranking  points anew among those: what a team's other entry took, the next one gets

Source: the competition's evaluation rules (challenge.md); what they leave open is decided in docs/ranking.md.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from harness.ranking.columns import columns_of, score_table
from harness.ranking.points import TIE_RULE, award, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.ranking.columns import Column
    from harness.ranking.entrant import Entrant
    from harness.ranking.points import TieRule
    from harness.rules.edition import Edition

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who is ranked, and how; arrays in the order of ``entrants``, which is from the first place to the last."""

    entrants: tuple[Entrant, ...]
    """Ranked ones; of equal ones the first by name first."""
    barred: tuple[Entrant, ...]
    """All others, each with its reason."""
    columns: tuple[Column, ...]
    prizes: tuple[int, ...]
    scores: Floats
    """``[entries, columns]``, NaN where there is none."""
    points: Floats
    """``[entries, columns]``, weighted."""

    @property
    def totals(self) -> Floats:
        """``[entries]``."""
        totals: Floats = self.points.sum(axis=1)
        return totals

    @property
    def places(self) -> Integers:
        """``[entries]``; who has as many points shares the place."""
        found: Integers = places(self.totals[None])[0]
        return found

    def index(self, name: str) -> int | None:
        """Which one is called ``name``."""
        return next((number for number, one in enumerate(self.entrants) if one.name == name), None)

    def totals_if(self, column: int, scores: Floats) -> Floats:
        """The totals ``[rows, entries]`` if ``column`` had the scores ``[rows, entries]``, all else as it is."""
        weight = self.columns[column].weight
        return self.totals - self.points[:, column] + weight * award(scores, self.prizes)

    def place_if(self, entry: int, column: int, values: Sequence[float]) -> Integers:
        """The place of ``entry`` for each of the ``values`` that its score in ``column`` could have, ``[values]``."""
        rows = np.repeat(self.scores[None, :, column], len(values), axis=0)
        rows[:, entry] = values
        return places(self.totals_if(column, rows))[:, entry]


def standing(entrants: Sequence[Entrant], edition: Edition) -> Standing:
    """Rank ``entrants`` under ``edition``; their order makes no difference."""
    ordered = sorted(entrants, key=lambda one: one.name)
    allowed = [_within_memory(one, edition.measurement.memory_limit_bytes) for one in ordered]
    allowed = _within_count(allowed, edition.ranking.entries_per_team)
    judged = _one_for_each_team(allowed, edition)
    ranked = [one for one in judged if one.barred is None]
    found = _ranked(ranked, edition)
    best_first = np.argsort(-np.round(found.totals, 9), kind="stable")
    return Standing(
        entrants=tuple(ranked[position] for position in best_first),
        barred=tuple(one for one in judged if one.barred is not None),
        columns=found.columns,
        prizes=found.prizes,
        scores=found.scores[best_first],
        points=found.points[best_first],
    )


def column_points(scores: Floats, columns: Sequence[Column], prizes: Sequence[int], ties: TieRule = TIE_RULE) -> Floats:
    """The weighted points ``[entries, columns]`` of ``scores`` of the same shape."""
    weights = np.array([column.weight for column in columns], dtype=np.float64)
    return award(scores.T, prizes, ties).T * weights


def _ranked(entrants: Sequence[Entrant], edition: Edition) -> Standing:
    columns, prizes = columns_of(edition, entrants), edition.ranking.points
    scores = score_table(entrants, columns)
    points = column_points(scores, columns, prizes)
    return Standing(entrants=tuple(entrants), barred=(), columns=columns, prizes=prizes, scores=scores, points=points)


def _within_memory(entrant: Entrant, limit_bytes: int) -> Entrant:
    peak = entrant.peak_memory
    if peak is None or peak.value < limit_bytes:
        return entrant
    return entrant.but(f"peak memory {peak.value:.0f} bytes, allowed below {limit_bytes}")


def _within_count(entrants: Sequence[Entrant], allowed: int) -> list[Entrant]:
    """Of a team's entries the first ones by date and name; those that are barred already count, too."""
    by_filing = sorted(entrants, key=lambda one: (one.team_key, one.created or dt.date.max, one.name))
    kept: list[Entrant] = []
    for _, team in groupby(by_filing, key=lambda one: one.team_key):
        for number, one in enumerate(team):
            kept.append(one if number < allowed else one.but(f"a team may have {allowed} entries; this is one more"))
    return sorted(kept, key=lambda one: one.name)


def _one_for_each_team(entrants: Sequence[Entrant], edition: Edition) -> list[Entrant]:
    """The entries, those barred but for the best of each team among all that can be ranked."""
    found = _ranked([one for one in entrants if one.barred is None], edition)
    shares = _mean_shares(found)
    best: dict[str, tuple[float, float, str]] = {}
    for number in reversed(range(len(found.entrants))):  # by name: of equal ones the first stays
        one = found.entrants[number]
        merit = (round(float(found.totals[number]), 9), float(shares[number]), one.name)
        if one.team_key not in best or merit[:2] >= best[one.team_key][:2]:
            best[one.team_key] = merit
    return [
        one if one.barred or best[one.team_key][2] == one.name else one.but(_other(best[one.team_key][2]))
        for one in entrants
    ]


def _other(name: str) -> str:
    return f"of its team's entries {name} has the most points"


def _mean_shares(found: Standing) -> Floats:
    """The mean of the task scores as shares; an absent one counts 0."""
    tasks = [number for number, column in enumerate(found.columns) if column.is_task and column.weight]
    scales = np.array([found.columns[number].scale for number in tasks])
    shares: Floats = (
        np.nan_to_num(found.scores[:, tasks] / scales).mean(axis=1) if tasks else np.zeros(len(found.scores))
    )
    return shares
