"""A bundle of this harness as an entrant: scores, memory and speed of the final checkpoints, and their items."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.ranking.entrant import Entrant, Number, Source, items_of, largest_of, mean_of
from harness.submission import layout
from harness.submission.items import ROUNDING, NotItems, share_of, unpack
from harness.validation.listing import Unreadable, read_plain
from harness.validation.record import MAX_FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.ranking.entrant import Items
    from harness.rules.edition import Edition
    from harness.rules.finding import Finding
    from harness.submission.measurements import ItemRecord, Measurements, Performance, TaskScore
    from harness.submission.model_result import CheckpointResult, ModelResult
    from harness.submission.schema import Submission
    from harness.validation.entry import Entry

ROLE: Final = "final"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The final checkpoint of one base model, and where the manifest has it."""

    model: str
    result: CheckpointResult
    field: str

    @property
    def measured(self) -> Measurements:
        return self.result.measurements

    def tasks(self) -> dict[str, tuple[int, TaskScore]]:
        evaluation = self.measured.evaluation
        return {score.task: (n, score) for n, score in enumerate(evaluation.tasks if evaluation else ())}


def entrant_of(entry: Entry, edition: Edition, models: Sequence[str], findings: tuple[Finding, ...]) -> Entrant:
    """The entrant that the bundle ``entry`` is, its numbers over the base models ``models``.

    An entry that lacks one of them is barred: a mean over fewer models is another number.
    """
    submission = entry.submission
    if submission is None:
        reason = f"{layout.SUBMISSION} cannot be read"
        return Entrant(name=entry.name, team=entry.name, kind=entry.kind.value, findings=findings, barred=reason)
    parts = _parts(submission, models)
    described = Entrant(
        name=entry.name,
        team=submission.team,
        kind=entry.kind.value,
        plugin=submission.plugin.name,
        created=submission.created,
        digest=_digest(entry),
        models=tuple(models),
        findings=findings,
    )
    if len(parts) < len(models):
        there = ", ".join(part.model for part in parts) or "none of them"
        return described.but(f"the mean is over {', '.join(models)}; it has {there}")
    return _measured(described, entry, edition, parts)


def _parts(submission: Submission, models: Sequence[str]) -> tuple[_Part, ...]:
    found = {model.name: (m, model) for m, model in reversed(list(enumerate(submission.models)))}
    parts = (_part(*found[name]) for name in models if name in found)
    return tuple(part for part in parts if part is not None)


def _part(number: int, model: ModelResult) -> _Part | None:
    for c, result in enumerate(model.checkpoints):
        if result.role == ROLE:
            return _Part(model=model.name, result=result, field=f"models.{number}.checkpoints.{c}")
    return None


def _digest(entry: Entry) -> str:
    content = read_plain(entry.listing.root / layout.SUBMISSION, max_bytes=MAX_FILE_BYTES)
    return hashlib.sha256(content).hexdigest()


def _measured(described: Entrant, entry: Entry, edition: Edition, parts: Sequence[_Part]) -> Entrant:
    reader = _Reader(entry=entry, parts=parts, models=described.models)
    memory = [reader.performance(part, "peak_memory_bytes", "bytes") for part in parts]
    unit = edition.measurement.throughput_unit
    speeds = [part.measured.performance for part in parts]
    scores: dict[str, Number] = {task: number for task in edition.tasks if (number := reader.score(task)) is not None}
    return Entrant(
        name=described.name,
        team=described.team,
        kind=described.kind,
        plugin=described.plugin,
        created=described.created,
        digest=described.digest,
        models=described.models,
        findings=described.findings,
        scores=scores,
        item_counts={task: min(part.tasks()[task][1].item_count for part in parts) for task in scores},
        items={task: items for task in scores if (items := reader.items(task)) is not None},
        throughput=reader.mean(lambda part: reader.performance(part, "decode_tokens_per_s", unit)),
        throughput_samples=tuple(one.decode_tokens_per_s_samples for one in speeds if one is not None),
        protocol=_protocol(speeds, entry),
        memory=mean_of(memory, described.models),
        peak_memory=largest_of(memory, described.models),
        parameters=reader.mean(reader.parameters),
        notes=tuple(reader.limits()),
    )


def _protocol(speeds: Sequence[Performance | None], entry: Entry) -> str | None:
    """What was measured with; several where the models differ."""
    if None in speeds:
        return None
    cpu = entry.lock.platform.cpu if entry.lock else "unknown processor"
    said = {
        f"{one.runtime}, {one.device} ({cpu}), {one.dtype}, {one.thread_count} threads, "
        f"{one.prefill_tokens}+{one.decode_tokens} tokens"
        for one in speeds
        if one is not None
    }
    return "; ".join(sorted(said))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Numbers of one bundle with their places in its manifest."""

    entry: Entry
    parts: Sequence[_Part]
    models: tuple[str, ...]

    def number(self, value: float, unit: str, field: str) -> Number:
        source = Source(entry=self.entry.name, file=layout.SUBMISSION, field=field)
        return Number(value=value, unit=unit, sources=(source,))

    def mean(self, one: Callable[[_Part], Number | None]) -> Number | None:
        return mean_of([one(part) for part in self.parts], self.models)

    def score(self, task: str) -> Number | None:
        return self.mean(lambda part: self._score(part, task))

    def _score(self, part: _Part, task: str) -> Number | None:
        if task not in part.tasks():
            return None
        place, score = part.tasks()[task]
        if not 0 <= score.score <= score.scale:
            return None  # scores.range says so; NaN is not within either
        field = f"{part.field}.measurements.evaluation.tasks.{place}.score"
        return self.number(score.score, f"of {score.scale:g}", field)

    def performance(self, part: _Part, name: str, unit: str) -> Number | None:
        found = part.measured.performance
        field = f"{part.field}.measurements.performance.{name}"
        value = math.nan if found is None else float(getattr(found, name))
        return self.number(value, unit, field) if 0 < value < math.inf else None

    def parameters(self, part: _Part) -> Number:
        field = f"{part.field}.checkpoint.parameter_count"
        return self.number(part.result.checkpoint.parameter_count, "parameters", field)

    def limits(self) -> list[str]:
        evaluations = [part.measured.evaluation for part in self.parts]
        limits = sorted({one.item_limit for one in evaluations if one and one.item_limit is not None})
        return [f"scored on the first {limit} items of each task only" for limit in limits]

    def items(self, task: str) -> Items | None:
        """The items of all models; None where one has none, or its items do not make its score."""
        read = [self._records(part.tasks()[task][1]) for part in self.parts]
        whole = [records for records in read if records is not None]
        return items_of(whole) if len(whole) == len(read) else None

    def _records(self, score: TaskScore) -> tuple[ItemRecord, ...] | None:
        name = score.items_file
        if name is None or not layout.is_items_file(name) or name not in self.entry.listing.files:
            return None
        try:
            records = unpack(read_plain(self.entry.listing.root / name, max_bytes=layout.MAX_ITEMS_BYTES))
        except (Unreadable, NotItems):
            return None  # the rule scores.items says so; without items the score has a binomial interval
        distinct = {(record.subset, record.index) for record in records}
        is_whole = len(records) == score.item_count == len(distinct)
        makes = is_whole and abs(share_of(records) - score.score / (score.scale or 1)) <= ROUNDING
        return records if makes else None
