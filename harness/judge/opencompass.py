"""The edition's tasks, scored by the real OpenCompass in its toolchain's environment. No torch in this process.

TasksRequest ── request.json ──> worker, contained, offline, nearly empty environment
             <── progress ─────    one import, small models side by side
Evaluation   <── result.json ──    whatever is missing, empty or not finite is a MeasurementFailed, never a score
items-…      <── items ────────    what the model said to each question, held against the score that it makes
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from harness.checkpoint.structure import MODELING_NAME
from harness.containment import run_contained
from harness.errors import MeasurementFailed
from harness.judge.items import gather
from harness.judge.recorded import score_of
from harness.judge.scores import EngineName, TaskRecord, WorkerModel, WorkerRequest, WorkerResult
from harness.judge.worker_log import relevant_lines
from harness.pico.tasks import prompts
from harness.structured.files import is_structured
from harness.submission.items import pack
from harness.submission.measurements import Evaluation
from harness.toolchains.catalogue import opencompass
from harness.toolchains.provision import ensure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.containment import ChildReport, Event
    from harness.judge.measure import Surroundings
    from harness.rules.edition import SuiteName, TaskRule

BATCH_SIZE = 64
MAX_OUT_TOKENS = 1024
"""The competition's; a configuration's own limit wins."""
SMALL_MODEL_BYTES = 200_000_000
"""Weights below which a step of decoding is too short for several threads to help."""
PROCESS_MEMORY_BYTES = 3 << 30
"""Room for one scoring process of small models; two thirds of it are libraries."""
KEPT = ("PATH", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")
"""What of the environment the worker sees: it executes code that a model wrote, so no secret of the user's."""
LEFTOVERS = ("cwd", "tmp", "predictions", "results", "items")
"""OpenCompass takes what stands in these folders for done."""


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
    tasks: Mapping[str, TaskRule]
    data: Path
    """Laid out as OpenCompass looks its data up (``COMPASS_DATA_CACHE``), with ``truthful_qa/`` inside."""
    limit: int | None
    """The first so many items of every data set, and of every BBH subset."""
    seed: int
    engine: EngineName = "fast"
    early_stop: bool = True
    weak_sandbox: bool = False
    journal_dir: Path | None = None
    """Where the worker keeps batches as they come; a request that is tried again goes on from there."""


def items_path(work_dir: Path, checkpoint_digest: str, task: str) -> Path:
    """Where ``measure_tasks`` leaves the items of a task, packed; absent where the worker kept none."""
    return work_dir / f"items-{checkpoint_digest[:16]}-{task}"


def measure_tasks(request: TasksRequest, surroundings: Surroundings) -> tuple[Evaluation, ...]:
    """Score every model of ``request``, in its order.

    Predictions, results, items (``items_path``) and the worker's log stay below the work directory.

    Raises:
        ToolchainFailed: OpenCompass's environment could not be made.
        MeasurementFailed: a task has no score (data missing, a crash, a limit, empty answers); with the worker's own
            words, or the end of its log.
    """
    environment = ensure(opencompass(), on_event=surroundings.on_event)
    work_dir = surroundings.work_dir.resolve()
    _clear(work_dir)
    asked = _asked(request, surroundings, work_dir)
    asked.write(work_dir / "request.json")
    inbox = _Inbox(surroundings)
    try:
        report = run_contained(
            [str(environment.python), "-P", "-s", "-m", "worker", str(work_dir / "request.json")],
            limits=surroundings.limits,
            log=work_dir / "log.txt",
            cwd=work_dir / "cwd",
            environment=_environment(asked, surroundings.device, work_dir),
            on_event=inbox,
        )
    finally:
        shutil.rmtree(work_dir / "cwd", ignore_errors=True)
        shutil.rmtree(work_dir / "tmp", ignore_errors=True)
    result = _read(work_dir, report, inbox.failure)
    return tuple(_evaluation(request, model, result, work_dir) for model in request.models)


class _Inbox:
    """Keeps the failure that the worker announced, hands everything else on."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._on_event = surroundings.on_event
        self.failure: str | None = None

    def __call__(self, event: Event) -> None:
        if event.get("event") == "failed":
            self.failure = str(event.get("message"))
        else:
            self._on_event(event)


def _clear(work_dir: Path) -> None:
    """A work directory in which nothing of an earlier evaluation can be taken for this one's."""
    for name in LEFTOVERS:
        shutil.rmtree(work_dir / name, ignore_errors=True)
    for path in (
        *work_dir.glob("scores-*.json"),
        *work_dir.glob("items-*"),
        work_dir / "result.json",
        work_dir / "log.txt",
    ):
        path.unlink(missing_ok=True)
    (work_dir / "cwd").mkdir(parents=True)
    (work_dir / "tmp").mkdir()


def _asked(request: TasksRequest, surroundings: Surroundings, work_dir: Path) -> WorkerRequest:
    processes, threads = _division(request.models, surroundings)
    turns = {name: prompt.user for name, prompt in prompts().items()} if request.suite == "demo" else {}
    return WorkerRequest(
        models=tuple(_asked_model(model, surroundings.device) for model in request.models),
        suite=request.suite,
        tasks=tuple(request.tasks),
        data_dir=str(request.data.resolve()),
        prompts=turns,
        limit=request.limit,
        seed=request.seed,
        threads=threads,
        processes=processes,
        engine=request.engine,
        early_stop=request.early_stop,
        journal_dir=None if request.journal_dir is None else str(request.journal_dir.resolve()),
        sandbox=str(resources.files("harness") / "sandbox"),
        weak_sandbox=request.weak_sandbox,
        work_dir=str(work_dir),
        result=str(work_dir / "result.json"),
    )


def _asked_model(model: TaskModel, device: str) -> WorkerModel:
    path = model.checkpoint.path.resolve()
    return WorkerModel(
        name=_name(model),
        label=model.label,
        path=str(path),
        kind=model.kind,
        max_out_len=MAX_OUT_TOKENS,
        batch_size=BATCH_SIZE,
        # FP16 arithmetic is emulated on CPUs; on an accelerator the checkpoint's own precision is used.
        dtype="float32" if device == "cpu" else "auto",
        modeling=str(resources.files("harness.structured") / MODELING_NAME) if is_structured(path) else None,
    )


def _name(model: TaskModel) -> str:
    """What the worker calls a model: the same for the same checkpoint, whoever asks and whatever its label is."""
    return f"{model.kind}-{model.checkpoint.digest[:16]}"


def _division(models: Sequence[TaskModel], surroundings: Surroundings) -> tuple[int, int]:
    """Processes, and threads of each: small models side by side with a thread each, a large one with all threads."""
    threads = surroundings.threads or len(os.sched_getaffinity(0))
    if surroundings.device != "cpu" or any(_weights_bytes(model) > SMALL_MODEL_BYTES for model in models):
        return 1, threads
    fitting = surroundings.limits.memory_bytes // PROCESS_MEMORY_BYTES
    return max(1, min(len(models), threads, fitting)), 1


def _weights_bytes(model: TaskModel) -> int:
    return sum(path.stat().st_size for path in model.checkpoint.path.glob("*.safetensors"))


def _environment(asked: WorkerRequest, device: str, work_dir: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if device == "cpu":
        kept["CUDA_VISIBLE_DEVICES"] = ""
    return kept | {
        "HOME": str(work_dir / "cwd"),
        "TMPDIR": str(work_dir / "tmp"),
        "PYTHONPATH": str(opencompass().folder),
        "OMP_NUM_THREADS": str(asked.threads),
        "MKL_NUM_THREADS": str(asked.threads),
    }


def _read(work_dir: Path, report: ChildReport, failure: str | None) -> WorkerResult:
    if failure is not None:
        raise MeasurementFailed(f"tasks: {failure}")
    if report.stopped_for is not None or report.exit_code != 0:
        cause = f"stopped for {report.stopped_for}" if report.stopped_for else f"ended with {report.exit_code}"
        raise MeasurementFailed(
            f"tasks: OpenCompass {cause} after {report.duration_s:.0f} s, at most {report.peak_memory_bytes / 1e9:.1f} "
            f"GB of memory{relevant_lines(work_dir / 'log.txt')}"
        )
    try:
        return WorkerResult.read(work_dir / "result.json")
    except (OSError, ValidationError) as error:
        raise MeasurementFailed(f"tasks: OpenCompass's worker left no result that can be read: {error}") from error


def _evaluation(request: TasksRequest, model: TaskModel, result: WorkerResult, work_dir: Path) -> Evaluation:
    scores = result.models.get(_name(model), {})
    missing = [task for task in request.tasks if task not in scores]
    if missing:
        raise MeasurementFailed(f"tasks: no score of {model.label} for {', '.join(missing)}")
    for task in request.tasks:
        _keep_items(scores[task], work_dir, items_path(work_dir, model.checkpoint.digest, task))
    return Evaluation(
        engine="opencompass",
        engine_version=result.versions["opencompass"],
        suite=request.suite,
        model_class=request.engine,
        early_stop=request.early_stop and request.engine == "fast",
        item_limit=request.limit,
        tasks=tuple(score_of(name, rule, scores[name]) for name, rule in request.tasks.items()),
        checkpoint_digest=model.checkpoint.digest,
    )


def _keep_items(record: TaskRecord, work_dir: Path, path: Path) -> None:
    items = gather(record, work_dir)
    if items is not None:
        path.write_bytes(pack(items))
