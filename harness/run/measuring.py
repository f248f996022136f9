"""Official measurement of a run's checkpoints: every figure once per checkpoint, in fresh processes, from the disk.

bits per byte   all checkpoints that lack it in one process       held-out text of the edition
tasks           each task of each checkpoint by itself            ``harness.judge.evaluations``
performance     a process each, alone                             base and final
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.corpora.held_out import held_out_samples
from harness.document import digest_of, write_atomically
from harness.errors import CheckpointCorrupt
from harness.judge.edge import AS_THE_HARNESS_CHOOSES, measure_for_record, package_folder, runtime_for_record
from harness.judge.evaluation_key import Setting
from harness.judge.evaluations import Asked, Evaluations, assemble
from harness.judge.filed import file_bits_per_byte, file_performance
from harness.judge.measure import Surroundings, measure_bits_per_byte
from harness.judge.opencompass import TaskModel, measure_tasks
from harness.judge.results import BitsPerByte, Performance
from harness.run.demo_data import demo_data
from harness.run.stepping import Product, perform_together
from harness.submission import bundle as bundles
from harness.submission.looks import read_looks
from harness.submission.measurements import Measurements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import JsonValue

    from harness.checkpoint.checkpoint import Checkpoint
    from harness.judge.evaluations import Scored
    from harness.options import Packaging
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
    packaging: Packaging = AS_THE_HARNESS_CHOOSES
    """What the plugin says about the package that is measured."""

    @property
    def asked(self) -> Asked:
        """The checkpoint as the tasks' judge is asked about it; looks are counted by base model."""
        model = TaskModel(label=self.label, checkpoint=self.checkpoint, kind=self.kind)
        return Asked(model=model, base=self.label.partition(" ")[0])


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
        self._refuse_swapped(list(distinct.values()))
        timed = [subject for subject in distinct.values() if subject.with_performance]
        bits = self._bits_per_byte(list(distinct.values()))
        speeds = {subject.checkpoint.digest: self._performance(subject) for subject in timed}
        setting = setting_of(self.prepared)
        tasks = self.evaluations.evaluate([subject.asked for subject in subjects], setting)
        held_out = self.prepared.edition.held_out
        return {
            digest: Measurements(
                bits_per_byte=file_bits_per_byte(
                    bits[digest], data=held_out.data, split=held_out.split, checkpoint_digest=digest
                ),
                evaluation=assemble(distinct[digest].asked.model, setting, tasks),
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
        rule, workspace = self.prepared.edition.measurement, self.prepared.workspace
        digest = subject.checkpoint.digest
        package = package_folder(workspace.packages, digest, self.prepared.packaging_digest, subject.packaging)

        def work(missing: list[Subject], folder: Path) -> list[JsonValue]:
            surroundings = self._surroundings(folder)
            checkpoint = missing[0].checkpoint
            # In the checkpoint's own precision, on every device: an FP16 model's memory is that of FP16 weights.
            figure = measure_for_record(
                checkpoint.path,
                package=package,
                rule=rule,
                surroundings=surroundings,
                packaging=subject.packaging,
            )
            return [figure.performance.model_dump(mode="json")]

        def shown(value: JsonValue) -> str:
            figure = Performance.model_validate(value)
            return (
                f"decode {figure.decode_tokens_per_s:.0f} tokens/s, peak {figure.peak_memory_bytes / 1e6:.0f} MB, "
                f"{figure.runtime}"
            )

        protocol: dict[str, JsonValue] = {
            "protocol": rule.model_dump(mode="json"),
            "precision": "checkpoint",
            "runtime": runtime_for_record(self.prepared.settings.device)[0],
            "packaging": self.prepared.packaging_digest,
            "chosen": subject.packaging.model_dump(mode="json"),
        }
        kind = _Kind(name="memory and speed", depends_on=protocol, work=work, shown=shown)
        return Performance.model_validate(self._each(kind, [subject])[subject.checkpoint.digest])

    def completed(self, bundle: bundles.Bundle, subjects: Sequence[Subject]) -> bundles.Bundle:
        """``bundle`` with the items of its scores, and with every look that was taken in the workspace."""
        setting = setting_of(self.prepared)
        stored = {
            subject.checkpoint.digest: self.evaluations.stored(subject.asked.model, setting) for subject in subjects
        }
        looks = read_looks(self.prepared.workspace.looks)
        bundle = replace(bundle, ledger=bundle.ledger.model_copy(update={"looks": looks}))
        return bundles.with_items(bundle, lambda digest, task: _items(stored[digest].get(task)))

    @property
    def evaluations(self) -> Evaluations:
        """The judge of tasks, in the run's workspace."""
        return Evaluations(
            workspace=self.prepared.workspace,
            memory=self.prepared.memory,
            observer=self.observer,
            surroundings=self._surroundings,
            measure=measure_tasks,
        )

    def _refuse_swapped(self, subjects: Sequence[Subject]) -> None:
        """What is measured has the bytes that the record names."""
        for subject in subjects:
            found = self.prepared.memory.checkpoint(subject.checkpoint.path).digest
            if found != subject.checkpoint.digest:
                raise CheckpointCorrupt(
                    f"{subject.checkpoint.path}: was changed since {subject.label} was made: expected digest "
                    f"{subject.checkpoint.digest}, found {found}; remove the step's folder and run again"
                )

    def _each(self, kind: _Kind, subjects: list[Subject]) -> dict[str, JsonValue]:
        """Measure those that were not measured before, all in one process, and remember each by itself."""
        by_digest = {subject.checkpoint.digest: subject for subject in subjects}
        pieces = {digest: self._depends_on(kind, subject) for digest, subject in by_digest.items()}

        def work(folders: Mapping[str, Path]) -> dict[str, Product]:
            return self._measure_now(kind, [by_digest[digest] for digest in folders])

        done = perform_together(self.prepared.workspace, pieces, work)
        for digest, one in done.items():
            label = f"{kind.name}   {by_digest[digest].label}"
            self.observer.finished(label, kind.shown(one.record.value), one.record.duration_s, reused=one.reused)
        return {digest: one.record.value for digest, one in done.items()}

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


def setting_of(prepared: Prepared) -> Setting:
    """What the tasks of a run are scored under.

    The user's folder holds the real sets, so the official configurations run on it, whatever the edition.
    """
    settings, edition = prepared.settings, prepared.edition
    given = settings.tasks_data
    return Setting(
        suite=edition.suite if given is None else "official",
        tasks={name: edition.tasks[name] for name in prepared.tasks},
        data=demo_data(prepared.workspace) if given is None else Path(given).resolve(),
        limit=settings.limit,
        seed=settings.seed,
        device=settings.device,
        weak_sandbox=settings.weak_sandbox,
    )


def _items(scored: Scored | None) -> bytes | None:
    return scored.items.read_bytes() if scored is not None and scored.items is not None else None
