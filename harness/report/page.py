"""``report.html``: a bundle as one page.

bundle ──read_record──> Record ─┐
validation ──> findings ────────┴─ render ──> report.html      same record, same findings: same bytes
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.document import write_atomically
from harness.errors import UsageError
from harness.report import plots, recorded
from harness.report.graph import BOX_HEIGHT, BOX_WIDTH, provenance
from harness.report.record import read_record
from harness.report.scores import ROLE_NAMES, score_rows
from harness.report.template import render
from harness.rules.finding import Severity
from harness.submission import layout
from harness.submission.bundle import file_records
from harness.submission.signature import SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.report.chart import Chart
    from harness.report.graph import Graph
    from harness.report.record import Record
    from harness.report.scores import ScoreRow
    from harness.submission.model_result import ModelResult, StepRecord
    from harness.submission.provenance import StepLedger
    from harness.validation.report import Report

Lines = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step, ready to be shown."""

    number: int
    record: StepRecord
    share: float
    """Of the base's parameters."""
    weights_bytes: int | None
    """Of the checkpoint that it wrote, where the record says."""
    time_share: float
    """Of the longest step, for the bar behind the duration."""
    options: Lines
    notes: Lines


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One base model's story, ready to be shown."""

    model: ModelResult
    anchor: str
    steps: tuple[StepView, ...]
    control_steps: tuple[StepView, ...]
    charts: tuple[Chart, ...]
    scores: tuple[ScoreRow, ...]
    graph: Graph | None
    reading: tuple[StepLedger, ...]


def report_page(bundle: Path, validation: Report) -> str:
    """The page of the bundle in the folder ``bundle``.

    Args:
        bundle: with its ``submission.json``.
        validation: what was found about it.

    Raises:
        UsageError: it has no ``submission.json`` that can be read.
    """
    record = read_record(bundle)
    views = tuple(_model(record, model, number) for number, model in enumerate(record.submission.models))
    values = {
        "submission": record.submission,
        "recipe": record.recipe,
        "lock": record.lock,
        "models": views,
        "validation": validation,
        "errors": validation.count(Severity.ERROR),
        "warnings": validation.count(Severity.WARNING),
        "role_names": ROLE_NAMES,
        "command": shlex.join(record.recipe.command) if record.recipe else "",
        "box_width": BOX_WIDTH,
        "box_height": BOX_HEIGHT,
    }
    return render("report.html", values)


def write_report(bundle: Path, validation: Report) -> Path:
    """Write ``report.html`` into the folder ``bundle`` and name it in the manifest, which is written last.

    Args:
        bundle: with its ``submission.json``.
        validation: what was found about it; what it says of the page that is replaced is left out.

    Raises:
        UsageError: as ``report_page``; or the bundle is signed, and a signature covers the manifest.
    """
    if (bundle / SIGNATURE).exists():
        raise UsageError(f"{bundle}: is signed, and a new page would break the signature; write elsewhere: --out FILE")
    kept = tuple(finding for finding in validation.findings if finding.place.file != layout.REPORT)
    content = report_page(bundle, validation.model_copy(update={"findings": kept})).encode()
    write_atomically(bundle / layout.REPORT, content)
    submission = read_record(bundle).submission
    others = (record for record in submission.files if record.name != layout.REPORT)
    named = sorted((*others, *file_records({layout.REPORT: content})), key=lambda record: record.name)
    submission.model_copy(update={"files": tuple(named)}).write(bundle / layout.SUBMISSION)
    return bundle / layout.REPORT


def _model(record: Record, model: ModelResult, number: int) -> ModelView:
    anchor = f"model-{number}"
    options = _options(record, model.name)
    reading = tuple(step for step in record.ledger.steps if step.model == model.name) if record.ledger else ()
    return ModelView(
        model=model,
        anchor=anchor,
        steps=_steps(model, model.steps, options),
        control_steps=_steps(model, model.control_steps, ()),
        charts=plots.charts_of(model, anchor),
        scores=score_rows(model),
        graph=provenance(model, record.ledger) if record.ledger else None,
        reading=reading,
    )


def _options(record: Record, name: str) -> tuple[Lines, ...]:
    """Options of each step as run, in the recipe's order; empty where the recipe does not say."""
    recipes = record.recipe.models if record.recipe else ()
    steps = next((recipe.options.get("steps") for recipe in recipes if recipe.name == name), None)
    return (
        tuple(recorded.flat(step) if isinstance(step, dict) else () for step in steps)
        if isinstance(steps, list)
        else ()
    )


def _steps(model: ModelResult, steps: Sequence[StepRecord], options: tuple[Lines, ...]) -> tuple[StepView, ...]:
    weights = {one.checkpoint.checkpoint_digest: one.checkpoint.weights_bytes for one in model.checkpoints}
    longest = max((step.duration_s for step in steps), default=0.0) or 1.0
    # A recipe from scratch has one step more than the record: the one that made the base.
    options = options[len(options) - len(steps) :] if len(options) >= len(steps) else ()
    return tuple(
        StepView(
            number=number + 1,
            record=step,
            share=step.parameter_count / max(1, model.base.parameter_count),
            weights_bytes=weights.get(step.checkpoint_digest),
            time_share=step.duration_s / longest,
            options=options[number] if options else (),
            notes=recorded.plain(step),
        )
        for number, step in enumerate(steps)
    )
