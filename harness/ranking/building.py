"""The leaderboard, put together: rank, replicate, compare neighbours, and say what to be wary of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.ranking import pareto, sensitivity
from harness.ranking.cautions import cautions
from harness.ranking.columns import number_of
from harness.ranking.leaderboard import BarredRow, Cell, ColumnRecord, Leaderboard, Pair, Row
from harness.ranking.pairing import sharing
from harness.ranking.pairs import score_interval, task_pairs
from harness.ranking.points import places
from harness.ranking.rank_sum import standing
from harness.ranking.replicates import REPLICATES, replicate
from harness.ranking.rule import sentences
from harness.ranking.uncertainty import uncertainty_of
from harness.ranking.what_if import what_if
from harness.submission.provenance import EditionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.ranking.entrant import Entrant
    from harness.ranking.rank_sum import Standing
    from harness.ranking.uncertainty import Uncertainty
    from harness.rules.edition import Edition


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a leaderboard is asked for."""

    track: str
    models: tuple[str, ...]
    seed: int = 0
    replicates: int = REPLICATES
    what_if: tuple[str, ...] = ()
    """Entries or teams."""


def build(entrants: Sequence[Entrant], edition: Edition, asked: Asked) -> Leaderboard:
    """The leaderboard of ``entrants``; their order makes no difference, the same seed gives the same document.

    Raises:
        UsageError: an entry that was asked about is not there.
    """
    found = standing(entrants, edition)
    sure = uncertainty_of(found, replicate(found, seed=asked.seed, count=asked.replicates))
    shown = min(edition.ranking.shown, len(found.entrants))
    return Leaderboard(
        edition=EditionRecord(id=edition.id, version=edition.version, rules_digest=edition.content_digest()),
        title=edition.title,
        eligible=edition.eligible,
        notice=edition.notice,
        track=asked.track,
        models=asked.models,
        rule=sentences(edition),
        memory_limit_bytes=edition.measurement.memory_limit_bytes,
        shown=edition.ranking.shown,
        seed=asked.seed,
        replicates=asked.replicates,
        columns=_columns(found),
        rows=_rows(found, sure),
        barred=tuple(_barred(one) for one in found.barred),
        pairs=_pairs(found, sure, shown),
        beats=tuple(tuple(round(float(chance), 4) for chance in row[:shown]) for row in sure.beats[:shown]),
        one_item=sensitivity.one_item(found, shown),
        ties=sensitivity.ties(found, shown),
        what_if=tuple(what_if(found, entrants, edition, name) for name in asked.what_if),
        warnings=cautions(found, edition),
    )


def _columns(found: Standing) -> tuple[ColumnRecord, ...]:
    return tuple(
        ColumnRecord(
            name=one.name,
            heading=one.heading,
            scale=one.scale,
            weight=one.weight,
            chance=one.chance,
            why_not=one.why_not,
        )
        for one in found.columns
    )


def _rows(found: Standing, sure: Uncertainty) -> tuple[Row, ...]:
    column_places = places(found.scores.T).T
    paired = [frozenset(sharing(found.entrants, column.name)) for column in found.columns]
    on_front, shares = pareto.front(pareto.criteria(found)), pareto.mean_shares(found)
    return tuple(
        Row(
            place=int(found.places[number]),
            place_low=int(sure.place_low[number]),
            place_high=int(sure.place_high[number]),
            shared_place=int(sure.shared_places[number]),
            total=_points(found.totals[number]),
            total_low=_points(sure.total_low[number]),
            total_high=_points(sure.total_high[number]),
            cells=_cells(found, number, column_places[number], [number in group for group in paired]),
            mean_share=None if np.isnan(shares[number]) else shares[number],
            on_front=bool(on_front[number]),
            entry=one.name,
            team=one.team,
            kind=one.kind,
            plugin=one.plugin,
            created=one.created,
            digest=one.digest,
            models=one.models,
            memory=one.memory,
            peak_memory=one.peak_memory,
            parameters=one.parameters,
            protocol=one.protocol,
            findings=one.findings,
            notes=one.notes,
        )
        for number, one in enumerate(found.entrants)
    )


def _points(value: np.floating) -> float:
    return round(float(value), 6)


def _cells(
    found: Standing, number: int, column_places: NDArray[np.int64], is_paired: Sequence[bool]
) -> tuple[Cell, ...]:
    entrant = found.entrants[number]
    cells = []
    for place, column in enumerate(found.columns):
        stated, interval = number_of(entrant, column), score_interval(entrant, column)
        cell = Cell(
            column=column.name,
            number=stated,
            place=int(column_places[place]) if stated is not None else None,
            points=_points(found.points[number, place]),
        )
        if interval is not None:
            at_chance = column.chance is not None and interval.low <= column.chance
            update = {"standard_error": interval.standard_error, "low": interval.low, "high": interval.high}
            kind = {"items": "paired" if is_paired[place] else "unpaired", "at_chance": at_chance}
            cell = cell.model_copy(update={**update, **kind})
        elif column.is_task and stated is not None:
            cell = cell.model_copy(update={"items": "unknown"})
        cells.append(cell)
    return tuple(cells)


def _barred(one: Entrant) -> BarredRow:
    return BarredRow(
        entry=one.name, team=one.team, kind=one.kind, reason=str(one.barred), findings=one.findings, notes=one.notes
    )


def _pairs(found: Standing, sure: Uncertainty, shown: int) -> tuple[Pair, ...]:
    return tuple(
        Pair(
            first=found.entrants[number].name,
            second=found.entrants[number + 1].name,
            first_beats=round(float(sure.beats[number, number + 1]), 4),
            tasks=task_pairs(found.entrants[number], found.entrants[number + 1], found.columns),
        )
        for number in range(min(shown, len(found.entrants) - 1))
    )
