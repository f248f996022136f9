"""Scores side by side: task by task, the checkpoints of the story with their 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.ranking.intervals import NORMAL_95, binomial_interval
from harness.report.figures import ABSENT, interval, number

if TYPE_CHECKING:
    from harness.submission.measurements import TaskScore
    from harness.submission.model_result import CheckpointResult, ModelResult

ROLE_NAMES: Final = {
    "base": "base, untouched",
    "compressed": "compressed, not yet recovered",
    "final": "final, as submitted",
    "control": "control, dense and trained as long",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One score, as a share of the perfect one, with its interval."""

    share: float
    low: float
    high: float
    shown: str
    """In the task's own scale."""
    interval: str
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One task over the checkpoints."""

    task: str
    column: str
    scale: str
    cells: dict[str, Cell]
    """By role; a role that was not scored is not there."""


def score_rows(model: ModelResult) -> tuple[ScoreRow, ...]:
    """The tasks of ``model`` in the order in which they were first scored."""
    scored = [(result, score) for result in model.checkpoints for score in tasks_of(result)]
    first = {score.task: score for _, score in reversed(scored)}
    order = dict.fromkeys(score.task for _, score in scored)
    return tuple(
        ScoreRow(
            task=task,
            column=first[task].column,
            scale=f"0\u2013{first[task].scale:g}",
            cells={result.role: cell(score) for result, score in scored if score.task == task},
        )
        for task in order
    )


def tasks_of(result: CheckpointResult) -> tuple[TaskScore, ...]:
    """The scores of one checkpoint."""
    evaluation = result.measurements.evaluation
    return evaluation.tasks if evaluation else ()


def cell(score: TaskScore) -> Cell:
    """One score with its interval: Wilson's over the items, or its standard error where subsets are averaged."""
    scale = score.scale if score.scale > 0 else 1.0
    share = min(1.0, max(0.0, score.score / scale))
    low, high = _bounds(score, share, scale)
    return Cell(
        share=share,
        low=low,
        high=high,
        shown=number(score.score),
        interval=interval(low * scale, high * scale) if score.item_count else ABSENT,
        items=score.item_count,
    )


def _bounds(score: TaskScore, share: float, scale: float) -> tuple[float, float]:
    if len(score.subsets) > 1 and score.standard_error:
        half = NORMAL_95 * score.standard_error / scale
        return max(0.0, share - half), min(1.0, share + half)
    if not score.item_count:
        return share, share
    wilson = binomial_interval(share, score.item_count)
    return wilson.low, wilson.high
