"""The life of a submission: prepare, carry out, measure, package, write, validate, file.

prepare ──> strategy of each base model ──> measure ──> package ──> bundle beside ──> validate ──> filed
  rules, plugin, bases, recipes, budgets        (fresh processes)                     4: not filed
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.document import Document
from harness.errors import UsageError
from harness.judge.edge import AS_THE_HARNESS_CHOOSES
from harness.run.discovery import find_plugin
from harness.run.filing import assemble, checkpoints_folder, model_result, numbered, story, track_folder
from harness.run.finishing import package_of, packaging_of, plugin_findings, plugin_metrics
from harness.run.measuring import Measuring, Subject
from harness.run.preparation import Prepared, prepare
from harness.run.settings import SubmitSettings
from harness.run.strategy import Strategy, carry_out
from harness.submission import bundle as bundles
from harness.validation.run import validate

if TYPE_CHECKING:
    from harness.options import Packaging
    from harness.run.observer import Observer
    from harness.run.workspace import Workspace
    from harness.submission.schema import Submission
    from harness.validation.report import Report

TIMED_ROLES = ("base", "final")
"""The roles whose memory and speed are measured; the others have the shape of one of these."""


class RunRecord(Document):
    """A run as it was asked for: what ``--resume`` continues."""

    run: str
    created: dt.date
    settings: SubmitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    run: str
    bundle: Path
    """Where the entry is filed, or, with broken rules, where it was written to be looked at."""
    number: int
    """Which of the different entries of its day, team and plugin it is, from 1; it stands in the name from 2 on."""
    filed: bool
    submission: Submission
    report: Report


def begin(settings: SubmitSettings, workspace: Workspace) -> RunRecord:
    """Remember what was asked; the same settings are the same run, on whatever day they are given again.

    Raises:
        PluginNotFound: there is no such plugin; a slip of the finger leaves no run behind.
    """
    find_plugin(settings.plugin)
    run = f"{settings.plugin}-{settings.content_digest()[:8]}"
    path = workspace.root / "runs" / run / "run.json"
    try:
        return RunRecord.read(path)
    except (OSError, ValidationError):
        record = RunRecord(run=run, created=dt.datetime.now(dt.UTC).date(), settings=settings)
        record.write(path)
        return record


def resumed(run: str, workspace: Workspace) -> RunRecord:
    """The run of that name, from its folder's name or path; raises ``UsageError`` where there is none."""
    name = Path(run).name
    try:
        return RunRecord.read(workspace.root / "runs" / name / "run.json")
    except (OSError, ValidationError) as error:
        known = sorted(path.name for path in (workspace.root / "runs").glob("*"))
        raise UsageError(f"--resume {run}: no such run; there are: {', '.join(known) or 'none'}") from error


def submit(record: RunRecord, workspace: Workspace, observer: Observer) -> Outcome:
    """Carry the run to its end; what stands from earlier is reused.

    Raises:
        UsageError: something that was asked for is not allowed.
        EngineFailed: a plugin or a measurement failed; finished steps are kept.
    """
    prepared = prepare(record.settings, workspace)
    strategies = tuple(_carry_out(prepared, index, observer) for index in range(len(prepared.models)))
    observer.section("measure", "fresh processes, from the files on disk")
    subjects = [
        subject
        for strategy in strategies
        for subject in _subjects(strategy, packaging_of(prepared, strategy, observer))
    ]
    measuring = Measuring(prepared, observer)
    measured = measuring.measure(subjects)
    models = tuple(
        model_result(
            prepared, strategy, measured, package_of(prepared, strategy, observer), plugin_metrics(prepared, strategy)
        )
        for strategy in strategies
    )
    bundle = measuring.completed(assemble(prepared, strategies, models, record.created), subjects)
    return _file(record, prepared, bundle)


def _carry_out(prepared: Prepared, index: int, observer: Observer) -> Strategy:
    model = prepared.models[index]
    observer.section(model.name, model.rule.embedded or model.rule.hub_id or "")
    return carry_out(prepared, model, observer)


def _subjects(strategy: Strategy, packaging: Packaging) -> list[Subject]:
    """The base is packaged as the harness would; the plugin has its say about its own."""
    return [
        Subject(
            label=f"{strategy.model.name} {role}",
            checkpoint=checkpoint,
            kind=strategy.model.rule.kind,
            with_performance=role in TIMED_ROLES,
            packaging=AS_THE_HARNESS_CHOOSES if role == "base" else packaging,
        )
        for role, checkpoint in story(strategy).items()
    ]


def _file(record: RunRecord, prepared: Prepared, bundle: bundles.Bundle) -> Outcome:
    """Write the bundle in the run's folder, validate it there, and file it only if no rule is broken."""
    from harness.report.page import report_page  # draws: half a second that nobody pays for --help

    bundle, number = numbered(bundle, track_folder(prepared))
    draft = prepared.workspace.root / "runs" / record.run / bundle.submission.id
    bundles.write(bundle, draft)
    report = validate(draft, prepared.edition, weights=checkpoints_folder(prepared))
    report = report.with_findings(plugin_findings(prepared, draft))
    bundle = replace(bundle, report=report_page(draft, report).encode())
    bundles.write(bundle, draft)
    folder = track_folder(prepared) / bundle.submission.id
    if not report.has_errors and not bundles.is_filed(bundle, folder):
        bundles.write(bundle, folder)
    return Outcome(
        run=record.run,
        bundle=draft if report.has_errors else folder,
        number=number,
        filed=not report.has_errors,
        submission=bundle.submission,
        report=report,
    )
