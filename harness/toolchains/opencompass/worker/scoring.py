"""One model on one subset: infer, count, evaluate, check; and the subsets of a task into one score."""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict
from opencompass.tasks import OpenICLEvalTask, OpenICLInferTask

from .channel import Failure
from .subset import TASK_METRICS, TASK_SCALES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .channel import Channel
    from .request import Model
    from .subset import Subset

Record = dict[str, Any]


def score_task(model: Model, loaded: Any, subsets: Sequence[Subset], work_dir: Path, channel: Channel) -> Record:
    """Infer all subsets of one task, refuse silence, evaluate; the record of the task in the result file."""
    for subset in subsets:
        _infer(model, loaded, subset, work_dir, channel)
    task = subsets[0].task
    predictions = [_predictions(model, subset, work_dir) for subset in subsets]
    _refuse_silence(f"{model.label}, task {task}", task, [text for texts in predictions for text in texts])
    records = [
        _evaluate(model, subset, work_dir) | {"empty_count": sum(not text.strip() for text in texts)}
        for subset, texts in zip(subsets, predictions, strict=True)
    ]
    return {
        "subsets": records,
        "score": sum(record["metrics"][TASK_METRICS[task]] for record in records) / len(records),
        "metric": "naive_average" if task == "bbh" else TASK_METRICS[task],
        "scale": TASK_SCALES.get(task, 100),
        "item_count": sum(record["item_count"] for record in records),
    }


def _infer(model: Model, loaded: Any, subset: Subset, work_dir: Path, channel: Channel) -> None:
    label, done = f"{model.label} {subset.name}", 0

    def on_batch(rows: int) -> None:
        nonlocal done
        done += rows
        channel.progress(label, done, subset.item_count)

    channel.progress(label, 0, subset.item_count)
    loaded.on_batch = on_batch
    OpenICLInferTask(_task(model, subset, work_dir)).run(cur_model=loaded, cur_model_abbr=model.name)


def _task(model: Model, subset: Subset, work_dir: Path) -> ConfigDict:
    settings = {
        "abbr": model.name,
        "type": "worker.shims",
        "path": model.path,
        "max_seq_len": model.context(),
        "max_out_len": model.max_out_len,
        "batch_size": model.batch_size,
    }
    return ConfigDict(models=[settings], datasets=[[subset.settings]], work_dir=str(work_dir))


def _predictions(model: Model, subset: Subset, work_dir: Path) -> list[str]:
    """The model's answers as written; fails unless there is one for every row of the data."""
    path = predictions_path(work_dir, model, subset)
    if not path.is_file():
        raise Failure(f"{model.label}, {subset.name}: no predictions were written")
    rows = json.loads(path.read_text(encoding="utf-8"))
    if len(rows) != subset.item_count:
        raise Failure(f"{model.label}, {subset.name}: {len(rows)} predictions for {subset.item_count} rows of data")
    return [str(row["prediction"]) for row in rows.values()]


def _refuse_silence(place: str, task: str, texts: Sequence[str]) -> None:
    """A task without a single answer has no score.

    Blank answers are wrong ones, except for TruthfulQA: its evaluator leaves them out and has no mean over nothing.
    """
    answers = [text.strip() for text in texts] if task == "truthful_qa" else texts
    if not any(answers):
        raise Failure(f"{place}: every prediction is empty")


def predictions_path(work_dir: Path, model: Model, subset: Subset) -> Path:
    """Where OpenCompass writes a subset's predictions."""
    return work_dir / "predictions" / model.name / f"{subset.name}.json"


def _evaluate(model: Model, subset: Subset, work_dir: Path) -> Record:
    OpenICLEvalTask(_task(model, subset, work_dir)).run()
    path = work_dir / "results" / model.name / f"{subset.name}.json"
    if not path.is_file():
        raise Failure(f"{model.label}, {subset.name}: OpenCompass gave no result")
    result = json.loads(path.read_text(encoding="utf-8"))
    return {
        "name": subset.name,
        "metrics": _metrics(f"{model.label}, {subset.name}", result, TASK_METRICS[subset.task]),
        "item_count": subset.item_count,
        "config": subset.configuration,
        "version": subset.version,
        "predictions_path": str(predictions_path(work_dir, model, subset).relative_to(work_dir)),
    }


def _metrics(place: str, result: Record, wanted: str) -> dict[str, float]:
    """The numbers of a result; fails on an error, a missing metric or one that is not finite."""
    if "error" in result:
        raise Failure(f"{place}: OpenCompass says: {result['error']}")
    metrics = {name: float(value) for name, value in result.items() if isinstance(value, int | float)}
    if wanted not in metrics:
        raise Failure(f"{place}: no {wanted!r} among the metrics {sorted(metrics)}")
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise Failure(f"{place}: {name} is {value}")
    return metrics
