"""``README.md`` of a bundle: the entry on one page, for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from harness.submission import results_csv
from harness.submission.table import markdown_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.rules.edition import Edition
    from harness.submission.measurements import Measurements, TaskScore
    from harness.submission.model_result import CheckpointResult, ModelResult, StepRecord
    from harness.submission.provenance import RecipeRecord
    from harness.submission.schema import Submission

ABSENT = "-"
"""What was not measured."""
WHOLE_FROM = 1000

ROLES = """\
`base` is the untouched dense model, `compressed` the student right after the last compress step, `final` the student
after recovery (this is what is submitted), `control` the dense model after the same training with nothing removed."""

FILES = (
    ("report.html", "this entry as a page for a browser"),
    ("submission.json", "the manifest: everything below by digest, and every number of this page"),
    ("Results.csv", "the competition's columns, one row: the mean over the models"),
    ("models/", "the result of each base model"),
    ("items/", "every item with what the model said and whether it was right; `harness show` reads them"),
    ("recipe.json", "the recipe and the options as run"),
    ("ledger.json", "what was read through the data door, step by step"),
    ("lock.json", "versions, seeds and digests: what a replay needs"),
)


def render(submission: Submission, recipe: RecipeRecord, edition: Edition) -> str:
    """The page as Markdown text."""
    parts = [
        f"# {submission.id}",
        *([f"> **{submission.notice}**"] if submission.notice else []),
        *_incomplete(submission, edition),
        _facts(submission, edition),
        f"## Results: mean over {len(submission.models)} model(s)",
        _mean(submission, edition),
        "## The models",
        ROLES,
        *(part for model in submission.models for part in _model(model)),
        "## Run it again",
        f"```\n{shlex.join(recipe.command)}\n```",
        "Same versions, seeds and data (`lock.json`) on the same kind of machine give the same digests.",
        "## Files",
        markdown_table(("file", "what it holds"), [(f"`{name}`", what) for name, what in FILES]),
        _weights(),
        "## Units",
        _units(edition),
    ]
    return "\n\n".join(parts) + "\n"


def _incomplete(submission: Submission, edition: Edition) -> list[str]:
    scored = {score.task for score in submission.mean.tasks}
    missing = [rule.column for name, rule in edition.tasks.items() if name not in scored]
    return [f"> **incomplete: not scored on {', '.join(missing)}**"] if missing else []


def _facts(submission: Submission, edition: Edition) -> str:
    plugin = submission.plugin
    rows = [
        ("team", submission.team),
        ("plugin", f"{plugin.name} ({plugin.distribution.name} {plugin.distribution.version})"),
        ("track", submission.track),
        ("edition", f"{edition.title} ({submission.edition.id} {submission.edition.version})"),
        ("eligible", "yes" if submission.eligible else "no"),
        ("created", submission.created.isoformat()),
        ("seed", str(submission.seed)),
        ("parameter budget", _budget(submission.parameter_budget)),
    ]
    return markdown_table(("", ""), rows)


def _budget(budget: float) -> str:
    return f"{budget:g} of the base" if budget <= 1 else f"{budget:,.0f} parameters"


def _mean(submission: Submission, edition: Edition) -> str:
    values = results_csv.column_values(submission.mean, edition)
    row = [_number(values.get(column)) for column in edition.csv_columns]
    return markdown_table(edition.csv_columns, [row])


def _model(model: ModelResult) -> list[str]:
    base = model.base.embedded or model.base.hub_id or "trained from scratch"
    story = list(model.checkpoints)
    header = ("", *(result.role for result in story))
    parts = [f"### {model.name} ({base})", markdown_table(header, _story(story))]
    if model.steps:
        parts += ["Steps:", _steps(model.steps)]
    if model.control_steps:
        parts += ["Steps of the control:", _steps(model.control_steps)]
    if model.plugin_metrics:
        rows = [(metric.name, _number(metric.value), metric.unit) for metric in model.plugin_metrics]
        parts += ["The plugin's own metrics, not ranked:", markdown_table(("metric", "value", "unit"), rows)]
    return parts


def _story(story: Sequence[CheckpointResult]) -> list[tuple[str, ...]]:
    measured = [result.measurements for result in story]
    rows = [
        ("parameters", *(f"{result.checkpoint.parameter_count:,}" for result in story)),
        ("weights, MB", *(f"{result.checkpoint.weights_bytes / 1e6:.2f}" for result in story)),
        ("bits per byte", *(_bits_per_byte(one) for one in measured)),
    ]
    tasks = dict.fromkeys(score.task for one in measured for score in _tasks(one))
    rows += [(task, *(_task(one, task) for one in measured)) for task in tasks]
    return rows + _performance(measured)


def _performance(measured: Sequence[Measurements]) -> list[tuple[str, ...]]:
    def row(label: str, read: Callable[[Measurements], float | None]) -> tuple[str, ...]:
        return (label, *(_number(read(one)) for one in measured))

    return [
        row("prefill, tokens/s", lambda one: one.performance.prefill_tokens_per_s if one.performance else None),
        row("decode, tokens/s", lambda one: one.performance.decode_tokens_per_s if one.performance else None),
        row("first token, s", lambda one: one.performance.time_to_first_token_s if one.performance else None),
        row("peak memory, MB", lambda one: one.performance.peak_memory_bytes / 1e6 if one.performance else None),
    ]


def _steps(steps: Sequence[StepRecord]) -> str:
    rows = [
        (
            str(number),
            step.stage,
            step.method,
            f"{step.parameter_count:,}",
            f"{step.duration_s:.1f}",
            f"{step.peak_memory_bytes / 1e6:,.0f}",
        )
        for number, step in enumerate(steps, start=1)
    ]
    return markdown_table(("step", "stage", "method", "parameters after", "duration, s", "peak memory, MB"), rows)


def _bits_per_byte(measured: Measurements) -> str:
    found = measured.bits_per_byte
    return f"{found.value:.4f} ± {found.standard_error:.4f}" if found else ABSENT


def _task(measured: Measurements, task: str) -> str:
    score = next((score for score in _tasks(measured) if score.task == task), None)
    if score is None:
        return ABSENT
    error = f" ± {_number(score.standard_error)}" if score.standard_error is not None else ""
    return f"{_number(score.score)}{error}"


def _tasks(measured: Measurements) -> tuple[TaskScore, ...]:
    return measured.evaluation.tasks if measured.evaluation else ()


def _number(value: float | None) -> str:
    """Four significant digits, whole numbers above a thousand; a dash where nothing was measured."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if abs(value) >= WHOLE_FROM else f"{value:.4g}"


def _weights() -> str:
    return "Weights are not part of the bundle: `submission.json` names every checkpoint and its files by SHA-256."


def _units(edition: Edition) -> str:
    scales = ", ".join(f"{rule.column} 0-{rule.scale}" for rule in edition.tasks.values())
    return (
        f"Scores: {scales}; ± is one standard error. Bits per byte: held-out text, lower is better. "
        f"Throughput: {edition.measurement.throughput_unit}. Memory-Usage: {edition.measurement.memory_unit}; "
        "1 MB = 10**6 bytes. Parameters: embeddings included, tied tensors counted once."
    )
