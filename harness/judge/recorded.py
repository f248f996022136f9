"""A task's record as the worker left it, as the submission's record has it: checked against the edition and itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.errors import MeasurementFailed
from harness.judge.uncertainty import standard_error
from harness.submission.measurements import SubsetScore, TaskScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.judge.scores import SubsetRecord, TaskRecord
    from harness.rules.edition import TaskRule

AVERAGE = "naive_average"
AVERAGED = ("score", "accuracy")
"""What an average is over: BBH's parts have a score, the hold-outs' an accuracy."""
TOLERANCE = 1e-6
"""Of a share: the worker adds the same numbers in another order."""


def score_of(name: str, rule: TaskRule, record: TaskRecord) -> TaskScore:
    """The score of the task ``name`` as ``record`` has it, under the edition's ``rule``.

    Raises:
        MeasurementFailed: another metric or scale than the edition's, an impossible score, or parts that make another.
    """
    if record.metric != rule.metric or record.scale != rule.scale:
        raise MeasurementFailed(
            f"task {name!r}: scored by {record.metric!r} out of {record.scale:g}, the edition says {rule.metric!r} "
            f"out of {rule.scale:g}"
        )
    subsets = tuple(_subset_score(subset, record.metric) for subset in record.subsets)
    _refuse_contradiction(name, record, subsets)
    error = standard_error(
        [_share(one, scored, record.scale) for one, scored in zip(record.subsets, subsets, strict=True)]
    )
    return TaskScore(
        task=name,
        column=rule.column,
        metric=record.metric,
        scale=record.scale,
        score=record.score,
        item_count=record.item_count,
        standard_error=None if error is None else error * record.scale,
        subsets=subsets,
    )


def _subset_score(subset: SubsetRecord, task_metric: str) -> SubsetScore:
    metric = metric_of(subset, task_metric)
    if metric not in subset.metrics:
        raise MeasurementFailed(f"tasks: {subset.name} has no {metric!r}, found {', '.join(subset.metrics) or 'none'}")
    return SubsetScore(name=subset.name, score=subset.metrics[metric], item_count=subset.item_count)


def _share(subset: SubsetRecord, scored: SubsetScore, scale: float) -> tuple[float, int]:
    """Share of right answers and items that it is over: TruthfulQA's evaluator leaves blank answers out."""
    left_out = subset.empty_count if "bleu_acc" in subset.metrics else 0
    return scored.score / scale, subset.item_count - left_out


def _refuse_contradiction(name: str, record: TaskRecord, subsets: Sequence[SubsetScore]) -> None:
    """A score is possible, and is what its parts make."""
    mean = math.fsum(subset.score for subset in subsets) / len(subsets)
    count = sum(subset.item_count for subset in subsets)
    if not 0 <= record.score <= record.scale or not math.isclose(mean, record.score, abs_tol=TOLERANCE * record.scale):
        raise MeasurementFailed(
            f"task {name!r}: a score of {record.score:g} out of {record.scale:g}, and its parts make {mean:g}"
        )
    if count != record.item_count:
        raise MeasurementFailed(f"task {name!r}: {record.item_count} items, and its parts have {count}")


def metric_of(subset: SubsetRecord, task_metric: str) -> str:
    """The metric of a part that counts for the task's."""
    if task_metric != AVERAGE:
        return task_metric
    return next((name for name in AVERAGED if name in subset.metrics), AVERAGED[0])
