"""Official measurement of a run's checkpoints: every figure once per checkpoint, in fresh processes, from the disk.

bits per byte   all checkpoints that lack it in one process       held-out text of the edition
tasks           likewise, through OpenCompass                     the edition's suite, or the official one
performance     a process each, alone                             base and final
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.corpora.held_out import held_out_samples
from harness.document import digest_of, write_atomically
from harness.judge.filed import file_bits_per_byte, file_performance
from harness.judge.measure import Surroundings, measure_bits_per_byte, measure_performance
from harness.judge.opencompass import TaskModel, TasksRequest, measure_tasks
from harness.judge.results import BitsPerByte, Performance
from harness.pico import tasks as demo_tasks
from harness.run.stepping import Product, perform
from harness.submission.measurements import Evaluation, Measurements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import JsonValue

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.rules.edition import SuiteName
    from harness.run.observer import Observer
    from harness.run.preparation import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A checkpoint to measure."""

    label: str
    """``llama final``: base model and role."""
    checkpoint: Checkpoint
    kind: Literal["chat", "base"]
    """``chat`` or ``base``: how the tasks' prompts are put."""
    with_performance: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of measurement: what it depends on beside the checkpoint, how it is done and shown."""

    name: str
    depends_on: dict[str, JsonValue]
    work: Callable[[list[Subject], Path], list[JsonValue]]
    shown: Callable[[JsonValue], str]


@dataclass(frozen=True, slots=True)
class Measuring:
    """The judge at work for one run."""

    prepared: Prepared
    observer: Observer

    def measure(self, subjects: Sequence[Subject]) -> dict[str, Measurements]:
        """Checkpoint digest to what was measured on it."""
        distinct = {subject.checkpoint.digest: subject for subject in subjects}
        timed = [subject for subject in distinct.values() if subject.with_performance]
        bits = self._bits_per_byte(list(distinct.values()))
        speeds = {subject.checkpoint.digest: self._performance(subject) for subject in timed}
        tasks = self._tasks(list(distinct.values()))
        held_out = self.prepared.edition.held_out
        return {
            digest: Measurements(
                bits_per_byte=file_bits_per_byte(
                    bits[digest], data=held_out.data, split=held_out.split, checkpoint_digest=digest
                ),
                evaluation=tasks[digest],
                performance=file_performance(speeds[digest], checkpoint_digest=digest) if digest in speeds else None,
            )
            for digest in distinct
        }

    def _bits_per_byte(self, subjects: list[Subject]) -> dict[str, BitsPerByte]:
        window_tokens = self.prepared.edition.held_out.window_tokens
        texts = held_out_texts(self.prepared)

        def work(missing: list[Subject], folder: Path) -> list[JsonValue]:
            paths = [subject.checkpoint.path for subject in missing]
            surroundings = self._surroundings(folder)
            figures = measure_bits_per_byte(paths, texts, window_tokens=window_tokens, surroundings=surroundings)
            return [figure.model_dump(mode="json") for figure in figures]

        kind = _Kind(
            name="bits per byte",
            depends_on={"texts": texts.stem, "window_tokens": window_tokens},
            work=work,
            shown=lambda value: f"{BitsPerByte.model_validate(value).bits_per_byte:.4f}",
        )
        return {digest: BitsPerByte.model_validate(value) for digest, value in self._each(kind, subjects).items()}

    def _performance(self, subject: Subject) -> Performance:
        rule = self.prepared.edition.measurement

        def work(missing: list[Subject], folder: Path) -> list[JsonValue]:
            surroundings = self._surroundings(folder)
            # In the checkpoint's own precision, on every device: an FP16 model's memory is that of FP16 weights.
            figure = measure_performance(missing[0].checkpoint.path, rule=rule, surroundings=surroundings)
            return [figure.model_dump(mode="json")]

        def shown(value: JsonValue) -> str:
            figure = Performance.model_validate(value)
            return f"decode {figure.decode_tokens_per_s:.0f} tokens/s, peak {figure.peak_memory_bytes / 1e6:.0f} MB"

        protocol: dict[str, JsonValue] = {"protocol": rule.model_dump(mode="json"), "precision": "checkpoint"}
        kind = _Kind(name="memory and speed", depends_on=protocol, work=work, shown=shown)
        return Performance.model_validate(self._each(kind, [subject])[subject.checkpoint.digest])

    def _tasks(self, subjects: list[Subject]) -> dict[str, Evaluation]:
        data, suite, identity = task_data(self.prepared)
        settings = self.prepared.settings
        rules = {name: self.prepared.edition.tasks[name] for name in self.prepared.tasks}

        def work(missing: list[Subject], folder: Path) -> list[JsonValue]:
            models = [
                TaskModel(label=subject.label, checkpoint=subject.checkpoint, kind=subject.kind) for subject in missing
            ]
            request = TasksRequest(
                models=tuple(models), suite=suite, tasks=rules, data=data, limit=settings.limit, seed=settings.seed
            )
            evaluations = measure_tasks(request, self._surroundings(folder))
            return [evaluation.model_dump(mode="json") for evaluation in evaluations]

        def shown(value: JsonValue) -> str:
            return "  ".join(f"{score.column} {score.score:.4g}" for score in Evaluation.model_validate(value).tasks)

        asked: dict[str, JsonValue] = {
            "suite": suite,
            "data": identity,
            "tasks": list(self.prepared.tasks),
            "limit": settings.limit,
            "seed": settings.seed,
        }
        kind = _Kind(name="tasks", depends_on=asked, work=work, shown=shown)
        return {digest: Evaluation.model_validate(value) for digest, value in self._each(kind, subjects).items()}

    def _each(self, kind: _Kind, subjects: list[Subject]) -> dict[str, JsonValue]:
        """Measure those that were not measured before, all in one process, and remember each by itself."""
        workspace = self.prepared.workspace
        names = {subject.checkpoint.digest: self._depends_on(kind, subject) for subject in subjects}
        missing = [
            subject for subject in subjects if workspace.finished(digest_of(names[subject.checkpoint.digest])) is None
        ]
        products = self._measure_now(kind, missing) if missing else {}
        values: dict[str, JsonValue] = {}
        for subject in subjects:
            digest = subject.checkpoint.digest
            done = perform(workspace, names[digest], lambda _folder, digest=digest: products[digest])  # type: ignore[misc]
            label = f"{kind.name}   {subject.label}"
            self.observer.finished(label, kind.shown(done.record.value), done.record.duration_s, reused=done.reused)
            values[digest] = done.record.value
        return values

    def _measure_now(self, kind: _Kind, missing: list[Subject]) -> dict[str, Product]:
        self.observer.started(kind.name)
        digests = [subject.checkpoint.digest for subject in missing]
        folder = self.prepared.workspace.root / "measuring" / digest_of([kind.name, *digests])[:12]
        started = time.monotonic()
        values = kind.work(missing, folder)
        shutil.rmtree(folder, ignore_errors=True)
        share = (time.monotonic() - started) / len(missing)
        return {
            digest: Product(value=value, duration_s=share, peak_memory_bytes=0)
            for digest, value in zip(digests, values, strict=True)
        }

    def _depends_on(self, kind: _Kind, subject: Subject) -> dict[str, JsonValue]:
        settings = self.prepared.settings
        return {
            "kind": kind.name,
            "checkpoint": subject.checkpoint.digest,
            "prompts": subject.kind,
            "judge": self.prepared.judge_digest,
            "engines": self.prepared.engines,
            "device": settings.device,
            "threads": settings.threads,
            **kind.depends_on,
        }

    def _surroundings(self, folder: Path) -> Surroundings:
        settings = self.prepared.settings
        return Surroundings(
            work_dir=folder.resolve(),
            limits=settings.limits,
            on_event=self.observer.event,
            device=settings.device,
            threads=settings.threads,
        )


def held_out_texts(prepared: Prepared) -> Path:
    """The edition's held-out text as a JSON lines file, named by its digest; the user's copies are not part of it."""
    rule = prepared.edition.held_out
    embedded = prepared.edition.data[rule.data].embedded
    door = prepared.door.model_copy(update={"local": {}}) if embedded else prepared.door
    samples = held_out_samples(door, rule.data, "validation", rule.sample_count)
    lines = [json.dumps({"text": sample.text}, ensure_ascii=False) for sample in samples]
    path = prepared.workspace.root / "held-out" / f"{digest_of(list(lines))}.jsonl"
    if not path.is_file():
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
    return path


def task_data(prepared: Prepared) -> tuple[Path, SuiteName, str]:
    """Where the evaluation sets are, which suite runs on them, and their digest.

    The user's folder holds the real sets, so the official configurations run on it, whatever the edition.
    """
    given = prepared.settings.tasks_data
    if given is not None:
        return Path(given).resolve(), "official", prepared.memory.tree(Path(given))
    folder = prepared.workspace.root / "demo-tasks"
    demo_tasks.write(folder)
    return folder.resolve(), prepared.edition.suite, prepared.memory.tree(folder)
