"""What ``harness evaluate`` does once its words are parsed: find checkpoints, tasks and data, ask the judge, answer."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from harness.cli.subjects import Kind, Named, named
from harness.containment import Limits
from harness.document import Document
from harness.errors import UsageError
from harness.judge.evaluation_key import Setting
from harness.judge.evaluations import Asked, Evaluations, assemble
from harness.judge.measure import Surroundings
from harness.judge.opencompass import TaskModel, measure_tasks
from harness.judge.scores import EngineName
from harness.judge.uncertainty import interval
from harness.rules.edition import Edition, TaskRule, load_edition
from harness.run.demo_data import demo_data
from harness.run.digests import DigestMemory
from harness.submission.measurements import Evaluation, TaskScore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.evaluations import Piece, Scored
    from harness.run.observer import Observer
    from harness.run.workspace import Workspace

DEMO, COMPETITION = "demo", "neurips-2024"
MEMORY_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was typed."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    limit: int | None
    edition: str | None
    """None: the demo's, or the competition's where the official sets are given."""
    tasks_data: Path | None
    weights: Path | None
    kind: Kind | None
    engine: EngineName
    early_stop: bool
    weak_sandbox: bool
    seed: int
    device: str
    threads: int | None
    time_limit_s: float
    memory_limit_gb: float | None

    def surroundings(self, work_dir: Path, observer: Observer) -> Surroundings:
        """Where a measurement runs."""
        total = psutil.virtual_memory().total
        limit = int(self.memory_limit_gb * 1e9) if self.memory_limit_gb else int(total * MEMORY_SHARE)
        return Surroundings(
            work_dir=work_dir.resolve(),
            limits=Limits(time_s=self.time_limit_s, memory_bytes=limit),
            on_event=observer.event,
            device=self.device,
            threads=self.threads,
        )


class TaskLine(Document):
    """One task of one checkpoint, as it is printed."""

    score: TaskScore
    interval_95: tuple[float, float] | None
    """In the unit of the score."""
    seconds: float
    """Of the measurement, whenever it was made: its share of the call that made it."""
    reused: bool
    items: str | None
    """The file of its items in the workspace."""


class ModelAnswer(Document):
    """One checkpoint."""

    label: str
    base: str
    kind: Kind
    path: str
    evaluation: Evaluation
    tasks: tuple[TaskLine, ...]


class Answer(Document):
    """What ``harness evaluate`` answers."""

    edition: str
    notice: str
    looks: str
    """The ledger that every evaluation is entered in."""
    models: tuple[ModelAnswer, ...]


def evaluate_all(options: Options, workspace: Workspace, observer: Observer) -> Answer:
    """Score every model that was named on every task that was named.

    Raises:
        UsageError: a model, a task or the data of one is not there.
        ToolchainFailed: OpenCompass's environment could not be made.
        MeasurementFailed: a task has no score.
    """
    edition = edition_of(options)
    setting = _setting(options, edition, workspace)
    memory = DigestMemory(workspace)
    found = checkpoints_of(options, edition, workspace)
    asked = [_asked(one, memory) for one in found]
    evaluations = Evaluations(
        workspace=workspace,
        memory=memory,
        observer=observer,
        surroundings=lambda folder: options.surroundings(folder, observer),
        measure=measure_tasks,
    )
    scored = evaluations.evaluate(asked, setting)
    return Answer(
        edition=edition.id,
        notice=edition.notice,
        looks=str(workspace.looks),
        models=tuple(_answer(one, ask, setting, scored) for one, ask in zip(found, asked, strict=True)),
    )


def edition_of(options: Options) -> Edition:
    """The rules that were named; without a name the official sets belong to the competition."""
    return load_edition(options.edition or (DEMO if options.tasks_data is None else COMPETITION))


def checkpoints_of(options: Options, edition: Edition, workspace: Workspace) -> list[Named]:
    """Every checkpoint that was named; a bundle's are looked for in the workspace where no folder is given."""
    steps = workspace.root / "steps"
    weights = options.weights or (steps if steps.is_dir() else None)
    return [
        one
        for model in options.models
        for one in named(model, edition, weights=None if weights is None else weights.resolve(), kind=options.kind)
    ]


def _setting(options: Options, edition: Edition, workspace: Workspace) -> Setting:
    tasks = _tasks(options, edition)
    given = options.tasks_data
    if given is not None and not given.is_dir():
        raise UsageError(f"--tasks-data {given}: no such folder")
    if given is None and edition.suite == "official":
        raise UsageError(
            f"edition {edition.id!r} scores the official sets, not shipped; name their folder: --tasks-data DIR"
        )
    return Setting(
        suite=edition.suite if given is None else "official",
        tasks=tasks,
        data=demo_data(workspace) if given is None else given.resolve(),
        limit=options.limit,
        seed=options.seed,
        device=options.device,
        engine=options.engine,
        early_stop=options.early_stop,
        weak_sandbox=options.weak_sandbox,
    )


def _tasks(options: Options, edition: Edition) -> dict[str, TaskRule]:
    known: dict[str, TaskRule] = {}
    known.update((name, rule) for name, rule in edition.tasks.items())
    known.update((name, rule) for name, rule in edition.hold_out_tasks.items())
    unknown = sorted(set(options.tasks) - set(known))
    if unknown:
        raise UsageError(f"--tasks {','.join(unknown)}: allowed by edition {edition.id!r}: {', '.join(known)}")
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit {options.limit}: expected at least 1")
    chosen = options.tasks or tuple(edition.tasks)
    return {name: rule for name, rule in known.items() if name in chosen}


def _asked(one: Named, memory: DigestMemory) -> Asked:
    return Asked(model=TaskModel(label=one.label, checkpoint=memory.checkpoint(one.path), kind=one.kind), base=one.base)


def _answer(one: Named, asked: Asked, setting: Setting, scored: Mapping[Piece, Scored]) -> ModelAnswer:
    return ModelAnswer(
        label=one.label,
        base=one.base,
        kind=one.kind,
        path=os.path.relpath(one.path),
        evaluation=assemble(asked.model, setting, scored),
        tasks=tuple(_line(scored[asked.model.checkpoint.digest, task]) for task in setting.tasks),
    )


def _line(scored: Scored) -> TaskLine:
    score = scored.result.score
    return TaskLine(
        score=score,
        interval_95=interval(score),
        seconds=scored.duration_s,
        reused=scored.reused,
        items=None if scored.items is None else str(scored.items),
    )
