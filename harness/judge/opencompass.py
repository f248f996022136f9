"""The edition's tasks, scored by the real OpenCompass in its toolchain's environment. No torch in this process.

models, tasks, data ── request.json ──> worker (one process, all models) ── result.json ──> Evaluation of each
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue, ValidationError

from harness.containment import Event, run_contained
from harness.document import Document, write_atomically
from harness.errors import MeasurementFailed
from harness.pico.tasks import prompts
from harness.submission.measurements import Evaluation, SubsetScore, TaskScore
from harness.toolchains.catalogue import opencompass
from harness.toolchains.provision import ensure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.containment import ChildReport
    from harness.judge.measure import Surroundings
    from harness.rules.edition import SuiteName, TaskName, TaskRule

BATCH_SIZE = 64
MAX_OUT_TOKENS = 1024
"""The competition's; a configuration's own limit wins."""
LOG_LINES = 12
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TMPDIR")
"""What of the environment the worker sees: it executes code that a model wrote, so no secret of the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskModel:
    """A checkpoint to score."""

    label: str
    checkpoint: Checkpoint
    kind: Literal["chat", "base"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksRequest:
    """Every model on every task."""

    models: tuple[TaskModel, ...]
    suite: SuiteName
    tasks: Mapping[TaskName, TaskRule]
    data: Path
    """Laid out as OpenCompass looks its data up."""
    limit: int | None
    """The first so many items of every data set."""
    seed: int


class SubsetRecord(Document):
    """One data set of a task, as the worker reports it."""

    name: str
    metrics: dict[str, float]
    item_count: int = Field(gt=0)
    config: str
    version: str
    predictions_path: str
    empty_count: int


class TaskRecord(Document):
    """One task, as the worker reports it."""

    subsets: tuple[SubsetRecord, ...] = Field(min_length=1)
    score: float = Field(allow_inf_nan=False)
    metric: str
    scale: float
    item_count: int = Field(gt=0)


class ResultRecord(Document):
    """The worker's result file."""

    versions: dict[str, str]
    durations_s: dict[str, float]
    models: dict[str, dict[str, TaskRecord]]


def measure_tasks(request: TasksRequest, surroundings: Surroundings) -> tuple[Evaluation, ...]:
    """Score every model of ``request``, in its order, in one process.

    Raises:
        ToolchainFailed: OpenCompass's environment could not be made.
        MeasurementFailed: a task has no score: data missing, a crash, empty answers; with the worker's own words.
    """
    environment = ensure(opencompass(), on_event=surroundings.on_event)
    work_dir = surroundings.work_dir.resolve()
    here, result = work_dir / "cwd", work_dir / "result.json"
    here.mkdir(parents=True, exist_ok=True)
    write_atomically(work_dir / "request.json", _request(request, work_dir, result, surroundings.threads or 1))
    inbox = _Inbox(surroundings)
    report = run_contained(
        [str(environment.python), "-P", "-s", "-m", "worker", str(work_dir / "request.json")],
        limits=surroundings.limits,
        log=work_dir / "log.txt",
        cwd=here,
        environment=_environment(surroundings.threads or 1),
        on_event=inbox,
    )
    record = _read(result, report, inbox.failure, work_dir / "log.txt")
    return tuple(_evaluation(request, model, record) for model in request.models)


class _Inbox:
    """Keeps the failure that the worker announced, hands everything else on."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._on_event = surroundings.on_event
        self.failure: str | None = None

    def __call__(self, event: Event) -> None:
        if event.get("event") == "failure":
            self.failure = str(event.get("message"))
        else:
            self._on_event(event)


class _RequestFile(Document):
    """What the worker reads."""

    models: tuple[dict[str, JsonValue], ...]
    suite: str
    tasks: tuple[str, ...]
    data_dir: str
    prompts: dict[str, str]
    limit: int | None
    seed: int
    threads: int
    work_dir: str
    result: str


def _request(request: TasksRequest, work_dir: Path, result: Path, threads: int) -> bytes:
    models: tuple[dict[str, JsonValue], ...] = tuple(
        {
            "name": _name(model),
            "label": model.label,
            "path": str(model.checkpoint.path.resolve()),
            "kind": model.kind,
            "max_seq_len": None,
            "max_out_len": MAX_OUT_TOKENS,
            "batch_size": BATCH_SIZE,
            "dtype": "float32",
        }
        for model in request.models
    )
    file = _RequestFile(
        models=models,
        suite=request.suite,
        tasks=tuple(request.tasks),
        data_dir=str(request.data),
        prompts={name: prompt.user for name, prompt in prompts().items()} if request.suite == "demo" else {},
        limit=request.limit,
        seed=request.seed,
        threads=threads,
        work_dir=str(work_dir),
        result=str(result),
    )
    return file.model_dump_json(indent=2).encode()


def _name(model: TaskModel) -> str:
    """What the worker calls a model; distinct for distinct checkpoints."""
    return f"{model.label.replace(' ', '-')}-{model.checkpoint.digest[:8]}"


def _environment(threads: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    count = str(threads)
    return {**kept, "PYTHONPATH": str(opencompass().folder), "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}


def _read(result: Path, report: ChildReport, failure: str | None, log: Path) -> ResultRecord:
    if failure is not None:
        raise MeasurementFailed(f"tasks: {failure}")
    if report.stopped_for is not None or report.exit_code != 0:
        cause = f"stopped for {report.stopped_for}" if report.stopped_for else f"ended with {report.exit_code}"
        lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.is_file() else []
        raise MeasurementFailed(
            f"tasks: OpenCompass {cause} after {report.duration_s:.0f} s" + "".join(f"\n    {line}" for line in lines)
        )
    try:
        return ResultRecord.read(result)
    except (OSError, ValidationError) as error:
        raise MeasurementFailed(f"tasks: OpenCompass's worker gave no result that can be read: {error}") from error


def _evaluation(request: TasksRequest, model: TaskModel, record: ResultRecord) -> Evaluation:
    scores = record.models.get(_name(model), {})
    missing = [task for task in request.tasks if task not in scores]
    if missing:
        raise MeasurementFailed(f"tasks: no score of {model.label} for {', '.join(missing)}")
    return Evaluation(
        engine="opencompass",
        engine_version=record.versions["opencompass"],
        suite=request.suite,
        item_limit=request.limit,
        tasks=tuple(_score(name, rule, scores[name]) for name, rule in request.tasks.items()),
        checkpoint_digest=model.checkpoint.digest,
    )


def _score(name: str, rule: TaskRule, record: TaskRecord) -> TaskScore:
    if record.metric != rule.metric or record.scale != rule.scale:
        raise MeasurementFailed(
            f"task {name!r}: scored by {record.metric!r} out of {record.scale:g}, the edition says {rule.metric!r} "
            f"out of {rule.scale:g}"
        )
    return TaskScore(
        task=name,
        column=rule.column,
        metric=record.metric,
        scale=record.scale,
        score=record.score,
        item_count=record.item_count,
        subsets=tuple(
            SubsetScore(name=subset.name, score=_main(subset, record), item_count=subset.item_count)
            for subset in record.subsets
        ),
    )


def _main(subset: SubsetRecord, record: TaskRecord) -> float:
    metric = "score" if record.metric == "naive_average" else record.metric
    return subset.metrics[metric]
