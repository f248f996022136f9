"""One record per item beside a subset's score: what was answered, what was compared, whether it counted.

    {"index": 0, "prediction": text, "extracted": what the metric compared, "reference": with what,
     "correct": true, "prompt_tokens": 812, "generated_tokens": 96, "ended_by": "eos"}            gzip, a line an item

Correctness is OpenCompass's own: the details of its evaluator, or where it gives none, its comparison of each item.
The mean of it must be the metric that OpenCompass reports.
"""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from .channel import Failure
from .subset import TASK_METRICS, TASK_SCALES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .engine.answer import Row
    from .subset import Subset

    Details = Sequence[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]

ROUNDING = {"truthful_qa": 0.5e-4}
"""Task -> what its evaluator's rounding of the mean may take away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One item as the metric saw it."""

    extracted: str
    reference: Any
    correct: bool | None
    """None: the evaluator leaves the item out."""


def judge_items(place: str, subset: Subset, details: Details, predictions: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """Every item of ``subset`` in order, from the ``details`` of its result and the ``predictions`` file's rows."""
    judged = _JUDGES[subset.task](details, predictions, subset)
    if len(judged) != len(predictions):
        raise Failure(f"{place}: OpenCompass gives details of {len(judged)} items, expected {len(predictions)}")
    return judged


def check_mean(place: str, subset: Subset, judged: Sequence[Judged], reported: float) -> None:
    """Fail unless the items average to the metric that OpenCompass reports."""
    counted = [float(item.correct) for item in judged if item.correct is not None]
    mean = TASK_SCALES.get(subset.task, 100) * math.fsum(counted) / len(counted) if counted else math.nan
    if not abs(mean - reported) <= ROUNDING.get(subset.task, 0) + 1e-6:
        raise Failure(
            f"{place}: the items average to {mean:.6f}, OpenCompass reports {TASK_METRICS[subset.task]} {reported:.6f}"
        )


def write_items(
    path: Path, judged: Sequence[Judged], texts: Sequence[str], rows: Sequence[Row], *, tokens: bool
) -> None:
    """One line per item, compressed; the same items, the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
        for index, (item, text, row) in enumerate(zip(judged, texts, rows, strict=True)):
            record: dict[str, Any] = {
                "index": index,
                "prediction": text,
                "extracted": item.extracted,
                "reference": item.reference,
                "correct": item.correct,
                "prompt_tokens": row.prompt_tokens,
                "generated_tokens": row.generated_tokens,
                "ended_by": row.ended_by,
            }
            if tokens:
                record |= {"prompt_ids": row.prompt_ids, "answer_ids": row.answer_ids}
            stream.write((json.dumps(record, ensure_ascii=False) + "\n").encode())


def _indexed(details: Any) -> list[Mapping[str, Any]]:
    """OpenCompass wraps items in a list, or in an object by their number beside a type."""
    if isinstance(details, list):
        return details
    return [details[str(index)] for index in range(sum(key.isdigit() for key in details))]


def _first(value: Any) -> Any:
    """Each field of a detail is a list with one element for each repetition; there is one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _compared(details: Any, predictions: Sequence[Mapping[str, Any]], subset: Subset) -> list[Judged]:  # noqa: ARG001 - as its like
    """Evaluators that say themselves what was compared."""
    return [
        Judged(
            extracted=str(_first(detail["pred"])),
            reference=_first(detail["answer"]),
            correct=bool(_first(detail["correct"])),
        )
        for detail in _indexed(details)
    ]


def _equal(details: Any, predictions: Sequence[Mapping[str, Any]], subset: Subset) -> list[Judged]:  # noqa: ARG001 - as its like
    """``AccEvaluator`` gives the two texts and counts those that are the same text."""
    return [
        Judged(
            extracted=detail["predictions"],
            reference=detail["references"],
            correct=detail["predictions"] == detail["references"],
        )
        for detail in _indexed(details)
    ]


def _marked(details: Any, predictions: Sequence[Mapping[str, Any]], subset: Subset) -> list[Judged]:  # noqa: ARG001 - as its like
    """``AccwithDetailsEvaluator`` says of each item what it compared and whether it was the same."""
    return [
        Judged(
            extracted=str(_first(detail["pred"])),
            reference=_first(detail["refr"]),
            correct=bool(_first(detail["is_correct"])),
        )
        for detail in _indexed(details)
    ]


def _passed(details: Any, predictions: Sequence[Mapping[str, Any]], subset: Subset) -> list[Judged]:  # noqa: ARG001 - as its like
    """HumanEval: the completion as it was run, and its problem."""
    return [
        Judged(
            extracted=_first(detail["completion"]),
            reference=_first(detail["task_id"]),
            correct=bool(_first(detail["passed"])),
        )
        for detail in _indexed(details)
    ]


def _likened(details: Any, predictions: Sequence[Mapping[str, Any]], subset: Subset) -> list[Judged]:  # noqa: ARG001 - as its like
    """TruthfulQA: its evaluator once more for every item alone; a blank answer is left out there too."""
    import evaluate  # type: ignore[import-not-found]
    from opencompass.datasets import TruthfulQAEvaluator

    evaluator = TruthfulQAEvaluator(metrics="bleu", key="ENV")
    with mock.patch.object(evaluate, "load", return_value=evaluate.load("bleu")):
        return [_likened_one(evaluator, str(row["prediction"]), row["gold"]) for row in predictions]


def _likened_one(evaluator: Any, text: str, gold: Any) -> Judged:
    # Its mean over one item is the item's own; the evaluator changes the lists that it is given.
    correct = bool(evaluator.basic_score([text], [json.loads(json.dumps(gold))])["bleu_acc"]) if text.strip() else None
    return Judged(extracted=text, reference=gold["answers"], correct=correct)


_JUDGES: Mapping[str, Callable[[Any, Sequence[Mapping[str, Any]], Subset], list[Judged]]] = {
    "commonsense_qa": _equal,
    "chid": _equal,
    "humaneval": _passed,
    "bbh": _compared,
    "gsm8k": _compared,
    "truthful_qa": _likened,
    "mmlu": _marked,
    "ceval": _equal,
}
