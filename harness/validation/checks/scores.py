"""The scores: all tasks, possible values, the edition's columns and scales, and means that recompute.

Of an entry made elsewhere there are printed numbers only; they are held against what can be printed (``said`` has the
rules that reading the table speaks of).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.rules.finding import Finding, Place, Severity
from harness.submission import layout, results_csv
from harness.submission.mean import mean_scores
from harness.validation.catalogue import finding
from harness.validation.check import Check
from harness.validation.checks.items import items
from harness.validation.checks.measured import finals, measured
from harness.validation.foreign.columns import columns
from harness.validation.foreign.doubts import tasks
from harness.validation.foreign.granularity import contradicts, fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.rules.edition import Edition
    from harness.submission.mean import MeanScores
    from harness.submission.measurements import SubsetScore, TaskScore
    from harness.validation.entry import Entry
    from harness.validation.foreign.columns import Quantity
    from harness.validation.foreign.results import ForeignResults, Value

COUNTED_METRICS = frozenset(("accuracy", "humaneval_pass@1"))
"""Metrics that are a share of the items; BLEU accuracy leaves empty answers out, and an average is over subsets."""
HALF_STEP = 0.5e-4
"""Of a share in a record: scores are recorded whole, engines that round print two decimals of a percentage."""
RELATIVE_TOLERANCE = 1e-9
"""Of a mean that is recomputed in another order."""


def tasks_complete(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Every final checkpoint has a score for every task of the edition, on at least one item.

    An entry that cannot compete may show a part of the tasks: there a task that was left out is a warning.
    """
    for one in finals(entry):
        evaluation = one.measurements.evaluation
        counts = {score.task: score.item_count for score in evaluation.tasks} if evaluation else {}
        for task in edition.tasks:
            if counts.get(task, 0) <= 0:
                place = Place(file=layout.SUBMISSION, field=f"{one.field}.evaluation.tasks")
                found = "no items" if task in counts else "no score"
                message = f"{one.model} was not scored on {task}"
                is_part = not edition.eligible and counts and task not in counts
                severity = Severity.WARNING if is_part else Severity.ERROR
                yield finding(
                    "scores.tasks_complete",
                    place,
                    message,
                    found=found,
                    allowed=f"a score on {task}",
                    severity=severity,
                )


def value_range(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every score, of tasks and of subsets, lies between 0 and the task's scale."""
    for field, score in _scores(entry):
        for name, found, highest in _values(score):
            if not (math.isfinite(found) and 0 <= found <= highest):
                place = Place(file=layout.SUBMISSION, field=f"{field}.{name}")
                message = f"the value for {score.task} is not possible"
                yield finding("scores.range", place, message, found=found, allowed=f"0 to {highest:g}")
    for table, quantity, value in _printed(entry):
        highest = _highest(quantity, value)
        if not 0 <= value.value <= highest:
            place = Place(file=table.file, field=value.source.field)
            message = f"the value for {columns()[quantity].heading} is not possible"
            allowed = "at least 0" if math.isinf(highest) else f"0 to {highest:g}"
            yield finding("scores.range", place, message, found=value.source.text, allowed=allowed)


def _printed(entry: Entry) -> Iterator[tuple[ForeignResults, Quantity, Value]]:
    """Every number of the tables of an entry made elsewhere."""
    return (
        (table, quantity, value)
        for table in entry.tables
        for row in table.rows
        for quantity, value in row.values.items()
        if quantity not in row.withheld
    )


def _highest(quantity: Quantity, value: Value) -> float:
    if columns()[quantity].is_task:
        return 1.0 if value.unit == "fraction" else 100.0
    return math.inf


def granularity(entry: Entry, _: Edition) -> Iterator[Finding]:
    """Every accuracy is k of the n items that it is over, within the rounding of what is printed."""
    for field, score in _scores(entry):
        count = score.item_count
        is_counted = score.metric in COUNTED_METRICS and not score.subsets and count > 0
        is_possible = 0 <= score.score <= score.scale and score.scale > 0
        if is_counted and is_possible and not fits(score.score / score.scale, HALF_STEP, (count,)):
            place = Place(file=layout.SUBMISSION, field=f"{field}.score")
            message = f"the score of {score.task} is no number of its {count} items"
            nearest = score.scale * round(count * score.score / score.scale) / count
            yield finding("scores.granularity", place, message, found=score.score, allowed=f"e.g. {nearest:.6g}")
    for table, quantity, value in _printed(entry):
        item_counts = [count * models for count in columns()[quantity].item_counts for models in table.model_counts]
        is_possible = quantity in tasks() and 0 <= value.share <= 1
        if is_possible and contradicts(value.share, value.share_half_step, item_counts):
            place = Place(file=table.file, field=value.source.field)
            message = f"the score of {columns()[quantity].heading} is no number of its items"
            allowed = f"k of {' or '.join(str(count) for count in item_counts)}"
            yield finding("scores.granularity", place, message, found=value.source.text, allowed=allowed)


def _scores(entry: Entry) -> Iterator[tuple[str, TaskScore]]:
    for one in measured(entry):
        evaluation = one.measurements.evaluation
        for number, score in enumerate(evaluation.tasks if evaluation else ()):
            yield f"{one.field}.evaluation.tasks.{number}", score


def _values(score: TaskScore) -> Iterator[tuple[str, float, float]]:
    """Field, value and highest possible value."""
    yield "score", score.score, score.scale
    if score.standard_error is not None:
        yield "standard_error", score.standard_error, score.scale
    subset: SubsetScore
    for number, subset in enumerate(score.subsets):
        yield f"subsets.{number}.score", subset.score, score.scale


def scale(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """Column, metric and scale of every score are those of the edition's task."""
    for field, score in _scores(entry):
        rule = edition.tasks.get(score.task)  # type: ignore[call-overload]
        if rule is None:
            place = Place(file=layout.SUBMISSION, field=f"{field}.task")
            names = ", ".join(edition.tasks)
            yield finding("scores.scale", place, "the edition has no such task", found=score.task, allowed=names)
            continue
        for name in ("column", "metric", "scale"):
            if getattr(score, name) != getattr(rule, name):
                place = Place(file=layout.SUBMISSION, field=f"{field}.{name}")
                message = f"the score of {score.task} is stated otherwise than the edition asks"
                found, wanted = getattr(score, name), str(getattr(rule, name))
                yield finding("scores.scale", place, message, found=found, allowed=wanted)


def mean(entry: Entry, _: Edition) -> Iterator[Finding]:
    """The means recompute from the results of the models."""
    if entry.submission is None:
        return
    stated, recomputed = _flat(entry.submission.mean), _flat(mean_scores(entry.models))
    for name in sorted(stated.keys() | recomputed.keys()):
        found, allowed = stated.get(name), recomputed.get(name)
        if not _equal(found, allowed):
            place = Place(file=layout.SUBMISSION, field=f"mean.{name}")
            message = "the mean is not the mean of the models"
            yield finding("scores.mean", place, message, found=found, allowed=str(allowed))


def _flat(means: MeanScores) -> dict[str, float | None]:
    numbers: dict[str, float | None] = {
        name: getattr(means, name) for name in ("bits_per_byte", "decode_tokens_per_s", "peak_memory_bytes")
    }
    return numbers | {f"tasks.{task.task}": task.score for task in means.tasks}


def _equal(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE) or (math.isnan(one) and math.isnan(other))


def results_file(entry: Entry, edition: Edition) -> Iterator[Finding]:
    """``Results.csv`` has the columns of the edition, one row, and the means."""
    table = entry.results
    if table is None:
        return  # bundle.required_files or bundle.schema says so
    if table.columns != edition.csv_columns:
        wanted = ",".join(edition.csv_columns)
        place = Place(file=layout.RESULTS, field="header")
        message = "the columns are not those of the edition, in their order"
        yield finding("scores.results_csv", place, message, found=",".join(table.columns), allowed=wanted)
    elif len(table.rows) != 1 or len(table.rows[0]) != len(table.columns):
        found = f"{len(table.rows)} row(s) of {', '.join(str(len(row)) for row in table.rows[:9]) or 'no'} cells"
        place = Place(file=layout.RESULTS, field="rows")
        message = "the file has not one row with a cell for each column"
        yield finding("scores.results_csv", place, message, found=found, allowed=f"1 row of {len(table.columns)} cells")
    elif entry.submission is not None:
        yield from _cells(dict(zip(table.columns, table.rows[0], strict=True)), entry.submission.mean, edition)


def _cells(row: dict[str, str], means: MeanScores, edition: Edition) -> Iterator[Finding]:
    values = results_csv.column_values(means, edition)
    for column, found in row.items():
        allowed = results_csv.cell(values.get(column))
        if found != allowed:
            place = Place(file=layout.RESULTS, field=column)
            message = "the cell is not the mean of submission.json"
            yield finding("scores.results_csv", place, message, found=found or "empty", allowed=allowed or "empty")


CHECKS = (
    Check(rule="scores.tasks_complete", function=tasks_complete),
    Check(rule="scores.range", function=value_range),
    Check(rule="scores.granularity", function=granularity),
    Check(rule="scores.scale", function=scale),
    Check(rule="scores.mean", function=mean),
    Check(rule="scores.results_csv", function=results_file),
    Check(rule="scores.items", function=items),
)
