"""The leaderboard as a document: what pages and scripts are made from. Every number says where it was read.

Leaderboard ─┬─ edition, track, models, rule      what was ranked by which rule, with which seed
             ├─ columns                           what counts how often, and what does not count and why
             ├─ rows ── cells                     the ranked entries; the first ``shown`` of them are the leaderboard
             ├─ barred                            the others, each with its reason
             ├─ pairs                             neighbours side by side, with tests
             ├─ one_item, ties                    what the order hangs on
             └─ warnings                          what has to be known before it is believed
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from harness.document import Document
from harness.ranking.entrant import Number
from harness.ranking.pairs import TaskPair
from harness.ranking.sensitivity import OneItem, TieMove
from harness.ranking.what_if import WhatIf
from harness.rules.finding import Finding
from harness.submission.provenance import EditionRecord


class ColumnRecord(Document):
    """One column."""

    name: str
    heading: str
    scale: float
    """The score of a perfect model; 1 for throughput."""
    weight: NonNegativeInt
    """Times that its points count; 0: it is shown and not ranked."""
    chance: float | None
    """What guessing gets, in the scale; none where that is not known."""
    why_not: str | None
    """Why it is not ranked."""


class Cell(Document):
    """One entry in one column."""

    column: str
    number: Number | None
    place: PositiveInt | None
    """Equal scores share it."""
    points: float
    """Weighted."""
    standard_error: float | None = None
    low: float | None = None
    """Lower end of the 95 % interval over items, in the column's scale."""
    high: float | None = None
    items: Literal["paired", "unpaired", "unknown"] | None = None
    """Whether its items are there, and so can be held against others'; only their number; neither."""
    at_chance: bool = False
    """Whether guessing lies within the interval, or above it."""


class Row(Document):
    """One ranked entry."""

    place: PositiveInt
    place_low: PositiveInt
    """The better end of the 95 % interval."""
    place_high: PositiveInt
    shared_place: PositiveInt
    """1 + how many entries are told apart from it, and better."""
    total: float
    total_low: float
    total_high: float
    entry: str
    team: str
    kind: str
    plugin: str | None
    created: dt.date | None
    digest: str | None
    """SHA-256 of the bundle's ``submission.json``."""
    models: tuple[str, ...]
    cells: tuple[Cell, ...]
    mean_share: float | None
    """Mean of the ranked tasks as shares of a perfect score: not ranked, an axis of the front."""
    memory: Number | None
    """Mean over the models."""
    peak_memory: Number | None
    """Of the model that needs most: held against the limit."""
    parameters: Number | None
    """For information."""
    protocol: str | None
    """How the throughput was measured."""
    on_front: bool
    """Whether no other entry is at least as good in score, peak memory and throughput, and better in one."""
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


class BarredRow(Document):
    """One entry that is not ranked."""

    entry: str
    team: str
    kind: str
    reason: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


class Pair(Document):
    """Two neighbours of the leaderboard."""

    first: str
    second: str
    first_beats: float
    """Share of the replicates in which the first has more points, half of the equal ones."""
    tasks: tuple[TaskPair, ...]


class Leaderboard(Document):
    """The ranking of one track under one edition."""

    format_version: Literal[1] = 1
    edition: EditionRecord
    title: str
    eligible: bool
    notice: str
    track: str
    models: tuple[str, ...]
    """Base models that scores are means over."""
    rule: tuple[str, ...]
    """How the order was made, sentence by sentence."""
    memory_limit_bytes: PositiveInt
    shown: PositiveInt
    """Rows that the leaderboard names."""
    seed: NonNegativeInt
    replicates: NonNegativeInt
    columns: tuple[ColumnRecord, ...]
    rows: tuple[Row, ...]
    """All ranked entries, the first place first."""
    barred: tuple[BarredRow, ...]
    pairs: tuple[Pair, ...]
    """Each shown row with the next one."""
    beats: tuple[tuple[float, ...], ...]
    """Share of the replicates in which the row's entry has more points than the column's, of the shown rows."""
    one_item: tuple[OneItem, ...]
    """Single answers that would move a shown entry."""
    ties: tuple[TieMove, ...]
    """Shown entries that another rule for ties would move."""
    what_if: tuple[WhatIf, ...] = ()
    """Of the entries that were asked about."""
    warnings: tuple[str, ...]
