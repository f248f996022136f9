"""What takes part: the numbers of one entry, each with the place where it is stated, and its items where it has them.

bundle of this harness ── bundle_entry ───┐
entry made elsewhere ──── foreign_entry ──┼──> Entrant ──> points, intervals, what-if
the organiser's figures ─ figures ────────┘
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from harness.document import Document

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.rules.finding import Finding
    from harness.submission.measurements import ItemRecord


class Source(Document):
    """Where a number is stated."""

    entry: str
    """Folder of the entry, or the organiser's file."""
    file: str
    """Relative to the entry, with forward slashes."""
    field: str
    """Path of the field, or line and column."""


class Number(Document):
    """One number, and everything that it was made from."""

    value: float
    unit: str
    sources: tuple[Source, ...]
    how: str = "as stated"
    """E.g. ``mean over llama, qwen2, phi``."""


def mean_of(numbers: Sequence[Number | None], over: Sequence[str]) -> Number | None:
    """The mean over the models ``over``; None where one of them has no number."""
    return _made(numbers, over, "mean", fmean)


def largest_of(numbers: Sequence[Number | None], over: Sequence[str]) -> Number | None:
    """The largest over the models ``over``; None where one of them has no number."""
    return _made(numbers, over, "largest", max)


def _made(numbers: Sequence[Number | None], over: Sequence[str], name: str, make: object) -> Number | None:
    present = [number for number in numbers if number is not None]
    if not present or len(present) < len(numbers):
        return None
    if len(present) == 1:
        return present[0]
    value = make([number.value for number in present])  # type: ignore[operator]
    sources = tuple(source for number in present for source in number.sources)
    return Number(value=value, unit=present[0].unit, sources=sources, how=f"{name} over {', '.join(over)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The items of one task, the same for every model of the entry."""

    key: str
    """Digest of which items they are: subset, number and right answer. Only entries with the same key are paired."""
    subset_sizes: tuple[int, ...]
    """Of the subsets, in their order: a task's score is the mean over them."""
    right: NDArray[np.uint8]
    """``[models, items]``, subset by subset."""
    counted: NDArray[np.bool_]
    """``[models, items]``; False where the metric leaves the item out."""


def items_of(records: Sequence[Sequence[ItemRecord]]) -> Items | None:
    """The items of every model of an entry; None where the models were not asked the same.

    Args:
        records: for each model.
    """
    ordered = [sorted(model, key=lambda record: (record.subset, record.index)) for model in records]
    keys = [_key(model) for model in ordered]
    if not records or not records[0] or any(key != keys[0] for key in keys):
        return None
    sizes = tuple(len(list(group)) for _, group in groupby(ordered[0], key=lambda record: record.subset))
    return Items(
        key=keys[0],
        subset_sizes=sizes,
        right=np.array([[record.correct is True for record in model] for model in ordered], dtype=np.uint8),
        counted=np.array([[record.correct is not None for record in model] for model in ordered]),
    )


def _key(records: Sequence[ItemRecord]) -> str:
    asked = [(record.subset, record.index, record.reference) for record in records]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One entry."""

    name: str
    team: str
    kind: str
    """``bundle``, ``competition``, …; ``figures`` for one that only the organiser's file has."""
    plugin: str | None = None
    created: dt.date | None = None
    digest: str | None = None
    """SHA-256 of ``submission.json``: what every number of a bundle hangs on."""
    models: tuple[str, ...] = ()
    """Over which the numbers are means; empty where the entry does not say."""
    scores: Mapping[str, Number] = field(default_factory=dict)
    """By task, in the task's scale, averaged over the models first."""
    item_counts: Mapping[str, int] = field(default_factory=dict)
    """Items behind a score, by task."""
    items: Mapping[str, Items] = field(default_factory=dict)
    throughput: Number | None = None
    """In the edition's unit; anything else is in ``notes``."""
    throughput_samples: tuple[tuple[float, ...], ...] = ()
    """The repeats of each model."""
    protocol: str | None = None
    """What the throughput was measured with, and on what."""
    memory: Number | None = None
    """Mean over the models, bytes."""
    peak_memory: Number | None = None
    """The largest of the models, bytes: this one is held against the limit."""
    parameters: Number | None = None
    """Mean over the models; for information."""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader of its row has to know."""
    barred: str | None = None
    """Why it is not ranked; None: it is."""

    @property
    def team_key(self) -> str:
        """What tells teams apart: case and spaces do not."""
        return "".join(self.team.casefold().split())

    def but(self, reason: str) -> Entrant:
        """The same, not ranked for ``reason``; the first reason stays."""
        return self if self.barred else replace(self, barred=reason)
