"""The clauses of an edition that bound an entry: methods, derived data, looks, overlap, ranking; and its history."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from harness.document import Document

DerivedKind = Literal["model", "rules"]
"""What made a derived sample: a pruned model that generated it, or rules that formatted it."""


class HistoryNote(Document):
    """One change of the rules, by day."""

    date: dt.date
    note: str


class ForbiddenRule(Document):
    """One family of methods that the edition forbids."""

    why: str
    methods: tuple[str, ...]
    """Words of a step's method; ``gptq`` forbids ``gptq``, ``gptq-int4`` and ``fast_gptq``."""


class DerivedRule(Document):
    """How much of the training may be samples that stand in no allowed data set. Their parents are always named."""

    max_token_share: float = Field(gt=0, le=1)
    """Of the tokens that one model trains on; the share has to stay below it."""
    precedent: str = ""
    """Where the figure comes from."""


class SelectionRule(Document):
    """How often a scored task may be looked at on checkpoints that the entry does not report."""

    max_looks: NonNegativeInt
    """Per model and task."""


class ContaminationRule(Document):
    """How much of the evaluation sets the training text may hold."""

    max_item_share: float = Field(ge=0, le=1)
    """Items of a task that the text of one step may hold most of, as a share of the task's items."""


class RankingRule(Document):
    """Rank-sum: each column ranks the entries, ranks give points, points add up."""

    points: tuple[PositiveInt, ...] = (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
    """For the first, the second, …; nothing below."""
    throughput_weight: PositiveInt = 2
    """Times that the points for throughput count."""
    shown: PositiveInt = 15
    """Entries that the leaderboard names."""
    entries_per_team: PositiveInt = 3
    """In one track; the best of them is ranked."""
    hold_out_tasks: NonNegativeInt = 0
    """Tasks that are scored and not announced."""
