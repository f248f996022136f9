"""Results of tasks, one a checkpoint and task, kept under the digest of everything that they depend on.

    checkpoint's bytes ─┐
    task, its data      ├─ key ──> .harness/steps/<key>/   record.json and the items, whole or absent
    engine, limit, seed │          what is missing of a request is measured in one call of the worker,
    versions, code     ─┘          with a journal under the missing keys until all of them are kept

``harness evaluate`` and ``harness submit`` share the results: one more task costs one task. A changed byte anywhere
above is another key (``evaluation_key``), so nothing stale is ever found.

A *look* is entered in the ledger for every evaluation that runs, before its result is kept: a kill in between costs a
second look and never hides one. A result that is shown again is no new look, for nobody learns anything that the
ledger does not tell; only where the ledger has no look for it at all (it was begun anew) is one entered.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.document import Document, digest_of
from harness.judge.evaluation_key import keys_of
from harness.judge.opencompass import TaskModel, TasksRequest, items_path
from harness.judge.sound_weights import refuse_broken
from harness.run.stepping import Done, Product, perform_together
from harness.submission.looks import append_look, read_looks
from harness.submission.measurements import Evaluation, TaskScore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from harness.judge.evaluation_key import Setting
    from harness.judge.measure import Surroundings
    from harness.run.digests import DigestMemory
    from harness.run.observer import Observer
    from harness.run.workspace import Workspace

ITEMS = "items"
"""The file of a result with what the model said, as ``harness.submission.items`` packs it."""
Piece = tuple[str, str]
"""Checkpoint digest and task."""


class TaskResult(Document):
    """One task on one checkpoint, as it is kept."""

    engine: str
    engine_version: str
    score: TaskScore


class _Journal(Document):
    """What a journal is for."""

    keys: tuple[str, ...]
    """Of the results that were missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A checkpoint to score, and the base model that the ledger of looks names it by."""

    model: TaskModel
    base: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One task on one checkpoint: the result, and whether it was there already."""

    result: TaskResult
    duration_s: float
    reused: bool
    items: Path | None
    """The file of its items, packed; None where the engine kept none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluations:
    """The results of one workspace."""

    workspace: Workspace
    memory: DigestMemory
    observer: Observer
    surroundings: Callable[[Path], Surroundings]
    """Where a call of the engine runs, given its work directory."""
    measure: Callable[[TasksRequest, Surroundings], tuple[Evaluation, ...]]
    """The engine: ``harness.judge.opencompass.measure_tasks``."""

    def evaluate(self, asked: Sequence[Asked], setting: Setting) -> dict[Piece, Scored]:
        """Every task of ``setting`` on every checkpoint, those that are not kept yet in one call of the engine.

        Raises:
            UsageError: the data of a task is missing, or the ledger of looks is broken.
            MeasurementFailed: a task has no score.
        """
        read_looks(self.workspace.looks)  # nothing is measured that could not be entered
        pieces = {
            _name(one.model, task): key
            for one in asked
            for task, key in keys_of(one.model, setting, self.memory.tree).items()
        }
        done = perform_together(self.workspace, pieces, lambda folders: self._measure(asked, setting, folders))
        self._clear_journals()
        self._require_looks(asked, setting)
        found = {_piece(name): self._scored(one) for name, one in done.items()}
        self._tell(asked, found)
        return found

    def stored(self, checkpoint: TaskModel, setting: Setting) -> dict[str, Scored]:
        """What is kept of ``checkpoint`` under ``setting``, by task; nothing is measured."""
        records = {
            task: self.workspace.finished(digest_of(key))
            for task, key in keys_of(checkpoint, setting, self.memory.tree).items()
        }
        return {
            task: self._scored(Done(record=record, reused=True))
            for task, record in records.items()
            if record is not None
        }

    def _measure(self, asked: Sequence[Asked], setting: Setting, folders: Mapping[str, Path]) -> dict[str, Product]:
        """The missing pieces, checkpoints that miss the same tasks together."""
        self.observer.started("tasks")
        groups = _groups(asked, folders)
        for one in (one for models in groups.values() for one in models):
            refuse_broken(one.model.checkpoint.path, one.model.label)
        journal = self._journal([folder.name.removesuffix(".partial") for folder in folders.values()])
        products: dict[str, Product] = {}
        for tasks, models in groups.items():
            products |= self._call(models, tasks, setting, folders, journal)
        return products

    def _call(
        self,
        models: Sequence[Asked],
        tasks: Sequence[str],
        setting: Setting,
        folders: Mapping[str, Path],
        journal: Path,
    ) -> dict[str, Product]:
        keys = sorted(folders[_name(one.model, task)].name for one in models for task in tasks)
        work_dir = self.workspace.root / "measuring" / digest_of([*keys])[:12]
        request = TasksRequest(
            models=tuple(one.model for one in models),
            suite=setting.suite,
            tasks={task: setting.tasks[task] for task in tasks},
            data=setting.data,
            limit=setting.limit,
            seed=setting.seed,
            engine=setting.engine,
            early_stop=setting.stops_early,
            weak_sandbox=setting.weak_sandbox,
            journal_dir=journal,
        )
        started = time.monotonic()
        evaluations = self.measure(request, self.surroundings(work_dir))
        share_s = (time.monotonic() - started) / (len(models) * len(tasks))
        products = {}
        for one, evaluation in zip(models, evaluations, strict=True):
            for score in evaluation.tasks:
                self._look(one, score.task, setting)
                name = _name(one.model, score.task)
                products[name] = _product(evaluation, score, share_s, work_dir, folders[name])
        shutil.rmtree(work_dir, ignore_errors=True)
        return products

    def _journal(self, keys: list[str]) -> Path:
        """Where the worker keeps what it has while just these results are missing."""
        folder = self.workspace.root / "journals" / digest_of([*sorted(keys)])[:16]
        _Journal(keys=tuple(keys)).write(folder / "keys.json")
        return folder / "batches"

    def _clear_journals(self) -> None:
        """Remove the journals whose results are kept."""
        for path in (self.workspace.root / "journals").glob("*/keys.json"):
            if all(self.workspace.finished(key) for key in _Journal.read(path).keys):
                shutil.rmtree(path.parent, ignore_errors=True)

    def _look(self, one: Asked, task: str, setting: Setting) -> None:
        digest = one.model.checkpoint.digest
        append_look(self.workspace.looks, model=one.base, task=task, checkpoint_digest=digest, item_limit=setting.limit)

    def _require_looks(self, asked: Sequence[Asked], setting: Setting) -> None:
        """What is about to be shown stands in the ledger."""
        looks = read_looks(self.workspace.looks)
        known = {(look.model, look.task, look.checkpoint_digest, look.item_limit) for look in looks}
        for one in asked:
            for task in setting.tasks:
                if (one.base, task, one.model.checkpoint.digest, setting.limit) not in known:
                    self._look(one, task, setting)

    def _scored(self, done: Done) -> Scored:
        items = self.workspace.output(done.record.key) / ITEMS
        return Scored(
            result=TaskResult.model_validate(done.record.value),
            duration_s=done.record.duration_s,
            reused=done.reused,
            items=items if items.is_file() else None,
        )

    def _tell(self, asked: Sequence[Asked], found: Mapping[Piece, Scored]) -> None:
        for one in asked:
            mine = [scored for (digest, _), scored in found.items() if digest == one.model.checkpoint.digest]
            shown = "  ".join(f"{one.result.score.column} {one.result.score.score:.4g}" for one in mine)
            duration_s = sum(scored.duration_s for scored in mine if not scored.reused)
            is_reused = all(scored.reused for scored in mine)
            self.observer.finished(f"tasks   {one.model.label}", shown, duration_s, reused=is_reused)


def assemble(checkpoint: TaskModel, setting: Setting, found: Mapping[Piece, Scored]) -> Evaluation:
    """The results of one checkpoint as one evaluation, tasks in the order of ``setting``."""
    results = [found[checkpoint.checkpoint.digest, task].result for task in setting.tasks]
    return Evaluation(
        engine=results[0].engine,
        engine_version=results[0].engine_version,
        suite=setting.suite,
        model_class=setting.engine,
        early_stop=setting.stops_early,
        item_limit=setting.limit,
        tasks=tuple(result.score for result in results),
        checkpoint_digest=checkpoint.checkpoint.digest,
    )


def _name(model: TaskModel, task: str) -> str:
    return f"{model.checkpoint.digest} {task}"


def _piece(name: str) -> Piece:
    digest, _, task = name.partition(" ")
    return digest, task


def _groups(asked: Sequence[Asked], missing: Mapping[str, object]) -> dict[tuple[str, ...], list[Asked]]:
    """Tasks to the checkpoints that lack just these; a checkpoint that was asked for twice stands there once."""
    lacking: dict[str, tuple[Asked, list[str]]] = {}
    for one in asked:
        digest = one.model.checkpoint.digest
        lacking.setdefault(digest, (one, [task for found, task in map(_piece, missing) if found == digest]))
    groups: dict[tuple[str, ...], list[Asked]] = {}
    for one, tasks in lacking.values():
        if tasks:
            groups.setdefault(tuple(tasks), []).append(one)
    return groups


def _product(evaluation: Evaluation, score: TaskScore, duration_s: float, work_dir: Path, folder: Path) -> Product:
    result = TaskResult(engine=evaluation.engine, engine_version=evaluation.engine_version, score=score)
    items = items_path(work_dir, evaluation.checkpoint_digest, score.task)
    made = None
    if items.is_file():
        made = folder / "work" / "made"
        made.mkdir(parents=True, exist_ok=True)
        shutil.move(items, made / ITEMS)
    return Product(value=result.model_dump(mode="json"), duration_s=duration_s, peak_memory_bytes=0, made=made)
