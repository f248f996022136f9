"""What ``submit`` would do and what would come out, from configurations alone: no weights, nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from harness.document import Document
from harness.run.preparation import Prepared, prepare

if TYPE_CHECKING:
    from harness.run.preparation import PreparedModel
    from harness.run.settings import SubmitSettings
    from harness.run.workspace import Workspace

BYTES_PER_PARAMETER = 2
"""Checkpoints are stored as FP16."""


class PlannedStep(Document):
    """One step before it runs."""

    stage: str
    method: str
    parameter_count: int | None
    """After the step; None where the plugin does not predict it."""
    weights_bytes: int | None
    fields: dict[str, JsonValue]
    notes: dict[str, JsonValue]


class PlannedModel(Document):
    """One base model before anything runs."""

    name: str
    base_parameter_count: int
    base_weights_bytes: int
    parameter_budget: int
    recipe: str
    steps: tuple[PlannedStep, ...]


class SubmissionPlan(Document):
    """The plan of a run."""

    plugin: str
    track: str
    edition: str
    notice: str
    models: tuple[PlannedModel, ...]
    tasks: tuple[str, ...]
    disk_bytes: int
    """Of the checkpoints that the steps will write, control included."""


def make_plan(settings: SubmitSettings, workspace: Workspace) -> SubmissionPlan:
    """Predict every step of the run that ``settings`` ask for.

    Raises:
        UsageError: something that was asked for is not allowed, or cannot be reached.
        PluginFailed: the plugin is broken.
    """
    prepared = prepare(settings, workspace)
    models = tuple(_model(prepared, model) for model in prepared.models)
    return SubmissionPlan(
        plugin=prepared.plugin.name,
        track=settings.track,
        edition=prepared.edition.id,
        notice=prepared.edition.notice,
        models=models,
        tasks=prepared.tasks,
        disk_bytes=sum(_disk_bytes(model, control=settings.control) for model in models),
    )


def _model(prepared: Prepared, model: PreparedModel) -> PlannedModel:
    config: dict[str, JsonValue] = model.base.config()
    count: int | None = model.base_parameter_count
    steps: list[PlannedStep] = []
    for index, step in enumerate(model.options.steps):
        notes: dict[str, JsonValue] = {}
        if step.stage == "compress" and count is not None:
            config, count, notes = _forecast(prepared, model, index, config)
        steps.append(
            PlannedStep(
                stage=step.stage,
                method=step.method,
                parameter_count=count,
                weights_bytes=None if count is None else count * BYTES_PER_PARAMETER,
                fields=step.fields,
                notes=notes,
            )
        )
    return PlannedModel(
        name=model.name,
        base_parameter_count=model.base_parameter_count,
        base_weights_bytes=model.base_parameter_count * BYTES_PER_PARAMETER,
        parameter_budget=model.parameter_budget,
        recipe=model.recipe.name,
        steps=tuple(steps),
    )


def _forecast(
    prepared: Prepared, model: PreparedModel, index: int, config: dict[str, JsonValue]
) -> tuple[dict[str, JsonValue], int | None, dict[str, JsonValue]]:
    folder = prepared.workspace.root / "options" / f"{prepared.plugin.name}-{model.name}"
    request = prepared.host.request(
        "forecast",
        model.recipe,
        folder,
        step_index=index,
        config=config,
        parameter_budget=model.parameter_budget,
    )
    value = prepared.host.call(request, folder, lambda _event: None).value
    if not isinstance(value, dict):
        return config, None, {}
    after, count, notes = value["config"], value["parameter_count"], value["notes"]
    return (
        after if isinstance(after, dict) else config,
        count if isinstance(count, int) else None,
        notes if isinstance(notes, dict) else {},
    )


def _disk_bytes(model: PlannedModel, *, control: bool) -> int:
    written = sum(step.weights_bytes or model.base_weights_bytes for step in model.steps)
    trained = sum(1 for step in model.steps if step.stage == "train")
    return written + (trained * model.base_weights_bytes if control and trained < len(model.steps) else 0)
