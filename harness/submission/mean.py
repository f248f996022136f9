"""The numbers that are ranked: the mean over the models of an entry, as the competition scores them.

Per task the mean of the final checkpoints' scores; likewise decode tokens/s and peak memory. A number that one model
lacks has no mean: it is absent, never counted as zero and never averaged over fewer models.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.document import Document
from harness.submission.measurements import Measurements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.submission.measurements import TaskScore
    from harness.submission.model_result import ModelResult


class MeanTask(Document):
    """One task, averaged over the models."""

    task: str
    column: str
    scale: float
    score: float


class MeanScores(Document):
    """The means over the final checkpoints of an entry's models."""

    tasks: tuple[MeanTask, ...] = ()
    bits_per_byte: float | None = None
    decode_tokens_per_s: float | None = None
    peak_memory_bytes: float | None = None


def mean_scores(models: Sequence[ModelResult]) -> MeanScores:
    """The means over ``models``; tasks in the order of the first model, those that every model has."""
    finals = [final_measurements(model) for model in models]
    return MeanScores(
        tasks=_mean_tasks(finals),
        bits_per_byte=_mean([m.bits_per_byte.value if m.bits_per_byte else None for m in finals]),
        decode_tokens_per_s=_mean([m.performance.decode_tokens_per_s if m.performance else None for m in finals]),
        peak_memory_bytes=_mean([m.performance.peak_memory_bytes if m.performance else None for m in finals]),
    )


def final_measurements(model: ModelResult) -> Measurements:
    """What was measured on the final checkpoint of ``model``; empty where there is none."""
    final = model.result("final")
    return final.measurements if final else Measurements()


def _mean_tasks(finals: Sequence[Measurements]) -> tuple[MeanTask, ...]:
    per_model = [{score.task: score for score in _task_scores(final)} for final in finals]
    shared = [task for task in per_model[0] if all(task in scores for scores in per_model)] if per_model else []
    return tuple(_mean_task([scores[task] for scores in per_model]) for task in shared)


def _task_scores(final: Measurements) -> tuple[TaskScore, ...]:
    return final.evaluation.tasks if final.evaluation else ()


def _mean_task(scores: Sequence[TaskScore]) -> MeanTask:
    first = scores[0]
    value = math.fsum(score.score for score in scores) / len(scores)
    return MeanTask(task=first.task, column=first.column, scale=first.scale, score=value)


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    if not present or len(present) < len(values):
        return None
    return math.fsum(present) / len(present)
