"""What a reader has to know before believing a leaderboard."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from harness.ranking.columns import number_of
from harness.ranking.pairing import sharing
from harness.ranking.pairs import score_interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.ranking.columns import Column
    from harness.ranking.entrant import Entrant
    from harness.ranking.rank_sum import Standing
    from harness.rules.edition import Edition

NAMED = 5
"""Entries that a caution names."""


def cautions(found: Standing, edition: Edition) -> tuple[str, ...]:
    """The cautions, the weightiest first."""
    return (*_throughput(found), *_memory(found), *_absent(found), *_unpaired(found), *_chance(found, edition))


def _throughput(found: Standing) -> Iterator[str]:
    protocols = {one.protocol for one in found.entrants if one.throughput is not None}
    if len(protocols) > 1:
        yield (
            f"throughput was measured in {len(protocols)} ways or on as many machines, so its points do not compare "
            "like with like: measure all entries on one device and give the figures (--figures)"
        )


def _memory(found: Standing) -> Iterator[str]:
    unknown = [one.name for one in found.entrants if one.peak_memory is None]
    if unknown:
        yield f"peak memory is not known, so nothing was held against the limit, of {_list(unknown)}"


def _absent(found: Standing) -> Iterator[str]:
    for number, column in enumerate(found.columns):
        if column.why_not is not None:
            yield f"{column.heading} is not ranked: {column.why_not}"
        missing = [
            one.name for one, score in zip(found.entrants, found.scores[:, number], strict=True) if np.isnan(score)
        ]
        if column.weight and missing:
            yield f"{column.heading}: no points, because no number, for {_list(missing)}"


def _unpaired(found: Standing) -> Iterator[str]:
    said: dict[str, list[str]] = defaultdict(list)
    for column in found.columns:
        if not column.is_task or not column.weight:
            continue
        paired = set(sharing(found.entrants, column.name))
        having = [(n, one) for n, one in enumerate(found.entrants) if number_of(one, column) is not None]
        alone = [one.name for n, one in having if n not in paired]
        fixed = [one.name for n, one in having if n not in paired and score_interval(one, column) is None]
        if alone:
            said[f"compared without common items, so less sharply: {_list(alone)}"].append(column.heading)
        if fixed:
            said[f"taken as exact, as the number of items is not known: {_list(fixed)}"].append(column.heading)
    yield from (f"{', '.join(headings)}: {what}" for what, headings in said.items())


def _chance(found: Standing, edition: Edition) -> Iterator[str]:
    for number, column in enumerate(found.columns):
        rewarded = [
            one.name
            for one, points in zip(found.entrants, found.points[:, number], strict=True)
            if points > 0 and _is_at_chance(column, one)
        ]
        if rewarded:
            reach = f"points went to scores that guessing reaches ({column.chance:.4g})"
            yield f"{column.heading}: {reach}: {_list(rewarded)}"
    if not edition.eligible:
        yield f"edition {edition.id} is no competition: its entries cannot compete"


def _is_at_chance(column: Column, entrant: Entrant) -> bool:
    interval = score_interval(entrant, column)
    return interval is not None and column.chance is not None and interval.low <= column.chance


def _list(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
