"""One model on one subset: infer, count, evaluate, check; and the subsets of a task into one score."""

# ruff: noqa: ANN401 - OpenCompass has no types

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict
from opencompass.tasks import OpenICLEvalTask, OpenICLInferTask

from .channel import Failure
from .clock import Clock
from .data_once import data_read_once
from .items import check_mean, judge_items, write_items
from .subset import AVERAGED, TASK_METRICS, TASK_SCALES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .channel import Channel
    from .engine.answer import Row
    from .request import Model, Request
    from .subset import Subset

Record = dict[str, Any]


def score_task(model: Model, loaded: Any, subsets: Sequence[Subset], request: Request, channel: Channel) -> Record:
    """Infer all subsets of one task, refuse silence, evaluate; the record of the task in the result file.

    ``loaded`` has ``begin``, which a subset's inference starts with, and ``rows``, one for every answer since.
    """
    task = subsets[0].task
    with data_read_once() if request.engine == "fast" else nullcontext():
        inferred = [_infer(model, loaded, subset, request, channel) for subset in subsets]
        _refuse_silence(f"{model.label}, task {task}", task, [text for one in inferred for text in one.texts])
        records = [_evaluate(model, subset, one, request) for subset, one in zip(subsets, inferred, strict=True)]
    return {
        "subsets": records,
        "score": sum(record["metrics"][TASK_METRICS[task]] for record in records) / len(records),
        "metric": "naive_average" if task in AVERAGED else TASK_METRICS[task],
        "scale": TASK_SCALES.get(task, 100),
        "item_count": sum(record["item_count"] for record in records),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inferred:
    """What inference of a subset left."""

    predictions: list[Record]
    """The rows of OpenCompass's file."""
    rows: list[Row]
    seconds: float
    cpu_seconds: float

    @property
    def texts(self) -> list[str]:
        """The model's answers as written."""
        return [str(row["prediction"]) for row in self.predictions]


def _infer(model: Model, loaded: Any, subset: Subset, request: Request, channel: Channel) -> _Inferred:
    label, done = f"{model.label} {subset.name}", 0

    def on_batch(rows: int) -> None:
        nonlocal done
        done += rows
        channel.progress(label, done, subset.item_count)

    channel.progress(label, 0, subset.item_count)
    path = predictions_path(request.work_dir, model, subset)
    # OpenCompass takes what it finds for done: an unfinished file for the first rows, a finished one for all.
    path.unlink(missing_ok=True)
    path.with_name(f"tmp_{path.name}l").unlink(missing_ok=True)
    loaded.begin(subset, on_batch)
    clock = Clock()
    OpenICLInferTask(_task(model, subset, request)).run(cur_model=loaded, cur_model_abbr=model.name)
    predictions = _predictions(model, subset, request.work_dir)
    if len(loaded.rows) != len(predictions):
        raise Failure(f"{model.label}, {subset.name}: {len(loaded.rows)} answers for {len(predictions)} predictions")
    return _Inferred(
        predictions=predictions, rows=list(loaded.rows), seconds=clock.wall(), cpu_seconds=clock.processor()
    )


def _task(model: Model, subset: Subset, request: Request) -> ConfigDict:
    fast = request.engine == "fast"
    retriever = str(subset.settings["infer_cfg"]["retriever"]["type"])
    settings = {
        "abbr": model.name,
        "type": "worker.shims",
        "path": model.path,
        # OpenCompass counts the tokens of every prompt to leave out examples that a retriever chose; here none does.
        "max_seq_len": None if fast and "ZeroRetriever" in retriever else model.context(),
        "max_out_len": model.max_out_len,
        "batch_size": subset.item_count if fast else model.batch_size,
    }
    details = {"runner": {"task": {"dump_details": request.itemised}}}
    return ConfigDict(models=[settings], datasets=[[subset.settings]], work_dir=str(request.work_dir), eval=details)


def _predictions(model: Model, subset: Subset, work_dir: Path) -> list[Record]:
    """The rows of the predictions file; fails unless there is one for every row of the data."""
    path = predictions_path(work_dir, model, subset)
    if not path.is_file():
        raise Failure(f"{model.label}, {subset.name}: no predictions were written")
    rows = json.loads(path.read_text(encoding="utf-8"))
    if len(rows) != subset.item_count:
        raise Failure(f"{model.label}, {subset.name}: {len(rows)} predictions for {subset.item_count} rows of data")
    return [rows[str(index)] for index in range(len(rows))]


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


def _evaluate(model: Model, subset: Subset, inferred: _Inferred, request: Request) -> Record:
    clock, place = Clock(), f"{model.label}, {subset.name}"
    path = request.work_dir / "results" / model.name / f"{subset.name}.json"
    path.unlink(missing_ok=True)
    OpenICLEvalTask(_task(model, subset, request)).run()
    if not path.is_file():
        raise Failure(f"{place}: OpenCompass gave no result")
    result = json.loads(path.read_text(encoding="utf-8"))
    record: Record = {
        "name": subset.name,
        "metrics": _metrics(place, result, TASK_METRICS[subset.task]),
        "item_count": subset.item_count,
        "config": subset.configuration,
        "version": subset.version,
        "predictions_path": str(predictions_path(request.work_dir, model, subset).relative_to(request.work_dir)),
        "empty_count": sum(not text.strip() for text in inferred.texts),
    }
    if not request.itemised:
        return record
    items = _write_items(place, model, subset, inferred, result, record["metrics"], request)
    return record | {
        "items_path": str(items.relative_to(request.work_dir)),
        "seconds": inferred.seconds + clock.wall(),
        "cpu_seconds": inferred.cpu_seconds + clock.processor(),
    }


def _write_items(  # noqa: PLR0913, PLR0917 - one subset of one model, and what came of it
    place: str,
    model: Model,
    subset: Subset,
    inferred: _Inferred,
    result: Record,
    metrics: dict[str, float],
    request: Request,
) -> Path:
    path = request.work_dir / "items" / model.name / f"{subset.name}.jsonl.gz"
    judged = judge_items(place, subset, result["details"], inferred.predictions)
    check_mean(place, subset, judged, metrics[TASK_METRICS[subset.task]])
    write_items(path, judged, inferred.texts, inferred.rows, tokens=request.keep_tokens)
    return path


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
